# SPDX-License-Identifier: Apache-2.0
"""Volatility and funding files: layouts, units, faults, and the floor funding puts under the basis charge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from risk.errors import BadInput
from risk.market.observed import FundingSeries, basis_floor, load_funding, load_vol
from tests.support.shared import shared_path

H8 = 8 * 3_600


def put(folder: Path, name: str, *rows: str) -> None:
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_real_volatility_files_load_and_what_is_none_is_named() -> None:
    found, notes = load_vol(shared_path("data", "vol"), ["BTC", "ETH", "SOL"])
    assert found is not None
    assert (found.symbols, found.interval_s) == (("BTC", "ETH"), 86_400)
    # Deribit's DVOL of BTC rose from 76 to a high of 122 on 2022-11-09.
    crash = found.window(1_667_865_600, 1_668_124_800).close[:, 0]
    assert 75 < crash.max() < 122
    assert {n.name: n.subject for n in notes}["derived-volatility"] == "SOL"
    assert any(n.name == "ignored-file" and "term_structure" in n.text for n in notes)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2024-01-02,0.62", "line 3: close is 0.62, a volatility index lies within 5.0..500.0 percent"),
        ("2024-01-02,x", "line 3: close is 'x', not a number"),
        ("2024-01-01,60", "line 3: time 2024-01-01T00:00Z does not ascend"),
        ("soon,60", "line 3: time is 'soon'"),
    ],
)
def test_bad_volatility_rows(tmp_path: Path, row: str, words: str) -> None:
    put(tmp_path, "dvol_BTC_1d.csv", "date,close", "2024-01-01,61", row)
    with pytest.raises(BadInput, match=r"dvol_BTC_1d\.csv") as caught:
        load_vol(tmp_path, ["BTC"])
    assert words in str(caught.value)


def test_folders_and_headers(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"volatility folder .*none does not exist"):
        load_vol(tmp_path / "none", ["BTC"])
    put(tmp_path, "dvol_BTC_1d.csv", "close", "60")
    with pytest.raises(BadInput, match="line 1: no time column"):
        load_vol(tmp_path, ["BTC"])
    assert load_vol(tmp_path, ["ETH"])[0] is None


def test_real_funding_in_fractions_and_in_percent_agree() -> None:
    found, notes = load_funding(shared_path("data", "funding"), ["BTC", "SOL", "WBTC"])
    btc, sol = found["BTC"], found["SOL"]
    assert (btc.prints, sol.prints) == (1, 3)
    # The sheet of sources: least rate -0.3 % on 2020-03-13.
    assert btc.rate.min() == pytest.approx(-0.003, abs=3e-4)
    assert {(n.name, n.subject) for n in notes} >= {("daily-funding", "SOL"), ("no-funding", "WBTC")}
    wide = sol.rate[(sol.ts >= 1_640_995_200)]
    assert 1e-5 < float(np.median(np.abs(wide))) < 2e-4


def test_the_eight_hour_file_is_preferred_to_the_daily_one(tmp_path: Path) -> None:
    put(
        tmp_path,
        "daily_funding_rate_pct.csv",
        "date,BTCUSDT_PERP_fr,ETHUSDT_PERP_fr",
        "2024-01-01,0.02,0.03",
        "2024-01-02,0.02,",
    )
    put(tmp_path, "x_BTCUSDT_funding_8h.csv", "ts,funding_rate", "2024-01-01T00:00:00Z,0.0001")
    found, notes = load_funding(tmp_path, ["BTC", "ETH"])
    assert found["BTC"].rate.tolist() == [0.0001]
    assert found["ETH"].rate.tolist() == pytest.approx([0.0003])
    assert [(n.name, n.subject) for n in notes] == [("daily-funding", "ETH")]


def test_a_daily_print_counts_when_it_was_paid(tmp_path: Path) -> None:
    """The last of a day's three prints, at 16:00 UTC: the observation at noon of that day must not know it."""
    put(tmp_path, "daily_funding_rate_pct.csv", "date,ETHUSDT_PERP_fr", "2024-01-01,0.01", "2024-01-02,0.03")
    eth = load_funding(tmp_path, ["ETH"])[0]["ETH"]
    midnight = 1_704_067_200
    assert eth.ts.tolist() == [midnight + 2 * H8, midnight + 5 * H8]
    assert eth.accrued(86_400, until=midnight + 86_400 + 43_200).tolist() == pytest.approx([3e-4])
    assert eth.accrued(86_400, until=midnight + 86_400 + 2 * H8).tolist() == pytest.approx([3e-4, 9e-4])


def test_daily_prints_are_those_of_the_eight_hour_file(tmp_path: Path) -> None:
    """Where both files know a perpetual, each print of the daily one is found at its time in the other."""
    folder = shared_path("data", "funding")
    for path in folder.glob("*_funding_rate_pct_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    daily = load_funding(tmp_path, ["BTC"])[0]["BTC"]
    eight = load_funding(folder, ["BTC"])[0]["BTC"]
    told = dict(zip(eight.ts.tolist(), eight.rate.tolist(), strict=True))
    assert daily.ts.size == 703
    assert [told[t] for t in daily.ts.tolist()] == pytest.approx(daily.rate.tolist(), abs=1e-12)


def test_funding_in_percent_is_not_taken_for_a_fraction(tmp_path: Path) -> None:
    put(tmp_path, "BTCUSDT_funding_8h.csv", "ts,funding_rate", "2024-01-01T00:00:00Z,0.3")
    with pytest.raises(BadInput, match=r"line 2: funding_rate is 0\.3 \(30\.0% a period\); rates are fractions"):
        load_funding(tmp_path, ["BTC"])


def series(rates: np.ndarray, prints: int = 1) -> FundingSeries:
    return FundingSeries("BTC", np.arange(rates.size, dtype=np.int64) * H8 * prints, rates, H8, prints)


def test_basis_floor_by_hand() -> None:
    # 1,000 sums of three rates; the worst one per cent of either side is the mean of ten.
    rates = np.zeros(1_002)
    rates[30:60:3] = 0.002
    accrued = series(rates).accrued(86_400)
    assert accrued.size == 1_000
    assert float(np.sort(accrued)[-10:].mean()) == pytest.approx(0.002)
    assert basis_floor(series(rates), 86_400, 0.99) == pytest.approx(0.002)
    assert basis_floor(series(-rates), 86_400, 0.99) == pytest.approx(0.002)
    # One print a day stands for three of them.
    assert basis_floor(series(np.full(300, 1e-4), 3), 86_400, 0.99) == pytest.approx(3e-4)
    # Later rates are not looked at; too few say nothing.
    assert basis_floor(series(rates), 86_400, 0.99, until=20 * H8) is None
    late = rates.copy()
    late[900:] = 0.01
    assert basis_floor(series(late), 86_400, 0.99, until=800 * H8) == basis_floor(
        series(rates), 86_400, 0.99, until=800 * H8
    )


def test_no_sum_spans_a_hole() -> None:
    ts = np.concatenate([np.arange(10), np.arange(20, 30)]).astype(np.int64) * H8
    holed = FundingSeries("BTC", ts, np.full(20, 1e-4), H8)
    assert holed.accrued(86_400).size == 16
