# SPDX-License-Identifier: Apache-2.0
"""The notice before shareholders leave the fund bound only who did not pass shares on (threat model, F-02).

An announcement needed the shares at that moment alone: three addresses announced the same shares in turn and were
always about to leave. Announced shares now stay where they are until their window has passed.
"""

from __future__ import annotations

import pytest

from tests.support.protocol import DAY, USD, Protocol, Reverted, address_of

FIRST, SECOND = address_of("first"), address_of("second")


def test_announced_shares_stay_until_their_window_has_passed() -> None:
    world = Protocol()
    world.stake(1_000 * USD, FIRST)
    call = world.fund.call
    shares = int(call("balanceOf", FIRST))
    call("announce_exit", shares - 10, caller=FIRST)
    call("transfer", SECOND, 10, caller=FIRST)
    call("approve", SECOND, 1, caller=FIRST)
    for _ in range(5):
        with pytest.raises(Reverted, match="fund: shares announced to leave"):
            call("transfer", SECOND, 1, caller=FIRST)
        with pytest.raises(Reverted, match="fund: shares announced to leave"):
            call("transferFrom", FIRST, SECOND, 1, caller=SECOND)
        world.wait(DAY)
    world.wait(1)
    call("transferFrom", FIRST, SECOND, 1, caller=SECOND)
    call("transfer", SECOND, shares - 11, caller=FIRST)
    assert (call("balanceOf", FIRST), call("balanceOf", SECOND)) == (0, shares)


def test_what_has_left_binds_nothing() -> None:
    world = Protocol()
    world.stake(1_000 * USD, FIRST)
    shares = int(world.fund.call("balanceOf", FIRST))
    world.fund.call("announce_exit", shares // 2, caller=FIRST)
    world.wait(3 * DAY)
    world.fund.call("redeem", shares // 2, FIRST, FIRST, caller=FIRST)
    world.fund.call("transfer", SECOND, shares - shares // 2, caller=FIRST)
    assert world.fund.call("balanceOf", FIRST) == 0


def test_taking_an_announcement_back_frees_the_shares() -> None:
    world = Protocol()
    world.stake(1_000 * USD, FIRST)
    shares = int(world.fund.call("balanceOf", FIRST))
    world.fund.call("announce_exit", shares, caller=FIRST)
    world.fund.call("announce_exit", 0, caller=FIRST)
    world.fund.call("transfer", SECOND, shares, caller=FIRST)
    assert world.fund.call("balanceOf", SECOND) == shares
