# SPDX-License-Identifier: Apache-2.0
"""Simulated market history: stochastic volatility with jumps, for demonstrations, tests and impulse responses.

The model is Bates (1996) for several assets: Heston variance for each, one common Brownian driver that carries
correlation, common and own jumps in price, and a jump in variance with every common price jump. It stands in where no
recorded history may be shipped; it never replaces one in a calibration that is to be believed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput
from risk.market.history import FloatArray, IntArray, PriceHistory, utc

YEAR_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class SvjModel:
    """Parameters of one asset, per year where they have a time unit.

    Attributes
    ----------
    vol : float
        Long-run diffusive volatility.
    reversion : float
        Speed of the variance; 25 is a half-life of ten days.
    vol_of_vol : float
        Heston's xi as a multiple of ``sqrt(2 * reversion * vol^2)``; below 1 the variance stays off zero (Feller).
    leverage : float
        Correlation of price and variance shocks.
    common : float
        Share of the price shock's variance that is the common driver.
    own_jumps, own_jump_sd : float
        Intensity and log size of jumps of this asset alone.
    jump_beta : float
        Multiple of the common jump this asset makes.
    """

    vol: float = 0.75
    reversion: float = 25.0
    vol_of_vol: float = 0.95
    leverage: float = -0.25
    common: float = 0.65
    own_jumps: float = 12.0
    own_jump_sd: float = 0.035
    jump_beta: float = 1.2


@dataclass(frozen=True, slots=True)
class CommonJumps:
    """Jumps all assets make together: number a year, log mean and deviation, variance added after one."""

    intensity: float = 10.0
    mean: float = -0.02
    sd: float = 0.035
    variance_kick: float = 1.5


@dataclass(frozen=True, slots=True)
class Crash:
    """A scripted fall.

    Attributes
    ----------
    hour : int
        Bar in which it begins (0 = first).
    size : float
        Fraction lost by an asset of jump beta 1 when it is over, 0..1 exclusive; 0.3 is minus 30 %.
    duration : int
        Bars it takes; the fall is front loaded.
    rebound : float
        Share of the log fall regained over the three durations that follow.
    variance_multiple : float
        Multiple of long-run variance reached at the start.
    """

    hour: int
    size: float
    duration: int = 6
    rebound: float = 0.2
    variance_multiple: float = 6.0

    def path(self, bars: int) -> FloatArray:
        """Log move added in each bar for beta 1, shape (bars,)."""
        if not 0 < self.size < 1 or self.duration < 1 or self.hour < 0:
            raise BadInput(
                f"crash: size {self.size}, duration {self.duration} bars, hour {self.hour}; "
                "size must lie between 0 and 1, duration be at least 1, hour not negative"
            )
        out = np.zeros(bars + self.hour + 4 * self.duration)
        total = float(np.log1p(-self.size))
        weights = np.exp(-1.5 * np.arange(self.duration) / self.duration)
        fall_end = self.hour + self.duration
        out[self.hour : fall_end] = total * weights / weights.sum()
        out[fall_end : fall_end + 3 * self.duration] = -total * self.rebound / (3 * self.duration)
        return out[:bars]


DEFAULT_MODELS: Mapping[str, SvjModel] = {
    "BTC": SvjModel(vol=0.45, common=0.75, own_jumps=6.0, own_jump_sd=0.025, jump_beta=1.0),
    "ETH": SvjModel(vol=0.57, common=0.80, own_jumps=8.0, own_jump_sd=0.03, jump_beta=1.2),
    "SOL": SvjModel(vol=0.78, common=0.65, own_jumps=14.0, own_jump_sd=0.045, jump_beta=1.35),
    "LINK": SvjModel(vol=0.75, common=0.65, own_jumps=12.0, own_jump_sd=0.04, jump_beta=1.3),
}
FALLBACK_MODEL = SvjModel()


@dataclass(frozen=True, slots=True)
class Bars:
    """Simulated bars: all price and volume arrays (n, k), prices in quote units, volume in base units."""

    symbols: tuple[str, ...]
    ts: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    variance: FloatArray
    interval_s: int

    def history(self) -> PriceHistory:
        """Closes and volumes as a `PriceHistory`."""
        return PriceHistory(self.symbols, self.ts, self.close, self.volume, self.interval_s)

    def csv(self, symbol: str) -> str:
        """Text of a price file of one symbol, in the layout `risk.market.load` reads."""
        if symbol not in self.symbols:
            raise BadInput(f"no bars of {symbol}; there are {', '.join(self.symbols)}")
        col = self.symbols.index(symbol)
        out = io.StringIO()
        out.write("ts,open,high,low,close,volume\n")
        for i, ts in enumerate(self.ts):
            prices = ",".join(f"{p[i, col]:.10g}" for p in (self.open, self.high, self.low, self.close))
            out.write(f"{utc(int(ts))},{prices},{self.volume[i, col]:.6f}\n")
        return out.getvalue()


def simulate(
    symbols: Sequence[str],
    hours: int,
    start_prices: Sequence[float],
    rng: np.random.Generator,
    *,
    start_ts: int = 1_700_000_000 // 3600 * 3600,
    crash: Crash | None = None,
    interval_s: int = 3600,
    models: Mapping[str, SvjModel] | None = None,
) -> PriceHistory:
    """Simulated closes and volumes. See `simulate_bars`.

    Examples
    --------
    >>> import numpy as np
    >>> h = simulate(["BTC", "ETH"], 24, [60000.0, 3000.0], np.random.default_rng(1))
    >>> h.close.shape
    (24, 2)
    """
    return simulate_bars(
        symbols, hours, start_prices, rng, start_ts=start_ts, crash=crash, interval_s=interval_s, models=models
    ).history()


def warmup(
    symbols: Sequence[str],
    hours: int,
    end_prices: Sequence[float],
    rng: np.random.Generator,
    *,
    end_ts: int,
    interval_s: int = 3600,
    models: Mapping[str, SvjModel] | None = None,
) -> PriceHistory:
    """A simulated past whose last bar opens at `end_ts` and closes at `end_prices`: something to calibrate on.

    Parameters are those of `simulate_bars`; returns do not depend on the level, so the path is rescaled to end there.
    """
    start = end_ts - (hours - 1) * interval_s
    raw = simulate(symbols, hours, end_prices, rng, start_ts=start, interval_s=interval_s, models=models)
    scale = np.asarray(end_prices, dtype=np.float64) / raw.close[-1]
    return PriceHistory(raw.symbols, raw.ts, raw.close * scale, raw.volume / scale, interval_s)


def simulate_bars(
    symbols: Sequence[str],
    bars: int,
    start_prices: Sequence[float],
    rng: np.random.Generator,
    *,
    start_ts: int,
    crash: Crash | None = None,
    interval_s: int = 3600,
    models: Mapping[str, SvjModel] | None = None,
    jumps: CommonJumps | None = None,
) -> Bars:
    """Simulate bars of correlated assets.

    Parameters
    ----------
    symbols : sequence of str
        k names; BTC, ETH, SOL and LINK have models of their own.
    bars : int
    start_prices : sequence of float
        (k,) open of the first bar, quote units.
    rng : numpy.random.Generator
    start_ts : int
        Open of the first bar, epoch seconds.
    crash : Crash, optional
    interval_s : int
    models : mapping of symbol to SvjModel, optional
        Replaces the defaults.
    jumps : CommonJumps, optional

    Returns
    -------
    Bars
        ``low <= open, close <= high``; a bar opens where the last one closed.

    Raises
    ------
    BadInput
        No symbols, no bars, or a start price that is not positive.

    References
    ----------
    Bates (1996), *Jumps and stochastic volatility*, RFS 9(1); Lord, Koekkoek & van Dijk (2010) for the full
    truncation scheme; Glasserman (2003), section 6.4, for the extremes of a Brownian bridge.
    """
    start = np.asarray(start_prices, dtype=np.float64)
    if not symbols or bars < 1 or start.shape != (len(symbols),) or not (np.isfinite(start) & (start > 0)).all():
        raise BadInput(
            f"simulation of {list(symbols)} over {bars} bars from prices {list(start_prices)}: "
            "hand over at least one symbol, one bar, and a positive price for each symbol"
        )
    chosen = [{**DEFAULT_MODELS, **(models or {})}.get(s, FALLBACK_MODEL) for s in symbols]
    steps, variance = _paths(chosen, bars, interval_s / YEAR_S, rng, crash, jumps or CommonJumps())
    log_close = np.log(start) + np.cumsum(steps, axis=0)
    log_open = np.vstack([np.log(start), log_close[:-1]])
    sd2 = variance * interval_s / YEAR_S
    high, low = (_bridge_extreme(log_open, log_close, sd2, rng, sign) for sign in (1.0, -1.0))
    volume = _volumes(chosen, log_close, steps, sd2, interval_s, rng)
    ts = start_ts + interval_s * np.arange(bars, dtype=np.int64)
    opens, highs, lows, closes = (np.exp(x) for x in (log_open, high, low, log_close))
    return Bars(tuple(symbols), ts, opens, highs, lows, closes, volume, variance, interval_s)


def _paths(
    models: Sequence[SvjModel],
    bars: int,
    dt: float,
    rng: np.random.Generator,
    crash: Crash | None,
    jumps: CommonJumps,
) -> tuple[FloatArray, FloatArray]:
    """Log steps and the variance each was drawn with, both (bars, k)."""
    k = len(models)
    long_var = np.array([m.vol**2 for m in models])
    reversion = np.array([m.reversion for m in models])
    xi = np.array([m.vol_of_vol for m in models]) * np.sqrt(2 * reversion * long_var)
    rho = np.array([m.leverage for m in models])
    share = np.sqrt(np.array([m.common for m in models]))
    beta = np.array([m.jump_beta for m in models])
    z_price = share * rng.standard_normal((bars, 1)) + np.sqrt(1 - share**2) * rng.standard_normal((bars, k))
    # The common part of variance shocks: volatility rises everywhere at once more often than in one asset alone.
    z_free = np.sqrt(0.6) * rng.standard_normal((bars, 1)) + np.sqrt(0.4) * rng.standard_normal((bars, k))
    z_var = rho * z_price + np.sqrt(1 - rho**2) * z_free
    hits = rng.poisson(jumps.intensity * dt, bars)
    common = hits * jumps.mean + np.sqrt(hits) * jumps.sd * rng.standard_normal(bars)
    own_hits = rng.poisson(np.array([m.own_jumps for m in models]) * dt, (bars, k))
    own = np.sqrt(own_hits) * np.array([m.own_jump_sd for m in models]) * rng.standard_normal((bars, k))
    scripted = np.zeros(bars) if crash is None else crash.path(bars)
    moves = beta * (common + scripted)[:, None] + own

    variance = np.empty((bars, k))
    v = long_var.copy()
    root_dt = np.sqrt(dt)
    for i in range(bars):
        if crash is not None and i == crash.hour:
            v = np.maximum(v, crash.variance_multiple * long_var)
        positive = np.maximum(v, 0.02 * long_var)
        variance[i] = positive
        v = v + reversion * (long_var - positive) * dt + xi * np.sqrt(positive) * root_dt * z_var[i]
        if hits[i]:
            v = v + jumps.variance_kick * hits[i] * long_var
    return -0.5 * variance * dt + np.sqrt(variance * dt) * z_price + moves, variance


def _bridge_extreme(
    x0: FloatArray, x1: FloatArray, variance: FloatArray, rng: np.random.Generator, sign: float
) -> FloatArray:
    """Exact draw of the maximum (sign 1) or minimum (sign -1) of a Brownian bridge from x0 to x1."""
    u = 1.0 - rng.random(x0.shape)
    reach = np.sqrt((x1 - x0) ** 2 - 2.0 * variance * np.log(u))
    return 0.5 * (x0 + x1 + sign * reach)


def _volumes(
    models: Sequence[SvjModel],
    log_close: FloatArray,
    steps: FloatArray,
    step_variance: FloatArray,
    interval_s: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Base-unit volume: 50 M USD an hour at long-run volatility, rising with variance and with the bar's own move."""
    usd = 5e7 * interval_s / 3600
    long_var = np.array([m.vol**2 for m in models]) * interval_s / YEAR_S
    activity = np.sqrt(step_variance / long_var) * (0.6 + 0.4 * np.abs(steps) / np.sqrt(step_variance))
    noise = np.exp(0.35 * rng.standard_normal(steps.shape))
    return usd * activity * noise / np.exp(log_close)
