# SPDX-License-Identifier: Apache-2.0
"""What a shareholder of the insurance fund reads: ERC-4626 previews and limits, ERC-20 and EIP-2612 views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.support.protocol import DAY, USD, Protocol, address_of

STAKER: Final = address_of("staker")
FRIEND: Final = address_of("friend")
SHARES: Final = 10**6  # of one raw unit of cash
NO_LIMIT: Final = 2**256 - 1


@pytest.fixture(scope="module")
def deployed() -> Protocol:
    world = Protocol()
    world.stake(1_000 * USD, STAKER)
    return world


@pytest.fixture
def world(deployed: Protocol) -> Iterator[Protocol]:
    mark, now = deployed.evm.snapshot(), deployed.now
    yield deployed
    deployed.evm.revert(mark)
    deployed.now = now
    deployed.wait(0)


def test_previews_say_what_then_happens(world: Protocol) -> None:
    """At a price of a share that is no round number: 1,000 staked, 333 given."""
    fund = world.fund
    world.cash.call("mint", fund.address, 333 * USD)
    world.cash.call("mint", STAKER, 1_000 * USD)
    world.cash.call("approve", fund.address, NO_LIMIT, caller=STAKER)
    shares = int(fund.call("previewDeposit", 100 * USD))
    assert shares == fund.call("convertToShares", 100 * USD) < 100 * USD * SHARES
    assert fund.call("deposit", 100 * USD, STAKER, caller=STAKER) == shares
    assets = int(fund.call("previewMint", 50 * USD * SHARES))
    assert 0 <= assets - fund.call("convertToAssets", 50 * USD * SHARES) <= 1  # up: favours the fund
    assert fund.call("mint", 50 * USD * SHARES, STAKER, caller=STAKER) == assets
    held = int(fund.call("balanceOf", STAKER))
    fund.call("announce_exit", held, caller=STAKER)
    world.wait(3 * DAY)
    burned = int(fund.call("previewWithdraw", 10 * USD))
    assert burned >= fund.call("convertToShares", 10 * USD)
    assert fund.call("withdraw", 10 * USD, STAKER, STAKER, caller=STAKER) == burned
    got = int(fund.call("previewRedeem", held - burned))
    assert fund.call("redeem", held - burned, STAKER, STAKER, caller=STAKER) == got


def test_limits(world: Protocol) -> None:
    """Anybody may stake anything; out comes only what was announced and is open."""
    fund, held = world.fund, 1_000 * USD * SHARES
    assert fund.call("maxDeposit", STAKER) == fund.call("maxMint", STAKER) == NO_LIMIT
    assert fund.call("maxRedeem", STAKER) == fund.call("maxWithdraw", STAKER) == 0
    fund.call("announce_exit", held // 4, caller=STAKER)
    assert fund.call("exits", STAKER) == (held // 4, world.now + 3 * DAY)
    assert (fund.call("EXIT_DELAY_S"), fund.call("EXIT_WINDOW_S")) == (3 * DAY, 2 * DAY)
    for wait_s, is_open in ((3 * DAY - 1, False), (1, True), (2 * DAY, True), (1, False)):
        world.wait(wait_s)
        assert fund.call("maxRedeem", STAKER) == (held // 4 if is_open else 0)
        assert fund.call("maxWithdraw", STAKER) == (250 * USD if is_open else 0)


def test_allowance_and_the_domain_of_permits(world: Protocol) -> None:
    fund = world.fund
    assert fund.call("allowance", STAKER, FRIEND) == 0
    fund.call("approve", FRIEND, 5, caller=STAKER)
    assert fund.call("allowance", STAKER, FRIEND) == 5
    fund.call("transferFrom", STAKER, FRIEND, 4, caller=FRIEND)
    assert (fund.call("allowance", STAKER, FRIEND), fund.call("balanceOf", FRIEND)) == (1, 4)
    kind = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    fields = [kind, keccak(text="Ballast Insurance Fund"), keccak(text="1"), world.evm.env.cfg.chain_id, fund.address]
    assert fund.call("DOMAIN_SEPARATOR") == keccak(
        encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], fields)
    )
