# SPDX-License-Identifier: Apache-2.0
"""Bonds: what arrives counts, what is asked back waits, and no token can stop a revocation."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector

from tests.support.revm import Contract, Reverted, deploy
from tests.support.table_world import (
    ANYBODY,
    BOND,
    DAY,
    FUND,
    GOVERNANCE,
    GUARDIAN,
    STRANGER,
    A,
    B,
    D,
    TableWorld,
)

NOBODY = "0x" + "0" * 40
WEEK = 7 * DAY


@pytest.fixture
def world() -> TableWorld:
    return TableWorld()


def refused(reason: str) -> pytest.RaisesExc[Reverted]:
    return pytest.raises(Reverted, match=f"^{reason}$")


def odd_table(world: TableWorld, **habits: Any) -> tuple[Contract, Contract]:
    """A table bonded in a token with habits."""
    token = deploy(world.evm, "contracts/testing/OddToken.vy", 6)
    table = world.new_table(token)
    token.call("mint", ANYBODY, 10 * BOND)
    token.call("approve", table.address, 10 * BOND, caller=ANYBODY)
    if habits:
        token.call("set_habits", *habits.values())
    return table, token


# ------------------------------------------------------------------ in


def test_anybody_pays_in_for_anybody(world: TableWorld) -> None:
    world.bond(A)
    world.bond(D, 5)
    world.bond(A, 1)
    assert world.table.call("bond", A) == (BOND + 1, 0, 0)
    assert world.table.call("bond", D) == (5, 0, 0)
    assert world.token.call("balanceOf", world.table.address) == BOND + 6


def test_a_bond_is_what_arrived(world: TableWorld) -> None:
    table, _ = odd_table(world, fee=100, extra=0)
    table.call("deposit_bond", A, BOND, caller=ANYBODY)
    assert table.call("bond", A) == (BOND * 99 // 100, 0, 0)


def test_nothing_is_no_bond(world: TableWorld) -> None:
    with refused("table: nothing came"):
        world.table.call("deposit_bond", A, 0, caller=ANYBODY)
    table, _ = odd_table(world, fee=10_000, extra=0)
    with refused("table: nothing came"):
        table.call("deposit_bond", A, BOND, caller=ANYBODY)


def test_a_donation_is_nobodys_bond(world: TableWorld) -> None:
    world.token.call("mint", world.table.address, 10**9)
    assert world.table.call("bond", A) == (0, 0, 0)
    world.bond(A)
    assert world.table.call("bond", A) == (BOND, 0, 0)


def test_a_deposit_is_not_counted_twice_by_a_hook(world: TableWorld) -> None:
    table, token = odd_table(world)
    again = function_signature_to_4byte_selector("deposit_bond(address,uint256)") + encode(
        ["address", "uint256"], [A, 1]
    )
    token.call("set_hook", table.address, again)
    with pytest.raises(Reverted):
        table.call("deposit_bond", A, BOND, caller=ANYBODY)
    # reading is allowed in the middle
    read = function_signature_to_4byte_selector("read(uint256)") + encode(["uint256"], [1])
    token.call("set_hook", table.address, read)
    table.call("deposit_bond", A, BOND, caller=ANYBODY)
    assert table.call("bond", A) == (BOND, 0, 0)


# ------------------------------------------------------------------ out


def test_a_bond_goes_out_after_the_delay(world: TableWorld) -> None:
    world.bond(A)
    with refused("table: bond"):
        world.table.call("request_bond_withdrawal", BOND + 1, caller=A)
    with refused("table: no request"):
        world.table.call("withdraw_bond", A, caller=A)
    world.table.call("request_bond_withdrawal", 400, caller=A)
    ready_at = world.now + WEEK
    assert world.table.call("bond", A) == (BOND, 400, ready_at)
    world.wait(WEEK - 1)
    with refused("table: too early"):
        world.table.call("withdraw_bond", A, caller=A)
    world.wait(1)
    # nobody else's request
    with refused("table: no request"):
        world.table.call("withdraw_bond", STRANGER, caller=STRANGER)
    world.table.call("withdraw_bond", D, caller=A)
    assert world.token.call("balanceOf", D) == 400
    assert world.table.call("bond", A) == (BOND - 400, 0, 0)
    with refused("table: no request"):
        world.table.call("withdraw_bond", A, caller=A)


def test_a_new_request_starts_the_delay_again(world: TableWorld) -> None:
    world.bond(A)
    world.table.call("request_bond_withdrawal", 1, caller=A)
    world.wait(WEEK - 1)
    world.table.call("request_bond_withdrawal", BOND, caller=A)
    world.wait(1)
    with refused("table: too early"):
        world.table.call("withdraw_bond", A, caller=A)
    world.table.call("request_bond_withdrawal", 0, caller=A)
    world.wait(WEEK)
    with refused("table: no request"):
        world.table.call("withdraw_bond", A, caller=A)


def test_a_date_given_stays(world: TableWorld) -> None:
    world.bond(A)
    world.bond(B)
    world.table.call("request_bond_withdrawal", BOND, caller=A)
    world.set_terms(delay=30 * DAY)
    world.table.call("request_bond_withdrawal", BOND, caller=B)
    world.set_terms(delay=DAY)
    world.wait(WEEK)
    world.table.call("withdraw_bond", A, caller=A)
    with refused("table: too early"):
        world.table.call("withdraw_bond", B, caller=B)


def test_a_forbidden_publisher_gets_its_bond_back(world: TableWorld) -> None:
    world.bond(A)
    world.table.call("set_publisher", A, False, caller=GUARDIAN)
    world.table.call("request_bond_withdrawal", BOND, caller=A)
    world.wait(WEEK)
    world.table.call("withdraw_bond", A, caller=A)
    assert world.token.call("balanceOf", A) == BOND


def test_nobody_has_a_reward_before_a_revocation(world: TableWorld) -> None:
    for who in (STRANGER, FUND, NOBODY):
        with refused("table: no reward"):
            world.table.call("claim_reward", who, caller=STRANGER)


# ------------------------------------------------------------------ terms


def test_first_terms(world: TableWorld) -> None:
    assert world.table.call("terms") == (NOBODY, NOBODY, 2, 0, 0, WEEK)
    assert world.table.call("BOND_TOKEN") == world.token.address


@pytest.mark.parametrize(
    "changes",
    [
        {"tolerance": 0},
        {"tolerance": 17},
        {"delay": DAY - 1},
        {"delay": 30 * DAY + 1},
        {"slash": 1},
        {"verifier": A},
    ],
)
def test_terms_that_are_refused(world: TableWorld, changes: dict[str, Any]) -> None:
    with refused("table: terms"):
        world.set_terms(**changes)


@pytest.mark.parametrize("changes", [{"tolerance": 1}, {"tolerance": 16}, {"delay": DAY}, {"delay": 30 * DAY}])
def test_terms_at_the_limit_are_taken(world: TableWorld, changes: dict[str, Any]) -> None:
    world.set_terms(**changes)
    assert world.table.call("terms") == world.terms(**changes)


def test_only_governance_sets_terms(world: TableWorld) -> None:
    for who in (GUARDIAN, A, STRANGER):
        with refused("ownable: caller is not the owner"):
            world.table.call("set_terms", world.terms(slash=0), caller=who)
    world.table.call("set_terms", world.terms(slash=BOND, fund=FUND), caller=GOVERNANCE)
    assert world.table.call("terms")[4] == BOND
