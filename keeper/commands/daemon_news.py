# SPDX-License-Identifier: Apache-2.0
"""What the log says when the daemon starts and ends: who it is, and what it found open."""

from __future__ import annotations

import structlog

from keeper import __version__
from keeper.app import Keeper
from keeper.commands.common import moment
from keeper.recorder import Recorder
from keeper.store import Store
from keeper.tx.journal import OPEN, Journal

MOST_SHOWN = 20


def log_start(keeper: Keeper) -> None:
    """Say which chain, mode, key and database it is, and what an earlier run left."""
    log, settings = structlog.get_logger("keeper"), keeper.connection.settings
    chain_id = keeper.connection.chain.chain_id
    log.info(
        "keeper starts",
        version=__version__,
        network=settings.network,
        chain_id=chain_id,
        mode="execute" if settings.execute else "dry run, nothing is sent",
        key=keeper.cycle.sender or "none",
        database=keeper.store.name,
    )
    log_open(keeper.store, chain_id)


def log_open(store: Store, chain_id: int) -> None:
    """Say what an earlier run left: a cycle without an end, and actions that the chain has not settled."""
    log = structlog.get_logger("keeper")
    newest = Recorder(store, chain_id).runs(1)
    if newest and newest[0].finished_at is None:
        text = "the newest cycle in the database has no end: the run before was killed, or another instance is in it"
        log.info(text, started_at=moment(newest[0].started_at))
    waiting = Journal(store, chain_id, "").latest(MOST_SHOWN, states=OPEN)
    for intent in waiting:
        log.info("open in the journal, followed up", action=str(intent), state=str(intent.state), nonce=intent.nonce)
    if not waiting:
        log.info("nothing is open in the journal")


def log_end() -> None:
    """Say that the daemon has ended as it was asked to."""
    structlog.get_logger("keeper").info("keeper stopped")
