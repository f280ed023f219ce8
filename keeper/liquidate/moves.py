# SPDX-License-Identifier: Apache-2.0
"""A position that moves between accounts at a price, as ``MarginAccounts`` books a fill without fees."""

from __future__ import annotations

from dataclasses import replace

from risk.onchain import ChainMarket
from risk.onchain_words import AccountState, DeltaOnePosition, OptionPosition

LOTS_PER_UNIT = 10**6
PERPETUAL = 255
DELTA_ONE_SLOTS = frozenset({253, 254, 255})


def moved(state: AccountState, market: ChainMarket, instrument: int, lots: int, price_wad: int) -> AccountState:
    """State after signed ``lots`` (1e-6 units) come in at ``price_wad`` (USD wad per unit).

    A perpetual or future whose last lot leaves turns its base into cash; an option is paid for at once. The contract
    turns the profit of a position that is reduced into cash too: here it stays in the base, which no margin feels.
    """
    if instrument & 255 in DELTA_ONE_SLOTS:
        carry = market.marks[instrument].carry if instrument & 255 == PERPETUAL else 0
        old = state.delta_ones.get(instrument, DeltaOnePosition(0, 0))
        new = DeltaOnePosition(old.lots + lots, old.base + lots * (carry - price_wad))
        kept = {k: item for k, item in state.delta_ones.items() if k != instrument}
        if new.lots:
            return replace(state, delta_ones=dict(sorted({**kept, instrument: new}.items())))
        return replace(state, delta_ones=kept, cash=state.cash + new.base // LOTS_PER_UNIT)
    u, slot = divmod(instrument, 256)
    mine = {item.slot: item.lots for item in state.options.get(u, ())}
    mine[slot] = mine.get(slot, 0) + lots
    left = tuple(OptionPosition(s, n) for s, n in sorted(mine.items()) if n)
    options = {k: items for k, items in state.options.items() if k != u} | ({u: left} if left else {})
    return replace(state, options=dict(sorted(options.items())), cash=state.cash - lots * price_wad // LOTS_PER_UNIT)


def positions(state: AccountState) -> dict[int, int]:
    """Signed lots of every instrument that the account has."""
    options = {u << 8 | item.slot: item.lots for u, items in state.options.items() for item in items}
    return {k: item.lots for k, item in state.delta_ones.items() if item.lots} | options
