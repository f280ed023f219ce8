# SPDX-License-Identifier: Apache-2.0
"""Price files: what is read, and the one sentence each kind of broken file gets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from risk.errors import BadInput, InsufficientHistory, RiskError, RiskWarning
from risk.market.load import interval_seconds, load_prices, parse_time
from tests.support.shared import shared_path

HEADER = "ts,open,high,low,close,volume\n"
GOOD = [
    "2024-01-01T00:00:00Z,10,12,9,11,5\n",
    "2024-01-01T01:00:00Z,11,12,10,12,6\n",
    "2024-01-01T02:00:00Z,12,13,11,13,7\n",
]


def write(folder: Path, name: str, rows: list[str], header: str = HEADER) -> Path:
    path = folder / name
    path.write_text(header + "".join(rows), encoding="utf-8")
    return path


def test_reads_plain_and_gzipped_files_in_the_order_asked(tmp_path: Path) -> None:
    write(tmp_path, "BTCUSDT_1h.csv", GOOD)
    with gzip.open(tmp_path / "ETHUSDT_1h.csv.gz", "wt", encoding="utf-8") as handle:
        handle.write(HEADER + "".join(GOOD))
    history = load_prices(tmp_path, ["ETH", "BTC"], "1h")
    assert history.symbols == ("ETH", "BTC")
    assert history.close[:, 0].tolist() == [11.0, 12.0, 13.0]
    assert history.volume[:, 1].tolist() == [5.0, 6.0, 7.0]
    assert history.ts.tolist() == [1704067200, 1704070800, 1704074400]
    assert (history.interval_s, history.gaps) == (3600, ())


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-12T10:00:00Z",
        "2020-03-12 10:00:00",
        "2020-03-12T11:00:00+01:00",
        "1584007200",
        "1584007200000",
        "1584007200000000",
        "1.5840072e9",
    ],
)
def test_times_of_every_exporter_mean_the_same_second(text: str) -> None:
    assert parse_time(text) == 1584007200


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "-1", "1e20"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="time is"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2018", "20180101", "0"])
def test_a_year_is_no_count_of_seconds(text: str) -> None:
    with pytest.raises(BadInput, match=f"'{text}'.*write a whole date, such as 2018-01-01"):
        parse_time(text)


def test_intervals() -> None:
    assert [interval_seconds(x) for x in ("1m", "4h", "1d", "1w")] == [60, 14_400, 86_400, 604_800]
    with pytest.raises(BadInput, match="interval is 'hourly'"):
        interval_seconds("hourly")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2024-01-01T03:00:00Z,1,1,1,nan,1\n", "line 5: close is 'nan', not a number"),
        ("2024-01-01T03:00:00Z,1,1,1,x,1\n", "line 5: close is 'x', not a number"),
        ("2024-01-01T03:00:00Z,1,1,1,0,1\n", "line 5: close is 0, prices must be above zero"),
        ("2024-01-01T03:00:00Z,1,1,-3,1,1\n", "line 5: low is -3, prices must be above zero"),
        ("2024-01-01T03:00:00Z,1,1,1,1,-1\n", "line 5: volume is -1, it must not be negative"),
        ("2024-01-01T02:00:00Z,1,1,1,1,1\n", "line 5: time 2024-01-01T02:00Z is duplicate"),
        ("2024-01-01T00:30:00Z,1,1,1,1,1\n", "line 5: time 2024-01-01T00:30Z is out of order"),
        ("soon,1,1,1,1,1\n", "line 5: time is 'soon'"),
        ("2024-01-01T03:00:00Z,1\n", "line 5: 2 cells, too few"),
    ],
)
def test_a_bad_row_is_named_with_its_line_or_dropped_with_a_warning(tmp_path: Path, row: str, words: str) -> None:
    write(tmp_path, "BTCUSDT_1h.csv", [*GOOD, row])
    with pytest.raises(BadInput, match=r"BTCUSDT_1h\.csv") as caught:
        load_prices(tmp_path)
    assert words in str(caught.value)
    with pytest.warns(RiskWarning, match="1 bad rows left out"):
        history = load_prices(tmp_path, on_fault="drop")
    assert history.ts.size == len(GOOD)


def test_missing_folder_file_symbol_and_columns(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"price folder .*nowhere does not exist"):
        load_prices(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no price file in"):
        load_prices(tmp_path)
    write(tmp_path, "BTCUSDT_1h.csv", GOOD)
    with pytest.raises(BadInput, match=r"no price file for ETH at interval 1h; .* \(found: BTC\)"):
        load_prices(tmp_path, ["ETH"], "1h")
    with pytest.raises(BadInput, match=r"SOL: price file .* does not exist"):
        load_prices({"SOL": tmp_path / "sol.csv"})
    write(tmp_path, "XRPUSDT_1h.csv", GOOD, header="ts,open,close\n")
    with pytest.raises(BadInput, match="line 1: missing column high, low, volume"):
        load_prices(tmp_path, ["XRP"])


def test_empty_and_short_files(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1h.csv").write_text("", encoding="utf-8")
    with pytest.raises(InsufficientHistory, match="is empty; export it again"):
        load_prices(tmp_path)
    write(tmp_path, "BTCUSDT_1h.csv", GOOD[:1])
    with pytest.raises(InsufficientHistory, match="has 1 usable bars"):
        load_prices(tmp_path)
    write(tmp_path, "BTCUSDT_1h.csv", GOOD)
    with pytest.raises(InsufficientHistory, match="has 3 bars in the window, 1000 are needed; its bars are 2"):
        load_prices(tmp_path, min_bars=1000)


def test_a_file_that_is_no_text_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1h.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(RiskError, match="cannot be read"):
        load_prices(tmp_path)


def test_two_intervals_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    write(tmp_path, "BTCUSDT_1h.csv", GOOD)
    write(tmp_path, "BTCUSDT_1d.csv", GOOD)
    with pytest.raises(BadInput, match="two files for BTC"):
        load_prices(tmp_path)
    assert load_prices(tmp_path, interval="1h").interval_s == 3600


def test_real_hourly_files_have_the_rows_their_source_sheet_counts() -> None:
    history = load_prices(shared_path("data", "prices", "hourly"), ["BTC"], "1h")
    assert history.ts.size == 55_740
    # A check made elsewhere on the same data: BTC fell 39.5 % from open to close on 2020-03-12.
    day = history.window(1_583_971_200 - 3_600, 1_583_971_200 + 86_400).close[:, 0]
    assert day[-1] / day[0] - 1 == pytest.approx(-0.395, abs=0.002)


def test_daily_layouts_of_other_exporters_load() -> None:
    folder = shared_path("data", "prices", "daily")
    history = load_prices(folder, ["BTC", "ETH"], "1d", end=1_704_067_200)
    assert history.interval_s == 86_400
    assert np.isfinite(history.close).all()
    dai = load_prices({"DAI": folder / "cmc_Dai_1d.csv.gz"}, interval="1d")
    assert float(np.median(dai.close)) == pytest.approx(1.0, abs=0.01)
