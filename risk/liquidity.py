# SPDX-License-Identifier: Apache-2.0
"""Depth and volume turned into size-dependent charges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput
from risk.market.history import FloatArray, PriceHistory
from risk.types import LANE_MAX, UnderlyingParameters

DAY_S = 86_400
DEPTH_LANE_USD = 10_000.0


@dataclass(frozen=True, slots=True)
class LiquidityConfig:
    """Assumptions behind the charges; fractions unless said otherwise.

    Attributes
    ----------
    participation : float
        Share of a day's volume that can trade at the impact of the square-root law without being the market.
    impact : float
        Coefficient of the square-root law.
    delta_floor, delta_cap : float
        Bounds of the charge on net delta for a small position.
    vol_spread : float
        Half the bid-ask spread of an option, in volatility per volatility.
    option_floor : float
        Lowest charge on gross option notional.
    basis : float
        Move between expiries, as a share of the scan range, charged on hedged delta.
    drift_bps : int
        Interpolation error for each grid step of drift, on gross option notional. A probe of 300 random books found at
        most 6 bps over three steps.
    short_min : float
        Short-option minimum as a share of the scan range, of spot.
    band : float
        How far from the mark a perpetual or future may trade, as a share of the scan range.
    """

    participation: float = 0.01
    impact: float = 1.0
    delta_floor: float = 0.0010
    delta_cap: float = 0.05
    vol_spread: float = 0.02
    option_floor: float = 0.0010
    basis: float = 0.04
    drift_bps: int = 2
    short_min: float = 0.04
    band: float = 0.25


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What is known about trading one underlying: average daily volume and tradable depth, USD; daily volatility."""

    adv_usd: float
    depth_usd: float
    daily_vol: float


def square_root_impact(size_usd: float, adv_usd: float, daily_vol: float, coefficient: float = 1.0) -> float:
    """Cost of trading, as a fraction of the price: ``Y * sigma_day * sqrt(size / ADV)``.

    Raises
    ------
    BadInput
        When volume is not positive and finite, or size or volatility are negative or no numbers.

    References
    ----------
    Toth et al. (2011), *Anomalous price impact and the critical nature of liquidity*, eq. 1.
    docs/risk-methodology.md, formula 11.1.

    Examples
    --------
    >>> round(square_root_impact(1e6, 1e8, 0.04), 6)
    0.004
    """
    if not 0.0 < adv_usd < np.inf or not 0.0 <= size_usd < np.inf or not 0.0 <= daily_vol < np.inf:
        raise BadInput(
            f"impact of {size_usd} USD on {adv_usd} USD a day at a daily volatility of {daily_vol}: volume must be "
            "positive, size and volatility not negative"
        )
    return float(coefficient * daily_vol * np.sqrt(size_usd / adv_usd))


def measure_liquidity(
    history: PriceHistory, symbol: str, config: LiquidityConfig, depth_usd: float | None = None
) -> Liquidity:
    """Volume, depth and volatility of one symbol over a history.

    Parameters
    ----------
    history : PriceHistory
    symbol : str
    config : LiquidityConfig
    depth_usd : float, optional
        USD that an observed order book takes within the impact of the square-root law; the smaller of this and
        ``participation * volume`` counts.

    Notes
    -----
    Volume is the median over bars times bars a day, not the mean: the mean is carried by crash days, when depth is
    thinnest.

    Raises
    ------
    BadInput
        When the history does not hold the symbol.
    """
    if symbol not in history.symbols:
        raise BadInput(f"no prices of {symbol}; the history holds {', '.join(history.symbols)}")
    col = history.symbols.index(symbol)
    per_bar = history.volume[:, col] * history.close[:, col]
    adv = float(np.median(per_bar)) * DAY_S / history.interval_s
    steps = np.diff(np.log(history.close[:, col]))
    exact = np.diff(history.ts) == history.interval_s
    daily_vol = float(np.sqrt(np.mean(steps[exact] ** 2) * DAY_S / history.interval_s)) if exact.any() else 0.0
    depth = config.participation * adv
    if depth_usd is not None:
        depth = min(depth, depth_usd)
    return Liquidity(adv, depth, daily_vol)


def depth_from_quotes(sizes_usd: FloatArray, impacts: FloatArray, at: float) -> float:
    """Largest size whose impact stays within `at`, by interpolation of quotes.

    Parameters
    ----------
    sizes_usd, impacts : (n,) float64
        Quoted sizes and what each costs, a fraction of the mid price. Any order.
    at : float
        Impact accepted.

    Raises
    ------
    BadInput
        No quotes, different lengths, or values that are not finite.
    """
    if sizes_usd.size == 0 or sizes_usd.shape != impacts.shape or not np.isfinite(np.stack([sizes_usd, impacts])).all():
        raise BadInput(f"depth from quotes: {sizes_usd.size} sizes and {impacts.size} impacts; hand over finite pairs")
    order = np.argsort(sizes_usd)
    size = np.concatenate([[0.0], sizes_usd[order]])
    # Quotes jitter; impact can only rise with size.
    impact = np.maximum.accumulate(np.concatenate([[0.0], impacts[order]]))
    beyond = np.flatnonzero(impact > at)
    if beyond.size == 0:
        return float(size[-1])
    j = int(beyond[0])
    share = (at - impact[j - 1]) / (impact[j] - impact[j - 1])
    return float(size[j - 1] + share * (size[j] - size[j - 1]))


def underlying_parameters(
    scan: float,
    vol_up: float,
    vol_down: float,
    vol_power: float,
    atm_vol: float,
    liquidity: Liquidity,
    config: LiquidityConfig,
) -> UnderlyingParameters:
    """The lanes of one underlying; every fraction rounded up to a basis point, depth rounded down.

    Parameters
    ----------
    scan, vol_up, vol_down, vol_power : float
        Fractions.
    atm_vol : float
        Annual, of the smile.
    liquidity : Liquidity
    config : LiquidityConfig

    Notes
    -----
    The engine charges ``N * c * (1 + N / depth)``. With ``c`` half the square-root impact at ``depth`` the charge meets
    the law there and lies above it for anything larger. The charge on option notional is the vega of a 30-day
    at-the-money option, ``0.4 * sqrt(30/365)``, times half the spread in volatility. The volatility of a day is the
    larger of the history's and the smile's.

    References
    ----------
    docs/risk-methodology.md, formula 11.2.
    """
    adv = max(liquidity.adv_usd, DEPTH_LANE_USD)
    at_depth = square_root_impact(liquidity.depth_usd, adv, liquidity.daily_vol, config.impact)
    # No depth is no reason for the least charge: the law at size zero says nothing.
    delta = float(np.clip(0.5 * at_depth, config.delta_floor, config.delta_cap))
    delta = delta if liquidity.depth_usd > 0.0 else config.delta_cap
    option = max(config.option_floor, 0.4 * float(np.sqrt(30 / 365)) * atm_vol * config.vol_spread)
    return UnderlyingParameters(
        scan_bps=bps_up(scan),
        vol_up_bps=bps_up(vol_up),
        vol_down_bps=bps_up(vol_down),
        vol_power_bps=bps_up(vol_power),
        delta_charge_bps=bps_up(delta),
        option_charge_bps=bps_up(option),
        basis_charge_bps=bps_up(config.basis * scan),
        drift_charge_bps=config.drift_bps,
        depth=int(np.clip(liquidity.depth_usd // DEPTH_LANE_USD, 1, LANE_MAX)),
        short_min_bps=bps_up(config.short_min * scan),
        vol_day_bps=day_volatility_bps(liquidity, atm_vol),
        band_bps=bps_up(config.band * scan),
    )


def day_volatility_bps(liquidity: Liquidity, atm_vol: float) -> int:
    """Volatility of a day that is pushed, bps: the larger of the history's and the smile's (`atm_vol` a year)."""
    return min(bps_up(max(liquidity.daily_vol, atm_vol / np.sqrt(365))), LANE_MAX)


def bps_up(fraction: float) -> int:
    """Basis points, rounded up (against the account); float noise below 1e-9 bps does not count.

    Examples
    --------
    >>> bps_up(0.1501), bps_up(0.15011)
    (1501, 1502)
    """
    return int(np.ceil(fraction * 10_000 - 1e-9))
