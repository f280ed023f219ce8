# SPDX-License-Identifier: Apache-2.0
"""What the bidder's own account would look like after it has taken over a part of another one."""

from __future__ import annotations

from keeper.domain import Unknown
from risk.onchain import Assessment, ChainMarket, assess_words
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    OptionPosition,
    build_words,
)

WAD = 10**18
LOTS_PER_UNIT = 10**6
MAX_POSITIONS = 128


def take(amount: int, fraction_wad: int) -> int:
    """``fraction`` of a signed amount, towards zero."""
    part = abs(amount) * fraction_wad // WAD
    return -part if amount < 0 else part


def merge(bidder: AccountState, seized: AccountState, fraction_wad: int, price_wad: int) -> AccountState:
    """State of the bidder's account after a bid, exactly as the seizure books it.

    Parameters
    ----------
    fraction_wad
        Share of everything that moves.
    price_wad
        What the bidder pays in cash; negative when it is paid.
    """
    delta_ones, closed = _delta_ones(bidder, seized, fraction_wad)
    cash = bidder.cash - price_wad + take(seized.cash, fraction_wad)
    return AccountState(
        cash=cash + closed // LOTS_PER_UNIT,
        nonce=bidder.nonce,
        collaterals=_collaterals(bidder, seized, fraction_wad),
        delta_ones=delta_ones,
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


def _delta_ones(
    bidder: AccountState, seized: AccountState, fraction_wad: int
) -> tuple[dict[int, DeltaOnePosition], int]:
    """Perpetuals and futures after, and the sum of the bases (lot x wad) of those that the bid closes."""
    result, closed = {}, 0
    for instrument in sorted({*bidder.delta_ones, *seized.delta_ones}):
        lots = base = 0
        for state, share in ((bidder, WAD), (seized, fraction_wad)):
            held = state.delta_ones.get(instrument)
            if held is not None:
                lots += take(held.lots, share)
                base += take(held.base, share)
        if lots:
            result[instrument] = DeltaOnePosition(lots, base)
        else:  # without lots no carry is left: the base is money
            closed += base
    return result, closed


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
    if len(state.delta_ones) + sum(map(len, state.options.values())) > MAX_POSITIONS:
        return Unknown(f"the bidder would hold more than {MAX_POSITIONS} positions", now)
    try:
        return assess_words(build_words(state), market)
    except KeyError as error:
        return Unknown(f"the snapshot lacks input {error} of the bidder's account", now)
