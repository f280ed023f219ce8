# SPDX-License-Identifier: Apache-2.0
"""Adaptive layer: tomorrow's tail quantiles from the regime of the market, walked forward and judged against others.

Gradient-boosted quantile regression (scikit-learn) of the day's standardised log return on the features of
`risk.adaptive_features`, all assets pooled. It is fitted anew on the first day of a month from what had ended a day
before, and compared with the models of `risk.adaptive_models` by `risk.adaptive_scores`. Whatever it says, it moves a
scan range only within the band of `risk.ranges.RangeEstimate.adapted`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from risk.adaptive_features import DAY_S, Panel, Samples, Signals, build_panel, look_ahead
from risk.adaptive_models import empirical_tails, ewma, filtered_history, garch, long_history
from risk.adaptive_scores import RULE, TAILS, SymbolResult, TailForecast, score_symbol, wins
from risk.errors import BadInput, InsufficientHistory, MissingDependency
from risk.factors.volatility import MIN_GARCH_OBSERVATIONS
from risk.market.history import FloatArray, IntArray, PriceHistory, utc

ADAPTIVE = "adaptive"
Progress = Callable[[float, str], None]
# Least size of a standardised quantile: a regression tree may put the 1 % quantile of a quiet regime near 0.
LEAST_QUANTILE = 0.5


@dataclass(frozen=True, slots=True)
class AdaptiveConfig:
    """How the regression is trained; chosen beforehand, not searched for.

    Attributes
    ----------
    trees, leaves : int
        Trees, and leaves of each; no early stopping.
    learning_rate : float
    tail_per_leaf : int
        Values expected beyond the quantile in the smallest leaf: a leaf holds ``tail_per_leaf / 0.01`` days or more.
    min_days : int
        Daily returns of a symbol before its first forecast.
    embargo_s : int
        Time between the end of the last label trained on and the fit, s.
    window_days : int, optional
        Days of history trained on; default: all.
    """

    trees: int = 200
    leaves: int = 4
    learning_rate: float = 0.05
    tail_per_leaf: int = 2
    min_days: int = MIN_GARCH_OBSERVATIONS
    embargo_s: int = DAY_S
    window_days: int | None = None

    def __post_init__(self) -> None:
        if self.trees < 1 or self.leaves < 2 or not 0.0 < self.learning_rate <= 1.0 or self.tail_per_leaf < 1:
            raise BadInput(
                f"{self.trees} trees of {self.leaves} leaves, rate {self.learning_rate}, {self.tail_per_leaf} tail "
                "values a leaf: need at least 1 tree, 2 leaves, 1 value and a rate in (0, 1]"
            )
        if self.min_days < 100 or self.embargo_s < 0 or (self.window_days or self.min_days) < self.min_days:
            raise BadInput(
                f"{self.min_days} days before the first forecast, embargo {self.embargo_s} s, window "
                f"{self.window_days} days: need at least 100 days, an embargo of 0 or more, a window not below the days"
            )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found: a result for each symbol, features that look ahead (none is expected), what was left out."""

    results: tuple[SymbolResult, ...]
    leaks: tuple[str, ...]
    features: tuple[str, ...]
    absent: Mapping[str, str]
    config: AdaptiveConfig
    data_hash: str

    @property
    def ships(self) -> bool:
        """Whether the layer is to be on: `risk.adaptive_scores.RULE`, and no feature looks ahead."""
        return not self.leaks and wins(self.results)

    def plain(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "verdict": "on" if self.ships else "off",
            "rule": RULE,
            "features": list(self.features),
            "features_looking_ahead": list(self.leaks),
            "symbols": {r.symbol: r.plain() for r in self.results},
            "left_out": dict(self.absent),
            "config": asdict(self.config),
            "data_hash": self.data_hash,
        }


class TailRegression:
    """Standardised quantiles of both tails, and how much deeper their means lie (docs/risk/adaptive.md, formula A2).

    Parameters
    ----------
    panel : mapping of symbol to Samples
        Rows are pooled over symbols.
    time : int
        Epoch s of the fit: labels that ended at ``time - embargo`` or before are seen, no other.
    config : AdaptiveConfig

    Raises
    ------
    InsufficientHistory
        Fewer days than `AdaptiveConfig.min_days`.
    MissingDependency
        scikit-learn is not installed.
    """

    def __init__(self, panel: Panel, time: int, config: AdaptiveConfig) -> None:
        features, standard = _training(panel, time, config)
        if standard.size < config.min_days:
            raise InsufficientHistory(
                f"{standard.size} days known at {utc(time)}, {config.min_days} are needed; hand over a longer history"
            )
        # A column without a single value (no funding, say) is no feature.
        self.columns: IntArray = np.flatnonzero(np.isfinite(features).any(axis=0))
        self.models = [_fit(features[:, self.columns], standard, p, config) for p in TAILS]
        quantile, shortfall = empirical_tails(standard)
        self.depth: FloatArray = shortfall / quantile

    def forecast(self, samples: Samples, first: int, stop: int) -> tuple[FloatArray, FloatArray]:
        """Quantiles and means beyond them of rows ``first..stop``, log returns, (rows, 2) each."""
        known = samples.features[first:stop, self.columns]
        with _one_thread():
            low, high = (model.predict(known) for model in self.models)
        standard = np.column_stack([np.minimum(low, -LEAST_QUANTILE), np.maximum(high, LEAST_QUANTILE)])
        quantile = standard * samples.scale[first:stop, None]
        return quantile, quantile * self.depth


def compare(
    histories: Mapping[str, PriceHistory],
    signals: Mapping[str, Signals],
    start: int,
    end: int,
    config: AdaptiveConfig | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Walk forward from `start` to `end` (epoch s) and compare the adaptive quantiles with the others'.

    Parameters
    ----------
    histories : mapping of symbol to PriceHistory
        Hourly bars, one symbol each; what lies before `start` is trained on.
    signals : mapping of symbol to Signals
    start, end : int
        Days forecast begin at or after `start` and before `end`. A symbol joins once it has `AdaptiveConfig.min_days`
        daily returns; one that never does is named in `Comparison.absent`.
    config : AdaptiveConfig, optional
    progress : callable, optional
        Called with the share done and what is being done.

    Raises
    ------
    InsufficientHistory
        No symbol has enough history.
    BadInput
        See `risk.adaptive_features.build_panel`.
    MissingDependency
        scikit-learn is not installed.
    """
    chosen, say = config or AdaptiveConfig(), progress or (lambda _share, _text: None)
    _regressor()
    say(0.0, "features")
    panel = build_panel(histories, signals)
    spans = {s: _span(samples, start, end, chosen) for s, samples in panel.items()}
    absent = {s: f"{_days(panel[s], end)} days, {chosen.min_days} needed" for s, (a, b) in spans.items() if a >= b}
    if len(absent) == len(panel):
        what = "; ".join(f"{s}: {why}" for s, why in absent.items())
        raise InsufficientHistory(f"no symbol can be forecast from {utc(start)} to {utc(end)}: {what}; lengthen it")
    live = {s: spans[s] for s in panel if s not in absent}
    adaptive = walk_forward(panel, live, chosen, lambda share, text: say(0.05 + 0.55 * share, text))
    results = []
    for i, (symbol, (first, stop)) in enumerate(live.items()):
        say(0.6 + 0.35 * i / len(live), f"the other models on {symbol}")
        samples = panel[symbol]
        forecasts = {
            ADAPTIVE: adaptive[symbol],
            "garch": garch(samples, _months(samples, first, stop), stop),
            "fhs": filtered_history(samples, first, stop),
            "ewma": ewma(samples, first, stop),
            "long history": long_history(samples, first, stop),
        }
        results.append(score_symbol(symbol, samples.ts, samples.target, forecasts, ADAPTIVE))
    say(0.95, "looking for features that look ahead")
    times = [int(panel[s].ts[a + (b - a) // 2]) for s, (a, b) in live.items()]
    leaks = look_ahead(build_panel, histories, signals, sorted(set(times)))
    say(1.0, "done")
    names = next(iter(panel.values())).names
    return Comparison(tuple(results), leaks, names, absent, chosen, _hash(histories, signals))


def walk_forward(
    panel: Panel, spans: Mapping[str, tuple[int, int]], config: AdaptiveConfig, progress: Progress | None = None
) -> dict[str, TailForecast]:
    """Adaptive forecasts of the rows of each symbol's span (half open), fitted anew at the start of each month."""
    out = {symbol: TailForecast.empty(panel[symbol].ts.size) for symbol in spans}
    cuts = sorted({_month_start(int(panel[s].ts[row])) for s, (a, b) in spans.items() for row in range(a, b)})
    for i, month in enumerate(cuts):
        begin, following = month, cuts[i + 1] if i + 1 < len(cuts) else None
        rows = {s: _rows(panel[s], spans[s], begin, following) for s in spans}
        # In the first month of all the walk may begin in its middle: fit then, not before.
        fit_at = min(int(panel[s].ts[a]) for s, (a, b) in rows.items() if a < b)
        model = TailRegression(panel, fit_at, config)
        for symbol, (a, b) in rows.items():
            if a < b:
                out[symbol].quantile[a:b], out[symbol].shortfall[a:b] = model.forecast(panel[symbol], a, b)
        if progress:
            progress((i + 1) / len(cuts), f"quantile regression, {utc(begin)[:7]}")
    return out


def shortfall_forecast(
    prices: PriceHistory, vol_history: PriceHistory | None = None, config: AdaptiveConfig | None = None
) -> dict[str, float]:
    """The wider side's Expected Shortfall 99 % of the day after the last 00:00 UTC, simple move, of each symbol.

    For `risk.ranges.RangeEstimate.adapted`. Nothing random.

    Parameters
    ----------
    prices : PriceHistory
        Hourly bars of every symbol.
    vol_history : PriceHistory, optional
        Implied-volatility index of some of them as ``close``.
    config : AdaptiveConfig, optional

    Raises
    ------
    InsufficientHistory, BadInput, MissingDependency
        As of `compare`.
    """
    signals = {s: Signals.of(s, vol_history) for s in prices.symbols}
    panel = build_panel({s: prices.select([s]) for s in prices.symbols}, signals)
    model = TailRegression(panel, max(int(samples.ts[-1]) for samples in panel.values()), config or AdaptiveConfig())
    out = {}
    for symbol, samples in panel.items():
        low, high = model.forecast(samples, samples.ts.size - 1, samples.ts.size)[1][0]
        out[symbol] = max(float(-np.expm1(low)), float(np.expm1(high)))
    return out


def _training(panel: Panel, time: int, config: AdaptiveConfig) -> tuple[FloatArray, FloatArray]:
    """Features (n, f) and standardised returns (n,) that may be seen at a time."""
    oldest = -(2**62) if config.window_days is None else time - config.window_days * DAY_S
    features, standard = [], []
    for samples in panel.values():
        seen = (samples.ts + DAY_S + config.embargo_s <= time) & (samples.ts >= oldest) & np.isfinite(samples.target)
        features.append(samples.features[seen])
        standard.append(samples.target[seen] / samples.scale[seen])
    return np.vstack(features), np.concatenate(standard)


def _regressor() -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise MissingDependency(
            "the adaptive layer needs scikit-learn, which is not installed; run: pip install 'ballast-margin[research]'"
        ) from error
    return HistGradientBoostingRegressor


def _one_thread() -> Any:
    """One OpenMP thread: the samples are few, and sums must not depend on the machine."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1)


def _fit(features: FloatArray, standard: FloatArray, probability: float, config: AdaptiveConfig) -> Any:
    tail = min(probability, 1.0 - probability)
    model = _regressor()(
        loss="quantile",
        quantile=probability,
        max_iter=config.trees,
        max_leaf_nodes=config.leaves,
        learning_rate=config.learning_rate,
        min_samples_leaf=round(config.tail_per_leaf / tail),
        early_stopping=False,
        random_state=0,
    )
    with _one_thread():
        return model.fit(features, standard)


def _days(samples: Samples, end: int) -> int:
    """Daily returns known at a time."""
    return int(np.isfinite(samples.target[samples.ts + DAY_S <= end]).sum())


def _span(samples: Samples, start: int, end: int, config: AdaptiveConfig) -> tuple[int, int]:
    """Rows to forecast: in the window, after enough returns. The embargo takes a day more."""
    known = np.cumsum(np.isfinite(samples.target))
    enough = int(np.searchsorted(known, config.min_days)) + 1 + -(-config.embargo_s // DAY_S)
    first, stop = (int(np.searchsorted(samples.ts, t)) for t in (start, end))
    return max(first, enough), stop


def _month_start(time: int) -> int:
    moment = datetime.fromtimestamp(time, UTC)
    return int(moment.replace(day=1, hour=0, minute=0, second=0).timestamp())


def _months(samples: Samples, first: int, stop: int) -> list[int]:
    """First row, and the first row of each month that follows."""
    months = [_month_start(int(t)) for t in samples.ts[first:stop]]
    return [first, *(first + i for i in range(1, len(months)) if months[i] != months[i - 1])]


def _rows(samples: Samples, span: tuple[int, int], begin: int, end: int | None) -> tuple[int, int]:
    """Rows of a span within a month."""
    low = int(np.searchsorted(samples.ts, begin))
    high = span[1] if end is None else int(np.searchsorted(samples.ts, end))
    return max(low, span[0]), min(high, span[1])


def _hash(histories: Mapping[str, PriceHistory], signals: Mapping[str, Signals]) -> str:
    digest = hashlib.sha256(b"ballast.adaptive-data.1\0")
    for symbol, history in histories.items():
        digest.update(history.content_hash.encode())
        found = signals.get(symbol, Signals())
        for series in (found.vol, found.funding, found.depth):
            if series is not None:
                digest.update(series.known_at.astype("<i8").tobytes() + series.value.astype("<f8").tobytes())
            digest.update(b"\0")
    return "0x" + digest.hexdigest()
