# SPDX-License-Identifier: Apache-2.0
"""The daemon's jobs: the block loop, and what is done beside it.

The block loop indexes, assesses, starts and bids, publishes, pushes and settles expiries; interest and funding accrue
in the contracts by themselves. Jobs of the fast thread share the chain client; the others must not touch it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import structlog

from keeper.app import Keeper
from keeper.observe.upkeep import EVERY_S
from keeper.service import Job
from keeper.store import upkeep

GRACE_S = 600  # of jobs that are as good a few minutes later
DAY_S = 86_400


def jobs_of(keeper: Keeper) -> list[Job]:
    """What the settings ask for."""
    settings = keeper.connection.settings
    often, interval = settings.jobs, settings.cycle_interval_s

    def cycle() -> None:
        keeper.busy = True
        try:
            if keeper.turn() is None:
                keeper.look()
        finally:
            keeper.busy = False

    jobs = [Job("cycle", cycle, interval, max(1, int(interval))), Job("upkeep", keeper.upkeep.run, EVERY_S, 60)]
    if keeper.outbox is not None:
        jobs.append(Job("reconcile", keeper.follow_up, often.reconcile_s, often.reconcile_s, first_s=often.reconcile_s))
    resync_s = settings.index.resync_s
    jobs.append(Job("resync", keeper.resync, resync_s, GRACE_S, first_s=resync_s))
    if keeper.book is not None:
        jobs.append(Job("calibrate", keeper.calibrate, settings.publisher.calibrate_s, GRACE_S, slow=True))
    if often.backup_dir is not None and not keeper.store.is_postgresql:
        jobs.append(Job("backup", lambda: back_up(keeper), often.backup_s, GRACE_S, slow=True, first_s=60))
    jobs.append(Job("prune", lambda: prune(keeper), often.prune_s, GRACE_S, slow=True, first_s=60))
    return jobs


def back_up(keeper: Keeper) -> Path | None:
    """Copy the database beside the running loop, and keep the newest copies; a standby leaves it to the leader."""
    often = keeper.connection.settings.jobs
    if keeper.stands_by or often.backup_dir is None:
        return None
    often.backup_dir.mkdir(parents=True, exist_ok=True)
    name = f"keeper-{keeper.connection.chain.chain_id}"
    target = often.backup_dir / f"{name}-{datetime.fromtimestamp(keeper.clock.now(), UTC):%Y%m%dT%H%M%SZ}.sqlite"
    size = upkeep.backup(keeper.store, target)
    removed = upkeep.rotate(often.backup_dir, f"{name}-*.sqlite", often.backup_keep)
    structlog.get_logger("backup").info("backup", file=str(target), bytes=size, removed=len(removed))
    return target


def prune(keeper: Keeper) -> int:
    """Forget cycles that are older than the settings keep them."""
    if keeper.stands_by:
        return 0
    before = keeper.clock.now() - keeper.connection.settings.jobs.keep_runs_days * DAY_S
    return upkeep.prune(keeper.store, before)
