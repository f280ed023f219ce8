# SPDX-License-Identifier: Apache-2.0
"""Runs mutants against the tests that should kill them, in a copy of the repository."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant, apply, mutants_of

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
TARGETS = Path(__file__).with_name("targets.toml")
_COPIED = ("contracts", "tests", "risk", "keeper", "scripts", "abi", "config", "docs", "pyproject.toml")
TIME_LIMIT_S = 600.0
# of the differential tests, in place of the thousands that the test run takes
CASES = "150"


@dataclass(frozen=True, slots=True)
class Target:
    """A source and the tests, fastest first, that are responsible for it."""

    path: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``result`` is killed, survived, or invalid (does not compile: a mutant that nobody could ship)."""

    mutant: Mutant
    result: str
    killer: str
    seconds: float
    why: str = ""


def targets() -> list[Target]:
    """The sources under test, from ``targets.toml``."""
    rows = tomllib.loads(TARGETS.read_text(encoding="utf-8"))["target"]
    return [Target(row["path"], tuple(row["tests"])) for row in rows]


def reasons() -> dict[str, str]:
    """Survivors that are known, with why each changes nothing that matters."""
    rows = tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])
    return {row["mutant"]: row["why"] for row in rows}


def sample(size: int, seed: int, only: str = "") -> list[tuple[Mutant, Target]]:
    """``size`` mutants drawn evenly over all targets' mutants (0 = all), in a fixed order for a seed."""
    every = [
        (mutant, target)
        for target in targets()
        if only in target.path
        for mutant in mutants_of(target.path, (ROOT / target.path).read_text(encoding="utf-8"))
    ]
    if size == 0 or size >= len(every):
        return every
    return random.Random(seed).sample(every, size)


def _copy(to: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy2(source, to / name)


def judge(place: Path, mutant: Mutant, target: Target) -> Outcome:
    """Runs one mutant in its own copy of the repository."""
    began = time.monotonic()
    file = place / mutant.path
    source = file.read_text(encoding="utf-8")
    file.write_text(apply(source, mutant), encoding="utf-8")
    environment = os.environ | {"BALLAST_CASES": CASES, "PYTHONPATH": str(place)}
    shared = os.environ.get("BALLAST_SHARED") or str(ROOT.parent / "shared")
    try:
        for test in target.tests:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *test.split()],
                cwd=place, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S,
                env=environment | {"BALLAST_SHARED": shared},
            )  # fmt: skip
            if done.returncode == 1:
                compiled = "vyper.exceptions" not in done.stdout and "CompilerPanic" not in done.stdout
                return Outcome(mutant, "killed" if compiled else "invalid", test, time.monotonic() - began)
            if done.returncode not in (0, 5):
                compiled = "vyper.exceptions" not in done.stdout + done.stderr
                return Outcome(mutant, "killed" if compiled else "invalid", test, time.monotonic() - began)
    except subprocess.TimeoutExpired:
        return Outcome(mutant, "killed", "time limit", time.monotonic() - began)
    finally:
        file.write_text(source, encoding="utf-8")
    why = reasons().get(mutant.key, "")
    return Outcome(mutant, "survived", "", time.monotonic() - began, why)


def run(chosen: Sequence[tuple[Mutant, Target]], jobs: int, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Judges all mutants, ``jobs`` at a time, each worker in a copy of its own; calls ``told`` after each."""
    with tempfile.TemporaryDirectory(prefix="ballast-mutants-") as temporary:
        places = [Path(temporary) / str(number) for number in range(jobs)]
        for place in places:
            place.mkdir()
            _copy(place)

        def work(number: int) -> list[Outcome]:
            outcomes = []
            for mutant, target in chosen[number::jobs]:
                outcomes.append(judge(places[number], mutant, target))
                told(outcomes[-1])
            return outcomes

        with ThreadPoolExecutor(jobs) as pool:
            return [outcome for part in pool.map(work, range(jobs)) for outcome in part]
