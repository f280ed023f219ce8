# SPDX-License-Identifier: Apache-2.0
"""What a set of joint scenarios covers, measured on fresh draws and unseen books; terms as in `risk.scenarios`.

Everything is in its on-chain form before it is measured: option rows packed into pages, scenarios in bytes, parameters
in whole basis points, and the requirement is the margin rule's own (`risk.margin`), offset floor and packing slack
included, charges left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from risk.books import DAYS_A_YEAR, Shocks, Universe
from risk.liquidity import bps_up
from risk.margin import Book, Market, UnderlyingMarket, margin
from risk.market.history import FloatArray, IntArray
from risk.page import build_page, unpack_page
from risk.scenarios import Sample
from risk.types import (
    BPS,
    SECONDS_PER_DAY,
    Certificate,
    GlobalParameters,
    JointScenarios,
    OptionSpec,
    SurfaceSlice,
    SviSlice,
    UnderlyingParameters,
)

# Any price does: everything in the rule is in proportion to it.
SPOT, SPOT_WAD = 1_000.0, 1_000 * 10**18
_FLAT_SIGMA = 0.1


@dataclass(frozen=True, slots=True)
class Meter:
    """The margin rule over the books of a sample. Build with `meter`.

    Attributes
    ----------
    markets : tuple of UnderlyingMarket
        With packed pages.
    book : risk.margin.Book
    target : (b,) float64
        What each book can lose.
    """

    markets: tuple[UnderlyingMarket, ...]
    book: Book
    target: FloatArray

    def ratios(self, joint: JointScenarios, offset_floor: float) -> FloatArray:
        """(b,) market risk of the rule over target.

        Parameters
        ----------
        joint : JointScenarios
        offset_floor : float
            kappa; whole basis points, rounded up.
        """
        rule = GlobalParameters(BPS, BPS, BPS, bps_up(offset_floor), 0)
        found = margin(self.book, Market(rule, self.markets, joint=joint))
        return np.asarray(found.market_risk / self.target, dtype=np.float64)

    def with_charges(
        self, joint: JointScenarios, offset_floor: float, lanes: Sequence[UnderlyingParameters]
    ) -> FloatArray:
        """(b,) initial margin over target: market risk and the charges of the lanes, for books small against depth."""
        rule = GlobalParameters(BPS, BPS, BPS, bps_up(offset_floor), 0)
        markets = tuple(_charged(item, one) for item, one in zip(self.markets, lanes, strict=True))
        found = margin(self.book, Market(rule, markets, joint=joint))
        return np.asarray(found.im / self.target, dtype=np.float64)


def _charged(item: UnderlyingMarket, lanes: UnderlyingParameters) -> UnderlyingMarket:
    """The market of one underlying with charges; the short minimum of a row is a share of the price (section 3)."""
    rows = item.rows
    if rows is not None:
        least = np.full_like(rows.short_minimum, SPOT * lanes.short_min_bps / BPS)
        rows = replace(rows, short_minimum=least)
    return replace(item, parameters=lanes, rows=rows)


def lanes_without_charges(shocks: Shocks, u: int) -> UnderlyingParameters:
    """Lanes of one underlying with its scan and volatility shocks and nothing else."""
    widths = (shocks.scan[u], shocks.vol_up[u], shocks.vol_down[u], shocks.power[u])
    scan, up, down, power = (bps_up(float(w)) for w in widths)
    return UnderlyingParameters(scan, up, down, power, 0, 0, 0, 0, 1, 0, 0, 0)


def meter(sample: Sample, universe: Universe, shocks: Shocks) -> Meter:
    """The books of a sample as accounts under the margin rule.

    Parameters
    ----------
    sample : Sample
        USD notional of each instrument.
    universe : Universe
    shocks : Shocks
    """
    markets, matrices, k = [], [], len(universe.symbols)
    units = np.zeros((sample.target.size, k, 3))
    for u, symbol in enumerate(universe.symbols):
        lanes, mine = lanes_without_charges(shocks, u), np.flatnonzero((universe.underlying == u) & universe.is_option)
        units[:, u, 0] = sample.books[:, universe.perp(u)] / SPOT
        matrices.append(sparse.csr_array(sample.books[:, mine] / SPOT))  # type: ignore[no-untyped-call]
        page = build_page(*_options(universe, mine), lanes, mine.size)
        markets.append(UnderlyingMarket(symbol, SPOT, lanes, unpack_page(page)))
    none = np.zeros((sample.target.size, 0))
    book = Book(np.zeros(sample.target.size), units, -SPOT * units[:, :, 0], none, none, tuple(matrices))
    return Meter(tuple(markets), book, sample.target)


def _options(universe: Universe, mine: IntArray) -> tuple[list[OptionSpec], int, list[SurfaceSlice], int]:
    """Options of a page, reference price, flat surface and time, as `risk.page.build_page` takes them."""
    expiry = np.rint(universe.tau[mine] * DAYS_A_YEAR * SECONDS_PER_DAY).astype(np.int64)
    options = [
        OptionSpec(slot, int(expiry[slot]), float(universe.strike[m] * SPOT), bool(universe.is_call[m]))
        for slot, m in enumerate(mine)
    ]
    variance = universe.vol[mine] ** 2 * universe.tau[mine]
    flat = dict(zip(expiry.tolist(), variance.tolist(), strict=True))
    slices = [
        SurfaceSlice(at, 1.0, 1.0, SviSlice(total, 0.0, 0.0, 0.0, _FLAT_SIGMA)) for at, total in sorted(flat.items())
    ]
    return options, SPOT_WAD, slices, 0


def certify(
    sample: Sample,
    rule: Meter,
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
    rule : Meter
        Of those books.
    joint, offset_floor
        As in `risk.scenarios.select`.
    paths, seed : int
        Recorded.

    References
    ----------
    docs/risk-methodology.md, formula 8.5.
    """
    values = rule.ratios(joint, offset_floor)
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    digest = hashlib.sha256(b"ballast.certificate.2\0")
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
        ratio_mean=float(values.mean()),
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


def improves(previous: Certificate, now: Certificate, threshold: float) -> bool:
    """Hysteresis: whether a new set is worth the change, by more than `threshold` (relative) of coverage or cost.

    Both certificates are of the same books and draws.
    """
    covers = now.ratio_p01 > previous.ratio_p01 * (1.0 + threshold)
    return bool(covers or now.efficiency < previous.efficiency * (1.0 - threshold))
