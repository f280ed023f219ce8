# SPDX-License-Identifier: Apache-2.0
"""Gas of deposit and withdrawal against the real engine, every slot and address cold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support.auction_market import (
    BORROWER,
    COLLATERAL_WORD,
    ETH,
    GOVERNANCE,
    HEARTBEAT_S,
    USD,
    WAD,
    Market,
    deploy_market,
)

# cold slots are counted by forgetting what was touched, which boa cannot do inside a checkpoint of its own
pytestmark = pytest.mark.ignore_isolation

DEPOSIT_LIMIT: Final = 90_000
WITHDRAW_LIMIT: Final = 250_000
EXTRA_ASSETS: Final = 3  # beside the market's one


@pytest.fixture(scope="module")
def own_chain() -> Iterator[None]:
    """A chain of its own: forgetting what was touched also forgets the checkpoints that other tests go back to."""
    with boa.swap_env(boa.Env()):
        yield


@pytest.fixture(scope="module")
def market(own_chain: None) -> tuple[Market, list[Any]]:
    """A borrower with four collateral assets of 10 ETH each and a debt of 20,000 USD."""
    market = deploy_market()
    tokens = [market.ether]
    oracle = boa.load_partial("contracts/PriceOracle.vy").at(market.engine.ORACLE())
    for k in range(1, EXTRA_ASSETS + 1):
        token = boa.load("contracts/testing/TestToken.vy", "Wrapped Ether", "WETH", 18)
        with boa.env.prank(GOVERNANCE):
            oracle.set_feed(1, k, market.feeds[ETH].address, HEARTBEAT_S)
            market.accounts.list_collateral(token.address, ETH + 1, 10**24)
            market.parameters.initialise(2, k, COLLATERAL_WORD)
        tokens.append(token)
    for token in tokens:
        token.mint(BORROWER, 20 * WAD)
        token.approve(market.accounts.address, 2**256 - 1, sender=BORROWER)
        market.accounts.deposit(market.borrower, token.address, 10 * WAD, sender=BORROWER)
    market.accounts.withdraw(market.borrower, market.cash.address, 40_000 * USD, BORROWER, sender=BORROWER)
    market.cash.approve(market.accounts.address, 2**256 - 1, sender=BORROWER)
    boa.env.time_travel(seconds=60)
    return market, tokens


def cold_gas(market: Market, function: str, *arguments: Any) -> int:
    """Gas of the call without the intrinsic part; every storage slot and address is cold before."""
    boa.env.evm.vm.state.lock_changes()  # as between two transactions: a write then costs what a first write costs
    boa.env.evm.reset_access_counters()
    getattr(market.accounts, function)(*arguments, sender=BORROWER)
    return int(market.accounts._computation.get_gas_used())


def test_deposit(market: tuple[Market, list[Any]]) -> None:
    ledger, tokens = market
    for token, amount in ((tokens[2], WAD), (ledger.cash, 100 * USD)):
        assert cold_gas(ledger, "deposit", ledger.borrower, token.address, amount) <= DEPOSIT_LIMIT


def test_withdraw_with_margin_check(market: tuple[Market, list[Any]]) -> None:
    ledger, tokens = market
    for token, amount in ((tokens[2], WAD), (ledger.cash, 100 * USD)):
        assert cold_gas(ledger, "withdraw", ledger.borrower, token.address, amount, BORROWER) <= WITHDRAW_LIMIT
