# SPDX-License-Identifier: Apache-2.0
"""What need not be loaded is not: each case is an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("matplotlib", "scipy.stats", "scipy.optimize", "scipy.signal", "sklearn", "arch", "numba", "pandas", "dask")
ROOT = Path(__file__).parents[3]


def loaded(code: str) -> set[str]:
    """Heavy modules that a new interpreter has loaded after some code."""
    tail = f"\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


def test_the_library_loads_nothing_heavy() -> None:
    assert loaded("import risk, risk.calibrate, risk.backtest, risk.replay, risk.adaptive, risk.methodologies") == set()


def test_help_loads_nothing_heavy() -> None:
    code = """
from keeper.cli import app
for arguments in (["--help"], ["risk", "--help"], ["risk", "backtest", "--help"], ["explain", "--help"]):
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
"""
    assert loaded(code) == set()


def test_the_check_sees_what_is_loaded() -> None:
    """The negative: pages with plots do load the plotting library."""
    assert "matplotlib" in loaded("import risk.report")
