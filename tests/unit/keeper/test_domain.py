# SPDX-License-Identifier: Apache-2.0
"""Values and actions: frozen, distinct keys, calls as the interfaces declare them."""

from __future__ import annotations

import dataclasses
import re

import pytest

from keeper import actions
from keeper.actions import Action
from keeper.domain import Block, Peg, Price, Unknown, known
from keeper.liquidate import actions as auctions
from tests.support.keeper_world import listed_option
from tests.support.shared import ROOT

HEADER = actions.PageHeader(7, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, b"m" * 32, b"d" * 32)
BATCH = (9, 1, 2, b"m" * 32, b"d" * 32, ((1, 0, 5),))
SIGNED = (("0x" + "11" * 20, b"s" * 65),)
EXAMPLES: list[Action] = [
    auctions.StartAuction(3, 1),
    auctions.StartAuction(3, 1, scenario=70, reward_account=9),
    auctions.Bid(
        account=3, bidder_account=9, fraction_wad=10**18, max_price_wad=5, min_health_wad=0, expected_nonce=44
    ),
    auctions.BidLegs(
        account=3,
        bidder_account=9,
        legs=((511, 5),),
        min_reward_wad=1,
        min_health_wad=0,
        expected_nonce=44,
        any_nonce=True,
    ),
    auctions.EndAuction(3, 1),
    auctions.TickAuction(3, 1_700_000_000),
    actions.PublishPage(0, HEADER, ((1, 2, 3, 4, 5, 6, 7, 8),), b"rows", SIGNED),
    actions.PublishJoint(8, 1, 2, b"m" * 32, b"d" * 32, b"s" * 32, SIGNED),
    actions.PushParameters(*BATCH),
    actions.ProposeParameters(*BATCH),
    actions.ExecuteProposal(4, ((1, 0, 5),)),
    actions.SyncPeg(600, 1_700_000_000),
    actions.SettleMany(1, ((3, 44), (5, 1))),
    actions.SettleExpiry(1, 1_800_000_000, 5, 6),
    actions.RetireInstrument(261, 12),
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
    keys = {(a.kind, a.subject, a.epoch) for a in EXAMPLES if not (isinstance(a, auctions.StartAuction) and a.scenario)}
    assert len(keys) == len(EXAMPLES) - 1
    # two ways to start the same auction are one action
    first, second = EXAMPLES[:2]
    assert (first.kind, first.subject, first.epoch) == (second.kind, second.subject, second.epoch)


def test_header_in_the_order_of_the_interface() -> None:
    text = (ROOT / "contracts" / "interfaces" / "IRiskTable.vyi").read_text()
    struct = text.split("struct Header:")[1].split("\n\n")[0]
    names = re.findall(r"^\s+(\w+):", struct, re.MULTILINE)
    assert names == [field.name for field in dataclasses.fields(actions.PageHeader)]
    assert HEADER.as_tuple() == (7, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, b"m" * 32, b"d" * 32)


def test_a_push_and_a_proposal_are_called_what_they_are() -> None:
    assert [str(actions.PushParameters(*BATCH)), str(actions.ProposeParameters(*BATCH))] == ["push 9", "proposal 9"]


def test_unknown_is_no_value() -> None:
    assert known(Unknown("node down", 5)) is None
    assert known(0) == 0
    assert Unknown("a", 1) != 0


def test_small_helpers() -> None:
    assert str(Block(5, b"\xab" * 32, b"", 0)) == "5 (0xabababab)"
    dead, late, fresh = (Price(1, state, 0, bps) for state, bps in ((2, 10_000), (1, 5), (0, 0)))
    assert [price.dead for price in (dead, late, fresh)] == [True, False, False]
    assert [price.fresh for price in (dead, late, fresh)] == [False, False, True]
    option = listed_option(3 << 8 | 17, 1, 1, True)
    assert (option.underlying, option.slot) == (3, 17)


def test_accounts_settled_together_are_one_action_until_one_of_them_changes() -> None:
    first = actions.SettleMany(1, ((3, 44), (5, 1)))
    assert first.call.args == ((3, 5), 1)
    same, later, others = (
        actions.SettleMany(1, holders) for holders in (((3, 44), (5, 1)), ((3, 45), (5, 1)), ((3, 44), (6, 1)))
    )
    assert (first.subject, first.epoch) == (same.subject, same.epoch)
    assert first.subject == later.subject and first.epoch < later.epoch
    assert first.subject != others.subject
    crowd = actions.SettleMany(15, tuple((10**9 + k, 2**60) for k in range(32)))
    assert len(crowd.subject) <= 64 and crowd.epoch < 2**66  # what the journal can store


@pytest.mark.parametrize(
    ("price_wad", "due_bps"),
    [(10**18, 0), (98 * 10**16, 0), (98 * 10**16 - 1, 1), (98 * 10**16 - 5 * 10**13, 1), (95 * 10**16, 600)],
)
def test_peg_due_by_hand(price_wad: int, due_bps: int) -> None:
    assert Peg(price_wad, 0, 1, 7).due_bps == due_bps
    assert Peg(price_wad, 1, 1, 7).due_bps == due_bps
    assert Peg(price_wad, 2, 1, 7).due_bps == 7  # dead: nothing to take in
