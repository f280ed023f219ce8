# SPDX-License-Identifier: Apache-2.0
"""Runs mutants against the tests that should kill them, each worker in a copy of the repository of its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant, apply, mutants_of

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
TARGETS = Path(__file__).with_name("targets.toml")
_COPIED = ("contracts", "tests", "risk", "keeper", "scripts", "abi", "config", "docs", "pyproject.toml")
TIME_LIMIT_S = 1_200.0
INVALID = 100
# of the differential tests, in place of the thousands that the test run takes
CASES = "150"


class Unusable(Exception):  # noqa: N818 - a campaign that would tell nothing
    """The tests fail without a mutant, or a worker could not run them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A source and the tests, fastest first, that are responsible for it."""

    path: str
    group: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``result`` is killed, survived, or invalid (does not compile: a mutant that nobody could ship).

    ``seconds`` are of the processor, not of the clock.
    """

    mutant: Mutant
    result: str
    killer: str
    seconds: float
    why: str = ""


def targets() -> list[Target]:
    """The sources under test, from ``targets.toml``."""
    groups = tomllib.loads(TARGETS.read_text(encoding="utf-8"))["group"]
    return [Target(path, group["name"], tuple(group["tests"])) for group in groups for path in group["paths"]]


def reasons() -> dict[str, str]:
    """Survivors that are known, with why each changes nothing that matters."""
    rows = tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])
    return {row["mutant"]: row["why"] for row in rows}


def sample(size: int, seed: int, only: str = "") -> list[tuple[Mutant, Target]]:
    """``size`` mutants drawn evenly over all targets' mutants (0 = all), in a fixed order for a seed."""
    every = [
        (mutant, target)
        for target in targets()
        if only in target.path or only == target.group
        for mutant in mutants_of(target.path, (ROOT / target.path).read_text(encoding="utf-8"))
    ]
    if size == 0 or size >= len(every):
        return every
    return random.Random(seed).sample(every, size)


class Worker:
    """A process of ``tests.mutation.worker`` in a copy of the repository."""

    def __init__(self, place: Path) -> None:
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
            else:
                shutil.copy2(source, place / name)
        # the node, where it is installed
        (place / "node_modules").symlink_to(ROOT / "node_modules")
        shared = os.environ.get("BALLAST_SHARED") or str(ROOT.parent / "shared")
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.worker"], cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"BALLAST_CASES": CASES, "PYTHONPATH": str(place), "BALLAST_SHARED": shared},
        )  # fmt: skip
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Unusable(f"worker ended with {self.process.wait()}")
        return line

    def ask(self, tests: Sequence[str], path: str = "", source: str = "", original: str = "") -> dict[str, Any]:
        """Runs tests, with ``source`` in place of the ``original`` of the file ``path`` where given."""
        assert self.process.stdin is not None
        job = {"path": path, "source": source, "original": original, "tests": tests, "limit_s": TIME_LIMIT_S}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def check(self, tests: Sequence[str]) -> None:
        """Refuses to go on when the tests fail without any mutant, which would count every mutant as killed."""
        answer = self.ask(tests)
        if answer["code"] != 0:
            raise Unusable(f"fails without a mutant, {answer['code']}:\n{answer['output']}")

    def judge(self, mutant: Mutant, target: Target) -> Outcome:
        """Runs one mutant."""
        original = (self.place / mutant.path).read_text(encoding="utf-8")
        answer = self.ask(target.tests, mutant.path, apply(original, mutant), original)
        code, seconds = answer["code"], answer["seconds"]
        if answer["late"]:
            return Outcome(mutant, "killed", "time limit", seconds)
        # pytest's codes: 1 a test failed, 2 a test file could not be read (which deploys at import)
        if code in (1, 2):
            return Outcome(mutant, "killed", answer["killer"], seconds)
        if code in (0, INVALID):
            return Outcome(mutant, "invalid" if code else "survived", "", seconds, reasons().get(mutant.key, ""))
        raise Unusable(f"cannot judge {mutant.key}, {code}:\n{answer['output']}")

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def run(chosen: Sequence[tuple[Mutant, Target]], jobs: int, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Checks the tests without a mutant, then judges all mutants, ``jobs`` at a time; calls ``told`` after each.

    Raises
    ------
    Unusable
        When a test that should kill fails by itself, or a worker breaks.
    """
    lists = list(dict.fromkeys(target.tests for _, target in chosen))
    with tempfile.TemporaryDirectory(prefix="ballast-mutants-") as temporary:

        def work(number: int) -> list[Outcome]:
            place = Path(temporary) / str(number)
            place.mkdir()
            worker = Worker(place)
            try:
                for tests in lists[number::jobs]:
                    worker.check(tests)
                outcomes = []
                for mutant, target in chosen[number::jobs]:
                    outcomes.append(worker.judge(mutant, target))
                    told(outcomes[-1])
                return outcomes
            finally:
                worker.close()

        with ThreadPoolExecutor(jobs) as pool:
            return [outcome for part in pool.map(work, range(jobs)) for outcome in part]
