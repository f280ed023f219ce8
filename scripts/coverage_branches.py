# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for `scripts/coverage_contracts.py`: which way every `if` of a contract goes in titanoboa.

titanoboa's plugin for coverage.py reports single lines, from which coverage.py cannot tell where an `if` without an
`else` went. The jump of each `if` and conditional expression can: both outcomes are looked for in the traces.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

FILE = "BALLAST_BRANCHES"
JUMPI = 0x57
# (file, line, column) -> outcomes seen
_seen: dict[tuple[str, int, int], set[bool]] = defaultdict(set)
_jumps: dict[int, dict[int, tuple[str, int, int]]] = {}
# keeps what the ids above belong to alive
_kept: list[Any] = []


def _jumps_of(contract: Any, code: bytes) -> dict[int, tuple[str, int, int]]:
    """Program counter -> the `if` that jumps there, of one deployed contract's code."""
    source_map = contract.source_map
    if id(source_map) not in _jumps:
        _kept.append(source_map)
        _jumps[id(source_map)] = {
            pc: (str(node.module_node.resolved_path), node.lineno, node.col_offset)
            for pc, node in source_map["pc_raw_ast_map"].items()
            if type(node).__name__ in {"If", "IfExp"} and pc < len(code) and code[pc] == JUMPI
        }
    return _jumps[id(source_map)]


def pytest_configure() -> None:
    """Look at each computation before titanoboa reports its lines."""
    from boa.environment import Env

    hooks: Any = Env
    report: Any = hooks._trace_computation

    def trace(self: Any, computation: Any, contract: Any = None) -> None:
        if contract is not None and hasattr(contract, "source_map"):
            jumps = _jumps_of(contract, bytes(computation.msg.code))
            steps = computation.code._trace
            for at, then in pairwise(steps):
                if at in jumps:
                    _seen[jumps[at]].add(then == at + 1)
        report(self, computation, contract)

    hooks._trace_computation = trace


def pytest_sessionfinish() -> None:
    """Write what was seen where the environment says."""
    found = [[*key, len(outcomes)] for key, outcomes in sorted(_seen.items())]
    Path(os.environ[FILE]).write_text(json.dumps(found), encoding="utf-8")
