# SPDX-License-Identifier: Apache-2.0
"""Long random play with a seed: episodes of steps from one starting point, audited after every step."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.actors import WEIGHTS, Actors
from tests.fuzz.invariants import Auditor
from tests.support.protocol import Protocol

EPISODE_STEPS = 400
LIVENESS_EVERY = 200
# what an action may keep in Python between steps, put back when an episode begins again
_KEPT = ("now", "options", "quotes")


class Dice:
    """A source of choices with a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """Between both, ends included."""
        return self._random.randint(low, high)

    def number(self, low: float, high: float) -> float:
        """Between both."""
        return self._random.uniform(low, high)

    def choice(self, items: Sequence[Any]) -> Any:
        """One of them."""
        return self._random.choice(items)

    def action(self) -> str:
        """An action's name by its weight."""
        return self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


@dataclass(slots=True)
class Tally:
    """What a campaign did."""

    steps: int = 0
    seconds: float = 0.0
    liveness: int = 0
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Play:
    """One world, played again and again from the same start."""

    def __init__(self) -> None:
        self.world = Protocol()
        self.actors = Actors(self.world, Dice(0))
        self.auditor = Auditor(self.actors)
        self.actors.health = lambda account: self.auditor.before.healths[account]
        self._start = self.world.evm.snapshot()
        self._kept = {name: copy.deepcopy(getattr(self.world, name)) for name in _KEPT}
        self._books = self.auditor.before

    def again(self, seed: int) -> Dice:
        """Back to the start, with dice of a seed."""
        self.world.evm.revert(self._start)
        self._start = self.world.evm.snapshot()
        for name, value in self._kept.items():
            setattr(self.world, name, copy.deepcopy(value))
        self.world.wait(0)
        self.auditor.before = self._books
        self.actors.pick = dice = Dice(seed)
        self.actors.forget()
        return dice

    def episode(self, seed: int, steps: int, tally: Tally) -> None:
        """Play ``steps`` steps; stop at the first violation, which names seed and step."""
        dice = self.again(seed)
        began = time.monotonic()
        for step in range(steps):
            name = dice.action()
            found = self.step(name)
            if step % LIVENESS_EVERY == LIVENESS_EVERY - 1:
                found += self.auditor.stuck()
                tally.liveness += 1
            tally.steps += 1
            if found:
                tally.violations += [f"seed {seed} step {step} after {name}: {fault}" for fault in found]
                break
        tally.seconds += time.monotonic() - began
        tally.done += self.actors.done
        tally.refused += self.actors.refused
        self.actors.done.clear()
        self.actors.refused.clear()

    def step(self, name: str) -> list[str]:
        """One action and the audit after it; an action that was refused whole has changed nothing to audit."""
        self.actors.touched, self.actors.moved, done = set(), False, self.actors.done.total()
        getattr(self.actors, name)()
        if not self.actors.moved and self.actors.done.total() == done:
            return []
        return self.auditor.faults()


def campaign(seed: int, steps: int, told: Callable[[Tally], None], most_violations: int = 8) -> Tally:
    """Plays episodes with seeds ``seed``, ``seed + 1``, ... until ``steps`` steps are done."""
    tally, play = Tally(), Play()
    while tally.steps < steps and len(tally.violations) < most_violations:
        play.episode(seed, min(EPISODE_STEPS, steps - tally.steps), tally)
        seed += 1
        told(tally)
    return tally
