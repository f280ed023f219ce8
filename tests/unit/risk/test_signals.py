# SPDX-License-Identifier: Apache-2.0
"""Files of volatility indices and funding rates: when each value is known, and rows that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from risk.errors import BadInput, InsufficientHistory
from risk.market.load import parse_time
from risk.market.signals import DatedSeries, load_signals
from tests.support.shared import shared_path


def test_real_files_are_dated_by_when_they_are_known() -> None:
    vol = load_signals(shared_path("data", "vol"), ["BTC", "ETH", "SOL"], "vol")
    assert sorted(vol) == ["BTC", "ETH"]
    # The first bar is of 2021-03-24 and closes at 95.04.
    assert (vol["BTC"].known_at[0], vol["BTC"].value[0]) == (parse_time("2021-03-25"), 95.04)
    funding = load_signals(shared_path("data", "funding"), ["BTC", "LINK"], "funding")
    assert sorted(funding) == ["BTC"]
    rates = funding["BTC"]
    assert (rates.known_at[-1], rates.value[-1]) == (parse_time("2023-12-31T16:00:00Z"), 0.00033597)
    # After the crash of March 2020 shorts paid 0.3 % for eight hours.
    assert rates.value.min() == pytest.approx(-0.003, abs=1e-6)
    assert rates.known_at[rates.value.argmin()] // 86_400 == parse_time("2020-03-13") // 86_400


def test_plain_text_and_a_symbol_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "ETHUSDT_funding_8h.csv").write_text("date,rate\n2023-01-01,0.0001\n2023-01-02,-0.0002\n")
    found = load_signals(tmp_path, ["BTC", "ETH"], "funding")
    assert found["ETH"].value.tolist() == [0.0001, -0.0002]
    assert found["ETH"].known_at[0] == parse_time("2023-01-01")


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ("date,close\n2023-01-01,nan\n", BadInput, r"line 2: vol is 'nan'"),
        ("date,close\n2023-01-01,0\n", BadInput, r"line 2: vol is '0'"),
        ("date,close\nyesterday,50\n", BadInput, r"line 2: time is 'yesterday'"),
        ("date,close\n2023-01-01\n", BadInput, r"line 2: 1 cells, too few"),
        ("date,close\n2023-01-02,50\n2023-01-01,50\n", BadInput, r"dvol_BTC_1d.csv: times do not ascend"),
        ("date,close\n2023-01-01,50\n2023-01-01,50\n", BadInput, r"times do not ascend at 2023-01-02T00:00Z"),
        ("date,iv\n2023-01-01,50\n", BadInput, r"line 1: missing column close"),
        ("", BadInput, r"line 1: missing column ts"),
        ("date,close\n", InsufficientHistory, r"BTC: vol file .* holds no row"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, text: str, error: type[Exception], why: str) -> None:
    (tmp_path / "dvol_BTC_1d.csv").write_text(text)
    with pytest.raises(error, match=why):
        load_signals(tmp_path, ["BTC"], "vol")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"vol folder .* does not exist"):
        load_signals(tmp_path / "none", ["BTC"], "vol")
    with pytest.raises(BadInput, match=r"no vol file of BTC, ETH in .*; name them dvol_<BASE>_1d"):
        load_signals(tmp_path, ["BTC", "ETH"], "vol")
    for name in ("dvol_BTC_1d.csv", "other_BTC_1d.csv"):
        (tmp_path / name).write_text("date,close\n2023-01-01,50\n")
    with pytest.raises(BadInput, match="two vol files for BTC"):
        load_signals(tmp_path, ["BTC"], "vol")
    (tmp_path / "dvol_ETH_1d.csv.gz").write_text("not compressed")
    with pytest.raises(BadInput, match=r"ETH: vol file .* cannot be read"):
        load_signals(tmp_path, ["ETH"], "vol")


def test_a_series_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(BadInput, match="2 times and 1 values"):
        DatedSeries(np.array([1, 2]), np.array([1.0]))
    with pytest.raises(BadInput, match="1970-01-01T00:00Z is not a number"):
        DatedSeries(np.array([1]), np.array([np.nan]))
