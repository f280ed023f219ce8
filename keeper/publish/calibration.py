# SPDX-License-Identifier: Apache-2.0
"""Calibrate from history: files that the operator hands over, continued by the prices the keeper sees on chain."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from keeper.domain import Snapshot, Unknown
from keeper.errors import ConfigError, Halt
from risk.calibrate import calibrate
from risk.config import CalibrationConfig
from risk.haircuts import CollateralSpec
from risk.market import PriceHistory, load_prices
from risk.market.history import utc
from risk.types import ParameterSet
from risk.units import float_from_wad

DAY_S = 86_400
OBSERVED = "observed.csv"
PRICE_UNDERLYING = 0
JUMP = 0.2  # log return of one day that no two prices of one market should lie apart


def far_apart(one: float, other: float, seconds: float) -> bool:
    """Whether two prices cannot well be of one market: their log return exceeds 20 % times the root of the days.

    Examples
    --------
    >>> far_apart(60_000.0, 45_000.0, 3_600), far_apart(60_000.0, 45_000.0, 9 * 86_400)
    (True, False)
    """
    return abs(math.log(other / one)) > JUMP * math.sqrt(max(1.0, seconds / DAY_S))


@dataclass(slots=True)
class PriceBook:
    """A price history that grows by one bar whenever the chain passes the end of one.

    Attributes
    ----------
    history
        What is known so far; `PriceHistory.ts` is the opening time of a bar.
    file
        Where observed bars are appended, so that a restart does not lose them; None keeps them in memory. Never in the
        folder of price files, which may be read-only or shared.
    """

    history: PriceHistory
    file: Path | None = None
    _volume: tuple[float, ...] = field(init=False)
    _handed_over_to: int = field(init=False)
    _left_out: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._handed_over_to = int(self.history.ts[-1])
        # The chain has no volumes; the mean of the last recorded day stands for them.
        bars = max(1, DAY_S // self.history.interval_s)
        self._volume = tuple(float(v) for v in self.history.volume[-bars:].mean(axis=0))

    @classmethod
    def open(cls, folder: Path, file: Path, symbols: Sequence[str] | None = None, interval: str = "1h") -> PriceBook:
        """Load the files of a folder and the bars observed by earlier runs; writes nothing yet.

        Parameters
        ----------
        folder
            Price files.
        file
            Observed bars, which need not exist yet. Bars that earlier versions left in ``folder`` are read first.

        Raises
        ------
        risk.errors.BadInput, risk.errors.InsufficientHistory
            The files cannot be used; the message names file and line.
        ConfigError
            The file of observed bars is damaged.
        """
        book = cls(load_prices(folder, symbols, interval), file)
        for source in (folder / OBSERVED, file):
            book._replay(source)
        return book

    def observe(self, snapshot: Snapshot) -> bool:
        """Append the bar that ended at or before the snapshot; False when none has, or a price is not fresh.

        The first bar after the files is left out where it lies too far from their end: the hole tells that no return
        leads from the one price to the other.

        Raises
        ------
        Halt
            The bar cannot be written (a full disk).
        """
        step = self.history.interval_s
        bar = snapshot.block.timestamp // step * step - step
        close = self._closes(snapshot)
        last = int(self.history.ts[-1])
        if bar <= last or close is None:
            return False
        if last == self._handed_over_to and bar == last + step and (far := self.far(snapshot)):
            if bar != self._left_out:  # asked every cycle, told once
                structlog.get_logger("prices").warning(
                    f"{'; '.join(far)}; the first bar on chain is left out as a hole"
                )
            self._left_out = bar
            return False
        if self.file is not None:
            self._write(self.file, bar, close)
        self.history = self.history.extend(bar, close, self._volume)
        return True

    def far(self, snapshot: Snapshot) -> list[str]:
        """Symbols whose history ends too far from the chain's price, each with both prices."""
        closes, age_s = self._closes(snapshot), snapshot.block.timestamp - int(self.history.ts[-1])
        pairs = zip(self.history.symbols, self.history.close[-1].tolist(), closes or (), strict=closes is not None)
        return [
            f"the prices of {symbol} end at {past:,.2f} on {utc(int(self.history.ts[-1]))}, the chain says {now:,.2f}"
            for symbol, past, now in pairs
            if far_apart(past, now, age_s)
        ]

    def _closes(self, snapshot: Snapshot) -> list[float] | None:
        if isinstance(snapshot.underlyings, Unknown) or isinstance(snapshot.prices, Unknown):
            return None
        ids = {info.symbol: number for number, info in snapshot.underlyings.items()}
        found = []
        for symbol in self.history.symbols:
            price = snapshot.prices.get((PRICE_UNDERLYING, ids[symbol])) if symbol in ids else None
            if price is None or price.dead or price.price_wad == 0:
                return None
            found.append(float_from_wad(price.price_wad))
        return found

    def _write(self, file: Path, bar: int, close: Sequence[float]) -> None:
        try:
            new = not file.exists()
            with file.open("a", encoding="utf-8", newline="") as handle:
                writer = csv.writer(handle)
                if new:
                    writer.writerow(["ts", *self.history.symbols])
                writer.writerow([bar, *map(repr, close)])
        except OSError as error:
            raise Halt(
                f"observed prices cannot be written to {file} ({error.strerror}); free disk space or set "
                "observed_prices to a file that can be written"
            ) from error

    def _replay(self, file: Path) -> None:
        if not file.exists():
            return
        try:
            with file.open(encoding="utf-8", newline="") as handle:
                for row in csv.DictReader(handle):
                    if int(row["ts"]) > int(self.history.ts[-1]):
                        close = [float(row[symbol]) for symbol in self.history.symbols]
                        self.history = self.history.extend(int(row["ts"]), close, self._volume)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"observed prices in {file} cannot be used ({error}); repair or move the file away"
            ) from error


def collateral_specs(names: Mapping[int, str], snapshot: Snapshot) -> tuple[CollateralSpec, ...]:
    """Collateral assets of the chain as the calibration sees them: name and link; all else by its defaults."""
    if isinstance(snapshot.collaterals, Unknown) or isinstance(snapshot.underlyings, Unknown):
        return ()
    return tuple(
        CollateralSpec(name, None if info.linked is None else snapshot.underlyings[info.linked].symbol)
        for number, name in sorted(names.items())
        if (info := snapshot.collaterals.get(number)) is not None
    )


def recalibrate(
    history: PriceHistory,
    collaterals: Sequence[CollateralSpec],
    previous: ParameterSet | None,
    now: int,
    config: CalibrationConfig | None = None,
) -> ParameterSet:
    """Calibrate on everything known now.

    The seed comes from the history's content, so anybody with the same bars gets the same parameters.

    Parameters
    ----------
    now
        Time the newest price was observed, unix seconds; becomes the observation time of a push.

    Raises
    ------
    risk.errors.RiskError
        The history is too short, or the result fails its gates; the previous set stays in force.
    """
    chosen = config or CalibrationConfig.quick(collaterals=tuple(collaterals))
    rng = np.random.default_rng(int(history.content_hash, 16))
    return calibrate(history, chosen, rng, previous=previous, now=now)
