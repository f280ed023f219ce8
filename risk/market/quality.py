# SPDX-License-Identifier: Apache-2.0
"""Doubts about a price history: holes, prices that stand still or jump and return, volume that is not there."""

from __future__ import annotations

import numpy as np

from risk.errors import BadInput
from risk.findings import Finding
from risk.market.clean import find_gaps
from risk.market.history import FloatArray, PriceHistory, utc

DAY_S = 86_400
# A week has been lost by exporters and exchanges alike; hours are outages, named in the gaps and no more.
LONG_HOLE_S = DAY_S
STALE_S = DAY_S
ZERO_SHARE = 0.01
# Above this share of bars without a move there is no market to estimate.
MAX_STILL = 0.5
JUMP, RETURNED = 0.25, 0.1
PEG, NEAR_PEG, OFF_PEG = 1.0, 0.1, 0.02
PEAK_S = 30 * DAY_S


def inspect(history: PriceHistory) -> tuple[Finding, ...]:
    """What a reader of estimates made from this history should know.

    Raises
    ------
    BadInput
        When a price stands still for most of the bars.

    Notes
    -----
    Nothing is changed here: returns are never taken across a hole (`risk.market.clean.log_returns`), and what zero
    volume means for charges is decided in `risk.liquidity`.
    """
    found = [*history.notes, *_holes(history)]
    for col, symbol in enumerate(history.symbols):
        close, volume = history.close[:, col], history.volume[:, col]
        found += [*_still(history, symbol, close), *_jumps(history, symbol, close), *_volume(symbol, volume)]
    return tuple(found)


def _holes(history: PriceHistory) -> list[Finding]:
    own = {(g.start, g.end) for g in history.gaps}
    gaps = [*history.gaps]
    gaps += [g for g in find_gaps("all symbols", history.ts, history.interval_s) if (g.start, g.end) not in own]
    found = []
    for symbol in dict.fromkeys(g.symbol for g in gaps):
        mine = [g for g in gaps if g.symbol == symbol]
        longest = max(mine, key=lambda g: g.missing)
        if longest.missing * history.interval_s >= LONG_HOLE_S:
            text = (
                f"{sum(g.missing for g in mine)} bars missing in {len(mine)} holes, the longest {longest.missing} "
                f"between {utc(longest.start)} and {utc(longest.end)}; the other symbols' bars of that time are left "
                "out, and no return is taken across"
            )
            found.append(Finding("missing-bars", symbol, text))
    return found


def _still(history: PriceHistory, symbol: str, close: FloatArray) -> list[Finding]:
    same = np.diff(close) == 0.0
    share = float(same.mean()) if same.size else 0.0
    if share > MAX_STILL:
        raise BadInput(
            f"{symbol}: price stands still in {share:.0%} of the bars; there is no market to calibrate, leave it out"
        )
    ends = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    longest = int((ends[1::2] - ends[::2]).max()) if ends.size else 0
    if longest * history.interval_s < STALE_S:
        return []
    text = f"the price stands still for {longest} bars at a time; volatility then is understated"
    return [Finding("stale-price", symbol, text)]


def _jumps(history: PriceHistory, symbol: str, close: FloatArray) -> list[Finding]:
    """Closes that leave by a quarter and are back with the next bar: a bad print more likely than a move."""
    steps = np.diff(np.log(close))
    both = np.abs(steps[:-1] + steps[1:]) < RETURNED * np.abs(steps[:-1])
    rows = np.flatnonzero((np.abs(steps[:-1]) > JUMP) & both) + 1
    if rows.size == 0:
        return []
    text = f"{rows.size} closes jump by over {JUMP:.0%} and return at once, first {utc(int(history.ts[rows[0]]))}; kept"
    return [Finding("lone-print", symbol, text)]


def _volume(symbol: str, volume: FloatArray) -> list[Finding]:
    share = float((volume == 0.0).mean())
    if share <= ZERO_SHARE:
        return []
    done = "depth counts as nothing and the charge on delta is the cap" if share >= 0.5 else "they count as they are"
    return [Finding("zero-volume", symbol, f"{share:.1%} of the bars have no volume; {done}")]


def discount(residual: PriceHistory) -> float:
    """How far an asset stands below its peg now, a fraction, at least 0.

    Parameters
    ----------
    residual : PriceHistory
        One column: price in USD, or over the price of its link. The peg is 1 where the median is near it (a
        stablecoin, a wrapped coin); otherwise (a staking token, whose rate rises) the highest close of 30 days.
    """
    close = residual.close[:, 0]
    if abs(float(np.median(close)) - PEG) <= NEAR_PEG:
        return max(0.0, PEG - float(close[-1]))
    recent = close[residual.ts > residual.ts[-1] - PEAK_S]
    return max(0.0, 1.0 - float(close[-1] / recent.max()))
