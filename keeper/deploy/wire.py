# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the ordered steps of its deployment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from keeper.artifacts import load
from keeper.deploy.config import DeployConfig
from keeper.deploy.config_base import DEPLOYER, ZERO
from keeper.deploy.handover import OWNED, TIMELOCK, accept_batch, batch_id
from keeper.deploy.steps import AtLeast, Call, Check, Deploy, Kind, Ref, Step
from keeper.deploy.wire_listing import WAD, Anchors, Listing, Progress, scaled

# In order of creation; constructor arguments are found by their names.
CONTRACTS = (
    "PriceOracle", "InstrumentRegistry", "RiskParameters", "RiskTable", "RowVerifier", "MarginAccountsExtension",
    "MarginAccounts", "MarginEngine", "MarginLens", "InsuranceFund", "LiquidationAuction", "SignedTradeVenue",
)  # fmt: skip
LISTER, REGISTRY_KEEPER = 1, 2
NO_UNDERLYING = 255


class Wiring:
    """Builds the steps.

    Parameters
    ----------
    config
        What is wanted.
    deployer
        Checksummed address that sends everything and governs until the end.
    anchors
        Time, prices and decimals of the first run.
    multicall
        Whether the chain needs a multicall contract of its own.
    progress
        What an earlier run has done.
    """

    def __init__(
        self, config: DeployConfig, deployer: str, anchors: Anchors, multicall: bool, progress: Progress | None = None
    ) -> None:
        self.config = config
        self.deployer = deployer
        self.anchors = anchors
        self.multicall = multicall
        self.listing = Listing(config, anchors, progress)

    def steps(self) -> tuple[Step, ...]:
        """All steps in the order in which they must be sent."""
        return tuple(
            itertools.chain(
                self._mocks(), self._contracts(), self._links(), self.listing.steps(), self._roles(),
                self._settings(), self._table(), self._fund(), self._handover(),
            )
        )  # fmt: skip

    @property
    def owner(self) -> str:
        """Who owns the contracts in the end: an address, or the timelock's name in the manifest."""
        return TIMELOCK if self.config.timelock is not None else self._who(str(self.config.roles.governance))

    def external(self) -> dict[str, str]:
        """Addresses of tokens and feeds that exist already, by their names in the manifest."""
        assets = (self.config.cash, *self.config.collateral)
        found = {f"token:{item.symbol}": item.token for item in assets if item.token is not None}
        found |= {name: feed.address for name, feed in self.config.aggregators() if feed.address is not None}
        return found if self.config.sequencer is None else {**found, "sequencer": self.config.sequencer.address}

    def _who(self, name: str) -> str:
        return self.deployer if name == DEPLOYER else name

    # ------------------------------------------------------------------ contracts

    def _mocks(self) -> Iterator[Step]:
        for item in (self.config.cash, *self.config.collateral):
            if item.mock is None:
                continue
            name = f"token:{item.symbol}"
            if item.mock.rate is not None:
                yield Deploy(name, "TestWrappedStaked", (item.symbol, item.symbol, scaled(item.mock.rate, WAD)))
            else:
                yield Deploy(name, "TestToken", (item.symbol, item.symbol, item.mock.decimals))
        for name, source in self.config.aggregators():
            if source.mock is not None:
                answer = scaled(source.mock.price, 10**source.mock.decimals)
                yield Deploy(name, "MockAggregator", (source.mock.decimals, answer))

    def _arguments(self) -> dict[str, Any]:
        """Constructor arguments by name."""
        cash, sequencer = Ref(f"token:{self.config.cash.symbol}"), self.config.sequencer
        gas, symbols = self.config.network.gas_underlying, self.listing.symbols
        return {
            "governance": self.deployer,
            "guardian": self._who(self.config.roles.guardian),
            "sequencer": ZERO if sequencer is None else Ref("sequencer"),
            "grace_s": 0 if sequencer is None else sequencer.grace_s,
            "cash_token": cash,
            "bond_token": cash,
            "oracle": Ref("PriceOracle"),
            "registry": Ref("InstrumentRegistry"),
            "parameters": Ref("RiskParameters"),
            "table": Ref("RiskTable"),
            "extension": Ref("MarginAccountsExtension"),
            "accounts": Ref("MarginAccounts"),
            "engine": Ref("MarginEngine"),
            "fund": Ref("InsuranceFund"),
            "gas_underlying": NO_UNDERLYING if gas is None else symbols.index(gas),
        }

    def _contracts(self) -> Iterator[Step]:
        known = self._arguments()
        if self.multicall:
            yield Deploy("Multicall", "Multicall", ())
        for name in CONTRACTS:
            inputs = [item["name"] for item in load(name).constructor_types()]
            yield Deploy(name, name, tuple(known[item] for item in inputs))
        terms = self.config.timelock
        if terms is not None:
            executors = tuple(ZERO if who == "anyone" else self._who(who) for who in terms.executors)
            yield Deploy(TIMELOCK, TIMELOCK, (terms.delay_s, tuple(map(self._who, terms.proposers)), executors))

    def _links(self) -> Iterator[Step]:
        for contract, function, view, target in (
            ("MarginAccounts", "set_engine", "engine", "MarginEngine"),
            ("MarginAccounts", "set_table", "table", "RiskTable"),
            ("MarginAccounts", "set_auction", "auction", "LiquidationAuction"),
            ("InsuranceFund", "set_auction", "auction", "LiquidationAuction"),
            ("InstrumentRegistry", "set_accounts", "accounts", "MarginAccounts"),
        ):
            done = Check(contract, view, (), (Ref(target),))
            yield Call(contract, function, (Ref(target),), (done,), target)
        venue = Ref("SignedTradeVenue")
        done = Check("MarginAccounts", "is_venue", (venue,), (True,))
        yield Call("MarginAccounts", "set_venue", (venue, True), (done,), "SignedTradeVenue")

    # ------------------------------------------------------------------ roles and settings

    def _roles(self) -> Iterator[Step]:
        roles = self.config.roles
        for keeper in dict.fromkeys(map(self._who, roles.keepers)):
            done = Check("RiskParameters", "is_keeper", (keeper,), (True,))
            yield Call("RiskParameters", "set_keeper", (keeper, True), (done,), keeper)
            yield self._registry_role(REGISTRY_KEEPER, keeper)
        for lister in dict.fromkeys(map(self._who, roles.listers)):
            yield self._registry_role(LISTER, lister)
        for publisher in dict.fromkeys(map(self._who, roles.signers)):
            done = Check("RiskTable", "is_publisher", (publisher,), (True,))
            yield Call("RiskTable", "set_publisher", (publisher, True), (done,), publisher)
        if roles.steward is not None:
            steward = self._who(roles.steward)
            done = Check("MarginAccounts", "steward", (), (steward,))
            yield Call("MarginAccounts", "set_steward", (steward,), (done,), steward)

    @staticmethod
    def _registry_role(role: int, who: str) -> Step:
        done = Check("InstrumentRegistry", "has_role", (role, who), (True,))
        name = "keeper" if role == REGISTRY_KEEPER else "lister"
        return Call("InstrumentRegistry", "set_role", (role, who, True), (done,), f"{name} {who}")

    def _settings(self) -> Iterator[Step]:
        config = self.config
        if config.carry is not None:
            bound, step, interval = config.carry.model_dump().values()
            done = Check("InstrumentRegistry", "max_funding_bps_per_day", (), (bound,))
            yield Call("InstrumentRegistry", "set_max_funding", (bound,), (done,))
            # one view for each of the two values: the step rests on that of the larger meaning, how far
            done = Check("InstrumentRegistry", "max_basis_step_bps", (), (step,))
            yield Call("InstrumentRegistry", "set_basis_guards", (step, interval), (done,))
        if config.withdrawal_limit_bps is not None:
            done = Check("MarginAccounts", "withdrawal_limit_bps", (), (config.withdrawal_limit_bps,))
            yield Call("MarginAccounts", "set_withdrawal_limit", (config.withdrawal_limit_bps,), (done,))
        if config.auction is not None:
            given = config.auction.model_dump()
            given["min_slice_usd"] = scaled(config.auction.min_slice_usd, WAD)
            values = tuple(given.values())
            done = Check("LiquidationAuction", "settings", (), (values,))
            yield Call("LiquidationAuction", "set_settings", (values,), (done,))
        if config.rates is not None:
            # the curve has no view: this step rests on the manifest alone
            yield Call("MarginAccounts", "set_rates", tuple(config.rates.model_dump().values()), ())
        if config.venue.fee_bps:
            done = Check("SignedTradeVenue", "fee_bps", (), (config.venue.fee_bps,))
            yield Call("SignedTradeVenue", "set_fee", (config.venue.fee_bps,), (done,))

    def _table(self) -> Iterator[Step]:
        config = self.config
        if config.table is not None:
            limits = tuple(config.table.model_dump().values())
            done = Check("RiskTable", "limits", (), (limits,))
            yield Call("RiskTable", "set_limits", (limits,), (done,))
        if config.roles.quorum > 1:
            done = Check("RiskTable", "quorum", (), (config.roles.quorum,))
            yield Call("RiskTable", "set_quorum", (config.roles.quorum,), (done,))
        bonds, unit = config.bonds, 10 ** self.listing.decimals_of(config.cash.symbol)
        terms = (
            Ref("RowVerifier"), Ref("InsuranceFund"), bonds.tolerance_lanes, scaled(bonds.min_bond, unit),
            scaled(bonds.slash, unit), bonds.withdrawal_delay_s,
        )  # fmt: skip
        yield Call("RiskTable", "set_terms", (terms,), (Check("RiskTable", "terms", (), (terms,)),))

    # ------------------------------------------------------------------ the end

    def _fund(self) -> Iterator[Step]:
        cash = self.config.cash
        amount = scaled(self.config.fund.seed, 10 ** self.listing.decimals_of(cash.symbol))
        if not amount:
            return
        me, fund, token = self.deployer, Ref("InsuranceFund"), f"token:{cash.symbol}"
        deposited = Check("InsuranceFund", "balanceOf", (me,), (AtLeast(1),))
        if cash.mock is not None:
            minted = Check(token, "balanceOf", (me,), (AtLeast(amount),))
            yield Call(token, "mint", (me, amount), (minted, deposited), "seed", Kind.INITIAL)
        approved = Check(token, "allowance", (me, fund), (AtLeast(amount),))
        yield Call(token, "approve", (fund, amount), (approved, deposited), "seed", Kind.INITIAL)
        yield Call("InsuranceFund", "deposit", (amount, me), (deposited,), "seed", Kind.INITIAL)

    def _handover(self) -> Iterator[Step]:
        if self.owner == self.deployer:
            return
        owner: Any = Ref(TIMELOCK) if self.owner == TIMELOCK else self.owner
        for name in OWNED:
            offered = Check(name, "pending_owner", (), (owner,))
            taken = Check(name, "owner", (), (owner,))
            yield Call(name, "transfer_ownership", (owner,), (offered, taken), self.owner)
        terms = self.config.timelock
        if terms is not None and self.deployer in map(self._who, terms.proposers):
            scheduled = Check(TIMELOCK, "is_operation", (batch_id(OWNED),), (True,))
            yield Call(TIMELOCK, "schedule_batch", (*accept_batch(OWNED), terms.delay_s), (scheduled,), "acceptance")
