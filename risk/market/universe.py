# SPDX-License-Identifier: Apache-2.0
"""A whole folder of prices: which of its symbols can be calibrated together, and why the others are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from risk.errors import InsufficientHistory
from risk.findings import Finding
from risk.market.clean import align, find_gaps
from risk.market.history import PriceHistory, PriceSeries, utc
from risk.market.load import OnFault, Sources, cut, find_files, mixed_quotes, read_series

DAY_S = 86_400
# A file that ends this long before the others is of a market that closed.
ENDED_S = 7 * DAY_S
# Every symbol shortens the common history to its own; one with less than half of the longest costs more than it gives.
MIN_SHARE = 0.5
# A price near 1 that moves by less than this a day is money, not an underlying.
STABLE_BAND, STABLE_DAY = 0.1, 0.01


def load_universe(
    source: Sources,
    interval: str | None = None,
    *,
    assets: Collection[str] = (),
    on_fault: OnFault = "raise",
    start: int | None = None,
    end: int | None = None,
    max_missing_fraction: float = 1.0,
) -> PriceHistory:
    """Bars of every symbol of a folder that can be calibrated with the others; see `risk.market.load_prices`.

    Left out, each with a note that says so: markets that ended, that were listed late, with too many holes, and
    stablecoins that are not among the `assets` taken as collateral.

    Raises
    ------
    BadInput, InsufficientHistory
        As `load_prices`; also when nothing is left.
    """
    chosen = find_files(source, None, interval)
    series = [cut(read_series(p, s, step, on_fault=on_fault), start, end, 0) for s, p, step in chosen]
    kept, notes = usable([one for one in series if one.ts.size], assets, max_missing_fraction)
    if not kept:
        raise InsufficientHistory(f"no symbol of {source} can be calibrated: {'; '.join(map(str, notes))}")
    paths = [path for symbol, path, _ in chosen if symbol in {one.symbol for one in kept}]
    joined = align(kept)
    return replace(joined, notes=(*notes, *joined.notes, *mixed_quotes(paths)))


def usable(
    series: Sequence[PriceSeries], assets: Collection[str], max_missing_fraction: float
) -> tuple[list[PriceSeries], list[Finding]]:
    """The series that fit together, and a finding for each of the others."""
    last = max((int(one.ts[-1]) for one in series), default=0)
    living = [one for one in series if int(one.ts[-1]) >= last - ENDED_S]
    longest = max((one.ts.size for one in living), default=0)
    kept: list[PriceSeries] = []
    notes: list[Finding] = []
    for one in series:
        missing = sum(gap.missing for gap in find_gaps(one.symbol, one.ts, one.interval_s))
        share = missing / (one.ts.size + missing)
        if int(one.ts[-1]) < last - ENDED_S:
            notes.append(Finding("ended", one.symbol, f"the last bar is of {utc(int(one.ts[-1]))}; left out"))
        elif one.ts.size < MIN_SHARE * longest:
            text = f"{one.ts.size} bars from {utc(int(one.ts[0]))}, less than half of the longest history; left out"
            notes.append(Finding("listed-late", one.symbol, text))
        elif share > max_missing_fraction:
            notes.append(Finding("too-many-holes", one.symbol, f"{share:.1%} of the bars are missing; left out"))
        elif one.symbol not in assets and _is_stable(one):
            notes.append(Finding("stablecoin", one.symbol, "hardly moves from 1; left out (--collateral takes it)"))
        else:
            kept.append(one)
    return kept, notes


def _is_stable(one: PriceSeries) -> bool:
    near = abs(float(np.median(one.close)) - 1.0) <= STABLE_BAND
    steps = np.diff(np.log(one.close))
    return near and float(np.median(np.abs(steps))) * np.sqrt(DAY_S / one.interval_s) < STABLE_DAY
