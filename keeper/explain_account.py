# SPDX-License-Identifier: Apache-2.0
"""An account of the chain for `risk.efficiency`, judged by the integer twin, and as a book that peers can judge."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from keeper.domain import OptionInfo, Snapshot, Unknown
from keeper.liquidate.moves import moved
from risk.efficiency import Health, Holding, Instrument
from risk.methodologies.base import Asset, Book, Leg, Market, Underlying
from risk.onchain import ChainMarket, assess_words, price_band
from risk.onchain_words import (
    DELTA_ONE_SLOTS,
    PERPETUAL,
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    build_words,
    lane,
    parse_words,
)
from risk.types import SurfaceSlice
from risk.units import float_from_wad

LOTS = 10**6
WAD = 10**18
BPS = 10_000
NEAREST = 24  # options of an underlying that are tried beside those held


def instrument_name(snapshot: Snapshot, instrument: int) -> str:
    """Like ``ETH perpetual``, ``ETH future in slot 254, expiry 1750000000`` or ``ETH 2,000 call, expiry ...``."""
    u, slot = divmod(instrument, 256)
    symbol = snapshot.symbol(u)
    if slot in DELTA_ONE_SLOTS:
        info = None if isinstance(snapshot.delta_ones, Unknown) else snapshot.delta_ones.get(instrument)
        kind = "perpetual" if slot == PERPETUAL else f"future in slot {slot}"
        return f"{symbol} {kind}" + (f", expiry {info.expiry}" if info is not None and info.expiry else "")
    option = None if isinstance(snapshot.options, Unknown) else snapshot.options.get(instrument)
    if option is None:
        return f"{symbol} option in slot {slot}"
    return f"{symbol} {option.strike_wad / WAD:,.0f} {'call' if option.is_call else 'put'}, expiry {option.expiry}"


@dataclass
class ChainAccount:
    """An account at one block; implements :class:`risk.efficiency.Editable`.

    What may be traded: the perpetuals, futures and options that are listed, have a price, a row and time left; of the
    options of an underlying those held and the nearest to the money. ``names`` are symbols of collateral by number.
    """

    snapshot: Snapshot
    market: ChainMarket
    words: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def state(self) -> AccountState:
        """The account's positions."""
        return parse_words(self.words)

    @cached_property
    def instruments(self) -> tuple[Instrument, ...]:
        """What may be traded."""
        held = {k: item.lots / LOTS for k, item in self.state.delta_ones.items()}
        held |= {u << 8 | o.slot: o.lots / LOTS for u, items in self.state.options.items() for o in items}
        return tuple(
            Instrument(
                instrument_name(self.snapshot, key), key, self.market.prices[key >> 8].price / WAD, held.get(key, 0.0)
            )
            for key in self._tradable(frozenset(held))
            if price_band(self.market, key).mark or key in held
        )

    def _tradable(self, held: frozenset[int]) -> Iterator[int]:
        snapshot, now = self.snapshot, self.market.timestamp
        if not isinstance(snapshot.delta_ones, Unknown):
            for key, item in sorted(snapshot.delta_ones.items()):
                if (
                    not item.settlement_wad
                    and (item.expiry == 0 or item.expiry > now)
                    and key >> 8 in self.market.prices
                ):
                    yield key
        if not isinstance(snapshot.options, Unknown):
            options = {k: o for k, o in snapshot.options.items() if o.expiry > now and not o.settlement_wad}
            for u in sorted(self.market.prices):
                mine = [k for k in options if k >> 8 == u]
                mine.sort(key=lambda k: abs(options[k].strike_wad - self.market.prices[k >> 8].price))
                near = set(mine[:NEAREST])
                yield from (k for k in sorted(mine) if k in near or k in held)

    @cached_property
    def holdings(self) -> tuple[Holding, ...]:
        """Cash and every listed asset."""
        held = {item.asset: item for item in self.state.collaterals}
        listed = {} if isinstance(self.snapshot.collaterals, Unknown) else self.snapshot.collaterals
        out = [Holding("cash", None, 1.0, self.state.cash / WAD)]
        for asset, info in sorted(listed.items()):
            price, item = self.market.collateral_prices.get(asset), held.get(asset)
            if price is not None:
                units = item.amount / 10**info.decimals if item else 0.0
                out.append(Holding(self.names.get(asset, f"asset {asset}"), asset, price.price / WAD, units))
        return tuple(out)

    def traded(self, instrument: Instrument, units: float) -> Health:
        """Health after a fill of signed units at the mark, to the lot."""
        key = int(str(instrument.key))
        mark = price_band(self.market, key).mark
        return self._health(moved(self.state, self.market, key, round(units * LOTS), mark))

    def moved(self, units: Mapping[Hashable | None, float]) -> Health:
        """Health after cash and collateral come in or leave; the use of the deposit cap stays what it is."""
        tokens = {item.asset: item for item in self.state.collaterals}
        listed = {} if isinstance(self.snapshot.collaterals, Unknown) else self.snapshot.collaterals
        cash = self.state.cash
        for key, amount in units.items():
            if key is None:
                cash += round(amount * WAD)
                continue
            info = listed[int(str(key))]
            use = min(BPS, -(-info.total_raw * BPS // info.cap_raw)) if info.cap_raw else BPS
            fresh = CollateralPosition(info.id, 0, use, info.decimals, 0 if info.linked is None else info.linked + 1)
            item = tokens.get(info.id, fresh)
            tokens[info.id] = item._replace(amount=max(0, item.amount + round(amount * 10**info.decimals)))
        held = tuple(tokens[k] for k in sorted(tokens) if tokens[k].amount)
        return self._health(replace(self.state, cash=cash, collaterals=held))

    def _health(self, state: AccountState) -> Health:
        found = assess_words(build_words(state), self.market)
        return Health(found.im_health / WAD, found.mm_health / WAD)


def peer_case(account: ChainAccount, surfaces: Mapping[int, tuple[SurfaceSlice, ...]]) -> tuple[Book, Market]:
    """The account as a book that any methodology can judge; haircuts are those of the chain, size and use left out.

    Parameters
    ----------
    account
        At one block.
    surfaces
        Volatility by underlying as its page was published with; an option without a slice makes peers refuse.

    Returns
    -------
    Book and market. Equity is that of the chain but for options, which peers price by the surface. Settled and expired
    positions are cash at their mark, and so is a future without a known expiry.
    """
    snapshot, market, state = account.snapshot, account.market, account.state
    quotes = {
        snapshot.symbol(u): Underlying(float_from_wad(word.price), surfaces.get(u, ()))
        for u, word in sorted(market.prices.items())
        if word.price
    }
    cash, legs = state.cash, []
    for key, held in state.delta_ones.items():
        value, leg = _delta_one_leg(account, key, held, quotes)
        legs += [leg] if leg else []
        cash += 0 if leg else value
    for u, items in state.options.items():
        for item in items:
            leg = _option_leg(account, u << 8 | item.slot, item.lots)
            legs += [leg] if leg else []
            cash += 0 if leg else item.lots * price_band(market, u << 8 | item.slot).mark // LOTS
    tokens = {item.name: item for item in account.holdings if item.key is not None}
    assets = {name: _asset(account, int(str(item.key)), item.price) for name, item in tokens.items()}
    held_tokens = {name: item.held for name, item in tokens.items() if item.held}
    return Book(cash / WAD, tuple(legs), held_tokens), Market(market.timestamp, quotes, assets)


def _asset(account: ChainAccount, number: int, price: float) -> Asset:
    word, listed = account.market.collateral_words[number], account.snapshot.collaterals
    linked = None if isinstance(listed, Unknown) else listed[number].linked
    symbol = None if linked is None else account.snapshot.symbol(linked)
    return Asset(price, symbol, lane(word, 0) / BPS, lane(word, 1) / BPS)


def _delta_one_leg(
    account: ChainAccount, key: int, held: DeltaOnePosition, quotes: Mapping[str, Underlying]
) -> tuple[int, Leg | None]:
    """Its value, wad, and the leg that has it; no leg for what is settled or has no expiry."""
    market, word = account.market, account.market.marks[key]
    carry = word.carry if key & 255 == PERPETUAL else 0
    value = (held.lots * (market.mark(key) - carry) + held.base) // LOTS
    listings = account.snapshot.delta_ones
    info = None if isinstance(listings, Unknown) else listings.get(key)
    dated = key & 255 != PERPETUAL
    if word.settled or not held.lots or (dated and (info is None or info.expiry <= market.timestamp)):
        return value, None
    symbol, units = account.snapshot.symbol(key >> 8), held.lots / LOTS
    if symbol not in quotes:
        return value, None
    expiry = info.expiry if dated and info is not None else 0
    surface = quotes[symbol].slice(expiry) if dated else None
    mark = quotes[symbol].spot * (surface.forward_ratio if surface else 1.0)
    return value, Leg(symbol, units, "future" if dated else "perp", expiry, entry=mark - value / WAD / units)


def _option_leg(account: ChainAccount, key: int, lots: int) -> Leg | None:
    listed = account.snapshot.options
    info: OptionInfo | None = None if isinstance(listed, Unknown) else listed.get(key)
    if info is None or info.settlement_wad or info.expiry <= account.market.timestamp:
        return None
    return Leg(
        account.snapshot.symbol(key >> 8), lots / LOTS, "option", info.expiry, info.strike_wad / WAD, info.is_call
    )
