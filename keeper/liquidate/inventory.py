# SPDX-License-Identifier: Apache-2.0
"""What the bidder's own account would look like after it has taken over a part of another one."""

from __future__ import annotations

from keeper.domain import Unknown
from risk.onchain import Assessment, ChainMarket, assess_words
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    OptionPosition,
    PerpPosition,
    build_words,
)

WAD = 10**18
MAX_POSITIONS = 128


def take(lots: int, fraction_wad: int) -> int:
    """``fraction`` of signed lots, towards zero."""
    part = abs(lots) * fraction_wad // WAD
    return -part if lots < 0 else part


def merge(
    bidder: AccountState, seized: AccountState, fraction_wad: int, price_wad: int, market: ChainMarket
) -> AccountState:
    """State of the bidder's account after a bid; exact up to the roundings of the seizure (a lot, a raw unit).

    Parameters
    ----------
    fraction_wad
        Share of everything that moves.
    price_wad
        What the bidder pays in cash; negative when it is paid.
    market
        Gives the funding index that the joined perpetual starts from.
    """
    cash = bidder.cash - price_wad + take(seized.cash, fraction_wad)
    return AccountState(
        cash=cash,
        nonce=bidder.nonce,
        collaterals=_collaterals(bidder, seized, fraction_wad),
        perps=_perps(bidder, seized, fraction_wad, market),
        options=_options(bidder, seized, fraction_wad),
    )


def _collaterals(bidder: AccountState, seized: AccountState, fraction_wad: int) -> tuple[CollateralPosition, ...]:
    held = {item.asset: item for item in bidder.collaterals}
    for item in seized.collaterals:
        amount = item.amount * fraction_wad // WAD
        if amount:
            mine = held.get(item.asset)
            held[item.asset] = item._replace(amount=amount + (mine.amount if mine else 0))
    return tuple(held[asset] for asset in sorted(held))


def _perps(
    bidder: AccountState, seized: AccountState, fraction_wad: int, market: ChainMarket
) -> dict[int, PerpPosition]:
    result = {}
    for u in sorted({*bidder.perps, *seized.perps}):
        lots = quote = 0
        for state, share in ((bidder, WAD), (seized, fraction_wad)):
            perp = state.perps.get(u)
            if perp is not None:
                part = take(perp.lots, share)
                # Funding owed so far goes into the quote, so that both halves start from the index of now.
                quote += take(perp.quote, share) - part * (market.funding[u] - perp.funding_entry)
                lots += part
        result[u] = PerpPosition(lots, quote, market.funding[u])
    return result


def _options(bidder: AccountState, seized: AccountState, fraction_wad: int) -> dict[int, tuple[OptionPosition, ...]]:
    result = {}
    for u in sorted({*bidder.options, *seized.options}):
        lots: dict[int, int] = {}
        for state, share in ((bidder, WAD), (seized, fraction_wad)):
            for position in state.options.get(u, ()):
                lots[position.slot] = lots.get(position.slot, 0) + take(position.lots, share)
        kept = tuple(OptionPosition(slot, n) for slot, n in sorted(lots.items()) if n)
        if kept:
            result[u] = kept
    return result


def assess_merged(state: AccountState, market: ChainMarket, now: int) -> Assessment | Unknown:
    """Assessment of a merged account, `Unknown` when the contract could not hold or the snapshot not judge it."""
    if len(state.perps) + sum(map(len, state.options.values())) > MAX_POSITIONS:
        return Unknown(f"the bidder would hold more than {MAX_POSITIONS} positions", now)
    try:
        return assess_words(build_words(state), market)
    except KeyError as error:
        return Unknown(f"the snapshot lacks input {error} of the bidder's account", now)
