# SPDX-License-Identifier: Apache-2.0
"""What a set of joint scenarios covers, measured on fresh draws and unseen books; terms as in `risk.scenarios`."""

from __future__ import annotations

import hashlib

import numpy as np

from risk.books import Universe
from risk.market.history import FloatArray
from risk.scenarios import Sample, instrument_pnl, ratios
from risk.types import Certificate, JointScenarios


def certify(
    sample: Sample,
    universe: Universe,
    grid: FloatArray,
    joint: JointScenarios,
    offset_floor: float,
    *,
    paths: int,
    seed: int,
) -> Certificate:
    """Ratios on books and draws that took no part in the choice.

    Parameters
    ----------
    sample : Sample
        Fresh books measured on fresh draws.
    universe, grid, joint, offset_floor
        As in `select`.
    paths, seed : int
        Recorded.

    References
    ----------
    docs/risk-methodology.md, formula 8.5.
    """
    values = ratios(sample, instrument_pnl(universe, grid, joint), offset_floor)
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    digest = hashlib.sha256(b"ballast.certificate.1\0")
    for array in (sample.books, sample.target, joint.price_bytes, joint.vol_bytes):
        digest.update(np.ascontiguousarray(array).tobytes())
    return Certificate(
        scenarios=len(joint),
        books=int(values.size),
        paths=paths,
        seed=seed,
        ratio_min=float(values.min()),
        ratio_p01=float(low),
        ratio_median=float(middle),
        ratio_p99=float(high),
        efficiency=float(values.mean() / low) if low > 0 else float(np.finfo(np.float64).max),
        sample_hash="0x" + digest.hexdigest(),
    )


def covering_floor(sample: Sample, values: FloatArray, coverage: float) -> float:
    """Smallest offset floor at which the 1 % quantile of the ratio reaches `coverage`.

    Parameters
    ----------
    sample : Sample
        All books with several underlyings.
    values : (b,) float64
        Their ratios with the floor in force.
    coverage : float

    Returns
    -------
    float
        0..1; 0 when the scenarios cover by themselves. At 1 nothing is netted.

    References
    ----------
    docs/risk-methodology.md, formula 9.2.
    """
    needed = np.where(values < coverage, coverage * sample.target / sample.scans.sum(axis=1), 0.0)
    return float(min(1.0, np.quantile(needed, 0.99, method="higher")))


def still_good(previous: Certificate, now: Certificate, tolerance: float) -> bool:
    """Hysteresis: whether a set measured today is within `tolerance` (relative) of what it promised when chosen."""
    covered = now.ratio_p01 >= previous.ratio_p01 * (1.0 - tolerance)
    return bool(covered and now.efficiency <= previous.efficiency * (1.0 + tolerance))
