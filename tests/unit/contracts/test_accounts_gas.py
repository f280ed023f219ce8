# SPDX-License-Identifier: Apache-2.0
"""Gas of deposit, withdrawal and state against the real engine, every slot and address cold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from risk.units import pack_lanes
from tests.support.ledger import ALICE, ETH, GOVERNANCE, HEARTBEAT_S, USD, WAD, Ledger, deploy_ledger
from tests.support.price_feeds import feed_config

# cold slots are counted by forgetting what was touched, which boa cannot do inside a checkpoint of its own
# in this order in one process: each call leaves interest booked to this second for the next
pytestmark = [pytest.mark.ignore_isolation, pytest.mark.xdist_group("accounts_gas")]

DEPOSIT_LIMIT: Final = 90_000
WITHDRAW_LIMIT: Final = 250_000
STATE_LIMIT: Final = 34_000
ASSETS: Final = 4
#                       scan   up     down   power  delta option basis drift depth short vol  band
UNDERLYING: Final = (2_400, 4_000, 2_500, 3_000, 20, 10, 25, 10, 5_000, 100, 400, 500)
COLLATERAL: Final = (800, 500, 50, 500, 300)
GLOBAL: Final = (12_500, 10_000, 15_000, 2_500, 10)
HIGHEST: Final = (
    (20_000, 15_000, 30_000, 10_000, 1_000),
    (9_000, 15_000, 9_000, 10_000, 500, 500, 500, 200, 65_535, 1_000, 5_000, 5_000),
    (10_000, 10_000, 2_000, 65_535, 5_000),
)
LOWEST: Final = ((10_000, 10_000, 10_000, 500, 0), (500, 500, 500, 0, 1, 0, 0, 0, 1, 0, 50, 50), (50, 0, 0, 1, 0))
DAY_S: Final = 86_400


@pytest.fixture(scope="module")
def own_chain() -> Iterator[None]:
    """A chain of its own: forgetting what was touched also forgets the checkpoints that other tests go back to."""
    with boa.swap_env(boa.Env()):
        yield


@pytest.fixture(scope="module")
def world(own_chain: None) -> tuple[Ledger, list[Any]]:
    """Alice has four collateral assets of 10 ETH each and a debt of 20,000 USD."""
    ledger = deploy_ledger()
    accounts, oracle = ledger.accounts, ledger.oracle
    parameters = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GOVERNANCE, oracle.address)
    addresses = (accounts, ledger.registry, oracle, parameters, ledger.gate)  # one underlying needs no table
    engine = boa.load("contracts/MarginEngine.vy", *(contract.address for contract in addresses))
    tokens = [ledger.weth]
    with boa.env.prank(GOVERNANCE):
        for kind, (low, high) in enumerate(zip(LOWEST, HIGHEST, strict=True)):
            step = pack_lanes([value // 4 for value in high])
            parameters.set_bounds(kind, pack_lanes(list(low)), pack_lanes(list(high)), step, step)
        parameters.initialise(0, 0, pack_lanes(list(GLOBAL)))
        parameters.initialise(1, ETH, pack_lanes(list(UNDERLYING)))
        parameters.initialise(2, 0, pack_lanes(list(COLLATERAL)))
        for asset in range(2, ASSETS + 1):
            token = boa.load("contracts/testing/TestToken.vy", "Wrapped Ether", "WETH", 18)
            oracle.set_feed(1, asset, feed_config(ledger.feeds[ETH].address, HEARTBEAT_S))
            accounts.list_collateral(token.address, ETH + 1, 10**24, 10**24)
            parameters.initialise(2, asset, pack_lanes(list(COLLATERAL)))
            tokens.append(token)
        accounts.set_engine(engine.address)
    ledger.deposit(ledger.bob, ledger.cash, 10**6 * USD)
    for token in tokens:
        token.mint(ALICE, 20 * WAD)
        token.approve(accounts.address, 2**256 - 1, sender=ALICE)
        accounts.deposit(ledger.alice, token.address, 10 * WAD, sender=ALICE)
    boa.env.time_travel(seconds=60 * DAY_S)  # the ramps of new collateral have ended
    ledger.set_price(ETH, 2_000)
    accounts.withdraw(ledger.alice, ledger.cash.address, 20_000 * USD, ALICE, sender=ALICE)
    ledger.cash.approve(accounts.address, 2**256 - 1, sender=ALICE)
    boa.env.time_travel(seconds=60)
    return ledger, tokens


def cold_gas(ledger: Ledger, function: str, *arguments: Any) -> int:
    """Gas of the call without the intrinsic part; every storage slot and address is cold before."""
    boa.env.evm.vm.state.lock_changes()  # as between two transactions: a write then costs what a first write costs
    boa.env.evm.reset_access_counters()
    getattr(ledger.accounts, function)(*arguments, sender=ALICE)
    used = int(ledger.accounts._computation.get_gas_used())
    print(function, arguments[1:2], used)
    return used


def test_deposit(world: tuple[Ledger, list[Any]]) -> None:
    ledger, tokens = world
    for token, amount in ((tokens[2], WAD), (ledger.cash, 100 * USD)):
        assert cold_gas(ledger, "deposit", ledger.alice, token.address, amount) <= DEPOSIT_LIMIT


def test_withdraw_with_margin_check(world: tuple[Ledger, list[Any]]) -> None:
    ledger, tokens = world
    for token, amount in ((tokens[2], WAD), (ledger.cash, 100 * USD)):
        assert cold_gas(ledger, "withdraw", ledger.alice, token.address, amount, ALICE) <= WITHDRAW_LIMIT


def test_state_reads_two_assets_a_slot(world: tuple[Ledger, list[Any]]) -> None:
    ledger, _ = world
    # books interest to this second: how much time has passed since the last call is not what is measured here
    ledger.deposit(ledger.alice, ledger.cash, 1)
    assert cold_gas(ledger, "state", ledger.alice) <= STATE_LIMIT
