# SPDX-License-Identifier: Apache-2.0
"""An expiry could be settled by a feed's old aggregator, long after the feed had left it.

Found by review, before any deployment. A proxy still answers for the rounds of aggregators it used before. When one of
them writes a round after an expiry, its last round before the expiry has a successor after it, and that was all the
proof that ``price_at`` asked for: whoever called ``settle_expiry`` first chose between the price of the expiry and one
that was months old. Now the first round of the next phase must be later than the expiry too.
"""

from __future__ import annotations

from typing import Any, Final

import boa

from tests.support.price_feeds import ZERO, feed_config

WAD: Final = 10**18
GOVERNANCE: Final = boa.env.generate_address("governance")
FEED: Final = """
# pragma version 0.4.3
struct Round:
    answer: int256
    updated_at: uint256

decimals: public(constant(uint8)) = 8
rounds: HashMap[uint80, Round]
latest: uint80

@external
def write(number: uint80, answer: int256, updated_at: uint256, latest: bool):
    self.rounds[number] = Round(answer=answer, updated_at=updated_at)
    if latest:
        self.latest = number

@view
@internal
def _get(number: uint80) -> (uint80, int256, uint256, uint256, uint80):
    found: Round = self.rounds[number]
    return number, found.answer, found.updated_at, found.updated_at, number

@view
@external
def getRoundData(number: uint80) -> (uint80, int256, uint256, uint256, uint80):
    return self._get(number)

@view
@external
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    return self._get(self.latest)
"""
OLD, NEW = 1 << 64, 2 << 64


def test_only_the_phase_of_the_expiry_settles_it() -> None:
    with boa.env.anchor():
        feed: Any = boa.loads(FEED)
        oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
        now = int(boa.env.timestamp)
        month = 30 * 86_400
        feed.write(OLD + 1, 1_000 * 10**8, now - 2 * month, False)
        feed.write(OLD + 2, 1_500 * 10**8, now - month, False)
        feed.write(NEW + 1, 1_600 * 10**8, now - month + 60, False)
        feed.write(NEW + 2, 2_000 * 10**8, now, True)
        oracle.set_feed(0, 0, feed_config(feed.address, 86_400), sender=GOVERNANCE)
        expiry = now + 3_600
        boa.env.time_travel(seconds=expiry + 60 - now)
        feed.write(OLD + 3, 1_500 * 10**8, expiry + 1, False)  # the old aggregator stirs
        feed.write(NEW + 3, 2_100 * 10**8, expiry + 2, True)

        for round_id in (OLD + 1, OLD + 2):
            for next_round in (round_id + 1, OLD + 3, NEW + 1, NEW + 3):
                with boa.reverts("oracle: not the last round"):
                    oracle.price_at(0, round_id, next_round, expiry)
        assert oracle.price_at(0, NEW + 2, NEW + 3, expiry) == 2_000 * WAD
