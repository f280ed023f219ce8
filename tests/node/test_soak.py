# SPDX-License-Identifier: Apache-2.0
"""The long runs of ``tests/soak``, short: processes killed and stopped while they send, forks of the chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.node.conftest import ROOT
from tests.soak.bench import Bench, bench
from tests.support.counter_world import Bump

pytestmark = pytest.mark.node


def soak(name: str, count: int, seed: int) -> dict[str, Any]:
    """What a run says; it forks, which a process with pytest's threads must not."""
    command = [sys.executable, "-m", "tests.soak", name, "--count", str(count), "--seed", str(seed), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1_200, check=False
    )  # fmt: skip
    assert done.stdout, done.stderr[-3_000:]
    said: dict[str, Any] = json.loads(done.stdout)
    assert (said["violations"], done.returncode) == ([], 0)
    return said


def test_kill_9_at_random_instants(anvil_binary: Path) -> None:
    said = soak("kills", 60, 7)
    assert (said["kills"], said["duplicated"], said["lost"]) == (60, 0, 0)
    assert said["actions"] > 15 and said["open_rows_at_kills"]["sent"] > 5


def test_sigterm_in_mid_send(anvil_binary: Path) -> None:
    said = soak("terms", 10, 7)
    assert (said["stops"], said["duplicated"], said["lost"]) == (10, 0, 0)


def test_forks_of_any_depth(anvil_binary: Path) -> None:
    said = soak("reorgs", 15, 7)
    assert said["compared_with_fresh_sync"] == 16
    assert said["keeper_transactions_dropped"] > 5 and said["events_compared"] > 50 and said["deepest"] > 16


@pytest.fixture
def desk(anvil_binary: Path, tmp_path: Path) -> Any:
    with bench(tmp_path) as made:
        yield made


def test_the_audit_notices_what_it_is_for(desk: Bench) -> None:
    """An action done twice, one never done, one that the journal calls open, a transaction it does not know."""
    parts = desk.parts()
    for key in (0, 1):
        parts.outbox.perform(Bump(key))
    desk.mine(4)
    parts.outbox.reconcile()
    assert desk.audit([0, 1]) == []
    parts.outbox.perform(Bump(1, turn=1))
    desk.mine()
    wrong = desk.audit([0, 1, 2])
    assert "action 1 was done 2 times" in wrong and "action 2 was done 0 times" in wrong
    assert "action 2 is None in the journal" in wrong
    assert any(text.startswith("intent (3, 'sent') is open") for text in wrong)
    assert any(text.endswith("is on chain but not mined in the journal") for text in wrong)
    parts.store.close()
