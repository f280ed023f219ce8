# SPDX-License-Identifier: Apache-2.0
"""SIGTERM at random instants of a sending keeper: it finishes what it does, exits with 0, and leaves nothing half done.

The same market as `tests.soak.kills`; the process runs the shipped service, whose job is a cycle of the sender.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from keeper.act import execute
from keeper.observe.metrics import Metrics
from keeper.service import Job, Service
from tests.soak.bench import CHAIN_ID, Bench, bench
from tests.soak.kills import Campaign, length_of_a_send
from tests.soak.outcome import Outcome
from tests.support.counter_world import Bump

COUNT = 200
STOP_S = 30.0
HALF_DONE = "select id, state from intents where state in ('intent', 'signed')"


def serve(desk: Bench, due: list[int], _migrate: bool) -> None:
    """One process: the service until it is told to stop."""
    parts = desk.parts(migrate=False)

    def cycle() -> None:
        parts.outbox.reconcile()
        for key in due:
            execute(parts.chain, parts.outbox, Bump(key))

    Service([Job("cycle", cycle, 0.05, 5)], Metrics("soak", CHAIN_ID)).run()
    parts.store.close()
    os._exit(0)


@dataclass
class Terms(Campaign):
    """Kills softly."""

    def end(self, child: int) -> None:
        os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                self.violations.append(f"the process still ran {STOP_S} s after SIGTERM")
                return
            time.sleep(0.002)
        # before its service has begun, a process has nothing to finish and dies of the signal itself
        if ended[1] not in (0, signal.SIGTERM):
            self.violations.append(f"the process ended with {ended[1]}: {self.log.read_text()[-300:]}")
        self.violations += [f"intent {row} was left half done by SIGTERM" for row in self.desk.rows(HALF_DONE)]


def run(count: int, seed: int) -> Outcome:
    """Stop ``count`` times."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as desk:
        campaign = Terms(desk, random.Random(seed), Path(name, "lives.log"))
        send_s = length_of_a_send(campaign)
        campaign.life = serve
        for _ in track(range(count), "stops", console=Console(stderr=True)):
            campaign.kill_once(3 * send_s)
        campaign.finish()
        ends = {key: desk.total(key) for key in campaign.asked}
        figures = {
            "stops": count, "seed": seed, "actions": len(ends), "duplicated": sum(n > 1 for n in ends.values()),
            "lost": sum(n == 0 for n in ends.values()), "open_rows_at_stops": dict(campaign.states),
            "troubles": dict(campaign.troubles), "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        return Outcome(figures, campaign.violations + desk.audit(campaign.asked))
