# SPDX-License-Identifier: Apache-2.0
"""The script that measures speed: its keys at tiny sizes, and that it refuses to time programs that disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from scripts import bench_peers, bench_risk
from tests.support.shared import ROOT

pytestmark = pytest.mark.skipif(
    any(util.find_spec(name) is None for name in ("numba", "QuantLib", "py_vollib_vectorized")),
    reason="what is compared with is in the extra 'peers'",
)

TINY = ["--prices", "70000", "--accounts", "17000", "--es-accounts", "300", "--scenarios", "5000", "--repeats", "1"]


def test_keys_at_tiny_sizes() -> None:
    command = [sys.executable, "scripts/bench_risk.py", "--json", *TINY]
    for name in ("book", "black76", "es", "table"):
        command += ["--only", name]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    wanted = {target.key for target in bench_risk.TARGETS} - {"calibrate_seconds", "joint_efficiency"}
    wanted |= {"black76_numpy_mprices_s", "black76_quantlib_mprices_s", "black76_vollib_mprices_s"}
    assert wanted <= found.keys()
    assert all(found[key] > 0.0 for key in wanted)
    assert {"machine", "versions", "load_1_minute"} <= found.keys()
    assert "Black-76: quantlib" in run.stderr


def test_targets_are_those_of_the_design() -> None:
    limits = {target.key: (target.limit, target.least) for target in bench_risk.TARGETS}
    assert limits == {
        "black76_mprices_s": (100.0, True),
        "black76_vs_vollib": (30.0, True),
        "book_1m_seconds": (1.0, False),
        "book_1m_gib": (6.0, False),
        "es_accounts_s": (60_000.0, True),
        "table_1024_ms": (50.0, False),
        "calibrate_seconds": (60.0, False),
        "joint_efficiency": (1.30, False),
    }


def test_a_disagreement_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_peers, "quantlib", lambda *inputs: bench_peers.textbook(*inputs) + 1e-9)
    with pytest.raises(bench_peers.Disagreement, match="ours and quantlib: values differ by"):
        bench_peers.measure(1_000, 1, lambda text: None)
    with pytest.raises(bench_peers.Disagreement):
        bench_peers.agree("nothing", np.array([np.nan]), 1.0)


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(bench_peers, "version", missing)
    monkeypatch.setattr(sys, "argv", ["bench_risk.py", "--only", "table"])
    with pytest.raises(SystemExit, match=r"MissingPeer: numpy is not installed: pip install 'ballast-margin\[peers\]'"):
        bench_risk.main()
