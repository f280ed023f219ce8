# SPDX-License-Identifier: Apache-2.0
"""Daily samples for the adaptive layer: what is known of a market at 00:00 UTC, and the return of the day that follows.

Every feature is a ratio, so that samples of different assets can be pooled: volatilities are over the EWMA forecast of
the day's deviation (`Samples.scale`), volumes over their own month. Ranges are those of hourly closes: recorded highs
and lows hold prints at which nobody could have traded much (LINK at 0.0001 on 2020-03-12).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.factors.fhs import FactorHistory, build_factors
from risk.market.history import FloatArray, IntArray, PriceHistory, utc
from risk.market.observed import FundingSeries
from risk.market.signals import DatedSeries, from_funding, from_vol

DAY_S = 86_400
MARKET = ("market_volatility_1d", "market_return_1d")
# Half-life of the filter, s: as `CalibrationConfig.halflife_s`, so that FHS here is the calibration's.
HALFLIFE_S, VOL_HALFLIFE_S = 72 * 3600, 240 * 3600
# Days of history before the first sample, and the longest window looked at.
WARMUP_DAYS, LONGEST_DAYS = 30, 90
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of an asset beside price and volume; each may be absent.

    ``vol``: implied-volatility index, per year, a fraction or in percent. ``funding``: funding rate a payment, a
    fraction. ``depth``: size quoted near the mid, any positive unit.
    """

    vol: DatedSeries | None = None
    funding: DatedSeries | None = None
    depth: DatedSeries | None = None

    @classmethod
    def of(
        cls, symbol: str, vol: PriceHistory | None = None, funding: Mapping[str, FundingSeries] | None = None
    ) -> Signals:
        """What files say of one symbol; see `risk.market.observed`."""
        return cls(
            from_vol(vol, symbol) if vol is not None and symbol in vol.symbols else None,
            from_funding(funding[symbol]) if funding is not None and symbol in funding else None,
        )

    def until(self, time: int) -> Signals:
        """What was known at a time (epoch s)."""
        kept = (None if s is None else s.until(time) for s in (self.vol, self.funding, self.depth))
        return Signals(*kept)


@dataclass(frozen=True, slots=True)
class Samples:
    """Daily samples of one asset.

    Attributes
    ----------
    symbol : str
    ts : (n,) int64
        Moment of the forecast, epoch seconds: 00:00 UTC, when the bar before it has closed.
    names : tuple of str
        Of the f features.
    features : (n, f) float64
        Known at ``ts``; nan where absent.
    scale : (n,) float64
        EWMA forecast, known at ``ts``, of the deviation of the day's log return.
    target : (n,) float64
        Log return from ``ts`` to a day later; nan where a bar is missing or it is not over.
    factors : FactorHistory
        Hourly changes and their forecast deviations.
    """

    symbol: str
    ts: IntArray
    names: tuple[str, ...]
    features: FloatArray
    scale: FloatArray
    target: FloatArray
    factors: FactorHistory = field(repr=False)


Panel = Mapping[str, Samples]
Builder = Callable[[Mapping[str, PriceHistory], Mapping[str, Signals]], Panel]


def build_panel(
    histories: Mapping[str, PriceHistory], signals: Mapping[str, Signals] | None = None
) -> dict[str, Samples]:
    """Samples of every asset, with the features of the market as a whole.

    Parameters
    ----------
    histories : mapping of symbol to PriceHistory
        Each of that one symbol, with bars that divide a day into at least four; they need not begin together.
    signals : mapping of symbol to Signals, optional

    Raises
    ------
    BadInput
        A history of several symbols, bars that do not divide a day, a price that does not move.
    InsufficientHistory
        No sample after the first 30 days.
    """
    known = signals or {}
    panel = {name: build_samples(name, history, known.get(name, Signals())) for name, history in histories.items()}
    if not panel:
        raise BadInput("no price history; hand over at least one symbol")
    days = np.unique(np.concatenate([s.ts for s in panel.values()]))
    market = np.column_stack([_across(panel, days, name) for name in ("volatility_1d", "return_1d")])
    return {
        name: replace(s, names=s.names + MARKET, features=np.hstack([s.features, market[np.searchsorted(days, s.ts)]]))
        for name, s in panel.items()
    }


def _across(panel: Panel, days: IntArray, name: str) -> FloatArray:
    """Mean of a feature over the assets that have it, each day."""
    total, count = np.zeros(days.size), np.zeros(days.size)
    for s in panel.values():
        value, rows = s.features[:, s.names.index(name)], np.searchsorted(days, s.ts)
        has = np.isfinite(value)
        total[rows[has]] += value[has]
        count[rows[has]] += 1
    return _over(total, count)


def build_samples(symbol: str, history: PriceHistory, signals: Signals) -> Samples:
    """Samples of one asset without those features that need others; see `build_panel`.

    docs/risk/adaptive.md, formula A1.

    Raises
    ------
    InsufficientHistory
        When a history holds no day after the warm-up.
    BadInput
        When there is no history at all.
    """
    _check(symbol, history)
    bars = DAY_S // history.interval_s
    factors = build_factors(
        history,
        halflife_bars=HALFLIFE_S / history.interval_s,
        vol_halflife_bars=VOL_HALFLIFE_S / history.interval_s,
    )
    grid = _Grid.of(history)
    # A row of factors is stamped with the open of the bar whose close ends the change.
    closed_at = factors.ts + history.interval_s
    first = int(history.ts[0]) + WARMUP_DAYS * DAY_S
    at_midnight = closed_at % DAY_S == 0
    if not at_midnight.any():
        raise BadInput(f"{symbol}: no bar closes at 00:00 UTC, where days are cut; hand over bars of whole hours")
    rows = np.flatnonzero(at_midnight & (closed_at >= first))
    if rows.size == 0:
        raise InsufficientHistory(
            f"{symbol}: {history.ts.size} bars hold no day after the first {WARMUP_DAYS}; hand over a longer history"
        )
    ts = closed_at[rows]
    scale = factors.sigma[rows + 1, 0] * math.sqrt(bars)
    columns = {
        **_volatility(grid, ts, scale),
        **_paths(grid, ts, scale),
        **_volume(symbol, grid, ts),
        **_signals(signals, ts, scale),
        "weekday": (ts // DAY_S + 3) % 7.0,
    }
    target = grid.log_close(ts + DAY_S) - grid.log_close(ts)
    return Samples(symbol, ts, tuple(columns), np.column_stack(list(columns.values())), scale, target, factors)


def look_ahead(
    build: Builder,
    histories: Mapping[str, PriceHistory],
    signals: Mapping[str, Signals],
    times: Sequence[int],
) -> tuple[str, ...]:
    """Names of the features whose past values change when the future is taken away: those that look ahead.

    The features are built anew from what was known at each of the times (epoch s) alone; at and before it every value
    must come out the same. It catches a value taken from the future and a normalisation by the whole sample alike.

    Raises
    ------
    BadInput
        When even the days that are sampled depend on what follows.
    """
    whole, found = build(histories, signals), set()
    for time in times:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RiskWarning)
            known = {s: h.window(end=time - h.interval_s + 1) for s, h in histories.items() if h.ts[0] < time}
            past = build(known, {s: signals[s].until(time) for s in known if s in signals})
        for symbol, samples in past.items():
            full = whole[symbol]
            count = int(np.searchsorted(full.ts, time, side="right"))
            if not np.array_equal(full.ts[:count], samples.ts):
                raise BadInput(f"{symbol}: the days sampled up to {utc(time)} depend on what follows; drop the builder")
            same = np.array_equal(full.scale[:count], samples.scale)
            found |= set() if same else {"scale"}
            for i, name in enumerate(full.names):
                if not np.array_equal(full.features[:count, i], samples.features[:, i], equal_nan=True):
                    found.add(name)
    return tuple(sorted(found))


def _check(symbol: str, history: PriceHistory) -> None:
    if len(history.symbols) != 1:
        raise BadInput(f"{symbol}: a history of {len(history.symbols)} symbols; hand over each on its own")
    if DAY_S % history.interval_s or history.interval_s > DAY_S // 4:
        raise BadInput(f"{symbol}: bars of {history.interval_s} s; they must divide a day into at least 4, such as 1h")
    if history.ts.size < 2:
        raise InsufficientHistory(f"{symbol}: {history.ts.size} bars; hand over a longer history")
    still = float((np.diff(history.close[:, 0]) == 0).mean())
    if still > 0.5:
        raise BadInput(f"{symbol}: the price is constant over {still:.0%} of the bars; that is no market: leave it out")


@dataclass(frozen=True, slots=True)
class _Grid:
    """Every bar that should exist, nan where it does not, after `LONGEST_DAYS` days of nan."""

    start: int
    step: int
    logs: FloatArray
    returns: FloatArray
    volume: FloatArray

    @classmethod
    def of(cls, history: PriceHistory) -> _Grid:
        step = history.interval_s
        start = int(history.ts[0]) - LONGEST_DAYS * DAY_S
        row = (history.ts - start) // step
        logs, volume = np.full(int(row[-1]) + 1, np.nan), np.full(int(row[-1]) + 1, np.nan)
        logs[row], volume[row] = np.log(history.close[:, 0]), history.volume[:, 0]
        return cls(start, step, logs, np.append(np.nan, np.diff(logs)), volume)

    def log_close(self, times: IntArray) -> FloatArray:
        """Log price at each time (epoch s), nan where unknown."""
        row = (times - self.start) // self.step - 1
        out = np.full(times.size, np.nan)
        inside = row < self.logs.size
        out[inside] = self.logs[row[inside]]
        return out

    def before(self, series: FloatArray, times: IntArray, hours: float) -> FloatArray:
        """(n, bars) values of the bars that closed within so many hours up to each time."""
        bars = max(1, round(hours * 3600 / self.step))
        row = (times - self.start) // self.step - 1
        view = np.lib.stride_tricks.sliding_window_view(series, bars)
        return np.asarray(view[row - bars + 1], dtype=np.float64)


def _over(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Quotient, nan where the divisor is 0 or not a number."""
    out: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return out


def _mean(x: FloatArray) -> FloatArray:
    """Row means of what is there, nan where that is less than half."""
    here = np.isfinite(x)
    count = here.sum(axis=1)
    return _over(np.where(here, x, 0.0).sum(axis=1), np.where(2 * count >= x.shape[1], count, 0).astype(np.float64))


def _log_ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Log of a quotient of two quantities that are not negative; nan where the divisor is 0."""
    return np.log(np.maximum(_over(top, bottom), TINY))


def _volatility(grid: _Grid, ts: IntArray, scale: FloatArray) -> dict[str, FloatArray]:
    """Realised volatility over several horizons, its downside and its largest bar."""
    bars = DAY_S / grid.step
    out = {"level": np.log(scale * math.sqrt(365.0))}
    for label, hours in (("6h", 6), ("1d", 24), ("5d", 120), ("30d", 720), ("90d", 24 * LONGEST_DAYS)):
        squares = np.square(grid.before(grid.returns, ts, hours))
        out[f"volatility_{label}"] = _log_ratio(np.sqrt(_mean(squares) * bars), scale)
    week = grid.before(grid.returns, ts, 120)
    out["downside_5d"] = _over(_mean(np.square(np.minimum(week, 0.0))), _mean(np.square(week)))
    day = np.square(grid.before(grid.returns, ts, 24))
    out["largest_bar_1d"] = _over(np.fmax.reduce(day, axis=1), _mean(day) * day.shape[1])
    return out


def _paths(grid: _Grid, ts: IntArray, scale: FloatArray) -> dict[str, FloatArray]:
    """Range estimators of Parkinson (1980, eq. 3) and Garman & Klass (1980, eq. 20, first terms), returns, drawdown."""
    out: dict[str, FloatArray] = {}
    for label, days in (("1d", 1), ("5d", 5)):
        logs = grid.before(grid.logs, ts, 24 * days + grid.step / 3600)
        width = np.fmax.reduce(logs, axis=1) - np.fmin.reduce(logs, axis=1)
        change = logs[:, -1] - logs[:, 0]
        out[f"parkinson_{label}"] = _log_ratio(width / math.sqrt(4.0 * math.log(2.0) * days), scale)
        if days == 1:
            variance = 0.5 * width**2 - (2.0 * math.log(2.0) - 1.0) * change**2
            out["garman_klass_1d"] = _log_ratio(np.sqrt(np.maximum(variance, 0.0)), scale)
        out[f"return_{label}"] = change / (scale * math.sqrt(days))
    month = grid.before(grid.logs, ts, 720)
    out["return_30d"] = (month[:, -1] - month[:, 0]) / (scale * math.sqrt(30.0))
    out["drawdown_30d"] = (month[:, -1] - np.fmax.reduce(month, axis=1)) / (scale * math.sqrt(30.0))
    return out


def _volume(symbol: str, grid: _Grid, ts: IntArray) -> dict[str, FloatArray]:
    """Volume of a day and of five over its month, and the move a unit of it made (Amihud 2002, eq. 1)."""
    day, week, month = (_mean(grid.before(grid.volume, ts, hours)) for hours in (24, 120, 720))
    silent = day <= 0.0
    if silent.any():
        warnings.warn(
            f"{symbol}: {int(silent.sum())} days without volume, the first before {utc(int(ts[silent][0]))}; "
            "their volume features are left out",
            RiskWarning,
            stacklevel=4,
        )
    day, week, month = (np.where(v > 0.0, v, np.nan) for v in (day, week, month))
    illiquid = np.divide(
        np.abs(grid.returns), grid.volume, out=np.full(grid.volume.shape, np.nan), where=grid.volume > 0
    )
    return {
        "volume_1d": _log_ratio(day, month),
        "volume_5d": _log_ratio(week, month),
        "illiquidity_1d": _log_ratio(_mean(grid.before(illiquid, ts, 24)), _mean(grid.before(illiquid, ts, 720))),
    }


def _signals(signals: Signals, ts: IntArray, scale: FloatArray) -> dict[str, FloatArray]:
    """Implied over forecast volatility and its change, funding and its change, depth; nan where absent."""
    names = ("implied", "implied_change_5d", "funding", "funding_change_5d", "depth_change_5d")
    out = {name: np.full(ts.size, np.nan) for name in names}
    earlier = ts - 5 * DAY_S
    if signals.vol is not None:
        now, then = (signals.vol.at(t, 3 * DAY_S) for t in (ts, earlier))
        # Volatility indices are quoted in percent; none stands at 500 %.
        now, then = (np.where(v > 5.0, v / 100.0, v) for v in (now, then))
        out["implied"] = np.log(now / (scale * math.sqrt(365.0)))
        out["implied_change_5d"] = np.log(now / then)
    if signals.funding is not None:
        now, then = (signals.funding.at(t, DAY_S) for t in (ts, earlier))
        out["funding"], out["funding_change_5d"] = 1e4 * now, 1e4 * (now - then)
    if signals.depth is not None:
        now, then = (signals.depth.at(t, DAY_S) for t in (ts, earlier))
        out["depth_change_5d"] = np.log(now / then)
    return out
