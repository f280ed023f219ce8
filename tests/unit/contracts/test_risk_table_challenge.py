# SPDX-License-Identifier: Apache-2.0
"""Challenges of the keeper's own pages before the real verifier: who loses, who gains, what readers return to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from tests.support.margin_words import WAD
from tests.support.revm import Contract, Reverted, deploy
from tests.support.table_world import (
    BOND,
    DAY,
    EXPIRY,
    FUND,
    GOVERNANCE,
    GUARDIAN,
    HOUR,
    NOW,
    PENALTY,
    STRANGER,
    SURFACES,
    A,
    B,
    C,
    Page,
    TableWorld,
)

NOBODY = "0x" + "0" * 40
RIGHT = (False, 0, 0, 0)
# lane 7 of the word of the base volatility: the value at the reference price
AT_THE_MONEY = 32 + 2 * (15 - 7)
TAKEN = sum(min(BOND, PENALTY) for _ in (A, B))


@pytest.fixture
def world() -> TableWorld:
    """Challenges open, and a minute since the options were listed."""
    world = TableWorld()
    world.open_challenges()
    world.wait(60)
    return world


def refused(reason: str) -> pytest.RaisesExc[Reverted]:
    return pytest.raises(Reverted, match=f"^table: {reason}$")


def lie(page: Page, slot: int = 1) -> Page:
    """A row in which the option is worth a sixteenth of a dollar or so."""
    return page.but(slot, b"\x00\x01", at=AT_THE_MONEY)


def epoch(world: TableWorld) -> int:
    """Epoch that readers are served."""
    return int(world.table.call("read", 1)[1]) >> 160 & 0xFFFFFFFF


def bonds(world: TableWorld) -> list[int]:
    """What the three publishers have left."""
    return [world.table.call("bond", publisher)[0] for publisher in (A, B, C)]


def settle(world: TableWorld, price: int) -> None:
    """Three days after the expiry governance settles it."""
    world.registry.call("settle_by_governance", 0, EXPIRY, price * WAD, caller=GOVERNANCE)


# ------------------------------------------------------------------ what is wrong


def test_true_rows_pass(world: TableWorld) -> None:
    page = world.put(world.true_page())
    for slot in range(3):
        assert world.verdict(page, slot) == RIGHT
        with refused("not wrong"):
            world.challenge(page, slot)
    assert bonds(world) == [BOND] * 3


def test_no_true_row_of_a_wide_page_can_be_challenged() -> None:
    world = TableWorld()
    world.open_challenges()
    expiries = [NOW + 2 * HOUR, NOW + 7 * DAY, EXPIRY, NOW + 700 * DAY]
    for k, strike in enumerate((6, 50, 80, 95, 99, 101, 105, 120, 200, 1_900)):
        for expiry in expiries:
            world.list_option(strike, expiry, is_call=k % 2 == 0)
    world.wait(60)
    # total variances that grow with time
    surfaces = tuple(
        (
            e, WAD + WAD * n // 50, WAD - WAD * n // 40,
            (e - NOW) * WAD // 10**8, (e - NOW) * WAD // 10**9 + 1, -WAD // 2, 0, WAD // 10,
        )
        for n, e in enumerate(expiries)
    )  # fmt: skip
    page = world.put(world.true_page(surfaces=surfaces))
    assert [world.verdict(page, slot) for slot in range(43)] == [RIGHT] * 43


def test_a_wrong_lane_is_named(world: TableWorld) -> None:
    true = world.true_page()
    page = world.put(lie(true))
    value = int.from_bytes(true.rows[96 + AT_THE_MONEY :][:2], "big")
    assert world.verdict(page, 0) == RIGHT
    wrong, lane, expected, published = world.verdict(page, 1)
    assert (wrong, lane, published) == (True, 16 + 7, 1)
    assert abs(expected - value) <= 1


@pytest.mark.parametrize(("off", "wrong"), [(0, False), (1, False), (4, True)])
def test_the_tolerance_is_in_lanes(world: TableWorld, off: int, wrong: bool) -> None:
    true = world.true_page()
    value = int.from_bytes(true.rows[96 + AT_THE_MONEY :][:2], "big") + off
    page = world.put(true.but(1, value.to_bytes(2, "big"), at=AT_THE_MONEY))
    assert world.verdict(page, 1)[0] is wrong
    world.set_terms(tolerance=5)
    assert world.verdict(page, 1) == RIGHT


@pytest.mark.parametrize(
    "surfaces",
    [
        (),
        ((EXPIRY - HOUR, *SURFACES[0][1:]),),
        ((EXPIRY, 0, *SURFACES[0][2:]),),
        ((EXPIRY, *SURFACES[0][1:5], 2 * WAD, *SURFACES[0][6:]),),
        ((EXPIRY, *SURFACES[0][1:7], -1),),
        ((EXPIRY, *SURFACES[0][1:3], 2**255 - 1, *SURFACES[0][4:]),),
    ],
)
def test_a_living_expiry_without_a_sane_surface_is_wrong(
    world: TableWorld, surfaces: tuple[tuple[int, ...], ...]
) -> None:
    page = world.put(replace(world.true_page(), surfaces=surfaces))
    assert world.verdict(page, 1) == (True, 48, 0, 0)
    world.challenge(page, 1)


def test_inputs_in_the_header_are_part_of_the_claim(world: TableWorld) -> None:
    # a lane unit twice what the rows were packed with: every value doubles
    true = world.true_page()
    page = world.put(replace(true, header=true.header.but(unit=true.header.unit * 2)))
    assert world.verdict(page, 1)[0]


# ------------------------------------------------------------------ what is not judged


def test_rows_that_nobody_can_hold_anything_by_are_not_judged(world: TableWorld) -> None:
    lots = deploy(world.evm, "contracts/testing/OpenLotsFixture.vy")
    world.registry.call("set_accounts", lots.address, caller=GOVERNANCE)
    page = world.put(lie(world.true_page()))
    assert world.verdict(page, 1)[0]
    world.registry.call("retire", 1, caller=GOVERNANCE)
    assert world.verdict(page, 1) == RIGHT
    # the slot is another option's now, which the publisher could not know
    world.fresh()
    assert world.list_option(95) == 1
    assert world.verdict(page, 1) == RIGHT
    assert not world.table.call("has_row", 1)
    with refused("not wrong"):
        world.challenge(page, 1)


def test_an_option_listed_in_the_second_of_the_observation_is_not_judged(world: TableWorld) -> None:
    world.fresh()
    world.list_option(120)
    page = world.put(world.true_page().but(3, bytes(96)))
    assert world.verdict(page, 3) == RIGHT
    world.wait(60)
    page = world.put(world.true_page(epoch=2).but(3, bytes(96)))
    assert world.verdict(page, 3)[0]


def test_settlement_after_the_observation_changes_nothing(world: TableWorld) -> None:
    world.wait(EXPIRY - HOUR - world.now)
    world.fresh()
    page = world.put(world.true_page())
    world.wait(4 * DAY)
    settle(world, 150)
    assert [world.verdict(page, slot) for slot in range(3)] == [RIGHT] * 3


def test_behind_the_expiry_either_answer_passes(world: TableWorld) -> None:
    # observed after the expiry, settled after the publication: the registry does not say which came first
    world.wait(EXPIRY + 3 * DAY + HOUR - world.now)
    world.fresh()
    before = world.put(world.true_page(surfaces=()))
    settle(world, 130)
    world.wait(60)
    after = world.put(world.true_page(epoch=2, surfaces=()))
    assert before.rows != after.rows
    for page in (before, after):
        assert [world.verdict(page, slot) for slot in range(3)] == [RIGHT] * 3
    # 40 and 10 USD of payoff at 130 and 100: 20 is neither
    half = int.from_bytes(after.rows[AT_THE_MONEY:][:2], "big") // 2
    world.wait(60)
    wrong = world.put(world.true_page(epoch=3, surfaces=()).but(0, half.to_bytes(2, "big"), at=AT_THE_MONEY))
    assert world.verdict(wrong, 0)[0]
    assert [world.verdict(wrong, slot) for slot in (1, 2)] == [RIGHT] * 2


def test_in_the_second_of_the_expiry_either_answer_passes_too() -> None:
    # a settlement in that very second would have been known
    ahead, world = TableWorld(), TableWorld()
    ahead.wait(EXPIRY + 3 * DAY + HOUR - ahead.now)
    settle(ahead, 130)
    settled = ahead.true_page(surfaces=())
    world.open_challenges()
    world.wait(EXPIRY - world.now)
    world.fresh()
    known = world.put(replace(settled, header=settled.header.but(observed_at=EXPIRY, expires_at=EXPIRY + HOUR)))
    assert world.verdict(known, 0)[0]
    world.wait(3 * DAY)
    settle(world, 130)
    assert [world.verdict(known, slot) for slot in range(3)] == [RIGHT] * 3


# ------------------------------------------------------------------ claims that are refused


def test_claims_about_something_else(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()))
    with refused("no row"):
        world.challenge(page, 3)
    with refused("no row"):
        world.challenge(page, 2**256 - 1)
    for other in (lie(page, 2), replace(page, surfaces=()), replace(page, header=page.header.but(vol=6_001))):
        with refused("not in force"):
            world.challenge(other, 1)
    for underlying, reason in ((1, "not in force"), (16, "unknown underlying"), (2**255, "unknown underlying")):
        with refused(reason):
            world.table.call("check", underlying, 1, page.header.tuple(), page.surfaces, keccak(page.rows))


def test_no_claim_before_the_first_epoch(world: TableWorld) -> None:
    empty: tuple[Any, ...] = ((0,) * 11 + (bytes(32), bytes(32)), [], bytes(32))
    with refused("not in force"):
        world.table.call("challenge", 0, 0, *empty)


def test_challenges_can_be_off(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()))
    world.set_terms(verifier=NOBODY)
    with refused("challenges off"):
        world.challenge(page, 1)
    with refused("challenges off"):
        world.verdict(page, 1)
    assert epoch(world) == 1


# ------------------------------------------------------------------ revocation with an epoch to return to


def test_readers_return_to_the_epoch_before(world: TableWorld) -> None:
    first = world.put(world.true_page(vol=6_000), (A, B, C))
    served = world.table.call("read", 1)
    info = world.table.call("page_info", 0)
    world.wait(60)
    second = world.put(lie(world.true_page(epoch=2, vol=9_000, unit=first.header.unit + 1)), (A, B))
    assert world.table.call("previous_page", 0) == info
    world.challenge(second, 1)
    assert world.table.call("read", 1) == served
    assert world.table.call("page_info", 0) == info
    assert world.table.call("previous_page", 0) == (0, 0, bytes(32), 0)
    assert [s.lower() for s in world.table.call("signers_of", 0)] == [s.lower() for s in (A, B, C)]
    assert world.table.call("last_epoch", 0) == 2
    assert world.verdict(first, 1) == RIGHT


def test_every_signer_pays_and_half_goes_to_the_fund(world: TableWorld) -> None:
    world.put(world.true_page(), (C,))
    world.wait(60)
    page = world.put(lie(world.true_page(epoch=2)), (A, B))
    world.challenge(page, 1)
    assert bonds(world) == [BOND - PENALTY, BOND - PENALTY, BOND]
    for who in (STRANGER, FUND):
        assert world.table.call("reward_raw", who) == TAKEN // 2
        world.table.call("claim_reward", who, caller=C)
        assert world.token.call("balanceOf", who) == TAKEN // 2
        with refused("no reward"):
            world.table.call("claim_reward", who, caller=who)
    assert world.token.call("balanceOf", world.table.address) == sum(bonds(world))


def test_an_odd_penalty_rounds_for_the_fund(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    world.challenge(page, 1)
    assert world.table.call("reward_raw", STRANGER) == PENALTY // 2
    assert world.table.call("reward_raw", FUND) == PENALTY - PENALTY // 2


def test_an_epoch_is_revoked_and_rewarded_once(world: TableWorld) -> None:
    world.put(world.true_page())
    world.wait(60)
    page = world.put(lie(lie(world.true_page(epoch=2)), 2))
    world.challenge(page, 1)
    for slot in (1, 2):
        with refused("not in force"):
            world.challenge(page, slot)
    assert bonds(world) == [BOND - PENALTY, BOND, BOND]


def test_a_revoked_epoch_does_not_come_back(world: TableWorld) -> None:
    world.put(world.true_page())
    world.wait(60)
    page = lie(world.true_page(epoch=2))
    signatures = world.signatures(page, (B,))
    world.submit(page, signatures)
    world.challenge(page, 1)
    with refused("epoch"):
        world.submit(page, signatures)
    # the next number is taken at once: the interval counts from the epoch in force
    world.put(world.true_page(epoch=3), (C,))
    assert epoch(world) == 3


def test_a_revoked_volatility_is_no_anchor(world: TableWorld) -> None:
    world.put(world.true_page(vol=6_000))
    world.wait(60)
    page = world.put(lie(world.true_page(epoch=2, vol=9_000)), (B,))
    world.challenge(page, 1)
    with refused("vol step"):
        world.check(world.true_page(epoch=3, vol=9_001).header)
    world.check(world.true_page(epoch=3, vol=9_000).header)
    world.check(world.true_page(epoch=3, vol=3_900).header)


def test_a_signer_with_too_little_left_is_out(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    world.challenge(page, 1)
    with refused("low bond"):
        world.put(world.true_page(epoch=2), (A,))
    world.put(world.true_page(epoch=2), (B,))


def test_asking_the_bond_back_first_does_not_save_it(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    world.table.call("request_bond_withdrawal", BOND, caller=A)
    world.table.call("set_publisher", A, False, caller=GUARDIAN)
    world.challenge(page, 1)
    world.wait(7 * DAY)
    world.table.call("withdraw_bond", A, caller=A)
    assert world.token.call("balanceOf", A) == BOND - PENALTY
    assert world.table.call("bond", A) == (0, 0, 0)


def test_a_smaller_bond_is_lost_whole(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A, B))
    world.set_terms(slash=BOND + 1)
    world.challenge(page, 1)
    assert bonds(world) == [0, 0, BOND]
    assert world.table.call("reward_raw", STRANGER) == BOND


def test_a_publisher_that_challenges_itself_loses_half(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    world.challenge(page, 1, caller=A)
    world.table.call("claim_reward", A, caller=A)
    assert world.token.call("balanceOf", A) + bonds(world)[0] == BOND - (PENALTY - PENALTY // 2)


def test_a_challenge_without_bonds_still_revokes(world: TableWorld) -> None:
    world.set_terms(min_bond=0, slash=0, fund=NOBODY)
    page = world.put(lie(world.true_page()), (A,))
    world.challenge(page, 1)
    assert world.table.call("page_info", 0)[2] == bytes(32)
    assert bonds(world) == [BOND] * 3


def test_a_listing_since_leaves_the_epoch_before_without_initial_margin(world: TableWorld) -> None:
    # its slot may be another option's now: nothing may be taken out by the old row
    world.put(world.true_page())
    word = world.table.call("read", 1)[1]
    world.wait(60)
    world.fresh()
    world.list_option(120)
    page = world.put(lie(world.true_page(epoch=2)))
    world.challenge(page, 1)
    returned = world.table.call("read", 1)[1]
    assert returned % 2**224 == word % 2**224
    assert returned >> 224 == 0 < word >> 224
    assert world.table.call("rows_of", 0) == 3
    assert not world.table.call("has_row", 3)


# ------------------------------------------------------------------ revocation without one


def test_without_an_epoch_before_the_page_stays_expired(world: TableWorld) -> None:
    page = world.put(lie(world.true_page(vol=6_000)), (A, B))
    _, word, second = world.table.call("read", 1)
    world.challenge(page, 1)
    _, left, left_second = world.table.call("read", 1)
    # same rows, observed never, and so long past its expiry that nobody is liquidated by it alone
    assert (left % 2**192, left_second) == (word % 2**192, second)
    assert left >> 192 & 0xFFFFFFFF == 0
    assert left >> 224 == 0
    assert world.table.call("page_info", 0)[2:] == (bytes(32), 0)
    assert world.table.call("rows_of", 0) == 3
    assert not world.table.call("has_row", 0)
    assert world.table.call("signers_of", 0) == ()
    assert world.table.call("last_epoch", 0) == 1
    with refused("not in force"):
        world.challenge(page, 1)


def test_after_that_the_next_epoch_starts_afresh(world: TableWorld) -> None:
    page = world.put(lie(world.true_page(vol=6_000)), (A,))
    world.challenge(page, 1)
    with refused("epoch"):
        world.put(world.true_page(), (B,))
    # in the same block, of the same observation, far from the revoked volatility
    second = world.put(world.true_page(epoch=2, vol=90_000), (B,))
    assert epoch(world) == 2
    # the revoked page is nobody's way back
    assert world.table.call("previous_page", 0) == (0, 0, bytes(32), 0)
    assert world.verdict(second, 1) == RIGHT


def test_two_lies_in_a_row_fall_one_after_the_other(world: TableWorld) -> None:
    world.put(world.true_page(), (C,))
    world.wait(60)
    first = world.put(lie(world.true_page(epoch=2)), (A,))
    world.wait(60)
    second = world.put(lie(world.true_page(epoch=3)), (B,))
    world.challenge(second, 1)
    assert epoch(world) == 2
    world.challenge(first, 1)
    assert world.table.call("read", 1)[1] >> 224 == 0
    assert bonds(world) == [BOND - PENALTY, BOND - PENALTY, BOND]
    world.put(world.true_page(epoch=4), (C,))


# ------------------------------------------------------------------ the epoch before


def test_a_true_epoch_on_top_does_not_save_a_lie(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    world.wait(60)
    true = world.put(world.true_page(epoch=2), (B,))
    served = world.table.call("read", 1)
    assert world.verdict(page, 1)[0]
    world.challenge(page, 1)
    assert bonds(world) == [BOND - PENALTY, BOND, BOND]
    # readers notice nothing, and nobody can return to the lie
    assert world.table.call("read", 1) == served
    assert world.table.call("previous_page", 0) == (0, 0, bytes(32), 0)
    with refused("not in force"):
        world.challenge(page, 1)
    assert world.verdict(true, 1) == RIGHT
    world.wait(60)
    world.put(world.true_page(epoch=3), (B,))
    assert world.table.call("previous_page", 0)[0] == served[1]


def test_an_epoch_two_back_is_out_of_reach(world: TableWorld) -> None:
    page = world.put(lie(world.true_page()), (A,))
    for number in (2, 3):
        world.wait(60)
        world.put(world.true_page(epoch=number), (B,))
    with refused("not in force"):
        world.challenge(page, 1)


# ------------------------------------------------------------------ three publishers of which one lies


def test_one_liar_of_three_neither_publishes_nor_costs_the_others(world: TableWorld) -> None:
    world.table.call("set_quorum", 2, caller=GOVERNANCE)
    true = world.true_page()
    false = lie(true)
    with refused("too few signatures"):
        world.put(false, (C,))
    # its signature of the lie beside a true one of the other page
    mixed = [world.signatures(true, (A,))[0], world.signatures(false, (C,))[0]]
    for page in (true, false):
        with refused("signature"):
            world.submit(page, mixed)
    world.put(true, (A, B))
    for slot in range(3):
        with refused("not wrong"):
            world.challenge(true, slot, caller=C)
    assert bonds(world) == [BOND] * 3


# ------------------------------------------------------------------ payment cannot be blocked


@pytest.fixture
def bonded_in_odd_tokens() -> tuple[TableWorld, Contract]:
    """Challenges open, bonds in a token that calls a hook."""
    world = TableWorld()
    token = deploy(world.evm, "contracts/testing/OddToken.vy", 6)
    world.token = token
    world.table = world.new_table(token)
    for publisher in (A, B, C):
        world.table.call("set_publisher", publisher, True, caller=GOVERNANCE)
    world.open_challenges()
    world.wait(60)
    return world, token


def test_a_token_that_refuses_does_not_stop_a_revocation(bonded_in_odd_tokens: tuple[TableWorld, Contract]) -> None:
    world, token = bonded_in_odd_tokens
    page = world.put(lie(world.true_page()), (A,))
    token.call("set_hook", token.address, b"\xde\xad\xbe\xef")
    world.challenge(page, 1)
    with pytest.raises(Reverted):
        world.table.call("claim_reward", STRANGER, caller=STRANGER)
    assert world.table.call("reward_raw", STRANGER) == PENALTY // 2


def test_a_hook_claims_nothing_twice(bonded_in_odd_tokens: tuple[TableWorld, Contract]) -> None:
    world, token = bonded_in_odd_tokens
    page = world.put(lie(world.true_page()), (A,))
    world.challenge(page, 1)
    for receiver in (STRANGER, FUND):
        again = function_signature_to_4byte_selector("claim_reward(address)") + encode(["address"], [receiver])
        token.call("set_hook", world.table.address, again)
        with pytest.raises(Reverted):
            world.table.call("claim_reward", STRANGER, caller=STRANGER)
    token.call("set_hook", NOBODY, b"")
    world.table.call("claim_reward", STRANGER, caller=STRANGER)
    assert token.call("balanceOf", STRANGER) == PENALTY // 2


# ------------------------------------------------------------------ what an indexer sees


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_event_says_it_all(world: TableWorld, epochs: int) -> None:
    for number in range(1, epochs):
        world.put(world.true_page(epoch=number))
        world.wait(60)
    page = world.put(lie(world.true_page(epoch=epochs)), (A, B))
    _, lane, expected, published = world.verdict(page, 1)
    world.challenge(page, 1)
    *slashed, revoked = world.evm.result.logs
    assert len(slashed) == 2
    topics, data = revoked.data
    signature = "EpochRevoked(uint256,uint256,address,uint256,uint256,uint256,uint256,uint256,uint256)"
    assert bytes(topics[0]) == keccak(text=signature)
    assert [int.from_bytes(topic, "big") for topic in topics[1:]] == [0, epochs, int(STRANGER, 16)]
    assert decode(["uint256"] * 6, bytes(data)) == (1, lane, expected, published, TAKEN, epochs - 1)
