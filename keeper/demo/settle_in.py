# SPDX-License-Identifier: Apache-2.0
"""Everybody arrives: accounts are opened, funded, traded into and brought down to the margin they want to run with."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from keeper.demo.population import Leg, Person
from keeper.demo.record import AccountInfo
from keeper.demo.setup import STETH_RATE
from keeper.demo.world import LOTS_PER_UNIT, WAD, World, person_key
from keeper.domain import Snapshot, Unknown
from keeper.errors import Permanent, Transient
from risk.onchain_words import PERPETUAL, instrument_id

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Resident:
    """A person with an account."""

    person: Person
    number: int
    owner: LocalAccount

    @property
    def side(self) -> tuple[int, LocalAccount]:
        """Account and key, as `World.trade` wants a side."""
        return self.number, self.owner

    @property
    def info(self) -> AccountInfo:
        """For tables."""
        return AccountInfo(self.number, self.person.name, self.person.kind)


class Town:
    """Opens and funds the population and makes its first trades.

    Parameters
    ----------
    prices : USD by underlying symbol.
    """

    def __init__(self, world: World, symbols: tuple[str, ...], prices: dict[str, float]) -> None:
        self.world = world
        self.symbols = symbols
        self.prices = prices
        eth, btc = prices.get("ETH"), prices.get("BTC")
        self.token_prices: dict[str, float] = {"USDC": 1.0}
        if eth is not None:
            self.token_prices |= {"WETH": eth, "wstETH": eth * float(STETH_RATE)}
        if btc is not None:
            self.token_prices["WBTC"] = btc

    def move_in(self, person: Person) -> Resident:
        """Open and fund an account; a token this market does not accept is brought as cash."""
        owner = person_key(person.name)
        resident = Resident(person, self.world.open_account(owner), owner)
        for wanted, usd in person.deposits.items():
            symbol = wanted if wanted in self.token_prices and wanted in self.world.tokens else "USDC"
            amount = self.world.raw_amount(symbol, usd, self.token_prices[symbol])
            self.world.deposit(owner, resident.number, symbol, amount)
        return resident

    def trade(self, resident: Resident, makers: list[Resident], snapshot: Snapshot) -> None:
        """Make the person's trades, each against the maker whose turn it is, at the engine's own marks."""
        for k, leg in enumerate(resident.person.legs):
            maker = makers[(resident.number + k) % len(makers)]
            instrument = self._instrument(leg, snapshot)
            price_wad = self.world.mark(instrument)
            if price_wad == 0:
                raise Permanent(f"instrument {instrument} has no mark; publish the page of {leg.symbol} first")
            lots = int(abs(leg.usd) / self.prices[leg.symbol] * LOTS_PER_UNIT)
            buyer, seller = (resident, maker) if leg.usd > 0 else (maker, resident)
            self.world.trade(buyer.side, seller.side, instrument, lots, price_wad)

    def draw(self, resident: Resident) -> None:
        """Withdraw cash until equity is the wanted multiple of initial margin; borrow where it takes that."""
        if resident.person.buffer is None:
            return
        found = self.world.assess(resident.number)
        surplus = found.equity_im - int(found.im * resident.person.buffer)
        decimals = self.world.decimals(self.world.tokens["USDC"])
        amount = surplus // 10 ** (18 - decimals)
        if amount > 0:
            self.world.withdraw(resident.owner, resident.number, "USDC", amount)

    def _instrument(self, leg: Leg, snapshot: Snapshot) -> int:
        """Instrument of a leg: of a future or option the one with the nearest terms."""
        underlying = self.symbols.index(leg.symbol)
        if leg.kind == "perp":
            return instrument_id(underlying, PERPETUAL)
        if isinstance(snapshot.options, Unknown) or isinstance(snapshot.delta_ones, Unknown):
            raise Transient("instruments could not be read; check the node and repeat")
        expiry = snapshot.block.timestamp + leg.days * DAY
        if leg.kind == "future":
            dated = [item for item in snapshot.delta_ones.values() if item.underlying == underlying and item.expiry]
            if not dated:
                raise Permanent(f"no future on {leg.symbol} is listed; list one in the deployment configuration")
            return min(dated, key=lambda item: abs(item.expiry - expiry)).instrument
        strike = leg.moneyness * self.prices[leg.symbol] * WAD
        fitting = [
            item
            for item in snapshot.options.values()
            if item.underlying == underlying and item.is_call == (leg.kind == "call")
        ]
        if not fitting:
            raise Permanent(f"no {leg.kind} on {leg.symbol} is listed; list options in the deployment configuration")
        return min(fitting, key=lambda item: (abs(item.expiry - expiry), abs(item.strike_wad - strike))).instrument
