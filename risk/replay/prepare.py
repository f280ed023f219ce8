# SPDX-License-Identifier: Apache-2.0
"""From price history to a replay: everything calibrated on bars that had closed before its first price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from risk.calibrate import calibrate
from risk.config import CalibrationConfig
from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import FactorHistory, FhsConfig, build_factors, simulate_moves
from risk.haircuts import CollateralSpec
from risk.liquidity import measure_liquidity
from risk.market.history import FloatArray, PriceHistory, utc
from risk.ranges import stressed_period, two_sided_shortfall
from risk.replay.market import (
    Instruments,
    LiveMarket,
    ModelInputs,
    PricePath,
    fhs_path,
    horizon,
    make_instruments,
    path_from_history,
)
from risk.replay.population import Population, PopulationConfig, RealPositions, build_population
from risk.replay.pushes import fit_scan_model
from risk.replay.settings import ReplaySettings

# How far back a calibration looks, and what a staked token is assumed to lose against its link in a day.
LOOK_BACK_S = 3 * 365 * 86_400
STAKED_MOVE, OWN_MOVE = 0.05, 0.01
LAW_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A calibrated start: model inputs, what simulated paths are drawn from, and the last prices before it, (k,) USD.

    ``law_scale`` (k,) makes the Expected Shortfall of drawn days equal the scan ranges pushed at the start.
    """

    inputs: ModelInputs
    factors: FactorHistory
    fhs: FhsConfig
    period: tuple[int, int]
    law_scale: FloatArray
    price: FloatArray

    def path(self, hours: int, rng: np.random.Generator, *, stress: float = 1.0, stressed: bool = False) -> PricePath:
        """A simulated path from here; `stress` multiplies every log change, `stressed` draws from the worst period."""
        return fhs_path(
            self.factors,
            self.fhs,
            hours,
            self.price,
            self.inputs.start_ts,
            rng,
            scale=self.law_scale * stress,
            stressed=self.period if stressed else None,
        )


def prepare(
    history: PriceHistory,
    start: int,
    rng: np.random.Generator,
    *,
    config: CalibrationConfig | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """Calibrate on what was known at `start` (unix s), at most the three years before it.

    Parameters
    ----------
    history : PriceHistory
        Hourly bars; those at or after `start` are cut off before anything is done with the rest.
    start : int
    rng : numpy.random.Generator
    config : CalibrationConfig, optional
        Default: ``CalibrationConfig.quick`` with every underlying and wrapped staked ether as collateral.
    say : callable, optional
        Called with a sentence before each step.

    Raises
    ------
    InsufficientHistory
        No or too little history before `start`.
    GateFailed
        The calibration must not be pushed.
    """
    if history.interval_s != 3_600:
        raise BadInput(f"a replay runs on hourly bars; these have {history.interval_s} s")
    if int(history.ts[0]) + history.interval_s > start:
        raise InsufficientHistory(f"no bar before {utc(start)}; hand over an earlier history or a later --from")
    past = history.window(start - LOOK_BACK_S, start - history.interval_s + 1)
    price, symbols = past.close[-1], past.symbols
    instruments = make_instruments(symbols, price, start)
    chosen = config or CalibrationConfig.quick(underlyings=symbols, collaterals=_collaterals(instruments))
    parameters = calibrate(past, chosen, rng, progress=say, now=start)
    halflife, slow = chosen.halflife_s / past.interval_s, chosen.vol_halflife_s / past.interval_s
    factors = build_factors(past, halflife_bars=halflife, vol_halflife_bars=slow, model=chosen.volatility)
    fhs = horizon(chosen)
    period = stressed_period(factors, fhs.horizon_bars, chosen.ranges)
    scans = fit_scan_model(factors, fhs, period, chosen.ranges, halflife, slow)
    moves = simulate_moves(factors, fhs, LAW_DRAWS, rng, stressed=period)
    pushed = np.array([parameters.underlyings[s].scan_bps / 10_000 for s in symbols])
    drawn = np.array([two_sided_shortfall(column, chosen.ranges.level) for column in moves.price.T])
    liquidity = tuple(measure_liquidity(past, s, chosen.liquidity) for s in symbols)
    inputs = ModelInputs(parameters, scans, liquidity, instruments, start)
    return Prepared(inputs, factors, fhs, period, np.log1p(pushed) / np.log1p(drawn), price)


def _collaterals(instruments: Instruments) -> tuple[CollateralSpec, ...]:
    """An underlying in its own account needs a haircut for selling alone; a staked token for its discount as well."""
    out = []
    for name, link in zip(instruments.collaterals, instruments.linked, strict=True):
        linked = None if link is None else instruments.symbols[link]
        out.append(CollateralSpec(name, linked, assumed_move=OWN_MOVE if name == linked else STAKED_MOVE))
    return tuple(out)


def populate(
    prepared: Prepared,
    config: PopulationConfig,
    settings: ReplaySettings,
    rng: np.random.Generator,
    real: RealPositions | None = None,
) -> Population:
    """A population at the start of a replay."""
    live = LiveMarket(prepared.inputs, settings.guards, settings.scan_multiple, prepared.price)
    market = live.at(prepared.price, prepared.inputs.start_ts)
    return build_population(config, prepared.inputs.instruments, market, live.deltas, rng, real)


def historical_path(history: PriceHistory, prepared: Prepared, end: int) -> PricePath:
    """The path of the history from the start that was prepared to `end` (unix s)."""
    return path_from_history(history, prepared.inputs.start_ts, end)
