# SPDX-License-Identifier: Apache-2.0
"""What boa hands out is compiled from the sources as they are, also two imports deep."""

from __future__ import annotations

from pathlib import Path

import boa
import pytest

from tests.support.boa_cache import keep_by_sources
from tests.support.shared import ROOT

HEAD = "# pragma version 0.4.3\n"
OUTER = "from contracts import middle\n\n\n@external\n@view\ndef answer() -> uint256:\n    return middle._answer()\n"
MIDDLE = "from contracts import inner\n\n\n@internal\n@view\ndef _answer() -> uint256:\n    return inner.ANSWER\n"


def answer(root: Path, number: int) -> int:
    (root / "contracts" / "inner.vy").write_text(f"{HEAD}ANSWER: constant(uint256) = {number}\n")
    keep_by_sources(root)
    source = (root / "contracts" / "outer.vy").read_text()
    return int(boa.loads_partial(source, "outer", filename="contracts/outer.vy").deploy().answer())


def test_a_change_two_imports_deep_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contracts").mkdir()
    for name, source in (("outer", OUTER), ("middle", MIDDLE)):
        (tmp_path / "contracts" / f"{name}.vy").write_text(HEAD + source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boa.interpret, "loads_partial", boa.interpret.loads_partial.__wrapped__)
    try:
        assert [answer(tmp_path, number) for number in (1, 2, 1)] == [1, 2, 1]
    finally:
        keep_by_sources(ROOT)
