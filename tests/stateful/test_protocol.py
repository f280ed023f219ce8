# SPDX-License-Identifier: Apache-2.0
"""The whole protocol, real contracts only: people trade, prices jump, anybody liquidates; nothing is created or lost.

After every step: lots add up to zero, collateral is where the books say, tokens cover every claim on cash, and the
engine and the integer twin agree on every account. A refusal is fine when its reason is one that the rule allows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from web3.types import RPCEndpoint

from keeper.actions import Action, SettleExpiry, SettleMany
from keeper.assess import assess_all, check_parity
from keeper.demo.checks import check_conservation
from keeper.demo.market import synthetic_path
from keeper.demo.population import Person
from keeper.demo.settle_in import Resident, Town
from keeper.demo.stage import Stage, build_stage
from keeper.domain import Unknown
from keeper.errors import Permanent
from keeper.publish.tables import plan_pages
from keeper.publish.triggers import PagePolicy
from keeper.settlement import find_rounds, settlements

PEOPLE = (
    Person("lender", "lender", {"USDC": 3_000_000}),
    Person("hedged trader", "trader", {"USDC": 400_000, "WETH": 300_000}),
    Person("reckless trader", "trader", {"USDC": 30_000, "WBTC": 40_000}),
    Person("liquidator", "liquidator", {"USDC": 2_000_000}),
)
PERP, FUTURES = 255, (254, 253)
WAD, LOTS = 10**18, 10**6
ANY_NONCE = 2**256 - 1
# Reasons that a correct protocol may give to these calls; anything else fails the test.
ALLOWED = (
    "accounts: below initial margin", "accounts: risk data dead", "accounts: no row in table", "accounts: in auction",
    "accounts: instrument", "cash: not enough held", "cash: withdrawals limited", "collateral: balance",
    "fill: price band", "registry: not tradable", "registry: expired", "settlement: price not fresh",
    "venue: other listing",
    "auction: healthy", "auction: none", "auction: running", "auction: unhealthy", "auction: bid too small",
    "auction: bidder health", "auction: data too old", "auction: fraction", "engine: doubt",
)  # fmt: skip
PAGES = PagePolicy(drift_bps=400, vol_bps=1_000, heartbeat_s=12 * 3_600, validity_s=24 * 3_600)


class Protocol(RuleBasedStateMachine):
    """One deployment for all examples; each example runs in a branch that is rolled back."""

    stage: Stage
    residents: list[Resident]
    refused: set[str]
    bids: list[int]
    settled: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.stage.world
        self.branch = self._node("evm_snapshot", [])
        self.prices = [60_000.0, 3_000.0, 140.0]

    @initialize(usd=st.integers(300_000, 400_000))
    def the_reckless_trader_takes_a_position(self, usd: int) -> None:
        self.trade([2, 1, 0, 3], 0, PERP, usd, 1.0)

    def teardown(self) -> None:
        self._node("evm_revert", [self.branch])
        self.world.sender._nonces.clear()

    def _node(self, method: str, params: list[object]) -> object:
        return self.stage.web3.manager.request_blocking(RPCEndpoint(method), params)

    def attempt(self, act: Callable[[], object]) -> None:
        """Do it, or be refused for a reason that the rules know."""
        try:
            act()
        except Permanent as error:
            found = next((reason for reason in ALLOWED if reason in str(error)), None)
            assert found is not None, str(error)
            self.refused.add(found)

    @rule(who=st.integers(0, 3), usd=st.integers(1, 200_000), token=st.sampled_from(["USDC", "WETH", "WBTC"]))
    def deposit(self, who: int, usd: int, token: str) -> None:
        price = {"USDC": 1.0, "WETH": self.prices[1], "WBTC": self.prices[0]}[token]
        person = self.residents[who]
        self.world.deposit(person.owner, person.number, token, max(1, self.world.raw_amount(token, usd, price)))

    @rule(who=st.integers(0, 3), usd=st.integers(1, 3_000_000), token=st.sampled_from(["USDC", "WETH", "WBTC"]))
    def withdraw(self, who: int, usd: int, token: str) -> None:
        price = {"USDC": 1.0, "WETH": self.prices[1], "WBTC": self.prices[0]}[token]
        person, amount = self.residents[who], max(1, self.world.raw_amount(token, usd, price))
        self.attempt(lambda: self.world.withdraw(person.owner, person.number, token, amount))

    @rule(
        sides=st.permutations([0, 1, 2, 3]), u=st.integers(0, 2),
        slot=st.one_of(st.just(PERP), st.sampled_from(FUTURES), st.integers(0, 19)),
        usd=st.integers(100, 400_000), off=st.floats(0.97, 1.03),
    )  # fmt: skip
    def trade(self, sides: list[int], u: int, slot: int, usd: int, off: float) -> None:
        buyer, seller = (self.residents[k].side for k in sides[:2])
        lots = max(1, int(usd / self.prices[u] * LOTS))
        price = int((self.world.mark(u << 8 | slot) or int(self.prices[u] * WAD)) * off)
        self.attempt(lambda: self.world.trade(buyer, seller, u << 8 | slot, lots, max(1, price)))

    @rule(move=st.floats(0.6, 0.8))
    def what_the_reckless_one_holds_falls(self, move: float) -> None:
        self.price_jumps(0, move)

    @rule(u=st.integers(0, 2), move=st.floats(0.75, 1.2))
    def price_jumps(self, u: int, move: float) -> None:
        self.prices[u] *= move
        for each, price in enumerate(self.prices):
            self.world.set_price(0, each, price)
        self.liquidate(2, 50)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.stage.pass_time(3_600 * hours)
        for each, price in enumerate(self.prices):
            self.world.set_price(0, each, price)

    @rule(who=st.integers(0, 3), u=st.integers(0, 2), slot=st.sampled_from([PERP, *FUTURES]))
    def settle(self, who: int, u: int, slot: int) -> None:
        call = self.world.accounts.functions.settle_delta(self.residents[who].number, u << 8 | slot)
        self.attempt(lambda: self.world.sender.send(self.residents[who].owner, call))

    @rule()
    def anybody_brings_pages(self) -> None:
        """The keeper's pages, with its signature, in the hands of somebody else."""
        daemon = self.stage.daemon
        target = daemon.cycle.target
        assert target is not None
        for plan in plan_pages(daemon.chain.snapshot(accounts=()), target, PAGES, (5_000, 3_500)):
            if plan.action is not None and daemon.cycle.publisher is not None:
                self.send(daemon.cycle.publisher.endorse(plan.action))

    @rule(hours=st.integers(1, 24), one_by_one=st.booleans())
    def expiries_are_settled(self, hours: int, one_by_one: bool) -> None:
        """At the first round after an expiry; holders one by one leave the books one-sided in between."""
        self.time_passes(hours)
        chain = self.stage.daemon.chain
        for (underlying, expiry), rounds in find_rounds(chain, chain.snapshot()).items():
            if not isinstance(rounds, Unknown):
                self.send(SettleExpiry(underlying, expiry, *rounds))
                self.settled.append(expiry)
        for action in settlements(chain.snapshot()):
            holders = [(item,) for item in action.holders] if one_by_one else [action.holders]
            for some in holders:
                self.send(SettleMany(action.underlying, some))
                self.nothing_is_created_or_lost()

    def send(self, action: Action) -> None:
        """Carry out one of the keeper's actions as somebody without any role."""
        call = action.call
        contract = self.world.contract(call.contract)
        self.world.sender.send(self.residents[3].owner, contract.functions[call.function](*call.args))

    @rule(who=st.integers(0, 2), fraction=st.integers(1, 100))
    def liquidate(self, who: int, fraction: int) -> None:
        auction, target, bidder = self.world.contract("LiquidationAuction"), self.residents[who], self.residents[3]
        send = self.world.sender.send
        self.attempt(lambda: send(bidder.owner, auction.functions.start(target.number, bidder.number)))
        terms = (target.number, bidder.number, fraction * WAD // 100, 2**255 - 1, 0, ANY_NONCE)
        self.attempt(lambda: self.bids.append(send(bidder.owner, auction.functions.bid(*terms))["blockNumber"]))
        self.attempt(lambda: send(bidder.owner, auction.functions.end(target.number)))

    @rule(usd=st.integers(1, 10_000))
    def donor_sends_tokens(self, usd: int) -> None:
        token = self.world._erc20["USDC"]
        self.world.sender.send(self.world.operator, token.functions.mint(self.world.accounts.address, usd * 10**6))

    @invariant()
    def nothing_is_created_or_lost(self) -> None:
        chain = self.stage.daemon.chain
        snapshot = chain.snapshot()
        assert check_conservation(chain, self.world, snapshot).faults == ()
        found = assess_all(snapshot)
        parity = check_parity(chain, snapshot, found, sorted(found))
        assert parity.mismatches == () and len(parity.checked) == len(found)


@pytest.mark.xdist_group("protocol")
def test_the_protocol_conserves_whatever_people_do() -> None:
    path = synthetic_path(7, 1_893_456_000)
    with tempfile.TemporaryDirectory() as folder:
        stage = build_stage(path, Path(folder))
        prices = {symbol: float(price) for symbol, price in zip(path.symbols, path.past.close[-1], strict=True)}
        town = Town(stage.world, path.symbols, prices)
        stage.daemon.turn()
        while any(str(outcome.result) == "done" for outcome in stage.daemon.turn().outcomes):
            pass
        residents = [town.move_in(person) for person in PEOPLE]
        machine = type(
            "Machine",
            (Protocol,),
            {"stage": stage, "residents": residents, "refused": set(), "bids": [], "settled": []},
        )
        options = settings(
            max_examples=16,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # a step is a handful of transactions: shrinking would take minutes
        )
        machine.TestCase.settings = options  # type: ignore[attr-defined]
        machine.TestCase("runTest").runTest()  # type: ignore[attr-defined]
        assert len(machine.refused) >= 3 and machine.bids and machine.settled  # type: ignore[attr-defined]
