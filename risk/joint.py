# SPDX-License-Identifier: Apache-2.0
"""The joint part of a calibration: the law scaled to the scans, the scenarios chosen under it, their certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from risk.books import Shocks, Universe, build_universe, sample_books
from risk.certificate import certify, covering_floor, still_good
from risk.config import CalibrationConfig
from risk.factors.fhs import FactorHistory, FhsConfig, Moves, simulate_moves
from risk.liquidity import bps_up
from risk.market.history import FloatArray
from risk.ranges import LawScale, law_scale, vol_shocks
from risk.scenarios import Sample, candidates, instrument_pnl, measure_books, quantise, ratios, select
from risk.stress import correlation_to_one
from risk.types import BPS, Certificate, JointScenarios, ParameterSet

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


@dataclass(frozen=True, slots=True)
class JointResult:
    """Scenarios (None with a single underlying), certificate, offset floor, coverage of lone underlyings.

    ``single_p01`` is the 1 % quantile of scan over Expected Shortfall of unseen books on one underlying.
    """

    joint: JointScenarios | None
    certificate: Certificate | None
    offset_floor: float
    single_p01: float


def joint_scenarios(
    law: Law,
    vols: FloatArray,
    kappa: float,
    config: CalibrationConfig,
    *,
    previous: ParameterSet | None,
    live_books: FloatArray | None,
    say: Callable[[str], None],
) -> JointResult:
    """Scenarios, certificate and offset floor; the previous scenarios when they still cover.

    The floor is `kappa`, or higher where the scenarios alone do not reach the coverage the gates ask for: after a crash
    the law may be wilder than 64 scenarios can follow, and a calibration that failed then would leave ranges from
    before the crash in force.

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
    universe = build_universe(law.factors.symbols, vols)
    grid = universe.grid(law.shocks)
    everything = _test_sample(law, universe, grid, config, live_books)
    single = _single_p01(everything)
    if len(law.factors.symbols) < 2:
        return JointResult(None, None, kappa, single)
    test, coverage = everything.several(config.n_books), config.gates.min_ratio_p01

    def measured(joint: JointScenarios, floor: float) -> Certificate:
        return certify(test, universe, grid, joint, floor, paths=config.n_sims, seed=law.seed)

    kept = _previous_joint(previous, law.factors.symbols)
    if kept is not None:
        joint, promised = kept
        now = measured(joint, kappa)
        if now.ratio_p01 >= coverage and still_good(promised, now, config.hysteresis):
            say(f"joint scenarios kept: 1 % ratio {now.ratio_p01:.3f}, efficiency {now.efficiency:.3f}")
            return JointResult(joint, now, kappa, single)
    say(f"choosing joint scenarios for {config.n_train:,} books on {config.n_sims:,} draws")
    chosen = _choose(law, universe, grid, kappa, config, live_books)
    certificate = measured(chosen, kappa)
    if certificate.ratio_p01 < coverage:
        values = ratios(test, instrument_pnl(universe, grid, chosen), kappa)
        # A basis point of slack keeps the quantile above the gate after rounding.
        kappa = bps_up(min(1.0, covering_floor(test, values, coverage) + 1e-4)) / BPS
        say(f"offset floor raised to {kappa:.2%} for coverage")
        certificate = measured(chosen, kappa)
    say(
        f"{len(chosen)} joint scenarios certified on {certificate.books:,} unseen books: "
        f"1 % ratio {certificate.ratio_p01:.3f}, efficiency {certificate.efficiency:.3f}"
    )
    return JointResult(chosen, certificate, kappa, single)


def _single_p01(sample: Sample) -> float:
    alone = np.flatnonzero(sample.active.sum(axis=1) == 1)
    # The sampler makes lone books by the hundred; a tiny sample without one has nothing to report.
    if alone.size == 0:
        return 0.0
    return float(np.quantile(sample.scans[alone].max(axis=1) / sample.target[alone], 0.01))


def _test_sample(
    law: Law, universe: Universe, grid: FloatArray, config: CalibrationConfig, live: FloatArray | None
) -> Sample:
    pnl = universe.pnl(law.fresh(config.n_sims), law.shocks.power)
    # Over a quarter of the sampled books hold one underlying alone or lose nothing; sample so many that enough remain.
    books = sample_books(universe, int(1.5 * config.n_books), law.stream(STREAM_TEST), live=live)
    return measure_books(universe, grid, pnl, books, config.selection.level)


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
