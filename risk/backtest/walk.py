# SPDX-License-Identifier: Apache-2.0
"""Walk forward: at each decision everything comes from the past; then the horizon passes and the loss is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.backtest.accounts import Population
from risk.backtest.data import STALE_S, Data, until
from risk.backtest.decide import Decider, Decision
from risk.backtest.settings import DAY_S, BacktestConfig
from risk.errors import BadInput, InsufficientHistory, LookAhead
from risk.factors.fhs import FactorHistory
from risk.market.history import FloatArray, IntArray, PriceHistory, utc

View = Callable[[FactorHistory, int], FactorHistory]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk measured: T decisions, A accounts, k underlyings; USD per USD of gross notional.

    Attributes
    ----------
    at : (T,) int64
        Epoch seconds of each decision.
    loss : (T, A) float64
        Realised over the horizon, options revalued.
    var, es : (T, A) float64
        Forecast.
    initial, maintenance : (T, A) float64
        What Ballast required.
    scan, raw : (T, k) float64
        Scan ranges in force, and before the slow fall.
    vols : (T, k) float64
        Annual volatility options were priced at.
    spot : (T, k) float64
    population : Population
    skipped : tuple of str
        Decisions left out, with the reason.
    refused : tuple of str
        Calibrations that failed their gates: the set before stayed in force.
    """

    at: IntArray
    loss: FloatArray
    var: FloatArray
    es: FloatArray
    initial: FloatArray
    maintenance: FloatArray
    scan: FloatArray
    raw: FloatArray
    vols: FloatArray
    spot: FloatArray
    population: Population
    skipped: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(T, A) whether the loss passed the forecast VaR."""
        return np.asarray(self.loss > self.var)


def walk(
    data: Data,
    population: Population,
    config: BacktestConfig,
    *,
    view: View = until,
    progress: Progress | None = None,
) -> Walk:
    """Decide, wait, measure, at every step.

    Parameters
    ----------
    data : Data
        Prices of the population's underlyings, in their order.
    population : Population
    config : BacktestConfig
    view : callable
        What is known of the factors at a time. The default is honest; a test puts a leak here.
    progress : callable, optional
        Called with decisions done and decisions in all.

    Raises
    ------
    InsufficientHistory
        Too little history before the first decision.
    GateFailed
        The first calibration fails its gates.
    BadInput
        Other symbols in the data, or a volatility index whose bars do not close at the decisions.
    """
    _check(data, population, config)
    decider = Decider(data, population, config)
    times = range(config.start, config.end - config.horizon_s + 1, config.step_s)
    rows: list[Decision] = []
    kept: list[int] = []
    skipped: list[str] = []
    for done, time in enumerate(times):
        spot, later = data.spot(time), data.spot(time + config.horizon_s)
        if spot is None or later is None:
            skipped.append(f"{utc(time)}: no price within {STALE_S // 3600} h of the decision or its horizon")
            continue
        rows.append(decider.decide(view(data.factors, time), time, spot, later))
        kept.append(time)
        if progress is not None:
            progress(done + 1, len(times))
    if not rows:
        raise InsufficientHistory("no decision has a price at both ends of its horizon; choose other dates")
    return Walk(
        at=np.array(kept, dtype=np.int64),
        loss=np.stack([row.loss for row in rows]),
        var=np.stack([row.var for row in rows]),
        es=np.stack([row.es for row in rows]),
        initial=np.stack([row.initial for row in rows]),
        maintenance=np.stack([row.maintenance for row in rows]),
        scan=np.stack([row.scan for row in rows]),
        raw=np.stack([row.raw for row in rows]),
        vols=np.stack([row.vols for row in rows]),
        spot=np.stack([row.spot for row in rows]),
        population=population,
        skipped=tuple(skipped),
        refused=tuple(decider.refused),
    )


def _check(data: Data, population: Population, config: BacktestConfig) -> None:
    if data.prices.symbols != population.symbols:
        raise BadInput(
            f"prices of {', '.join(data.prices.symbols)} for accounts in {', '.join(population.symbols)}; "
            "select the population's symbols in its order"
        )
    closes_at_midnight = data.vol is None or (config.start - int(data.vol.ts[0])) % data.vol.interval_s == 0
    if data.vol is not None and (not closes_at_midnight or DAY_S % data.vol.interval_s):
        # Between two closes of an index the factors hold its interpolation, which would know the later close.
        raise BadInput(
            f"volatility index bars of {data.vol.interval_s} s do not close at midnight UTC, where decisions are; "
            "resample them"
        )


def alter_future(prices: PriceHistory, time: int, rng: np.random.Generator) -> PriceHistory:
    """The same history with every bar that closes after a time replaced by another course of events."""
    after = prices.ts + prices.interval_s > time
    noise = 0.05 * rng.standard_normal((int(after.sum()), len(prices.symbols)))
    close = prices.close.copy()
    close[after] *= np.exp(np.cumsum(noise, axis=0))
    volume = prices.volume.copy()
    volume[after] *= np.exp(noise)
    return replace(prices, close=close, volume=volume)


def check_no_look_ahead(
    data: Data,
    population: Population,
    config: BacktestConfig,
    time: int,
    rng: np.random.Generator,
    *,
    view: View = until,
) -> int:
    """Prove on the data itself that decisions up to `time` do not depend on what comes later.

    The walk is run twice, on the data and on data whose bars after `time` are altered; forecasts, margins, ranges and
    volatilities of every decision at or before `time` must agree bit for bit.

    Returns
    -------
    int
        Number of decisions compared.

    Raises
    ------
    LookAhead
        The first decision and quantity that differ.
    """
    vol = None if data.vol is None else alter_future(data.vol, time, rng)
    other = Data.build(alter_future(data.prices, time, rng), vol, config.calibration)
    short = replace(config, end=min(config.end, time + config.horizon_s))
    one, two = (walk(item, population, short, view=view) for item in (data, other))
    if one.at.tolist() != two.at.tolist():
        raise LookAhead(f"decisions up to {utc(time)} differ when later data do; look for a reader of the future")
    for name in ("var", "es", "initial", "maintenance", "scan", "raw", "vols", "spot"):
        same = (getattr(one, name) == getattr(two, name)).all(axis=1)
        if not same.all():
            first = utc(int(one.at[int(np.argmin(same))]))
            raise LookAhead(
                f"{name} of the decision at {first} changes when data after {utc(time)} change; "
                "something reads the future"
            )
    return int(one.at.size)
