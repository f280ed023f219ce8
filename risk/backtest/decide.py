# SPDX-License-Identifier: Apache-2.0
"""One decision of a walk: ranges, forecast and margin from the past, then the loss over the horizon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from risk.backtest.accounts import Population, universe_at
from risk.backtest.data import Data
from risk.backtest.forecast import UNBOUND, forecast_moves
from risk.backtest.required import required
from risk.backtest.revalue import aged_profit
from risk.backtest.settings import DAY_S, BacktestConfig
from risk.calibrate import calibrate
from risk.errors import GateFailed
from risk.factors.fhs import FactorHistory, FhsConfig, Moves
from risk.haircuts import CollateralSpec, collateral_parameters
from risk.liquidity import Liquidity, bps_up, day_volatility_bps
from risk.market.history import FloatArray, utc
from risk.ranges import MAX_SCAN, estimate_ranges, smooth_fall
from risk.types import BPS, ParameterSet

Profit = Callable[[Moves], FloatArray]


class Decision(NamedTuple):
    """A row of every array of a `Walk`, in its order, but the time."""

    loss: FloatArray
    var: FloatArray
    es: FloatArray
    initial: FloatArray
    maintenance: FloatArray
    scan: FloatArray
    raw: FloatArray
    vols: FloatArray
    spot: FloatArray


class Decider:
    """What a walk carries from one decision to the next: the parameter set in force and when it is due again."""

    def __init__(self, data: Data, population: Population, config: BacktestConfig) -> None:
        self.data, self.population, self.config = data, population, config
        base, bar = config.calibration, data.prices.interval_s
        # Stretches must fill the horizon: 6 h ones a day, 2 h ones four hours.
        block = math.gcd(base.block_s, config.horizon_s)
        self.calibration = replace(
            base, underlyings=population.symbols, collaterals=(), horizon_s=config.horizon_s, block_s=block
        )
        self.fhs = FhsConfig(
            config.horizon_s // bar, block // bar, base.ratio_low, base.ratio_high, base.stressed_weight
        )
        self.plain = replace(self.fhs, ratio_low=UNBOUND[0], ratio_high=UNBOUND[1])
        self.parameters: ParameterSet | None = None
        self.decided_at = self.refit_at = config.start
        self.refused: list[str] = []

    def decide(self, past: FactorHistory, time: int, spot: FloatArray, later: FloatArray) -> Decision:
        """Everything about one time; `spot` and `later` (k,) are the prices there and a horizon on."""
        smile, horizon = self.calibration.smile, self.config.horizon_s
        quote = self.data.levels(time, smile.premium)
        vols = np.clip(quote.level, smile.low, smile.high)
        in_force, scan, raw = self._advance(past, time, vols)
        universe = universe_at(self.population.symbols, vols)
        power = np.full(vols.size, self.calibration.ranges.vol_power)
        books = self.population.books(universe)
        held = np.hstack([books, self.population.tokens])

        def profit(moves: Moves) -> FloatArray:
            return aged_profit(universe, moves, power, horizon) @ held.T

        var, es = self._forecast(past, profit)
        demand = required(self.population, universe, books, in_force, self.config.notional, time)
        vol_move = self.data.levels(time + horizon, smile.premium, like=quote).level / quote.level - 1.0
        loss = -profit(Moves((later / spot - 1.0)[None, :], vol_move[None, :]))[0]
        return Decision(loss, var, es, demand.initial, demand.maintenance, scan, raw, vols, spot)

    def _forecast(self, past: FactorHistory, profit: Profit) -> tuple[FloatArray, FloatArray]:
        """VaR and ES (A,), every account revalued in full."""
        found = profit(forecast_moves(past, self.plain, self.data.vol, self.config.stride_bars))
        count = max(1, int(np.ceil((1.0 - self.config.level) * found.shape[0] - 1e-9)))
        tail = np.partition(found, count - 1, axis=0)[:count]
        return -tail.max(axis=0), -tail.mean(axis=0)

    def _advance(self, past: FactorHistory, time: int, vols: FloatArray) -> tuple[ParameterSet, FloatArray, FloatArray]:
        """The set in force from now on, its scan ranges (k,), and those before the slow fall."""
        current = self.parameters
        if current is None or time >= self.refit_at:
            current = self._refit(time)
            self.refit_at = time + self.config.refit_days * DAY_S
        scan, raw = self._ranges(current, past, time, vols)
        self.parameters = current = _with_scans(current, self.population.symbols, scan)
        self.decided_at = time
        return current, scan, raw

    def _ranges(
        self, current: ParameterSet, past: FactorHistory, time: int, vols: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Scan ranges (k,), and what they would be without the slow fall; as `risk.calibrate` makes them."""
        config = self.calibration
        begin, end = current.provenance.diagnostics["stressed_period"]
        estimates = estimate_ranges(past, self.fhs, (int(begin), int(end)), config.ranges)
        raw = np.array([e.blend(config.stressed_weight, config.ranges.long_floor) for e in estimates])
        elapsed, fall = float(time - self.decided_at), config.ranges.fall_per_day
        lanes = [current.underlyings[s] for s in self.population.symbols]
        smooth = [smooth_fall(float(r), w.scan_bps / BPS, elapsed, fall) for r, w in zip(raw, lanes, strict=True)]
        # The contract wants so many times the daily volatility that stands in the same word.
        least = np.maximum(config.ranges.min_range, config.scan_multiple * self._day_volatility(past, vols))
        bounded = np.clip(smooth, least, MAX_SCAN)
        return np.array([bps_up(float(s)) / BPS for s in bounded]), raw

    def _day_volatility(self, past: FactorHistory, vols: FloatArray) -> FloatArray:
        """(k,) volatility of a day as a calibration pushes it: of the history or of the surface, the larger."""
        k, bars = len(past.symbols), DAY_S / past.interval_s
        own = np.sqrt(np.mean(np.square(past.changes[:, :k]), axis=0) * bars)
        traded = [Liquidity(1.0, 1.0, float(v)) for v in own]
        return np.array([day_volatility_bps(one, float(v)) / BPS for one, v in zip(traded, vols, strict=True)])

    def _refit(self, time: int) -> ParameterSet:
        """A whole calibration on what had closed by `time`; when it fails its gates the set in force stays."""
        history = self.data.prices.window(end=time - self.data.prices.interval_s + 1)
        previous = self.parameters
        if previous is not None:
            previous = replace(previous, provenance=replace(previous.provenance, observed_at=self.decided_at))
        rng = np.random.default_rng([self.config.seed, time // DAY_S])
        try:
            found = calibrate(history, self.calibration, rng, previous, self.data.vol, now=time)
        except GateFailed as error:
            if previous is None:
                raise
            self.refused.append(f"{utc(time)}: {error}")
            return previous
        # The token moves as its underlying does: nothing is left over, so only the cost of selling it is cut.
        lanes = {
            s: collateral_parameters(CollateralSpec(s, s, assumed_move=0.0), None, self.calibration.haircuts)
            for s in self.population.symbols
        }
        return replace(found, collaterals=lanes)


def _with_scans(parameters: ParameterSet, symbols: tuple[str, ...], scan: FloatArray) -> ParameterSet:
    lanes = dict(parameters.underlyings)
    for symbol, value in zip(symbols, scan, strict=True):
        lanes[symbol] = replace(lanes[symbol], scan_bps=round(float(value) * BPS))
    return replace(parameters, underlyings=lanes)
