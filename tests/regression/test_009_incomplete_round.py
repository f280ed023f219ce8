# SPDX-License-Identifier: Apache-2.0
"""A round that was never completed let an old price settle an expiry, or kept an expiry from being settled at all.

Found by review, before any deployment. ``price_at`` took "round + 1 has no data" for the end of a phase. In a phase
that the feed has left, whoever called first could therefore settle by the round before an incomplete one although later
rounds of the phase came before the expiry; in the phase of now, the round before an incomplete one could never be
proved and the expiry never settled. Now the caller names the next complete round, and all between are asked for.
"""

from __future__ import annotations

from typing import Any, Final

import boa

from tests.support.price_feeds import ZERO, feed_config

WAD: Final = 10**18
GOVERNANCE: Final = boa.env.generate_address("governance")
ONE, TWO = 1 << 64, 2 << 64


def deploy() -> tuple[Any, Any, int]:
    """Oracle, feed and now: rounds 1 and 3 of the first phase at +0 and +200, and 2 is not complete."""
    feed = boa.load("contracts/testing/MockAggregator.vy", 8, 1_000 * 10**8)
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
    oracle.set_feed(0, 0, feed_config(feed.address, 86_400), sender=GOVERNANCE)
    now = int(boa.env.timestamp)
    boa.env.time_travel(seconds=1_000)
    feed.set_round(ONE + 3, 3_000 * 10**8, now + 200)
    return oracle, feed, now


def test_an_earlier_round_of_an_ended_phase_does_not_settle() -> None:
    with boa.env.anchor():
        oracle, feed, now = deploy()
        feed.set_round(TWO + 1, 4_000 * 10**8, now + 400)
        for next_round in (TWO + 1, ONE + 2, ONE + 3):  # the expiry is at +300, and 3 was the price
            with boa.reverts():
                oracle.price_at(0, ONE + 1, next_round, now + 300)
        with boa.reverts("oracle: not the next round"):
            oracle.price_at(0, ONE + 1, TWO + 1, now + 300)
        with boa.reverts("oracle: not the last round"):
            oracle.price_at(0, ONE + 1, ONE + 3, now + 300)
        assert oracle.price_at(0, ONE + 3, TWO + 1, now + 300) == 3_000 * WAD


def test_a_round_before_an_incomplete_one_settles() -> None:
    with boa.env.anchor():
        oracle, _, now = deploy()
        assert oracle.price_at(0, ONE + 1, ONE + 3, now + 199) == 1_000 * WAD
        with boa.reverts("oracle: not the next round"):
            oracle.price_at(0, ONE + 1, ONE + 2, now + 199)
