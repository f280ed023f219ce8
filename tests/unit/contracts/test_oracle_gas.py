# SPDX-License-Identifier: Apache-2.0
"""What PriceOracle.read costs with every slot and address cold, and what a second feed or a shared price adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support.price_feeds import ZERO, feed_config

# cold slots are counted by forgetting what was touched, which boa cannot do inside a checkpoint of its own
pytestmark = pytest.mark.ignore_isolation

GOVERNANCE: Final = boa.env.generate_address("governance")
MOCK: Final = "contracts/testing/MockAggregator.vy"


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    """Underlyings and collaterals 0..3 share; collaterals 8..11 have the feeds for themselves; 4 has a second feed.

    On a chain of its own: forgetting what was touched also forgets the checkpoints that other tests go back to.
    """
    with boa.swap_env(boa.Env()):
        oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
        feeds = [boa.load(MOCK, 8, 2_000 * 10**8).address for _ in range(6)]
        with boa.env.prank(GOVERNANCE):
            for u in range(4):
                oracle.set_feed(0, u, feed_config(feeds[u], 3_600, 7_200))
                oracle.share_feed(u, u)
                oracle.set_feed(1, 8 + u, feed_config(feeds[u], 3_600, 7_200))
            oracle.set_feed(0, 4, feed_config(feeds[4], 3_600, 7_200, feeds[5], 100))
        yield oracle


def gas(oracle: Any, underlyings: int, collaterals: int) -> int:
    """Gas of the call without the intrinsic part."""
    boa.env.evm.vm.state.lock_changes()
    boa.env.evm.reset_access_counters()
    oracle.read(underlyings, collaterals)
    return int(oracle._computation.get_gas_used())


@pytest.mark.parametrize(
    ("underlyings", "collaterals", "limit"),
    [(1, 0, 13_000), (15, 0, 47_500), (15, 15, 50_500), (16, 0, 25_500)],
    ids=["one", "four", "four_shared", "second_feed"],
)
def test_reads_stay_cheap(oracle: Any, underlyings: int, collaterals: int, limit: int) -> None:
    used = gas(oracle, underlyings, collaterals)
    print(f"read({underlyings:#x}, {collaterals:#x}): {used:,} gas")
    assert 0.75 * limit < used <= limit


def test_a_shared_price_saves_the_read_of_a_config(oracle: Any) -> None:
    assert gas(oracle, 15, 15 << 8) - gas(oracle, 15, 15) > 4 * 2_100
