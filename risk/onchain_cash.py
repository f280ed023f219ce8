# SPDX-License-Identifier: Apache-2.0
"""Words of an untouched account, brought to a later block: only interest and the use of deposit caps move.

``MarginAccounts`` stores cash scaled by an index and shows it rounded against the account. While an index is at least
one wad, what is shown determines what is stored (below, mostly): so the words of one block and two pairs of indices
give the words of another block to the wei.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from risk.onchain_collateral import BPS, ceil_div
from risk.onchain_words import signed

WAD = 10**18
_COLLATERAL_BIT, _USE_BIT, _USE_MASK = 144, 128, 0xFFFF


class Indices(NamedTuple):
    """Interest indices of a block as ``MarginAccounts.cash_totals`` returns them, wad."""

    supply_wad: int
    borrow_wad: int


def cap_use_bps(total_raw: int, cap_raw: int) -> int:
    """Use of a deposit cap as the state words carry it, bps: rounded up, at most 10,000; full where there is no cap."""
    return min(BPS, ceil_div(total_raw * BPS, cap_raw)) if cap_raw else BPS


def scaled_cash(cash_wad: int, then: Indices) -> int | None:
    """Stored balance behind a shown one; None where several would show the same.

    Parameters
    ----------
    cash_wad
        Cash as the words of a block show it, signed.
    then
        Indices of that block.

    Examples
    --------
    >>> scaled_cash(105, Indices(10**18 + 5 * 10**16, 10**18))
    100
    """
    if cash_wad < 0:
        return -(-cash_wad * WAD // then.borrow_wad)  # this index never falls below a wad
    least, next_above = (ceil_div(shown * WAD, then.supply_wad) for shown in (cash_wad, cash_wad + 1))
    # below a wad, after a loss of lenders, a shown wei may stand for more than one stored
    return least if next_above == least + 1 else None


def shown_cash(scaled: int, now: Indices) -> int:
    """Cash that a stored balance shows, wad, rounded against the account."""
    return scaled * now.supply_wad // WAD if scaled >= 0 else -ceil_div(-scaled * now.borrow_wad, WAD)


def carried_words(
    words: Sequence[int], then: Indices, now: Indices, use_bps: Mapping[int, int]
) -> tuple[int, ...] | None:
    """Words of an untouched account at a later block; None where they must be read again.

    Parameters
    ----------
    words
        Of ``MarginAccounts.state`` at the block of ``then``.
    now
        Indices of the later block. No loss may have been shared among lenders in between: that changes what is stored.
    use_bps
        Use of the deposit cap by collateral asset at the later block; assets that are missing keep theirs.
    """
    found = list(words)
    if then != now:
        scaled = scaled_cash(signed(words[1], 256), then)
        if scaled is None:
            return None
        found[1] = shown_cash(scaled, now) & (2**256 - 1)
    at = 2
    for asset in range(16):
        if words[0] >> (_COLLATERAL_BIT + asset) & 1:
            if asset in use_bps:
                found[at] = words[at] & ~(_USE_MASK << _USE_BIT) | use_bps[asset] << _USE_BIT
            at += 1
    return tuple(found)
