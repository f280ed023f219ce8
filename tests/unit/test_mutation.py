# SPDX-License-Identifier: Apache-2.0
"""The mutation run itself: which slips it makes, and that its lists name what exists."""

from __future__ import annotations

from typing import Final

import pytest

from tests.mutation.campaign import reasons, sample, targets
from tests.mutation.mutants import apply, mutants_of
from tests.support.shared import ROOT

# they notice every change of the code, whatever it does
SNAPSHOTS: Final = ("gas", "code_size", "snapshots")


def changed(*lines: str) -> list[str]:
    """What a function of these lines may become: the changed lines."""
    source = "def f():\n" + "".join(f"    {line}\n" for line in lines)
    return [mutant.after.strip() for mutant in mutants_of("a.vy", source)]


@pytest.mark.parametrize(
    ("line", "slips"),
    [
        ("assert a < b, e.X", ["assert a <= b, e.X", "pass"]),
        ("if a >= b:", ["if a > b:", "if not (a >= b):"]),
        ("if a == b:", ["if a != b:"]),  # turned round it would be the same mutant twice
        ("if a == b and d:", ["if a != b and d:", "if a == b or d:", "if not (a == b and d):"]),
        ("x = fixed_math._mul_div_up(a, b, c)", ["x = fixed_math._mul_div_down(a, b, c)"]),
        ("x = min(a, b) - 1", ["x = min(a, b) + 1", "x = max(a, b) - 1"]),
        ("x -= y  # a + b", ["x += y"]),
        ("x = -y << 8", []),
        ("log Paid(a=b - c)", []),
    ],
)
def test_slips_of_a_line(line: str, slips: list[str]) -> None:
    assert changed(line) == slips


def test_what_is_text_or_declaration_stays() -> None:
    assert changed('"""', "@notice a < b", '"""', "log Paid(", "    a=b - c,", ")") == []
    assert mutants_of("a.vy", "X: constant(uint256) = 2 - 1\nY: uint256 = 1 - 1\n") == []


def test_the_same_slip_twice_in_a_function_has_two_names() -> None:
    first, second = mutants_of("a.vy", "def f():\n    x += 1\n    x += 1\n")
    assert (first.key, second.key) == ("a.vy:f: x += 1 -> x -= 1", "a.vy:f: x += 1 -> x -= 1 (2)")
    assert apply("def f():\n    x += 1\n    x += 1\n", second) == "def f():\n    x += 1\n    x -= 1\n"


def test_a_sample_is_the_same_for_a_seed() -> None:
    assert sample(5, 1) == sample(5, 1) != sample(5, 2)
    assert {target.group for _, target in sample(0, 1, "ledger")} == {"ledger"}
    keys = [mutant.key for mutant, _ in sample(0, 1)]
    assert len(set(keys)) == len(keys)


def test_lists_name_what_exists() -> None:
    for target in targets():
        assert (ROOT / target.path).is_file(), target.path
        for test in target.tests:
            assert (ROOT / test).exists(), test
            assert not any(word in test for word in SNAPSHOTS), test
    known = {mutant.key for mutant, _ in sample(0, 1)}
    assert sorted(reasons().keys() - known) == []
    assert all(why.strip() for why in reasons().values())
