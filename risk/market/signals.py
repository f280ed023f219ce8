# SPDX-License-Identifier: Apache-2.0
"""Dated values beside prices: implied-volatility indices, funding rates, book depth; and the files that hold them."""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from risk.errors import BadInput, InsufficientHistory
from risk.market.history import FloatArray, IntArray, utc
from risk.market.load import TIME_COLUMNS, interval_seconds, parse_time

Kind = Literal["vol", "funding"]
COLUMNS: Mapping[Kind, tuple[str, ...]] = {"vol": ("close",), "funding": ("funding_rate", "rate")}
PATTERN: Mapping[Kind, str] = {"vol": "dvol_<BASE>_1d.csv[.gz]", "funding": "<BASE>USDT_funding_8h.csv[.gz]"}


@dataclass(frozen=True, slots=True)
class DatedSeries:
    """Values and the moment each became known.

    Attributes
    ----------
    known_at : (n,) int64
        Epoch seconds, strictly ascending.
    value : (n,) float64
        Finite.

    Raises
    ------
    BadInput
        Lengths differ, times do not ascend, or a value is not finite.
    """

    known_at: IntArray
    value: FloatArray

    def __post_init__(self) -> None:
        if self.known_at.shape != self.value.shape or self.known_at.ndim != 1:
            raise BadInput(f"{self.known_at.size} times and {self.value.size} values; hand over one time a value")
        steps = np.diff(self.known_at)
        if (steps <= 0).any():
            at = int(self.known_at[int(np.argmax(steps <= 0)) + 1])
            raise BadInput(f"times do not ascend at {utc(at)}; sort by time and drop duplicates")
        if not np.isfinite(self.value).all():
            at = int(self.known_at[int(np.argmax(~np.isfinite(self.value)))])
            raise BadInput(f"the value at {utc(at)} is not a number; drop or repair it")

    def until(self, time: int) -> DatedSeries:
        """What was known at a time (epoch s)."""
        count = int(np.searchsorted(self.known_at, time, side="right"))
        return DatedSeries(self.known_at[:count], self.value[:count])

    def at(self, times: IntArray, max_age_s: int) -> FloatArray:
        """Last value known at each time, nan where there is none or it is older than `max_age_s`.

        Examples
        --------
        >>> s = DatedSeries(np.array([10, 20]), np.array([1.0, 2.0]))
        >>> s.at(np.array([9, 10, 25, 99]), 30).tolist()
        [nan, 1.0, 2.0, nan]
        """
        out = np.full(times.shape, np.nan)
        row = np.searchsorted(self.known_at, times, side="right") - 1
        has = row >= 0
        has[has] = times[has] - self.known_at[row[has]] <= max_age_s
        out[has] = self.value[row[has]]
        return out


def load_signals(folder: str | Path, symbols: Sequence[str], kind: Kind) -> dict[str, DatedSeries]:
    """One series for every symbol that has a file; symbols without one are left out.

    Parameters
    ----------
    folder : path
        ``vol``: bars named like ``dvol_BTC_1d.csv.gz``, column ``close``, known when the bar closes. ``funding``:
        payments named like ``binance_BTCUSDT_funding_8h.csv.gz``, column ``funding_rate`` (a fraction), known at once.
    symbols : sequence of str
    kind : {"vol", "funding"}

    Raises
    ------
    BadInput
        The folder does not exist or holds no file of any symbol, two files are of one, or a row cannot be used: the
        message names file and line.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{kind} folder {root} does not exist; create it or point to the folder with the files")
    found: dict[str, DatedSeries] = {}
    for symbol in symbols:
        name = re.compile(
            rf"(?:^|_){re.escape(symbol)}(?:-?(?:USDT|USDC|USD))?_(?:[a-z]+_)?(\d+[smhdw])\.csv(?:\.gz)?$",
            re.IGNORECASE,
        )
        files = [(path, match[1]) for path in sorted(root.iterdir()) if (match := name.search(path.name))]
        if len(files) > 1:
            raise BadInput(f"{root} has two {kind} files for {symbol}: {files[0][0].name} and {files[1][0].name}")
        if files:
            path, interval = files[0]
            found[symbol] = _read(path, symbol, kind, interval_seconds(interval) if kind == "vol" else 0)
    if not found:
        raise BadInput(f"no {kind} file of {', '.join(symbols)} in {root}; name them {PATTERN[kind]}")
    return found


def _read(path: Path, symbol: str, kind: Kind, delay_s: int) -> DatedSeries:
    times: list[int] = []
    values: list[float] = []
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as handle:
            reader = csv.reader(handle)
            header = [name.strip().lower() for name in next(reader, [])]
            at, column = _columns(path, header, kind)
            for cells in reader:
                if cells:
                    time, value = _row(path, reader.line_num, cells, at, column, kind)
                    times.append(time + delay_s)
                    values.append(value)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(f"{symbol}: {kind} file {path} cannot be read ({error}); export it again") from error
    if not times:
        raise InsufficientHistory(f"{symbol}: {kind} file {path} holds no row; export it again")
    try:
        return DatedSeries(np.array(times, dtype=np.int64), np.array(values))
    except BadInput as error:
        raise BadInput(f"{symbol}: {kind} file {path}: {error}") from error


def _columns(path: Path, header: list[str], kind: Kind) -> tuple[int, int]:
    time = next((name for name in TIME_COLUMNS if name in header), None)
    value = next((name for name in COLUMNS[kind] if name in header), None)
    if time is None or value is None:
        missing = "ts" if time is None else COLUMNS[kind][0]
        raise BadInput(f"{path}, line 1: missing column {missing}; the header must hold ts and {COLUMNS[kind][0]}")
    return header.index(time), header.index(value)


def _row(path: Path, line: int, cells: list[str], at: int, column: int, kind: Kind) -> tuple[int, float]:
    if max(at, column) >= len(cells):
        raise BadInput(f"{path}, line {line}: {len(cells)} cells, too few; repair or remove the row")
    try:
        time = parse_time(cells[at])
    except BadInput as error:
        raise BadInput(f"{path}, line {line}: {error}") from error
    try:
        value = float(cells[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (kind == "vol" and value <= 0):
        raise BadInput(f"{path}, line {line}: {kind} is {cells[column]!r}, it cannot be used; repair or remove the row")
    return time, value
