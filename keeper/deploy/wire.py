# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the ordered steps of its deployment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from keeper.artifacts import load
from keeper.deploy.config import (
    DEPLOYER,
    Bounds,
    Collateral,
    CollateralWord,
    DeployConfig,
    Feed,
    GlobalWord,
    Options,
    Underlying,
    UnderlyingWord,
)
from keeper.deploy.steps import AtLeast, Call, Check, Deploy, Kind, Ref, Step
from keeper.errors import ConfigError
from risk.units import pack_lanes

WAD = 10**18
E9 = 10**9
DAY_S = 86_400
EXPIRY_HOUR_S = 8 * 3_600
ZERO_ADDRESS = "0x" + "00" * 20
# In order of creation; constructor arguments are found by their names.
CONTRACTS = (
    "PriceOracle", "InstrumentRegistry", "RiskParameters", "RiskTable", "MarginAccounts", "MarginEngine",
    "InsuranceFund", "LiquidationAuction", "SignedTradeVenue",
)  # fmt: skip
OWNED = tuple(name for name in CONTRACTS if name != "MarginEngine")
RATE_KINDS = {"steth": 1, "erc4626": 2}
LISTER, REGISTRY_KEEPER = 1, 2
WORDS: tuple[type[BaseModel], ...] = (GlobalWord, UnderlyingWord, CollateralWord)


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a plan depends on besides the configuration, fixed at the first run so that a resumed one agrees with it.

    Attributes
    ----------
    time
        Unix seconds of the chain's head.
    spots
        USD price of each underlying.
    decimals
        Decimals of each token that already exists, by symbol.
    """

    time: int
    spots: Mapping[str, Decimal]
    decimals: Mapping[str, int]


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
    """

    def __init__(self, config: DeployConfig, deployer: str, anchors: Anchors, multicall: bool) -> None:
        self.config = config
        self.deployer = deployer
        self.anchors = anchors
        self.multicall = multicall

    def steps(self) -> tuple[Step, ...]:
        """All steps in the order in which they must be sent."""
        return tuple(
            itertools.chain(
                self._mocks(), self._contracts(), self._links(), self._underlyings(), self._collateral(),
                self._parameters(), self._roles(), self._settings(), self._fund(), self._handover(),
            )
        )  # fmt: skip

    def external(self) -> dict[str, str]:
        """Addresses of tokens and feeds that exist already, by their names in the manifest."""
        assets = (self.config.cash, *self.config.collateral)
        found = {f"token:{item.symbol}": item.token for item in assets if item.token is not None}
        own = {symbol: feed.address for symbol, feed in self._own_feeds() if feed.address is not None}
        return found | {f"feed:{symbol}": address for symbol, address in own.items()}

    def _own_feeds(self) -> list[tuple[str, Feed]]:
        found = [(item.symbol, item.feed) for item in self.config.underlyings]
        return found + [(item.symbol, item.feed) for item in self.config.collateral if item.feed is not None]

    def feeds(self) -> dict[tuple[int, int], Ref]:
        """Feed of (0, underlying) and (1, collateral asset); a linked asset without its own shares the underlying's."""
        found = {(0, i): Ref(f"feed:{item.symbol}") for i, item in enumerate(self.config.underlyings)}
        for asset, item in enumerate(self.config.collateral):
            found[1, asset] = Ref(f"feed:{item.symbol if item.feed is not None else item.linked}")
        return found

    def _who(self, name: str) -> str:
        return self.deployer if name == DEPLOYER else name

    def decimals_of(self, symbol: str) -> int:
        """Decimals of a token, mock or found on chain."""
        for item in (self.config.cash, *self.config.collateral):
            if item.symbol == symbol and item.mock is not None:
                return 18 if item.mock.rate is not None else item.mock.decimals
        return self.anchors.decimals[symbol]

    # ------------------------------------------------------------------ contracts

    def _mocks(self) -> Iterator[Step]:
        for item in (self.config.cash, *self.config.collateral):
            if item.mock is None:
                continue
            name = f"token:{item.symbol}"
            if item.mock.rate is not None:
                yield Deploy(name, "TestWrappedStaked", (item.symbol, item.symbol, _scaled(item.mock.rate, WAD)))
            else:
                yield Deploy(name, "TestToken", (item.symbol, item.symbol, item.mock.decimals))
        for symbol, feed in self._own_feeds():
            if feed.mock is not None:
                answer = _scaled(feed.mock.price, 10**feed.mock.decimals)
                yield Deploy(f"feed:{symbol}", "MockAggregator", (feed.mock.decimals, answer))

    def _contracts(self) -> Iterator[Step]:
        me, guardian = self.deployer, self._who(self.config.roles.guardian)
        known: dict[str, Any] = {
            "governance": me,
            "guardian": guardian,
            "cash_token": Ref(f"token:{self.config.cash.symbol}"),
            "oracle": Ref("PriceOracle"),
            "registry": Ref("InstrumentRegistry"),
            "parameters": Ref("RiskParameters"),
            "table": Ref("RiskTable"),
            "accounts": Ref("MarginAccounts"),
            "engine": Ref("MarginEngine"),
            "fund": Ref("InsuranceFund"),
        }
        if self.multicall:
            yield Deploy("Multicall", "Multicall", ())
        for name in CONTRACTS:
            inputs = [item["name"] for item in load(name).constructor_types()]
            yield Deploy(name, name, tuple(known[item] for item in inputs))

    def _links(self) -> Iterator[Step]:
        for function, view, target in (
            ("set_engine", "engine", "MarginEngine"),
            ("set_table", "table", "RiskTable"),
            ("set_auction", "auction", "LiquidationAuction"),
        ):
            done = Check("MarginAccounts", view, (), (Ref(target),))
            yield Call("MarginAccounts", function, (Ref(target),), (done,), target)
        venue = Ref("SignedTradeVenue")
        done = Check("MarginAccounts", "is_venue", (venue,), (True,))
        yield Call("MarginAccounts", "set_venue", (venue, True), (done,), "SignedTradeVenue")
        auction = Ref("LiquidationAuction")
        done = Check("InsuranceFund", "auction", (), (auction,))
        yield Call("InsuranceFund", "set_auction", (auction,), (done,), "LiquidationAuction")

    # ------------------------------------------------------------------ listing

    def _underlyings(self) -> Iterator[Step]:
        feeds = self.feeds()
        for i, item in enumerate(self.config.underlyings):
            listed = Check("InstrumentRegistry", "underlying_info", (i,), (item.symbol, item.has_perp))
            yield Call("InstrumentRegistry", "list_underlying", (item.symbol, item.has_perp), (listed,), item.symbol)
            wired = Check("PriceOracle", "feed_of", (0, i), (feeds[0, i], item.feed.heartbeat_s))
            yield Call("PriceOracle", "set_feed", (0, i, feeds[0, i], item.feed.heartbeat_s), (wired,), item.symbol)
            yield self._record(0, i, item.symbol)
            yield from self._options(i, item)

    @staticmethod
    def _record(kind: int, number: int, symbol: str) -> Step:
        # Without a recorded price a feed that dies on its first day would value everything at nothing.
        return Call("PriceOracle", "record", (kind, number), (), symbol)

    def _options(self, number: int, item: Underlying) -> Iterator[Step]:
        options = item.options
        series = itertools.product(self.expiries(options), self.strikes(item), options.kinds)
        for slot, (expiry, strike, kind) in enumerate(series):
            args = (number, expiry, strike, kind == "call")
            done = Check("InstrumentRegistry", "option_info", (number << 8 | slot,), args[1:])
            subject = f"{item.symbol} {expiry} {_plain(Decimal(strike) / WAD)} {kind}"
            yield Call("InstrumentRegistry", "list_option", args, (done,), subject)

    def expiries(self, options: Options) -> list[int]:
        """Expiries in unix seconds, ascending; those given in days fall on 08:00 UTC."""
        start = self.anchors.time // DAY_S * DAY_S + EXPIRY_HOUR_S
        return sorted({*options.expiries, *(start + days * DAY_S for days in options.expiry_days)})

    def strikes(self, item: Underlying) -> list[int]:
        """Strikes in USD wad, ascending."""
        options, spot = item.options, self.anchors.spots[item.symbol]
        step = options.strike_step or Decimal(10) ** (math.floor(spot.log10()) - 2)
        near = {(spot * percent / 100 / step).to_integral_value() * step for percent in options.strikes_percent}
        strikes = sorted(_scaled(strike, WAD) for strike in {*near, *options.strikes})
        if strikes and strikes[0] <= 0:
            raise ConfigError(f"strike_step {step} of {item.symbol} rounds a strike to zero; make the step smaller")
        return strikes

    def _collateral(self) -> Iterator[Step]:
        symbols = [item.symbol for item in self.config.underlyings]
        feeds = self.feeds()
        for asset, item in enumerate(self.config.collateral):
            linked = 0 if item.linked is None else symbols.index(item.linked) + 1
            decimals = self.decimals_of(item.symbol)
            args = (Ref(f"token:{item.symbol}"), linked, _scaled(item.cap, 10**decimals))
            listed = Check("MarginAccounts", "collateral_info", (asset,), (args[0], decimals, linked))
            yield Call("MarginAccounts", "list_collateral", args, (listed,), item.symbol)
            yield self._collateral_feed(asset, item, feeds[1, asset], symbols)
            yield self._record(1, asset, item.symbol)

    def _collateral_feed(self, asset: int, item: Collateral, feed: Ref, symbols: Sequence[str]) -> Step:
        of_linked = None if item.linked is None else self.config.underlyings[symbols.index(item.linked)].feed
        source = item.feed or of_linked
        heartbeat = source.heartbeat_s if source is not None else 0
        args: tuple[object, ...] = (1, asset, feed, heartbeat)
        expect: tuple[object, ...] = (feed, heartbeat, None, ZERO_ADDRESS, 0)
        if item.rate is not None:
            rate = item.rate.source or Ref(f"token:{item.symbol}")
            kind = RATE_KINDS[item.rate.kind]
            args += (rate, kind, _scaled(item.rate.low, E9), _scaled(item.rate.high, E9))
            expect = (feed, heartbeat, None, rate, kind)
        return Call(
            "PriceOracle", "set_feed", args, (Check("PriceOracle", "feed_of", (1, asset), expect),),
            f"collateral {item.symbol}",
        )  # fmt: skip

    # ------------------------------------------------------------------ parameters, roles, settings

    def _parameters(self) -> Iterator[Step]:
        given = self.config.parameters
        bounds = (given.bounds_global, given.bounds_underlying, given.bounds_collateral)
        for kind, bound in enumerate(bounds):
            words = _bound_words(kind, bound)
            done = Check("RiskParameters", "bounds", (kind,), words)
            name = ("global", "underlying", "collateral")[kind]
            yield Call("RiskParameters", "set_bounds", (kind, *words), (done,), name)
        if given.guards is not None:
            values = tuple(given.guards.model_dump().values())
            done = Check("RiskParameters", "guards", (), (values,))
            yield Call("RiskParameters", "set_guards", (values,), (done,))
        first: list[tuple[int, int, str, BaseModel]] = [(0, 0, "global", given.initial)]
        first += [(1, i, item.symbol, item.parameters) for i, item in enumerate(self.config.underlyings)]
        first += [(2, i, item.symbol, item.parameters) for i, item in enumerate(self.config.collateral)]
        for kind, number, symbol, word in first:
            packed = pack_lanes(list(word.model_dump().values()))
            # a later push has replaced it: any word but zero means initialised
            done = Check("RiskParameters", "word", (kind, number), (packed,))
            later = Check("RiskParameters", "word", (kind, number), (AtLeast(1),))
            yield Call("RiskParameters", "initialise", (kind, number, packed), (done, later), symbol, Kind.INITIAL)

    def _roles(self) -> Iterator[Step]:
        for keeper in dict.fromkeys(map(self._who, self.config.roles.keepers)):
            for contract in ("RiskParameters", "RiskTable"):
                done = Check(contract, "is_keeper", (keeper,), (True,))
                yield Call(contract, "set_keeper", (keeper, True), (done,), keeper)
            yield self._registry_role(REGISTRY_KEEPER, keeper)
        for lister in dict.fromkeys(map(self._who, self.config.roles.listers)):
            yield self._registry_role(LISTER, lister)

    @staticmethod
    def _registry_role(role: int, who: str) -> Step:
        done = Check("InstrumentRegistry", "has_role", (role, who), (True,))
        name = "keeper" if role == REGISTRY_KEEPER else "lister"
        return Call("InstrumentRegistry", "set_role", (role, who, True), (done,), f"{name} {who}")

    def _settings(self) -> Iterator[Step]:
        config = self.config
        if config.max_funding_bps_per_day is not None:
            bound = config.max_funding_bps_per_day
            done = Check("InstrumentRegistry", "max_funding_bps_per_day", (), (bound,))
            yield Call("InstrumentRegistry", "set_max_funding", (bound,), (done,))
        if config.table is not None:
            limits = tuple(config.table.model_dump().values())
            done = Check("RiskTable", "limits", (), (limits,))
            yield Call("RiskTable", "set_limits", (limits,), (done,))
        if config.auction is not None:
            values = tuple(config.auction.model_dump(exclude={"min_slice_usd"}).values())
            values += (_scaled(config.auction.min_slice_usd, WAD),)
            done = Check("LiquidationAuction", "settings", (), (values,))
            yield Call("LiquidationAuction", "set_settings", (values,), (done,))
        if config.rates is not None:
            # the curve has no view: this step rests on the manifest alone
            yield Call("MarginAccounts", "set_rates", tuple(config.rates.model_dump().values()), ())
        if config.venue.fee_bps:
            done = Check("SignedTradeVenue", "fee_bps", (), (config.venue.fee_bps,))
            yield Call("SignedTradeVenue", "set_fee", (config.venue.fee_bps,), (done,))

    def _fund(self) -> Iterator[Step]:
        cash = self.config.cash
        amount = _scaled(self.config.fund.seed, 10 ** self.decimals_of(cash.symbol))
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
        governance = self._who(self.config.roles.governance)
        if governance == self.deployer:
            return
        for name in OWNED:
            offered = Check(name, "pending_owner", (), (governance,))
            taken = Check(name, "owner", (), (governance,))
            yield Call(name, "transfer_ownership", (governance,), (offered, taken), governance)


def _scaled(value: Decimal, scale: int) -> int:
    """Integer in units of 1/scale.

    Raises
    ------
    ConfigError
        The value has more decimals than the unit.
    """
    product = value * scale
    if product != product.to_integral_value():
        raise ConfigError(f"{value} has more decimals than 1/{scale}; round it")
    return int(product)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _bound_words(kind: int, bounds: Bounds) -> tuple[int, int, int, int]:
    lanes = list(WORDS[kind].model_fields)
    words = []
    for field in ("low", "high", "step_up", "step_down"):
        given: Mapping[str, int] = getattr(bounds, field)
        for name in given:
            if name not in lanes:
                raise ConfigError(f"bounds {field} name lane {name!r}; the lanes are {', '.join(lanes)}")
        words.append(pack_lanes([given.get(name, 0) for name in lanes]))
    return words[0], words[1], words[2], words[3]
