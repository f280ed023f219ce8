# SPDX-License-Identifier: Apache-2.0
"""Judges mutants in the copy of the repository in which it is started: ``python -m tests.mutation.worker``.

Reads one job a line from its input and answers one line each, both JSON. Everything slow is done once, before the first
job: imports, and the analysis and compilation of every contract as it stands. Each job then runs in a fork, which
forgets the contracts that reach the mutated file, compiles those again, and runs pytest.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import boa
import pytest
from vyper.compiler.output import build_abi_output
from vyper.exceptions import VyperException

from tests.fuzz import campaign as _fuzz  # noqa: F401 - imported here so that no fork has to
from tests.mutation.campaign import INVALID
from tests.support import auction_market, auction_world, ledger, revm  # noqa: F401 - likewise
from tests.support.boa_cache import keep_by_sources
from tests.support.shared import ROOT

CONTRACTS = ("contracts", "contracts/testing")
LOG = Path("mutant.log")
_KILLER = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
# a fork lives for one mutant; collecting the compiler's trees would take longer than compiling
_RARELY = 200_000


class Contracts:
    """Compiled contracts by path, in place of boa's and of tests/support/revm.py's own compilation."""

    def __init__(self) -> None:
        self._load = boa.interpret.loads_partial
        self._deployers: dict[tuple[str, str], Any] = {}
        boa.interpret.loads_partial = self.loads_partial
        revm._compile = self.code_and_abi
        self.paths = [file.as_posix() for folder in CONTRACTS for file in sorted(Path(folder).glob("*.vy"))]
        self._reached = {path: _closure(Path(path).resolve()) for path in self.paths}

    def loads_partial(self, source_code: str, name: Any = None, filename: Any = None, **options: Any) -> Any:
        """boa's function of that name, once a source; a source without a file is always analysed."""
        key = (str(filename), str(name))
        if filename is None or key not in self._deployers:
            found = self._load(source_code, name, filename=filename, **options)
            if str(filename) not in self.paths:
                return found
            self._deployers[key] = found
        return self._deployers[key]

    def load(self, path: str) -> Any:
        """A contract as ``boa.load(path)`` takes it."""
        return self.loads_partial(Path(path).read_text(encoding="utf-8"), Path(path).stem, filename=path)

    def code_and_abi(self, path: str) -> tuple[bytes, tuple[dict[str, Any], ...]]:
        """What tests/support/revm.py compiles."""
        data = self.load(path).compiler_data
        return data.bytecode, tuple(json.loads(json.dumps(build_abi_output(data))))

    def again(self, changed: str) -> None:
        """Compiles every contract that reaches ``changed``."""
        stale = [path for path in self.paths if Path(changed).resolve() in self._reached[path]]
        self._deployers = {key: kept for key, kept in self._deployers.items() if key[0] not in stale}
        for path in stale:
            self.load(path)


@cache
def _closure(file: Path) -> frozenset[Path]:
    return frozenset({file}.union(*(_closure(other) for other in revm._imports(file) if other.suffix == ".vy")))


def _run(contracts: Contracts, job: dict[str, Any]) -> int:
    """In the fork: the exit code of pytest, or that the mutant does not compile."""
    gc.set_threshold(_RARELY, 50, 50)
    if job["source"]:
        Path(job["path"]).write_text(job["source"], encoding="utf-8")
        keep_by_sources(ROOT)
        try:
            contracts.again(job["path"])
        except VyperException as error:
            print(error)
            # unless the compiler has lost more than this file
            Path(job["path"]).write_text(job["original"], encoding="utf-8")
            contracts.again(job["path"])
            return INVALID
    seeded = ("-x", "-q", "--no-header", "--assert=plain", "-p", "no:cacheprovider", "--hypothesis-seed=1")
    return int(pytest.main([*seeded, *job["tests"]]))


def judge(contracts: Contracts, job: dict[str, Any]) -> dict[str, Any]:
    """Runs a job in a fork; the answer has the exit code (negative: a signal), the output's end and who killed."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = _run(contracts, job)
            sys.stdout.flush()
        finally:
            os._exit(code)
    late = False
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        if not late and time.monotonic() - began > job["limit_s"]:
            late = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    if job["source"]:
        Path(job["path"]).write_text(job["original"], encoding="utf-8")
    # an example found against one mutant must not decide about the next
    shutil.rmtree(".hypothesis", ignore_errors=True)
    output = LOG.read_text(encoding="utf-8", errors="replace")
    killer = _KILLER.findall(output)
    return {
        "code": os.waitstatus_to_exitcode(ended[1]), "late": late, "killer": killer[0] if killer else "",
        "seconds": ended[2].ru_utime + ended[2].ru_stime, "output": output[-4_000:],
    }  # fmt: skip


def main() -> None:
    """Prepares, says so with an empty line, then serves until its input ends."""
    keep_by_sources(ROOT)
    contracts = Contracts()
    for path in contracts.paths:
        contracts.load(path)
    gc.collect()
    gc.freeze()
    print(flush=True)
    for line in sys.stdin:
        print(json.dumps(judge(contracts, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
