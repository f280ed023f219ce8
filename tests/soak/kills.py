# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random instants of a sending keeper: nothing twice, nothing lost, the same end as without.

A process with the shipped chain client, journal, reconciler and sender works through a market that asks for actions
as it goes; it is forked from this one, which has loaded the libraries, so that a life takes milliseconds. The contract
counts each action, so one that lands twice shows. Blocks come at random; now and then the pool is emptied, the
contract refuses everything for a while, or the base fee jumps.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from keeper.act import Result, execute
from keeper.domain import ContractCall
from keeper.tx.records import OPEN, State
from tests.soak.bench import Bench, bench
from tests.soak.outcome import Outcome
from tests.support.counter_world import Bump

COUNT = 1_000
WARM_UP = 5
SETTLE_S = 120.0
OLD_ONES = 2


def life(desk: Bench, due: list[int], migrate: bool) -> None:
    """One process: what it owes, in order, until all is final."""
    parent, parts, owed = os.getppid(), desk.parts(migrate=migrate), list(due)
    while os.getppid() == parent:
        parts.outbox.reconcile()
        for key in list(owed):
            result = execute(parts.chain, parts.outbox, Bump(key)).result
            if result is Result.KNOWN:
                owed.remove(key)
            elif result is Result.FAILED:
                break  # no room now, or the contract refuses: the others would meet the same
        if not owed and not parts.journal.open_intents():
            os._exit(0)
        time.sleep(0.02)


Life = Callable[[Bench, list[int], bool], None]


def fork(desk: Bench, due: list[int], log: Path, *, migrate: bool = False, live: Life = life) -> int:
    """Start a life; what it prints goes to a file."""
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        live(desk, due, migrate)
    except BaseException as error:
        print(f"life ended: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(9)


@dataclass
class Campaign:
    """A market that runs as long as there are kills to make."""

    desk: Bench
    dice: random.Random
    log: Path
    asked: list[int] = field(default_factory=list)
    closed: bool = False
    states: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    life: Life = life

    def ask(self) -> list[int]:
        """New actions, and what a process owes now: all that is not final, and a few that are."""
        for _ in range(self.dice.choice((0, 0, 0, 1, 1))):
            self.asked.append(len(self.asked))
        final = {key for key, state in self.desk.states().items() if state == State.FINAL}
        owed = [key for key in self.asked if key not in final]
        return owed + self.dice.sample(sorted(final), min(OLD_ONES, len(final)))

    def trouble(self) -> None:
        """What else happens on a chain."""
        chance = self.dice.random()
        if self.closed and chance < 0.5:
            self.close(False)
        elif chance < 0.03:
            self.close(True)
        elif chance < 0.06:
            self.troubles["pool emptied"] += 1
            self.desk.ask("anvil_dropAllTransactions")
        elif chance < 0.08:
            self.troubles["base fee jumped"] += 1
            self.desk.ask("anvil_setNextBlockBaseFeePerGas", hex(self.dice.randrange(5, 60) * 10**9))

    def close(self, closed: bool) -> None:
        self.troubles["contract closed"] += closed
        self.closed = closed
        self.desk.other(ContractCall("Counter", "close", (closed,)))

    def kill_once(self, longest_s: float) -> None:
        """One life and its end; blocks may come while it lives, and between two."""
        self.trouble()
        child = fork(self.desk, self.ask(), self.log, live=self.life)
        left = self.dice.random() * longest_s
        if self.dice.random() < 0.6:
            part = self.dice.random() * left
            time.sleep(part)
            self.desk.mine(self.dice.choice((1, 1, 2)))
            left -= part
        time.sleep(left)
        self.end(child)
        self.states.update(row[0] for row in self.desk.rows("select state from intents") if row[0] in OPEN)
        if self.dice.random() < 0.3:
            self.desk.mine()

    def end(self, child: int) -> None:
        """Kill; a process that had ended by itself must have had nothing left to do."""
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            self.violations.append(f"a process ended by itself: {self.log.read_text()[-300:]}")

    def finish(self) -> None:
        """A last process that nobody kills."""
        self.close(False)
        child = fork(self.desk, list(self.asked), self.log)
        longest_s = SETTLE_S + len(self.asked)
        deadline = time.monotonic() + longest_s
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                self.violations.append(f"not all was final after {longest_s} s")
                return
            self.desk.mine()
            time.sleep(0.02)


def length_of_a_send(campaign: Campaign) -> float:
    """Seconds from the start of a process to its transaction at the node; also warms up what forks share."""
    found = []
    for round_ in range(WARM_UP):
        campaign.asked.append(len(campaign.asked))
        began = time.monotonic()
        child = fork(campaign.desk, [campaign.asked[-1]], campaign.log, migrate=round_ == 0)
        while campaign.desk.states().get(campaign.asked[-1]) != State.SENT:
            time.sleep(0.001)
        found.append(time.monotonic() - began)
        campaign.end(child)
    campaign.desk.mine()
    return sorted(found)[len(found) // 2]


def undisturbed(folder: Path, keys: list[int]) -> tuple[dict[int, int], list[str]]:
    """The market's end without a kill: how often each action was done, and what went wrong."""
    with bench(folder, "undisturbed") as desk:
        calm = Campaign(desk, random.Random(0), folder / "undisturbed.log", list(keys))
        desk.parts().store.close()
        calm.finish()
        return {key: desk.total(key) for key in keys}, [f"without kills: {text}" for text in calm.violations]


def run(count: int, seed: int) -> Outcome:
    """Kill ``count`` times."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as desk:
        campaign = Campaign(desk, random.Random(seed), Path(name, "lives.log"))
        send_s = length_of_a_send(campaign)
        for _ in track(range(count), "kills", console=Console(stderr=True)):
            campaign.kill_once(1.5 * send_s)
        campaign.finish()
        wrong = campaign.violations + desk.audit(campaign.asked)
        ends = {key: desk.total(key) for key in campaign.asked}
        calm, trouble = undisturbed(Path(name), campaign.asked)
        wrong += trouble
        if ends != calm:
            wrong.append("the end differs from the run without kills")
        lost = sum(n == 0 for n in ends.values())
        ((retries, attempts),) = desk.rows("select sum(tries), (select count(*) from transactions) from intents")
        figures = {
            "kills": count, "seed": seed, "actions": len(ends), "duplicated": sum(n > 1 for n in ends.values()),
            "lost": lost, "transactions_signed": attempts, "transactions_mined": len(desk.mined()),
            "reverted": retries, "open_rows_at_kills": dict(campaign.states), "troubles": dict(campaign.troubles),
            "send_ms": round(send_s * 1_000, 1), "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        return Outcome(figures, wrong)
