# SPDX-License-Identifier: Apache-2.0
"""Read OHLCV files of the common exporters."""

from __future__ import annotations

import csv
import gzip
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.findings import Finding
from risk.market.clean import align
from risk.market.history import PriceHistory, PriceSeries, utc

FILE_NAME = re.compile(
    r"^(?:[a-z0-9]+_)?(?P<base>[A-Za-z0-9]+?)-?(?P<quote>USDT|USDC|BUSD|FDUSD|USD|EUR|BTC|ETH)"
    r"_(?P<interval>[0-9]+[smhdw])\.csv(?:\.gz)?$"
)
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
TIME_COLUMNS = ("ts", "timestamp", "time", "open_time", "date")
PRICE_COLUMNS = ("open", "high", "low", "close")
REQUIRED = (*PRICE_COLUMNS, "volume")

OnFault = Literal["raise", "drop", "repair"]
# What a row's fault is called, by a phrase of its message.
FAULTS = {
    "is duplicate": "duplicate-bars",
    "is out of order": "unsorted-bars",
    "must be above zero": "price-not-positive",
    "must not be negative": "negative-volume",
}
# Line numbers with time, close and volume.
Lines = list[tuple[int, tuple[int, float, float]]]
Sources = str | Path | Iterable[str | Path] | Mapping[str, str | Path]


def interval_seconds(interval: str) -> int:
    """Seconds of ``1m``, ``4h``, ``1d`` and the like.

    Raises
    ------
    BadInput
        When the text is not a number followed by s, m, h, d or w.

    Examples
    --------
    >>> interval_seconds("4h")
    14400
    """
    match = re.fullmatch(r"([1-9][0-9]*)([smhdw])", interval)
    if match is None:
        raise BadInput(f"interval is {interval!r}; write it as a number and s, m, h, d or w, such as 1h")
    return int(match[1]) * UNIT_S[match[2]]


def parse_time(text: str) -> int:
    """Epoch seconds of an ISO 8601 time (UTC when it has no zone) or of epoch s, ms or us.

    Raises
    ------
    BadInput
        When it is none of these.

    Examples
    --------
    >>> parse_time("2020-03-12T10:00:00Z"), parse_time("1584007200000"), parse_time("1584007200")
    (1584007200, 1584007200, 1584007200)
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise BadInput(f"time is {text!r}; write ISO 8601 UTC or epoch seconds or milliseconds") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not math.isfinite(number) or number < 0:
        raise BadInput(f"time is {text!r}; write ISO 8601 UTC or epoch seconds or milliseconds")
    if number < 1e8:
        # 2018 or 20180101 would be an hour or some months after 1970, and a window from there begins with the data.
        raise BadInput(f"time is {text!r}, as epoch seconds before 1973; write a whole date, such as 2018-01-01")
    # Epoch seconds stay below 1e11 until the year 5138; milliseconds have stood above it since 1973.
    for limit, scale in ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000)):
        if number < limit:
            return int(number) // scale
    raise BadInput(f"time is {text!r}; it is too large for epoch seconds, milliseconds or microseconds")


def load_prices(
    source: Sources,
    symbols: Sequence[str] | None = None,
    interval: str | None = None,
    *,
    on_fault: OnFault = "raise",
    min_bars: int = 2,
    start: int | None = None,
    end: int | None = None,
    max_missing_fraction: float = 1.0,
) -> PriceHistory:
    """Read bars and align them on common timestamps.

    Parameters
    ----------
    source : path, paths or mapping of symbol to path
        A folder of files named ``<BASE><QUOTE>_<interval>.csv[.gz]`` (an exporter's prefix such as ``binance_`` is
        allowed), such files, or any files with the symbol said explicitly. Columns: a time (``ts``, ``date`` ...:
        ISO 8601 UTC or epoch s/ms) and open, high, low, close, volume; others are ignored.
    symbols : sequence of str, optional
        Base symbols wanted, in this order. Default: all found, sorted.
    interval : str, optional
        Such as ``1h``. Needed when a folder holds several.
    on_fault : {"raise", "drop", "repair"}
        What to do with a row that is malformed, not positive, duplicated or out of order. ``drop`` leaves it out and
        says so in a `RiskWarning` and in the notes of the history; ``repair`` does the same after sorting by time.
    min_bars : int
        Fewest bars accepted, for each file and after aligning.
    start, end : int, optional
        Keep ``start <= ts < end``, epoch seconds.
    max_missing_fraction : float
        Largest share of bars a symbol may miss.

    Returns
    -------
    PriceHistory

    Raises
    ------
    BadInput
        Missing folder or file, wrong columns, unusable row: the message names file, line and remedy.
    InsufficientHistory
        Empty or too short file.
    DataGap
        A symbol misses more bars than allowed.

    Examples
    --------
    >>> history = load_prices("prices/hourly", ["BTC", "ETH"], "1h")  # doctest: +SKIP
    """
    chosen = find_files(source, symbols, interval)
    series = []
    for symbol, path, seconds in chosen:
        one = read_series(path, symbol, seconds, on_fault=on_fault)
        series.append(cut(one, start, end, min_bars))
    joined = align(series, min_bars=min_bars, max_missing_fraction=max_missing_fraction)
    return replace(joined, notes=joined.notes + mixed_quotes([path for _, path, _ in chosen]))


def mixed_quotes(paths: Sequence[Path]) -> tuple[Finding, ...]:
    """A loss of one quote currency's peg moves only the symbols it quotes."""
    quotes = {match["quote"] for path in paths if (match := FILE_NAME.match(path.name))}
    if len(quotes) < 2:
        return ()
    text = f"prices are in {', '.join(sorted(quotes))}; a depeg of one shows as a move of its symbols alone"
    return (Finding("mixed-quotes", "quote currency", text),)


def find_files(
    source: Sources, symbols: Sequence[str] | None, interval: str | None
) -> list[tuple[str, Path, int | None]]:
    """Which file holds which symbol: (symbol, path, seconds of a bar or None when the name does not say).

    Raises
    ------
    BadInput
        When a symbol has no file, or the folder does not exist.
    """
    wanted_s = None if interval is None else interval_seconds(interval)
    if isinstance(source, Mapping):
        found = {s: (Path(p), wanted_s or _interval_of(Path(p))) for s, p in source.items()}
    else:
        found = _by_name(source, wanted_s)
    names = sorted(found) if symbols is None else list(symbols)
    missing = [s for s in names if s not in found]
    if missing:
        raise BadInput(
            f"no price file for {', '.join(missing)}"
            + (f" at interval {interval}" if interval else "")
            + f"; add <BASE><QUOTE>_<interval>.csv[.gz] (found: {', '.join(sorted(found)) or 'none'})"
        )
    return [(s, *found[s]) for s in names]


def _interval_of(path: Path) -> int | None:
    match = re.search(r"_([0-9]+[smhdw])\.csv(?:\.gz)?$", path.name)
    return interval_seconds(match[1]) if match else None


def _by_name(source: str | Path | Iterable[str | Path], wanted_s: int | None) -> dict[str, tuple[Path, int | None]]:
    if isinstance(source, str | Path):
        root = Path(source)
        if not root.exists():
            raise BadInput(f"price folder {root} does not exist; create it or point to the folder with the price files")
        paths = sorted(root.iterdir()) if root.is_dir() else [root]
        where = str(root)
    else:
        paths = [Path(p) for p in source]
        where = "the list of files"
    found: dict[str, tuple[Path, int | None]] = {}
    for path in paths:
        match = FILE_NAME.match(path.name)
        if match is None:
            continue
        seconds = interval_seconds(match["interval"])
        if wanted_s is not None and seconds != wanted_s:
            continue
        base = match["base"].upper()
        if base in found:
            raise BadInput(
                f"{where} has two files for {base}: {found[base][0].name} and {path.name}; "
                "say the interval or pass the files as {symbol: path}"
            )
        found[base] = (path, seconds)
    if not found:
        raise BadInput(f"no price file in {where}; name them <BASE><QUOTE>_<interval>.csv[.gz], such as BTCUSDT_1h.csv")
    return found


def read_series(path: Path, symbol: str, interval_s: int | None, *, on_fault: OnFault = "raise") -> PriceSeries:
    """Read one file. See `load_prices` for the layout and the errors.

    Raises
    ------
    BadInput
        When the file does not exist or a row is faulty (``on_fault="raise"``).
    InsufficientHistory
        When fewer than two usable bars are left.
    """
    if not path.is_file():
        raise BadInput(f"{symbol}: price file {path} does not exist; check the path")
    rows: list[tuple[int, float, float]] = []
    dropped: list[str] = []
    parsed = _parsed(path, symbol, dropped, raising=on_fault == "raise")
    notes: tuple[Finding, ...] = ()
    if on_fault == "repair":
        parsed, notes = _sorted(parsed, symbol, path)
    for line, row in parsed:
        if rows and row[0] <= rows[-1][0]:
            kind = "duplicate" if row[0] == rows[-1][0] else "out of order"
            fault = f"{path}, line {line}: time {utc(row[0])} is {kind}; sort by time and drop duplicates"
            if on_fault == "raise":
                raise BadInput(fault)
            dropped.append(fault)
            continue
        rows.append(row)
    if dropped:
        warnings.warn(f"{symbol}: {len(dropped)} bad rows left out; first: {dropped[0]}", RiskWarning, stacklevel=2)
    if len(rows) < 2:
        raise InsufficientHistory(f"{symbol}: price file {path} has {len(rows)} usable bars; it needs at least 2")
    table = np.array(rows, dtype=np.float64)
    ts = np.array([r[0] for r in rows], dtype=np.int64)
    step = interval_s if interval_s is not None else int(np.median(np.diff(ts)))
    return PriceSeries(
        symbol, ts, table[:, 1].copy(), table[:, 2].copy(), step, str(path), notes + _notes(symbol, dropped)
    )


def _parsed(path: Path, symbol: str, dropped: list[str], *, raising: bool) -> Lines:
    """Line numbers and bars; a row that cannot be read raises, or goes to `dropped`."""
    out: Lines = []
    for line, cells, columns in _rows(path, symbol):
        try:
            out.append((line, _parse_row(cells, columns)))
        except BadInput as error:
            fault = f"{path}, line {line}: {error}"
            if raising:
                raise BadInput(fault) from None
            dropped.append(fault)
    return out


def _sorted(parsed: Lines, symbol: str, path: Path) -> tuple[Lines, tuple[Finding, ...]]:
    """Rows by time (stable), and a finding where that is not how they came."""
    wrong = sum(after[1][0] < before[1][0] for before, after in pairwise(parsed))
    if not wrong:
        return parsed, ()
    text = f"rows of {path} step back in time {wrong} times; sorted"
    return sorted(parsed, key=lambda item: item[1][0]), (Finding("unsorted-bars", symbol, text),)


def _notes(symbol: str, dropped: Sequence[str]) -> tuple[Finding, ...]:
    """One finding for each kind of fault."""
    kinds = [next((name for phrase, name in FAULTS.items() if phrase in text), "malformed-bars") for text in dropped]
    first = dict(zip(reversed(kinds), reversed(dropped), strict=True))
    return tuple(
        Finding(kind, symbol, f"{kinds.count(kind)} rows left out; first: {text}") for kind, text in first.items()
    )


def _rows(path: Path, symbol: str) -> Iterator[tuple[int, list[str], list[int]]]:
    """(line number, cells, positions of time, open, high, low, close, volume) for every row after the header."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as handle:
            reader = csv.reader(handle)
            header = next(reader, None)
            if header is None:
                raise InsufficientHistory(f"{symbol}: price file {path} is empty; export it again")
            columns = _columns(path, [name.strip().lower() for name in header])
            for cells in reader:
                if cells:
                    yield reader.line_num, cells, columns
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(f"{symbol}: price file {path} cannot be read ({error}); export it again") from error


def _columns(path: Path, header: list[str]) -> list[int]:
    time_name = next((name for name in TIME_COLUMNS if name in header), None)
    missing = [name for name in REQUIRED if name not in header]
    if time_name is None:
        missing.insert(0, "ts")
    if missing:
        raise BadInput(
            f"{path}, line 1: missing column {', '.join(missing)}; the header must be ts,open,high,low,close,volume"
        )
    return [header.index(name) for name in (time_name or "ts", *REQUIRED)]


def _parse_row(cells: list[str], columns: list[int]) -> tuple[int, float, float]:
    try:
        raw = [cells[i] for i in columns]
    except IndexError:
        raise BadInput(f"{len(cells)} cells, too few; write ts,open,high,low,close,volume") from None
    ts = parse_time(raw[0])
    values = []
    for name, text in zip(REQUIRED, raw[1:], strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"{name} is {text!r}, not a number; repair or remove the bar")
        if name in PRICE_COLUMNS and value <= 0:
            raise BadInput(f"{name} is {text}, prices must be above zero; repair or remove the bar")
        values.append(value)
    if values[4] < 0:
        raise BadInput(f"volume is {raw[5]}, it must not be negative; repair or remove the bar")
    return ts, values[3], values[4]


def cut(series: PriceSeries, start: int | None, end: int | None, min_bars: int) -> PriceSeries:
    """Bars with ``start <= ts < end``, epoch seconds.

    Raises
    ------
    InsufficientHistory
        When there are fewer than `min_bars`; the message names the dates there are.
    """
    keep = np.ones(series.ts.size, dtype=np.bool_)
    if start is not None:
        keep &= series.ts >= start
    if end is not None:
        keep &= series.ts < end
    if int(keep.sum()) < min_bars:
        held = "none" if series.ts.size == 0 else f"{utc(int(series.ts[0]))} to {utc(int(series.ts[-1]))}"
        raise InsufficientHistory(
            f"{series.symbol}: {series.source} has {int(keep.sum())} bars in the window, {min_bars} are needed; "
            f"its bars are {held}: choose dates among them or hand over a longer history"
        )
    return PriceSeries(
        series.symbol,
        series.ts[keep],
        series.close[keep],
        series.volume[keep],
        series.interval_s,
        series.source,
        series.notes,
    )
