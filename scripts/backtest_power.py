# SPDX-License-Identifier: Apache-2.0
"""Size and power of the backtest's gates, on models that are right and on models known to be wrong.

    python scripts/backtest_power.py --samples 100 --json

Each sample is a class of eight accounts over 1,826 days, losses Student t with 4 degrees, correlated by 0.5 within a
day. Wrong models: VaR and ES 10 % and 25 % too low; volatility that clusters (GARCH 0.10, 0.88) while the forecast is
the unconditional quantile, so that the rate is right and nothing else is. Printed: share of samples that each test
rejects at 5 % alone, and at 5 %/13, which fails the gate of twelve classes and all pooled whatever the others say.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from numpy.typing import NDArray

from risk.backtest.daily import dynamic_quantile, independence_by_day, rate_by_day
from risk.backtest.statistics import coverage_of, shortfall_of
from risk.measures import student_es, student_var

DAYS, BURN, ACCOUNTS, RATE, DEGREES, COMMON = 1_826, 500, 8, 0.01, 4.0, 0.5
NEWS, KEPT = 0.10, 0.88
MODELS = {"right": 1.0, "10 % too low": 0.9, "25 % too low": 0.75, "clustering ignored": None}
TESTS = (
    "rate by day",
    "independence",
    "dynamic quantile",
    "z2 by day",
    "one a day: Kupiec",
    "one a day: Christoffersen",
)


def losses(rng: np.random.Generator, *, clustered: bool) -> NDArray[np.float64]:
    """(DAYS, ACCOUNTS) losses of unit scale, or of a GARCH volatility around it."""
    days = DAYS + BURN
    normal = np.sqrt(COMMON) * rng.standard_normal((days, 1)) + np.sqrt(1 - COMMON) * rng.standard_normal(
        (days, ACCOUNTS)
    )
    shocks = normal / np.sqrt(rng.chisquare(DEGREES, (days, 1)) / DEGREES)
    if not clustered:
        return np.asarray(shocks[BURN:])
    unit = shocks / np.sqrt(DEGREES / (DEGREES - 2.0))
    out, variance = np.empty_like(unit), np.ones(ACCOUNTS)
    for t in range(days):
        out[t] = np.sqrt(variance) * unit[t]
        variance = (1.0 - NEWS - KEPT) + NEWS * np.square(out[t]) + KEPT * variance
    return np.asarray(out[BURN:])


def p_values(seed: int, low: float | None) -> list[float]:
    """p-values of one sample, in the order of `TESTS`."""
    rng = np.random.default_rng([seed, 5])
    loss = losses(rng, clustered=low is None)
    if low is None:
        var = np.broadcast_to(np.quantile(loss, 1.0 - RATE, axis=0), loss.shape)
        es = np.broadcast_to(np.array([c[c > v].mean() for c, v in zip(loss.T, var[0], strict=True)]), loss.shape)
    else:
        var = np.full(loss.shape, low * student_var(DEGREES, 1.0 - RATE))
        es = np.full(loss.shape, low * student_es(DEGREES, 1.0 - RATE))
    hits = loss > var
    shares, height = hits.mean(axis=1), rng.standard_normal(DAYS)
    old = coverage_of(hits[:, :], height, RATE, rng, draws=21, orders=1)
    return [
        rate_by_day(shares, RATE),
        independence_by_day(hits, rng, draws=399),
        dynamic_quantile(shares, height, rng, draws=399),
        shortfall_of(loss, var, es, RATE, 0.0).z2_p,
        old.kupiec,
        old.christoffersen,
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for model, low in MODELS.items():
        made = np.array([p_values(seed, low) for seed in range(given.samples)])
        found[model] = {
            test: [float((made[:, n] < 0.05).mean()), float((made[:, n] < 0.05 / 13).mean())]
            for n, test in enumerate(TESTS)
        }
    if given.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    for model, rows in found.items():
        for test, (alone, gate) in rows.items():
            sys.stdout.write(f"{model:20s} {test:28s} {alone:6.1%} {gate:6.1%}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
