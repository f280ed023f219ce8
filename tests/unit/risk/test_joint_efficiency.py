# SPDX-License-Identifier: Apache-2.0
"""The measuring script measures what it says: Deribit's grid by hand, books that are hedged, quantiles of one run."""

from __future__ import annotations

import numpy as np
import pytest

from risk.adversary import AdversaryConfig
from risk.books import build_universe
from risk.certificate import certify, meter
from risk.config import CalibrationConfig, Gates
from risk.market.synthetic import warmup
from scripts.joint_efficiency import adversary, build, deribit_like, efficiency, hedged, hedged_books

UNIVERSE = build_universe(["BTC", "ETH", "SOL"], np.array([0.5, 0.65, 0.9]))


def test_the_grid_of_deribit_is_summed_over_assets() -> None:
    books = np.zeros((4, UNIVERSE.size))
    books[0, UNIVERSE.perp(0)] = 1.0
    books[1, UNIVERSE.perp(1)] = -1.0
    books[2, [UNIVERSE.perp(0), UNIVERSE.perp(1), UNIVERSE.perp(2)]] = (0.5, -0.3, 0.2)
    # A short call bought back by the perpetual loses on both sides; a long call loses its value at most.
    call = 1 + 2 * (5 + 2)
    books[3, call] = 1.0
    found = deribit_like(UNIVERSE, books)
    # Ranges of 16, 18 and 24 %; extended moves weigh what the range does, less the dampener.
    assert found[:3] == pytest.approx([0.16, 0.18, 0.5 * 0.16 + 0.3 * 0.18 + 0.2 * 0.24])
    assert UNIVERSE.strike[call] == 1.0
    # At the money, 30 days, 50 %: worth 5.7 % of the spot, of which nearly all is lost 16 % down with volatility down.
    assert 0.9 * 0.057 < found[3] < 0.0572


def test_hedged_books_are_hedged() -> None:
    books = hedged_books(UNIVERSE, 300, np.random.default_rng(1))
    deltas = UNIVERSE.deltas()
    for u in range(3):
        own = UNIVERSE.underlying == u
        assert np.abs(books[:, own] @ deltas[own]).max() < 1e-9
    options = books * UNIVERSE.is_option
    np.testing.assert_allclose(options.sum(axis=1), 0.0, atol=1e-12)
    assert (np.abs(books).sum(axis=1) > 0.99).mean() > 0.95


def test_efficiency_is_mean_over_the_first_percentile() -> None:
    assert efficiency(np.linspace(1.0, 2.0, 101)) == pytest.approx(1.5 / 1.01)


def test_a_set_is_measured_again_from_what_it_says() -> None:
    past = warmup(["BTC", "ETH"], 1_500, [6e4, 3e3], np.random.default_rng(1), end_ts=1_699_999_200)
    hunt = AdversaryConfig(rounds=1, slots=6, books=10, steps=4)
    config = CalibrationConfig(n_sims=2_000, n_train=150, n_books=100, gates=Gates(0.0, 0.0, 1e9, 1e9), adversary=hunt)
    bench = build(past, config, 1)
    certificate = bench.parameters.certificate
    assert certificate is not None
    assert bench.test.target.size == certificate.books == 100
    rule, joint = meter(bench.test, bench.universe, bench.law.shocks), bench.parameters.joint
    assert joint is not None
    again = certify(bench.test, rule, joint, bench.kappa, paths=2_000, seed=bench.parameters.provenance.seed)
    assert again == certificate
    found = hedged(bench, 200)
    assert found["with_charges"]["min"] > found["with_offset_floor"]["min"] >= found["scenarios_alone"]["min"]
    assert sum(found["binding"].values()) == pytest.approx(1.0, abs=1e-3)
    worst = adversary(bench)
    assert worst["min"] <= worst["start_min"] + 1e-3
