# SPDX-License-Identifier: Apache-2.0
"""Read implied-volatility indices and funding rates of the common exporters, and what funding says about the basis.

Layouts. Volatility: ``dvol_<SYMBOL>_<interval>.csv[.gz]`` with a time and a ``close`` in percent a year (Deribit's
DVOL). Funding: ``[exporter_]<SYMBOL><QUOTE>_funding_<n>h.csv[.gz]`` with a time and ``funding_rate``, a fraction for
each n hours; or a wide daily file whose name ends in ``_funding_rate_pct...`` with a column ``<SYMBOL>USDT...`` for
each symbol, the last print of the day in percent, paid one period before the day ends. Of a symbol that both have, the
first is read.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risk.errors import BadInput
from risk.findings import Finding
from risk.market.clean import align
from risk.market.history import FloatArray, IntArray, PriceHistory, PriceSeries, utc
from risk.market.load import TIME_COLUMNS, interval_seconds, parse_time
from risk.measures import expected_shortfall

DVOL_NAME = re.compile(r"^dvol_(?P<symbol>[A-Za-z0-9]+)_(?P<interval>[0-9]+[smhdw])\.csv(?:\.gz)?$")
FUNDING_NAME = re.compile(
    r"^(?:[a-z0-9]+_)?(?P<symbol>[A-Za-z0-9]+?)(?:USDT|USDC|USD)_funding_(?P<hours>[0-9]+)h\.csv(?:\.gz)?$"
)
WIDE_NAME = re.compile(r"funding_rate_pct[A-Za-z0-9_]*\.csv(?:\.gz)?$")
WIDE_COLUMN = re.compile(r"^(?P<symbol>[A-Z0-9]+?)USDT")
HOUR_S, DAY_S = 3_600, 86_400
# Percent a year: no index has been outside, and a fraction (0.62) must not pass for 0.62 %.
LOW_VOL, HIGH_VOL = 5.0, 500.0
# A funding rate above this for one period is a percentage, or a mistake.
MAX_RATE = 0.05
PRINTS_A_DAY = 3


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """Funding of one perpetual: ``ts`` (n,) epoch s at which a rate was paid, ``rate`` (n,) fractions of the notional
    for each ``period_s``, positive when longs pay; ``prints`` counts how many periods a rate stands for.
    """

    symbol: str
    ts: IntArray
    rate: FloatArray
    period_s: int
    prints: int = 1

    def accrued(self, horizon_s: int, until: int | None = None) -> FloatArray:
        """Funding summed over every stretch of the horizon without a hole, paid not later than `until` (epoch s)."""
        keep = self.ts <= (self.ts[-1] if until is None else until)
        ts, paid = self.ts[keep], self.rate[keep] * self.prints
        count = max(1, -(-horizon_s // (self.period_s * self.prints)))
        if ts.size < count:
            return np.empty(0)
        total = np.concatenate([[0.0], np.cumsum(paid)])
        first = np.arange(ts.size - count + 1)
        # Prints drift by milliseconds to minutes around their hour.
        whole = ts[first + count - 1] - ts[first] <= (count - 1) * self.period_s * self.prints + HOUR_S
        return np.asarray((total[first + count] - total[first])[whole], dtype=np.float64)


def basis_floor(series: FundingSeries, horizon_s: int, level: float, until: int | None = None) -> float | None:
    """Least charge on a hedge between a perpetual and anything else: Expected Shortfall of the funding it may pay.

    Both sides count, since either leg may be the perpetual; the wider one is taken. None with fewer than 100 stretches.

    Parameters
    ----------
    series : FundingSeries
    horizon_s : int
        Liquidation horizon, s.
    level : float
        Confidence.
    until : int, optional
        Observation time, epoch s; later rates are not looked at.

    References
    ----------
    docs/risk/calibration.md, formula C2.
    """
    accrued = series.accrued(horizon_s, until)
    if accrued.size < 100:
        return None
    return max(0.0, expected_shortfall(accrued, level), expected_shortfall(-accrued, level))


def load_vol(folder: Path, symbols: Sequence[str]) -> tuple[PriceHistory | None, tuple[Finding, ...]]:
    """Implied volatility indices of the symbols that have one, in percent as ``close``, and what was noticed.

    Raises
    ------
    BadInput
        Missing folder, or a row that cannot be used: file, line and remedy are named.
    """
    series, others = [], []
    for path in _files(folder, "volatility"):
        match = DVOL_NAME.match(path.name)
        if match is None:
            others.append(path.name)
        elif match["symbol"].upper() in symbols:
            series.append(_read_vol(path, match["symbol"].upper(), interval_seconds(match["interval"])))
    notes = []
    if others:
        notes.append(Finding("ignored-file", str(folder), f"{', '.join(others)}: no volatility index; not used"))
    without = [s for s in symbols if s not in {one.symbol for one in series}]
    if without:
        text = "no implied volatility history; the EWMA of its returns stands for it"
        notes += [Finding("derived-volatility", s, text) for s in without]
    return (align(series) if series else None), tuple(notes)


def _read_vol(path: Path, symbol: str, interval_s: int) -> PriceSeries:
    rows: list[tuple[int, float]] = []
    for line, ts, cells in _records(path):
        value = _number(path, line, cells, "close")
        if not LOW_VOL <= value <= HIGH_VOL:
            raise BadInput(
                f"{path}, line {line}: close is {value}, a volatility index lies within {LOW_VOL}..{HIGH_VOL} percent; "
                "write it in percent a year, or remove the row"
            )
        _ascends(path, line, ts, rows)
        rows.append((ts, value))
    if len(rows) < 2:
        raise BadInput(f"{path} has {len(rows)} rows; export it again")
    close = np.array([value for _, value in rows])
    return PriceSeries(symbol, np.array([ts for ts, _ in rows]), close, np.zeros(close.size), interval_s, str(path))


def load_funding(folder: Path, symbols: Sequence[str]) -> tuple[dict[str, FundingSeries], tuple[Finding, ...]]:
    """Funding of the symbols that have any, and what was noticed.

    Raises
    ------
    BadInput
        Missing folder, or a row that cannot be used: file, line and remedy are named.
    """
    found: dict[str, FundingSeries] = {}
    notes: list[Finding] = []
    wide: dict[str, FundingSeries] = {}
    for path in _files(folder, "funding"):
        if (match := FUNDING_NAME.match(path.name)) is not None:
            if match["symbol"].upper() in symbols:
                symbol, period = match["symbol"].upper(), int(match["hours"]) * HOUR_S
                found[symbol] = _read_funding(path, symbol, "funding_rate", period, 1.0)
        elif WIDE_NAME.search(path.name):
            wide |= _read_wide(path, [s for s in symbols if s not in wide])
        else:
            notes.append(Finding("ignored-file", str(path.name), "no funding rates; not used"))
    for symbol, series in wide.items():
        if symbol not in found:
            found[symbol] = series
            text = f"one funding print a day is known; it is taken for all {PRINTS_A_DAY} of the day"
            notes.append(Finding("daily-funding", symbol, text))
    notes += [
        Finding("no-funding", s, "no funding history; the configured share of the scan range stands for the basis")
        for s in symbols
        if s not in found
    ]
    return found, tuple(notes)


def _read_wide(path: Path, symbols: Sequence[str]) -> dict[str, FundingSeries]:
    header = next(iter(_lines(path)), [])
    columns = {match["symbol"]: name for name in header if (match := WIDE_COLUMN.match(name)) is not None}
    return {
        s: _read_funding(path, s, columns[s], DAY_S // PRINTS_A_DAY, 0.01, prints=PRINTS_A_DAY)
        for s in symbols
        if s in columns
    }


def _read_funding(
    path: Path, symbol: str, column: str, period_s: int, unit: float, *, prints: int = 1
) -> FundingSeries:
    rows: list[tuple[int, float]] = []
    for line, ts, cells in _records(path):
        if prints > 1 and not cells.get(column):
            continue  # a wide file has holes where a perpetual was not yet listed
        rate = unit * _number(path, line, cells, column)
        if abs(rate) > MAX_RATE:
            raise BadInput(
                f"{path}, line {line}: {column} is {rate / unit} ({rate:.1%} a period); rates are fractions, "
                "or percent in a file named ..._pct; correct or remove the row"
            )
        _ascends(path, line, ts, rows)
        # A row of one print a day is dated by its day; the print it holds is paid when the last period of it begins.
        rows.append((ts + (prints - 1) * period_s, rate))
    if not rows:
        raise BadInput(f"{path} has no funding of {symbol}; export it again")
    ts_, rates = np.array([ts for ts, _ in rows]), np.array([rate for _, rate in rows])
    return FundingSeries(symbol, ts_, rates, period_s, prints)


def _files(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise BadInput(f"{what} folder {folder} does not exist; create it or point to the folder with the {what} files")
    return sorted(path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz")))


def _lines(path: Path) -> Iterator[list[str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as handle:
            yield from csv.reader(handle)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(f"{path} cannot be read ({error}); export it again") from error


def _records(path: Path) -> Iterator[tuple[int, int, Mapping[str, str]]]:
    """(line, epoch s, cells by column)."""
    lines = _lines(path)
    header = [name.strip() for name in next(lines, [])]
    time = next((name for name in TIME_COLUMNS if name in header), None)
    if time is None:
        raise BadInput(f"{path}, line 1: no time column; name it one of {', '.join(TIME_COLUMNS)}")
    for line, cells in enumerate(lines, start=2):
        row = dict(zip(header, cells, strict=False))
        try:
            yield line, parse_time(row.get(time, "")), row
        except BadInput as error:
            raise BadInput(f"{path}, line {line}: {error}") from error


def _number(path: Path, line: int, cells: Mapping[str, str], column: str) -> float:
    try:
        value = float(cells[column])
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(
            f"{path}, line {line}: {column} is {cells.get(column)!r}, not a number; repair or remove the row"
        )
    return value


def _ascends(path: Path, line: int, ts: int, rows: Sequence[tuple[int, float]]) -> None:
    if rows and ts <= rows[-1][0]:
        raise BadInput(f"{path}, line {line}: time {utc(ts)} does not ascend; sort by time and drop duplicates")
