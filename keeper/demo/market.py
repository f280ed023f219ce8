# SPDX-License-Identifier: Apache-2.0
"""The market of the demonstration: a past to calibrate on and the hours to live through, simulated or recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risk.errors import InsufficientHistory
from risk.market.clean import exact_pairs
from risk.market.history import PriceHistory
from risk.market.load import find_files, load_prices
from risk.market.synthetic import Crash, simulate, warmup

HOUR = 3_600
HOURS_BEFORE, HOURS_AFTER = 24, 40
WARMUP_HOURS = 24 * 180
PREFERRED = ("BTC", "ETH", "SOL", "LINK", "BNB", "XRP", "LTC", "AVAX", "DOGE", "AAVE")
NOT_UNDERLYINGS = frozenset({"USDC", "USDT", "BUSD", "TUSD", "DAI", "UST", "WBTC", "WBETH", "LUNAclassic"})
SYNTHETIC_START = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 140.0}
SYNTHETIC_CRASH = Crash(hour=HOURS_BEFORE + 6, size=0.30, duration=8)


@dataclass(frozen=True, slots=True)
class MarketPath:
    """What the demonstration lives through.

    Attributes
    ----------
    past : PriceHistory
        Hourly closes before the first hour; the first calibration sees nothing else.
    hours : PriceHistory
        Hourly closes that are played to the contracts, one a step.
    source : str
        Where they come from, for the report.
    """

    past: PriceHistory
    hours: PriceHistory
    source: str

    @property
    def symbols(self) -> tuple[str, ...]:
        """Underlyings, in the order of their numbers on chain."""
        return self.hours.symbols

    def until(self, hour: int) -> PriceHistory:
        """Everything known after ``hour`` bars were played (0 = the past alone)."""
        past, new = self.past, self.hours
        return PriceHistory(
            past.symbols,
            np.concatenate([past.ts, new.ts[:hour]]),
            np.concatenate([past.close, new.close[:hour]]),
            np.concatenate([past.volume, new.volume[:hour]]),
            past.interval_s,
            past.gaps,
        )


def synthetic_path(seed: int, end_ts: int) -> MarketPath:
    """Six simulated months and then a scripted crash. ``end_ts``: unix s of the last bar of the past."""
    symbols = tuple(SYNTHETIC_START)
    prices = list(SYNTHETIC_START.values())
    rng = np.random.default_rng(seed)
    end_ts = end_ts // HOUR * HOUR
    past = warmup(symbols, WARMUP_HOURS, prices, rng, end_ts=end_ts)
    bars = HOURS_BEFORE + HOURS_AFTER
    hours = simulate(symbols, bars, prices, rng, start_ts=end_ts + HOUR, crash=SYNTHETIC_CRASH)
    return MarketPath(past, hours, f"simulated, seed {seed}: stochastic volatility with jumps and a scripted crash")


def recorded_path(folder: Path) -> MarketPath:
    """The worst day of a folder of hourly price files, and the two days after it.

    Raises
    ------
    risk.errors.BadInput
        When a file is missing, empty or holds an unusable row; the message names it.
    InsufficientHistory
        When fewer than two underlyings or less than 60 days precede the crash.
    """
    names = [name for name, _, _ in find_files(folder, None, "1h") if name not in NOT_UNDERLYINGS]
    ranked = [name for name in PREFERRED if name in names] + [name for name in names if name not in PREFERRED]
    if len(ranked) < 2:
        raise InsufficientHistory(
            f"{folder} holds hourly prices of {', '.join(ranked) or 'no underlying'}; "
            "put in at least two files such as BTCUSDT_1h.csv and ETHUSDT_1h.csv"
        )
    lead = load_prices(folder, ranked[:2], "1h", on_fault="raise")
    low = _worst_day_end(lead)
    chosen = list(ranked[:2])
    for name in ranked[2:]:
        series = load_prices(folder, [name], "1h")
        if series.ts[0] <= low - 365 * 24 * HOUR and series.ts[-1] >= low + HOURS_AFTER * HOUR:
            chosen.append(name)
        if len(chosen) == 3:
            break
    full = load_prices(folder, chosen, "1h")
    first = int(np.searchsorted(full.ts, low - (HOURS_BEFORE + 24) * HOUR))
    last = int(np.searchsorted(full.ts, low + HOURS_AFTER * HOUR, side="right"))
    if first < 60 * 24:
        raise InsufficientHistory(
            f"{folder}: only {first} hourly bars precede the crash, 1,440 are needed; add older prices"
        )
    return MarketPath(_slice(full, 0, first), _slice(full, first, last), f"recorded hourly closes in {folder.name}/")


def _slice(history: PriceHistory, start: int, stop: int) -> PriceHistory:
    return PriceHistory(
        history.symbols,
        history.ts[start:stop],
        history.close[start:stop],
        history.volume[start:stop],
        history.interval_s,
        tuple(gap for gap in history.gaps if history.ts[start] <= gap.start <= history.ts[stop - 1]),
    )


def _worst_day_end(history: PriceHistory) -> int:
    """Unix s of the bar that ends the worst 24 hours of the equally weighted log price."""
    start, end = exact_pairs(history.ts, 24 * HOUR)
    if start.size == 0:
        raise InsufficientHistory(f"prices of {', '.join(history.symbols)} span less than a day; add more")
    level = np.log(history.close).mean(axis=1)
    return int(history.ts[end[int(np.argmin(level[end] - level[start]))]])
