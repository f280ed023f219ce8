# SPDX-License-Identifier: Apache-2.0
"""The steps that list things: feeds, underlyings, instruments, collateral, and their parameter words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from keeper.deploy.config import DeployConfig, Guards
from keeper.deploy.config_base import DAY_S, ZERO
from keeper.deploy.config_market import (
    Bounds,
    Collateral,
    CollateralWord,
    Feed,
    GlobalWord,
    Options,
    Underlying,
    UnderlyingWord,
)
from keeper.deploy.first_words import check_bounds, check_first
from keeper.deploy.slots import Slots, Terms
from keeper.deploy.steps import AtLeast, Call, Check, Kind, Ref, Step
from keeper.errors import ConfigError
from risk.units import pack_lanes

WAD = 10**18
E9 = 10**9
EXPIRY_HOUR_S = 8 * 3_600
UNDERLYING, COLLATERAL, CASH = 0, 1, 2
KIND_FUTURE = 2
RATE_KINDS = {"steth": 1, "erc4626": 2}
NO_RATE = (ZERO, 0, 0, 0)
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an earlier run came.

    Attributes
    ----------
    done
        Steps that are complete.
    taken
        Instruments that are listed now, with their slots, by underlying.
    """

    done: frozenset[str] = frozenset()
    taken: Mapping[int, Mapping[Terms, int]] = field(default_factory=dict)


class Listing:
    """Builds the steps that list what the configuration names.

    Parameters
    ----------
    config
        What is wanted.
    anchors
        Time, prices and decimals of the first run.
    progress
        What an earlier run has done.
    """

    def __init__(self, config: DeployConfig, anchors: Anchors, progress: Progress | None = None) -> None:
        self.config = config
        self.anchors = anchors
        self.progress = progress or Progress()
        self.symbols = [item.symbol for item in config.underlyings]

    def steps(self) -> Iterator[Step]:
        """Everything, in the order of sending."""
        yield from self._cash_feed()
        yield from self._underlyings()
        yield from self._collateral()
        yield from self._parameters()

    def feeds(self) -> dict[tuple[int, int], Ref]:
        """Aggregator of (0, underlying), (1, collateral asset) and (2, 0), cash, where it has one."""
        found = {(UNDERLYING, i): Ref(f"feed:{symbol}") for i, symbol in enumerate(self.symbols)}
        for asset, item in enumerate(self.config.collateral):
            found[COLLATERAL, asset] = Ref(f"feed:{item.symbol if item.feed is not None else item.linked}")
        if self.config.cash.feed is not None:
            found[CASH, 0] = Ref(f"feed:{self.config.cash.symbol}")
        return found

    def decimals_of(self, symbol: str) -> int:
        """Decimals of a token, mock or found on chain."""
        for item in (self.config.cash, *self.config.collateral):
            if item.symbol == symbol and item.mock is not None:
                return 18 if item.mock.rate is not None else item.mock.decimals
        return self.anchors.decimals[symbol]

    # ------------------------------------------------------------------ feeds

    @staticmethod
    def _wired(symbol: str, feed: Feed, rate: tuple[Any, ...] = NO_RATE) -> tuple[Any, ...]:
        """The oracle's FeedConfig; ``symbol`` is whose feed it is."""
        second = (ZERO, 0) if feed.secondary is None else (Ref(f"secondary:{symbol}"), feed.max_deviation_bps)
        return (Ref(f"feed:{symbol}"), feed.heartbeat_s, feed.dead_after_s, *second, *rate)

    @staticmethod
    def _set_feed(kind: int, number: int, wired: tuple[Any, ...], subject: str) -> Step:
        done = Check("PriceOracle", "feed_of", (kind, number), (wired, None, None, 0))
        return Call("PriceOracle", "set_feed", (kind, number, wired), (done,), subject)

    @staticmethod
    def _record(kind: int, number: int, symbol: str) -> Step:
        # Without a recorded price a feed that dies on its first day would value everything at nothing.
        return Call("PriceOracle", "record", (kind, number), (), symbol)

    def _cash_feed(self) -> Iterator[Step]:
        cash = self.config.cash
        if cash.feed is not None:
            wired = self._wired(cash.symbol, cash.feed)
            done = Check("PriceOracle", "feed_of", (CASH, 0), (wired, None, None, 0))
            yield Call("PriceOracle", "set_cash_feed", (wired,), (done,))

    def _collateral_feed(self, asset: int, item: Collateral) -> Iterator[Step]:
        linked = None if item.linked is None else self.symbols.index(item.linked)
        subject = f"collateral {item.symbol}"
        if item.feed is None and item.rate is None:
            done = Check("PriceOracle", "feed_of", (COLLATERAL, asset), (None, None, None, (linked or 0) + 1))
            yield Call("PriceOracle", "share_feed", (asset, linked), (done,), subject)
            return
        rate: tuple[Any, ...] = NO_RATE
        if item.rate is not None:
            source = item.rate.source or Ref(f"token:{item.symbol}")
            bounds = (scaled(item.rate.low, E9), scaled(item.rate.high, E9))
            rate = (source, RATE_KINDS[item.rate.kind], *bounds)
        if item.feed is not None:
            wired = self._wired(item.symbol, item.feed, rate)
        else:
            wired = self._wired(str(item.linked), self.config.underlyings[linked or 0].feed, rate)
        yield self._set_feed(COLLATERAL, asset, wired, subject)
        yield self._record(COLLATERAL, asset, subject)

    # ------------------------------------------------------------------ instruments

    def _underlyings(self) -> Iterator[Step]:
        for i, item in enumerate(self.config.underlyings):
            listed = Check("InstrumentRegistry", "underlying_info", (i,), (item.symbol, item.has_perp))
            yield Call("InstrumentRegistry", "list_underlying", (item.symbol, item.has_perp), (listed,), item.symbol)
            yield self._set_feed(UNDERLYING, i, self._wired(item.symbol, item.feed), item.symbol)
            yield self._record(UNDERLYING, i, item.symbol)
            slots = Slots(self.progress.taken.get(i))
            yield from self._options(i, item, slots)
            yield from self._futures(i, item, slots)

    def _options(self, number: int, item: Underlying, slots: Slots) -> Iterator[Step]:
        options = item.options
        for expiry, strike, kind in itertools.product(self.expiries(options), self.strikes(item), options.kinds):
            terms = (expiry, strike, kind == "call")
            subject = f"{item.symbol} {expiry} {_plain(Decimal(strike) / WAD)} {kind}"
            yield self._listed("list_option", number, terms, subject, slots)

    def _futures(self, number: int, item: Underlying, slots: Slots) -> Iterator[Step]:
        for expiry in self._days(item.futures):
            yield self._listed("list_future", number, (expiry,), f"{item.symbol} {expiry}", slots)

    def _listed(self, function: str, number: int, terms: Terms, subject: str, slots: Slots) -> Step:
        # INITIAL: once settled and retired, the slot belongs to another
        step = Call("InstrumentRegistry", function, (number, *terms), (), subject, Kind.INITIAL)
        if step.id in self.progress.done and terms not in self.progress.taken.get(number, {}):
            return step  # retired since: it must not be given a slot again
        instrument = number << 8 | slots.of(terms)
        if function == "list_option":
            return replace(step, checks=(Check("InstrumentRegistry", "option_info", (instrument,), terms),))
        return replace(
            step, checks=(Check("InstrumentRegistry", "instrument_info", (instrument,), ((KIND_FUTURE, *terms),)),)
        )

    def _days(self, days: tuple[int, ...]) -> list[int]:
        start = self.anchors.time // DAY_S * DAY_S + EXPIRY_HOUR_S
        return sorted(start + count * DAY_S for count in days)

    def expiries(self, options: Options) -> list[int]:
        """Expiries in unix seconds, ascending; those given in days fall on 08:00 UTC."""
        return sorted({*options.expiries, *self._days(options.expiry_days)})

    def strikes(self, item: Underlying) -> list[int]:
        """Strikes in USD wad, ascending."""
        options, spot = item.options, self.anchors.spots[item.symbol]
        step = options.strike_step or Decimal(10) ** (math.floor(spot.log10()) - 2)
        near = {(spot * percent / 100 / step).to_integral_value() * step for percent in options.strikes_percent}
        strikes = sorted(scaled(strike, WAD) for strike in {*near, *options.strikes})
        if strikes and strikes[0] <= 0:
            raise ConfigError(f"strike_step {step} of {item.symbol} rounds a strike to zero; make the step smaller")
        return strikes

    # ------------------------------------------------------------------ collateral and parameters

    def _collateral(self) -> Iterator[Step]:
        for asset, item in enumerate(self.config.collateral):
            linked = 0 if item.linked is None else self.symbols.index(item.linked) + 1
            decimals = self.decimals_of(item.symbol)
            caps = tuple(scaled(cap, 10**decimals) for cap in (item.cap, item.hard_cap or item.cap))
            token = Ref(f"token:{item.symbol}")
            listed = Check("MarginAccounts", "collateral_info", (asset,), (token, decimals, linked))
            yield Call("MarginAccounts", "list_collateral", (token, linked, *caps), (listed,), item.symbol)
            yield from self._collateral_feed(asset, item)

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
        guards = given.guards or Guards()  # the contract begins with these
        for kind, number, symbol, where, lanes in self._first_words():
            packed = pack_lanes(list(lanes.values()))
            # a later push has replaced it: any word but zero means initialised
            done = Check("RiskParameters", "word", (kind, number), (packed,))
            later = Check("RiskParameters", "word", (kind, number), (AtLeast(1),))
            # an asset may have an underlying's symbol
            subject = f"collateral {symbol}" if kind == COLLATERAL + 1 else symbol
            step = Call("RiskParameters", "initialise", (kind, number, packed), (done, later), subject, Kind.INITIAL)
            if step.id not in self.progress.done:
                check_first(kind, where, lanes, bounds[kind], guards.min_scan_multiple_bps)
            yield step

    def _first_words(self) -> Iterator[tuple[int, int, str, str, dict[str, int]]]:
        """Kind, number, symbol, section of the file and lanes of each first word."""
        yield 0, 0, "global", "parameters.initial", self.config.parameters.initial.model_dump()
        for i, item in enumerate(self.config.underlyings):
            yield 1, i, item.symbol, f"underlyings.{i}.parameters ({item.symbol})", item.parameters.model_dump()
        for i, asset in enumerate(self.config.collateral):
            yield 2, i, asset.symbol, f"collateral.{i}.parameters ({asset.symbol})", asset.parameters.model_dump()


def scaled(value: Decimal, scale: int) -> int:
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
    lanes = WORDS[kind].model_fields
    check_bounds(kind, lanes, bounds)
    low, high, step_up, step_down = (
        pack_lanes([given.get(name, 0) for name in lanes])
        for given in (bounds.low, bounds.high, bounds.step_up, bounds.step_down)
    )
    return low, high, step_up, step_down
