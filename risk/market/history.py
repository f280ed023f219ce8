# SPDX-License-Identifier: Apache-2.0
"""Price histories: the values every estimate starts from, with their holes named and their content hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from risk.errors import BadInput, InsufficientHistory
from risk.findings import Finding

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def utc(ts: float) -> str:
    """Epoch seconds as ``2020-03-12T10:00Z``, for messages.

    Examples
    --------
    >>> utc(0)
    '1970-01-01T00:00Z'
    """
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%MZ")


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in one symbol's bars.

    Attributes
    ----------
    symbol : str
    start, end : int
        Epoch seconds of the last bar before and the first bar after the hole.
    missing : int
        Number of bars that should lie between.
    """

    symbol: str
    start: int
    end: int
    missing: int

    def __str__(self) -> str:
        return f"{self.symbol}: {self.missing} bars missing between {utc(self.start)} and {utc(self.end)}"


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """Bars of one symbol, ascending in time, without duplicates; prices finite and positive.

    Attributes
    ----------
    symbol : str
    ts : (n,) int64
        Bar open time, epoch seconds.
    close, volume : (n,) float64
        Close in quote units, volume in base units.
    interval_s : int
        Seconds of a bar.
    source : str
        Where the bars came from, for messages.
    notes : tuple of Finding
        What was repaired while reading.
    """

    symbol: str
    ts: IntArray
    close: FloatArray
    volume: FloatArray
    interval_s: int
    source: str
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Closes and volumes of several symbols on common timestamps.

    Attributes
    ----------
    symbols : tuple of str
    ts : (n,) int64
        Epoch seconds, strictly ascending.
    close, volume : (n, k) float64
        Close in quote units (finite, positive), volume in base units (finite, not negative).
    interval_s : int
        Seconds of a bar. Steps longer than this are holes: no return is computed across them.
    gaps : tuple of Gap
        Holes found while aligning.
    notes : tuple of Finding
        What was repaired while reading and aligning; no part of the content hash.

    Raises
    ------
    BadInput
        When shapes disagree or a value is not usable.
    """

    symbols: tuple[str, ...]
    ts: IntArray
    close: FloatArray
    volume: FloatArray
    interval_s: int
    gaps: tuple[Gap, ...] = field(default=())
    notes: tuple[Finding, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = (self.ts.size, len(self.symbols))
        if self.close.shape != shape or self.volume.shape != shape:
            raise BadInput(
                f"price history: close {self.close.shape} and volume {self.volume.shape} must both be {shape} "
                "(bars, symbols)"
            )
        if len(set(self.symbols)) != len(self.symbols):
            raise BadInput(f"price history: duplicate symbol in {self.symbols}; hand over each symbol once")
        if self.interval_s <= 0:
            raise BadInput(f"price history: interval is {self.interval_s} s; it must be positive")
        steps = np.diff(self.ts)
        if (steps <= 0).any():
            at = int(self.ts[int(np.argmax(steps <= 0)) + 1])
            raise BadInput(f"price history: timestamps do not ascend at {utc(at)}; sort by time and drop duplicates")
        self._check_values("close", self.close, self.close > 0)
        self._check_values("volume", self.volume, self.volume >= 0)

    def _check_values(self, name: str, values: FloatArray, in_range: NDArray[np.bool_]) -> None:
        bad = ~(np.isfinite(values) & in_range)
        if bad.any():
            row, col = (int(v) for v in np.argwhere(bad)[0])
            raise BadInput(
                f"{self.symbols[col]}: {name} is {values[row, col]} at {utc(int(self.ts[row]))}; "
                "drop or repair the bar before building a history"
            )

    @property
    def content_hash(self) -> str:
        """SHA-256 (``0x`` + 64 hex digits) over canonical bytes: symbols, interval, times, closes, volumes."""
        digest = hashlib.sha256(b"ballast.price-history.1\0")
        digest.update("\0".join(self.symbols).encode() + b"\0")
        digest.update(np.array([self.interval_s, *self.close.shape], dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(self.ts, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(self.close, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.volume, dtype="<f8").tobytes())
        return "0x" + digest.hexdigest()

    def select(self, symbols: Sequence[str]) -> PriceHistory:
        """The same bars for some of the symbols, in the order asked.

        Raises
        ------
        BadInput
            When a symbol is not in the history.
        """
        unknown = [s for s in symbols if s not in self.symbols]
        if unknown:
            raise BadInput(f"price history has no symbol {', '.join(unknown)}; it has {', '.join(self.symbols)}")
        cols = [self.symbols.index(s) for s in symbols]
        gaps = tuple(g for g in self.gaps if g.symbol in symbols)
        notes = tuple(n for n in self.notes if n.subject in symbols or n.subject not in self.symbols)
        return PriceHistory(
            tuple(symbols), self.ts, self.close[:, cols], self.volume[:, cols], self.interval_s, gaps, notes
        )

    def window(self, start: int | None = None, end: int | None = None) -> PriceHistory:
        """Bars with ``start <= ts < end`` (epoch seconds; None = unbounded).

        Raises
        ------
        InsufficientHistory
            When no bar lies in the window.
        """
        lo = 0 if start is None else int(np.searchsorted(self.ts, start))
        hi = self.ts.size if end is None else int(np.searchsorted(self.ts, end))
        if hi <= lo:
            raise InsufficientHistory("price history: no bar in the window asked for; widen it")
        gaps = tuple(g for g in self.gaps if g.end > self.ts[lo] and g.start < self.ts[hi - 1])
        return PriceHistory(
            self.symbols, self.ts[lo:hi], self.close[lo:hi], self.volume[lo:hi], self.interval_s, gaps, self.notes
        )

    def extend(self, ts: int, close: Sequence[float], volume: Sequence[float]) -> PriceHistory:
        """The history and one more bar, as a keeper appends them.

        Raises
        ------
        BadInput
            When the bar is not later than the last one or a value is not usable.
        """
        return PriceHistory(
            self.symbols,
            np.append(self.ts, np.int64(ts)),
            np.vstack([self.close, np.asarray(close, dtype=np.float64)[None, :]]),
            np.vstack([self.volume, np.asarray(volume, dtype=np.float64)[None, :]]),
            self.interval_s,
            self.gaps,
            self.notes,
        )
