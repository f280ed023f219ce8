# SPDX-License-Identifier: Apache-2.0
"""A folder of many markets: what is calibrated together and what is left out by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from risk.errors import InsufficientHistory
from risk.market.history import PriceSeries
from risk.market.universe import load_universe, usable

HOUR = 3_600
N = 2_000


def market(
    symbol: str, first: int = 0, last: int = N, holes: int = 0, price: float = 100.0, day: float = 0.04
) -> PriceSeries:
    rng = np.random.default_rng(first + last)
    rows = np.setdiff1d(np.arange(first, last), np.arange(first + 10, first + 10 + holes))
    close = price * np.exp(np.cumsum(day / np.sqrt(24) * rng.standard_normal(rows.size)) * (day > 0.01))
    if day <= 0.01:
        close = price * np.exp(day / np.sqrt(24) * rng.standard_normal(rows.size))
    return PriceSeries(symbol, rows * HOUR, close, np.ones(rows.size), HOUR, f"{symbol}.csv")


def test_each_reason_has_its_name() -> None:
    folder = [
        market("BTC"),
        market("DEAD", last=N - 400),
        market("YOUNG", first=N // 2 + 1),
        market("HOLED", holes=300),
        market("USDX", price=1.0, day=0.003),
        market("CHEAP", price=1.0),
        market("OLD", first=N // 2 - 1),
    ]
    kept, notes = usable(folder, (), 0.10)
    assert [one.symbol for one in kept] == ["BTC", "CHEAP", "OLD"]
    assert [(n.name, n.subject) for n in notes] == [
        ("ended", "DEAD"),
        ("listed-late", "YOUNG"),
        ("too-many-holes", "HOLED"),
        ("stablecoin", "USDX"),
    ]
    # A stablecoin that is collateral stays, and so does one with holes where they are allowed.
    kept, _ = usable(folder, ("USDX",), 0.20)
    assert [one.symbol for one in kept] == ["BTC", "HOLED", "USDX", "CHEAP", "OLD"]


def put(folder: Path, one: PriceSeries) -> None:
    rows = (f"{t},{c},{c},{c},{c},1\n" for t, c in zip(one.ts + 1_700_000_000 // HOUR * HOUR, one.close, strict=True))
    (folder / f"{one.symbol}USDT_1h.csv").write_text(
        "ts,open,high,low,close,volume\n" + "".join(rows), encoding="utf-8"
    )


def test_a_folder_is_joined_with_notes(tmp_path: Path) -> None:
    for one in (market("BTC"), market("ETH"), market("DEAD", last=N - 400)):
        put(tmp_path, one)
    history = load_universe(tmp_path, "1h")
    assert history.symbols == ("BTC", "ETH")
    assert history.ts.size == N
    assert [(n.name, n.subject) for n in history.notes] == [("ended", "DEAD")]


def test_nothing_left_is_refused_with_the_reasons(tmp_path: Path) -> None:
    put(tmp_path, market("USDX", price=1.0, day=0.003))
    with pytest.raises(InsufficientHistory, match=r"no symbol of .* can be calibrated: stablecoin: USDX: hardly moves"):
        load_universe(tmp_path, "1h")
