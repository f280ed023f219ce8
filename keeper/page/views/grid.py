# SPDX-License-Identifier: Apache-2.0
"""What one account would be worth, and what it would need, if the price of an underlying moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from risk.onchain import ChainMarket, UnderlyingResult, assess_words, underlying_results
from risk.onchain_words import lane, parse_words
from risk.units import pack_lanes, unpack_lanes

WAD = 10**18
MILLION = 10**6
SCAN = 0  # lane of an underlying's word
APART = 100  # points nearer to each other than this part of the scan range are one
PARTS = (16, 14, 12, 10, 8, 4)  # sixteenths of the scan range; each gives nine points


@dataclass(frozen=True, slots=True)
class Curve:
    """An account over the price of one underlying, all else unchanged; USD.

    ``equity[v]`` is equity at mark for volatility down, unchanged and up. ``need_mm`` and ``need_im`` are what equity
    must not be below: margin and haircuts; initial margin is widened as it is now, as if the page were published again
    at the new price. ``crossings`` are the prices at which equity meets ``need_mm`` with volatility unchanged.
    """

    prices: tuple[float, ...]
    equity: tuple[tuple[float, ...], ...]
    need_mm: tuple[float, ...]
    need_im: tuple[float, ...]
    crossings: tuple[float, ...]


def scan_points(words: Sequence[int], market: ChainMarket, underlying: int) -> UnderlyingResult | None:
    """The 27 points that margin is scanned over; None where the account is not active in the underlying."""
    found = (item for item in underlying_results(words, market) if item.underlying == underlying)
    return next(found, None)


def curve(words: Sequence[int], market: ChainMarket, underlying: int) -> Curve:
    """Follow an account over the scan range of one underlying.

    Raises
    ------
    KeyError
        The market lacks an input of the account.
    risk.errors.BadInput
        The words have another layout.
    """
    shifts = _vol_shifts(words, market, underlying)
    base = market.prices[underlying].price
    moves = sorted(shifts)
    points = [_at(words, market, underlying, base + base * move // MILLION) for move in moves]
    lifts = [shifts[move] for move in moves]
    equity = tuple(
        tuple(point.equity + lift[v] / WAD for point, lift in zip(points, lifts, strict=True)) for v in range(3)
    )
    prices = tuple(point.price for point in points)
    need_mm = tuple(point.need_mm for point in points)
    need_im = tuple(point.need_im for point in points)
    return Curve(prices, equity, need_mm, need_im, _crossings(prices, equity[1], need_mm))


def _vol_shifts(words: Sequence[int], market: ChainMarket, underlying: int) -> dict[int, tuple[int, int, int]]:
    """What a move of volatility adds (wad), by the move of the price in millionths."""
    word = market.underlying_words[underlying]
    scan_bps = lane(word, SCAN)
    found: dict[int, tuple[int, int, int]] = {}
    for part in PARTS:
        shorter = max(1, scan_bps * part // PARTS[0])
        lanes = [shorter, *unpack_lanes(word)[1:]]
        words_of = {**market.underlying_words, underlying: pack_lanes(lanes)}
        item = scan_points(words, replace(market, underlying_words=words_of), underlying)
        grid = ((0,) * 9,) * 3 if item is None else item.grid
        for n in range(9):
            move, middle = shorter * 100 * (n - 4) // 4, grid[1][n]
            if all(abs(move - other) > scan_bps * 100 // APART for other in found):
                found[move] = (grid[0][n] - middle, 0, grid[2][n] - middle)
    return found


@dataclass(frozen=True, slots=True)
class _Point:
    price: float
    equity: float
    need_mm: float
    need_im: float


def _at(words: Sequence[int], market: ChainMarket, underlying: int, price: int) -> _Point:
    """Judge the account at another price of the underlying and of the collateral that follows it."""
    moved = _moved(words, market, underlying, price)
    found = assess_words(words, moved)
    now, then = (scan_points(words, m, underlying) for m in (market, moved))
    # the page of today would be distant at a distant price; the keeper publishes a new one there
    stale = 0 if now is None or then is None else then.drift + then.wide + then.lost - now.drift - now.wide - now.lost
    return _Point(
        price=price / WAD,
        equity=found.equity_mark / WAD,
        need_mm=(found.equity_mark - found.equity_mm + found.mm) / WAD,
        need_im=(found.equity_mark - found.equity_im + found.im - stale) / WAD,
    )


def _moved(words: Sequence[int], market: ChainMarket, underlying: int, price: int) -> ChainMarket:
    base = market.prices[underlying].price
    following = {item.asset for item in parse_words(words).collaterals if item.linked == underlying + 1}
    collateral = {
        asset: word._replace(price=word.price * price // base) if asset in following else word
        for asset, word in market.collateral_prices.items()
    }
    prices = {**market.prices, underlying: market.prices[underlying]._replace(price=price)}
    return replace(market, prices=prices, collateral_prices=collateral)


def _crossings(prices: Sequence[float], equity: Sequence[float], need: Sequence[float]) -> tuple[float, ...]:
    """Prices at which equity meets the need, on straight lines between the points."""
    gaps = [have - want for have, want in zip(equity, need, strict=True)]
    found = []
    for k in range(len(gaps) - 1):
        a, b = gaps[k], gaps[k + 1]
        if (a < 0) != (b < 0):
            found.append(prices[k] + (prices[k + 1] - prices[k]) * a / (a - b))
    return tuple(found)
