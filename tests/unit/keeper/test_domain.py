# SPDX-License-Identifier: Apache-2.0
"""Values and actions: frozen, distinct keys, calls as the interfaces declare them."""

from __future__ import annotations

import dataclasses
import re

import pytest

from keeper import actions
from keeper.actions import Action
from keeper.domain import Block, OptionInfo, Price, Unknown, known
from tests.support.shared import ROOT

HEADER = actions.PageHeader(7, 1, 2, 3, 4, 5, 6, b"m" * 32, b"d" * 32)
EXAMPLES: list[Action] = [
    actions.StartAuction(3, 1),
    actions.StartAuction(3, 1, scenario=70),
    actions.Bid(3, 9, 10**18, 5, 0, 44),
    actions.EndAuction(3, 1),
    actions.TurnInsolvent(3, 1),
    actions.PublishPage(0, HEADER, ((1, 2, 3, 4, 5, 6, 7, 8),), b"rows"),
    actions.PublishJoint(8, 1, 2, b"m" * 32, b"d" * 32, b"s" * 32),
    actions.PushParameters(9, 1, 2, b"m" * 32, b"d" * 32, ((1, 0, 5),)),
    actions.SettlePerp(3, 1, 44),
    actions.SettleOptions(3, 1, 44),
    actions.SettleExpiry(1, 1_800_000_000, 5),
    actions.SetFundingRate(1, -5, 1_700_000_000),
    actions.RecordPrice(0, 1, 1_700_000_000),
]


def arguments(contract: str, function: str) -> int:
    """Number of arguments the published interface declares."""
    text = (ROOT / "contracts" / "interfaces" / f"I{contract}.vyi").read_text()
    match = re.search(rf"^def {function}\((.*?)\)", text, re.MULTILINE)
    assert match is not None, f"{contract}.{function} is not in the interface"
    inside = re.sub(r"\[.*?\]", "", match[1])
    return len([part for part in inside.split(",") if part.strip()])


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda a: f"{a.kind}-{a.call.function}")
def test_actions_fit_the_interfaces(action: Action) -> None:
    assert len(action.call.args) == arguments(action.call.contract, action.call.function)
    assert isinstance(action, Action)
    assert isinstance(action.subject, str)
    assert isinstance(action.epoch, int)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(action, dataclasses.fields(action)[0].name, 1)  # type: ignore[arg-type]


def test_keys_tell_actions_apart() -> None:
    keys = {(a.kind, a.subject, a.epoch) for a in EXAMPLES if not (isinstance(a, actions.StartAuction) and a.scenario)}
    assert len(keys) == len(EXAMPLES) - 1
    # two ways to start the same auction are one action
    first, second = EXAMPLES[:2]
    assert (first.kind, first.subject, first.epoch) == (second.kind, second.subject, second.epoch)


def test_header_in_the_order_of_the_interface() -> None:
    text = (ROOT / "contracts" / "interfaces" / "IRiskTable.vyi").read_text()
    struct = text.split("struct Header:")[1].split("\n\n")[0]
    names = re.findall(r"^\s+(\w+):", struct, re.MULTILINE)
    assert names == [field.name for field in dataclasses.fields(actions.PageHeader)]
    assert HEADER.as_tuple() == (7, 1, 2, 3, 4, 5, 6, b"m" * 32, b"d" * 32)


def test_unknown_is_no_value() -> None:
    assert known(Unknown("node down", 5)) is None
    assert known(0) == 0
    assert Unknown("a", 1) != 0


def test_small_helpers() -> None:
    assert str(Block(5, b"\xab" * 32, b"", 0)) == "5 (0xabababab)"
    assert Price(1, 2, 0).dead
    assert not Price(1, 0, 0).dead
    option = OptionInfo(3 << 8 | 17, 1, 1, True, 0)
    assert (option.underlying, option.slot) == (3, 17)
