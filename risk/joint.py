# SPDX-License-Identifier: Apache-2.0
"""The joint part of a calibration: the law scaled to the scans, the scenarios chosen under it, their certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from risk.books import Shocks, Universe, build_universe, sample_books
from risk.config import CalibrationConfig
from risk.factors.fhs import FactorHistory, FhsConfig, Moves, simulate_moves
from risk.market.history import FloatArray
from risk.ranges import LawScale, law_scale, vol_shocks
from risk.scenarios import Sample, candidates, certify, measure_books, quantise, select, still_good
from risk.stress import correlation_to_one
from risk.types import Certificate, JointScenarios, ParameterSet

# Independent streams derived from the one recorded seed.
STREAM_LAW, STREAM_TRAIN, STREAM_FRESH, STREAM_TEST = 1, 2, 3, 4
TAIL_ROWS = 40


@dataclass(frozen=True, slots=True)
class Law:
    """What joint moves are drawn from.

    Attributes
    ----------
    factors : FactorHistory
    fhs : FhsConfig
    period : (int, int)
        Stressed period, epoch seconds.
    shocks : Shocks
        Scan ranges and volatility shocks.
    scale : LawScale
    seed : int
    draws : Moves
        The draws scenarios are chosen on, scaled.
    """

    factors: FactorHistory
    fhs: FhsConfig
    period: tuple[int, int]
    shocks: Shocks
    scale: LawScale
    seed: int
    draws: Moves

    def stream(self, number: int) -> np.random.Generator:
        """An independent generator."""
        return np.random.default_rng([self.seed, number])

    def fresh(self, n: int) -> Moves:
        """Scaled draws that took no part in any choice."""
        raw = simulate_moves(self.factors, self.fhs, n, self.stream(STREAM_FRESH), stressed=self.period)
        return self.scale.apply(raw)


def build_law(
    factors: FactorHistory,
    fhs: FhsConfig,
    period: tuple[int, int],
    scans: FloatArray,
    config: CalibrationConfig,
    seed: int,
) -> Law:
    """Draw joint moves, read the volatility shocks off them, and scale everything to the scan ranges.

    Parameters
    ----------
    factors, fhs, period
        As in `risk.factors.fhs.simulate_moves`.
    scans : (k,) float64
        Scan ranges, fractions.
    config : CalibrationConfig
    seed : int
    """
    rng = np.random.default_rng([seed, STREAM_LAW])
    raw = simulate_moves(factors, fhs, config.n_sims, rng, stressed=period)
    up, down = vol_shocks(raw, config.ranges)
    shocks = Shocks(scans, up, down, np.full(scans.size, config.ranges.vol_power))
    scale = law_scale(raw, shocks, config.ranges.level)
    return Law(factors, fhs, period, shocks, scale, seed, scale.apply(raw))


def joint_scenarios(
    law: Law,
    vols: FloatArray,
    kappa: float,
    config: CalibrationConfig,
    *,
    previous: ParameterSet | None,
    live_books: FloatArray | None,
    say: Callable[[str], None],
) -> tuple[JointScenarios | None, Certificate | None]:
    """Scenarios and certificate; the previous scenarios when they still cover. None with a single underlying.

    Parameters
    ----------
    law : Law
    vols : (k,) float64
        Annual at-the-money volatility of each underlying.
    kappa : float
        Offset floor.
    config : CalibrationConfig
    previous : ParameterSet, optional
    live_books : (b, M) float64, optional
    say : callable
    """
    if len(law.factors.symbols) < 2:
        return None, None
    universe = build_universe(law.factors.symbols, vols)
    grid = universe.grid(law.shocks)
    test = _test_sample(law, universe, grid, config, live_books)

    def measured(joint: JointScenarios) -> Certificate:
        return certify(test, universe, grid, joint, kappa, paths=config.n_sims, seed=law.seed)

    kept = _previous_joint(previous, law.factors.symbols)
    if kept is not None:
        joint, promised = kept
        certificate = measured(joint)
        if still_good(promised, certificate, config.hysteresis):
            say(f"joint scenarios kept: 1 % ratio {certificate.ratio_p01:.3f}, efficiency {certificate.efficiency:.3f}")
            return joint, certificate
    say(f"choosing joint scenarios for {config.n_train:,} books on {config.n_sims:,} draws")
    chosen = _choose(law, universe, grid, kappa, config, live_books)
    certificate = measured(chosen)
    say(
        f"{len(chosen)} joint scenarios certified on {certificate.books:,} unseen books: "
        f"1 % ratio {certificate.ratio_p01:.3f}, efficiency {certificate.efficiency:.3f}"
    )
    return chosen, certificate


def _test_sample(
    law: Law, universe: Universe, grid: FloatArray, config: CalibrationConfig, live: FloatArray | None
) -> Sample:
    pnl = universe.pnl(law.fresh(config.n_sims), law.shocks.power)
    # Over a quarter of the sampled books hold one underlying alone or lose nothing; sample so many that enough remain.
    books = sample_books(universe, int(1.5 * config.n_books), law.stream(STREAM_TEST), live=live)
    return measure_books(universe, grid, pnl, books, config.selection.level).several(config.n_books)


def _choose(
    law: Law,
    universe: Universe,
    grid: FloatArray,
    kappa: float,
    config: CalibrationConfig,
    live: FloatArray | None,
) -> JointScenarios:
    books = sample_books(universe, config.n_train, law.stream(STREAM_TRAIN), live=live)
    pnl = universe.pnl(law.draws, law.shocks.power)
    train = measure_books(universe, grid, pnl, books, config.selection.level, tail_rows=TAIL_ROWS).several()
    pool = candidates(train, law.draws, law.shocks, config.selection)
    stresses = correlation_to_one(law.shocks, config.correlation_one)
    forced = quantise(Moves(np.stack([s.price for s in stresses]), np.stack([s.vol for s in stresses])), law.shocks)
    return select(train, universe, grid, pool, kappa, config.selection, forced=forced)


def _previous_joint(
    previous: ParameterSet | None, symbols: tuple[str, ...]
) -> tuple[JointScenarios, Certificate] | None:
    if previous is None or previous.joint is None or previous.certificate is None:
        return None
    if previous.joint_underlyings != symbols:
        return None
    return previous.joint, previous.certificate
