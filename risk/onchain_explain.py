# SPDX-License-Identifier: Apache-2.0
"""What each position of an account adds to its worst scenario, in the integers of docs/margin-rule.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from risk.onchain import JOINT_DENOMINATOR, UnderlyingResult, joint_point, underlying_results, worst_joint
from risk.onchain_collateral import BPS, ceil_div
from risk.onchain_market import ChainMarket
from risk.onchain_underlying import Grid
from risk.onchain_words import AccountState, build_words, lane, parse_words

Kind = Literal["collateral", "delta-one", "option"]


class Part(NamedTuple):
    """One position's profit under the scenario, wad; ``key`` is the asset's number or the instrument's id."""

    kind: Kind
    key: int
    profit: int


class Breakdown(NamedTuple):
    """Which term decides the market risk, and each position's profit under the moves that it looks at.

    ``binding`` is ``none``, ``scan``, ``joint``, ``sum of scans`` (several underlyings, no joint scenarios), ``offset
    floor`` or ``dominant underlying``; ``joint`` the deciding scenario, else ``None`` and the moves are the worst scan
    point of each underlying. ``loss`` is the loss of all positions under them, wad: the parts add up to ``-loss`` but
    for a few wei each.
    """

    binding: str
    joint: int | None
    parts: tuple[Part, ...]
    loss: int


def breakdown(words: Sequence[int], market: ChainMarket) -> Breakdown:
    """Take the worst scenario of an account apart.

    Parameters
    ----------
    words
        Of ``MarginAccounts.state``.
    market
        Everything else that the rule reads.

    Returns
    -------
    Parts in the order of the words. Each is what the position alone would earn, which is exact because the 27 points of
    section 4 are linear in positions; in a last day each point takes the lots that the account is judged by there.

    Raises
    ------
    risk.errors.BadInput
        When the words do not have the layout of section 2.
    KeyError
        When the market lacks an input that the account needs.

    References
    ----------
    docs/margin-rule.md, sections 4 and 5.
    """
    results = underlying_results(words, market)
    binding, joint = _binding(results, market)
    parts = []
    next_s = {item.underlying: item.last_day.next_s for item in results if item.last_day is not None}
    for kind, key, alone in _positions(parse_words(words)):
        for item in underlying_results(build_words(alone), market, next_s):
            whole = next(result for result in results if result.underlying == item.underlying)
            parts.append(Part(kind, key, _profit(item, whole, market, joint)))
    loss = -sum(_profit(item, item, market, joint) for item in results)
    return Breakdown(binding, joint, tuple(parts), loss)


def _binding(results: Sequence[UnderlyingResult], market: ChainMarket) -> tuple[str, int | None]:
    scans = [item.scan for item in results]
    if not any(scans):
        return "none", None
    if len(results) < 2:
        return "scan", None
    floors = {
        "offset floor": ceil_div(lane(market.global_word, 3) * sum(scans), BPS),
        "dominant underlying": 2 * max(scans) - sum(scans),
    }
    name = max(floors, key=floors.__getitem__)
    if market.joint is None:
        return "sum of scans", None
    loss, index = worst_joint(results, market.joint)
    return ("joint", index) if loss >= floors[name] else (name, None)


def _positions(state: AccountState) -> Iterator[tuple[Kind, int, AccountState]]:
    """Each position at risk, in an account of its own."""
    for token in state.collaterals:
        if token.linked and token.amount:
            yield "collateral", token.asset, AccountState(0, collaterals=(token,))
    for instrument, held in state.delta_ones.items():
        yield "delta-one", instrument, AccountState(0, delta_ones={instrument: held})
    for u, options in state.options.items():
        for option in options:
            yield "option", u << 8 | option.slot, AccountState(0, options={u: (option,)})


def _profit(item: UnderlyingResult, whole: UnderlyingResult, market: ChainMarket, joint: int | None) -> int:
    """Profit of one grid at the joint scenario, else at the whole account's worst point of the underlying."""
    grid = _judged(item, whole)
    if joint is not None and market.joint is not None:
        price, vol = (max(byte, -127) for byte in market.joint.bytes_of(joint, item.underlying))
        return joint_point(grid, price, vol) // JOINT_DENOMINATOR
    points = [value for row in whole.grid for value in row]
    at = min(range(27), key=points.__getitem__)
    return grid[at // 9][at % 9]


def _judged(item: UnderlyingResult, whole: UnderlyingResult) -> Grid:
    """Profits at the 27 points with the lots that the whole account is judged by there: all, or those kept."""
    if whole.last_day is None:
        return item.grid
    own = item.last_day
    full, kept = (item.grid, item.grid) if own is None else (own.full_grid, own.kept_grid)
    return tuple(
        tuple(less if b < a else all_ for all_, less, a, b in zip(*rows, strict=True))
        for rows in zip(full, kept, whole.last_day.full_grid, whole.last_day.kept_grid, strict=True)
    )
