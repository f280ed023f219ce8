# SPDX-License-Identifier: Apache-2.0
"""The price history that continues on chain: where observed bars go, and that they survive a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keeper.domain import Block, Price, Snapshot
from keeper.errors import ConfigError, Halt
from keeper.publish.calibration import PriceBook, far_apart
from keeper.settings import load_settings
from risk.market import log_returns
from risk.market.synthetic import warmup
from tests.support.keeper_world import ETH, NOW, WAD, snapshot

HOUR = 3_600
END = NOW // HOUR * HOUR - HOUR


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two hundred hourly bars of ETH, the last one two hours old."""
    found = tmp_path / "prices"
    found.mkdir()
    past = warmup(["ETH"], 200, [2_000.0], np.random.default_rng(5), end_ts=END - HOUR)
    rows = [
        f"{int(ts)},{close[0]!r},{close[0]!r},{close[0]!r},{close[0]!r},{volume[0]!r}"
        for ts, close, volume in zip(past.ts, past.close.tolist(), past.volume.tolist(), strict=True)
    ]
    (found / "ETHUSDT_1h.csv").write_text("\n".join(["ts,open,high,low,close,volume", *rows]) + "\n")
    return found


def seen(usd: int, hours: int = 0) -> Snapshot:
    at = NOW + hours * HOUR
    return snapshot(
        block=Block(100 + hours, b"\x01" * 32, b"\x02" * 32, at), prices={(0, ETH): Price(usd * WAD, 0, at, 0)}
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_observed_bars_go_beside_the_database_and_survive_a_restart(folder: Path, tmp_path: Path) -> None:
    before, file = content(folder), tmp_path / "observed.csv"
    book = PriceBook.open(folder, file, ["ETH"])
    assert not file.exists()
    assert book.observe(seen(2_100)) and not book.observe(seen(2_100))
    assert book.observe(seen(2_050, hours=1))
    assert content(folder) == before
    again = PriceBook.open(folder, file, ["ETH"])
    assert again.history.content_hash == book.history.content_hash
    assert again.history.close[-2:, 0].tolist() == [2_100.0, 2_050.0]
    assert again.history.ts[-2:].tolist() == [END, END + HOUR]


def last_close(folder: Path) -> float:
    return float((folder / "ETHUSDT_1h.csv").read_text().splitlines()[-1].split(",")[4])


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_chain_far_from_the_end_of_the_files_begins_after_a_hole(folder: Path, tmp_path: Path, factor: float) -> None:
    file, usd = tmp_path / "observed.csv", int(last_close(folder) * factor)
    book = PriceBook.open(folder, file, ["ETH"])
    bars = book.history.ts.size
    assert not book.observe(seen(usd)) and not file.exists()
    assert book.far(seen(usd)) != []
    assert book.observe(seen(usd, hours=1)) and book.observe(seen(usd + 1, hours=2))
    assert book.history.ts[-3:].tolist() == [END - HOUR, END + HOUR, END + 2 * HOUR]
    _, returns = log_returns(book.history)
    assert np.abs(returns).max() < 0.2  # none leads from the files to the chain
    assert returns.shape[0] == bars  # bars - 1 of the files, and the one on chain
    again = PriceBook.open(folder, file, ["ETH"])
    assert again.history.content_hash == book.history.content_hash


def test_a_crash_after_the_keeper_has_begun_is_kept(folder: Path, tmp_path: Path) -> None:
    near = int(last_close(folder))
    book = PriceBook.open(folder, tmp_path / "observed.csv", ["ETH"])
    assert book.far(seen(near)) == [] and book.observe(seen(near))
    assert book.observe(seen(near // 2, hours=1))
    again = PriceBook.open(folder, tmp_path / "observed.csv", ["ETH"])  # as well after a restart
    assert again.observe(seen(near // 4, hours=2))
    assert again.history.ts[-3:].tolist() == [END, END + HOUR, END + 2 * HOUR]


def test_the_longer_ago_the_files_end_the_farther_the_price_may_be() -> None:
    """0.2 times the root of the days: after 4 days 0.4, and exp(0.4) = 1.4918."""
    assert not far_apart(100.0, 122.0, 0) and far_apart(100.0, 122.3, 0)
    assert not far_apart(100.0, 81.9, 0) and far_apart(100.0, 81.8, 0)
    assert not far_apart(100.0, 149.0, 4 * 86_400) and far_apart(100.0, 149.4, 4 * 86_400)


def test_a_read_only_folder_is_enough(folder: Path, tmp_path: Path) -> None:
    folder.chmod(0o555)
    try:
        assert PriceBook.open(folder, tmp_path / "observed.csv", ["ETH"]).observe(seen(2_100))
    finally:
        folder.chmod(0o755)
    assert [path.name for path in folder.iterdir()] == ["ETHUSDT_1h.csv"]


def test_two_keepers_share_a_folder_without_meeting(folder: Path, tmp_path: Path) -> None:
    one = PriceBook.open(folder, tmp_path / "one.csv", ["ETH"])
    two = PriceBook.open(folder, tmp_path / "two.csv", ["ETH"])
    one.observe(seen(2_100))
    two.observe(seen(2_200))
    assert PriceBook.open(folder, tmp_path / "one.csv", ["ETH"]).history.close[-1, 0] == 2_100.0
    assert PriceBook.open(folder, tmp_path / "two.csv", ["ETH"]).history.close[-1, 0] == 2_200.0


def test_bars_that_an_earlier_version_left_in_the_folder_are_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "observed.csv").write_text(f"ts,ETH\n{END},2100.0\n")
    file = tmp_path / "observed.csv"
    book = PriceBook.open(folder, file, ["ETH"])
    assert book.history.close[-1, 0] == 2_100.0
    assert book.observe(seen(2_050, hours=1))
    assert (folder / "observed.csv").read_text() == f"ts,ETH\n{END},2100.0\n"
    assert file.read_text().splitlines() == ["ts,ETH", f"{END + HOUR},2050.0"]
    assert PriceBook.open(folder, file, ["ETH"]).history.close[-2:, 0].tolist() == [2_100.0, 2_050.0]


@pytest.mark.parametrize("text", ["ts,BTC\n1700000000,1\n", "ts,ETH\nyesterday,1\n", "ts,ETH\n1800000000,-1\n"])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "observed.csv").write_text(text.replace("1700000000", str(END)))
    with pytest.raises(ConfigError, match=r"observed\.csv cannot be used .*; repair or move the file away"):
        PriceBook.open(folder, tmp_path / "observed.csv", ["ETH"])


def test_a_place_that_cannot_be_written_halts(folder: Path, tmp_path: Path) -> None:
    book = PriceBook.open(folder, tmp_path / "nowhere" / "observed.csv", ["ETH"])
    with pytest.raises(Halt, match="set observed_prices to a file that can be written"):
        book.observe(seen(2_100))
    assert book.history.ts[-1] == END - HOUR


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///ballast-keeper.sqlite", "ballast-keeper-5-observed.csv"),
        ("sqlite:////var/lib/ballast/k.sqlite?timeout=9", "/var/lib/ballast/k-5-observed.csv"),
        ("sqlite://", "ballast-keeper-5-observed.csv"),
        ("postgresql://u:pw@db/keeper", "ballast-keeper-5-observed.csv"),
    ],
)
def test_by_default_the_file_lies_beside_the_database(url: str, file: str) -> None:
    assert load_settings(chain_id=5, database_url=url).observed_file == Path(file)


def test_the_operator_may_choose_the_file() -> None:
    assert load_settings(chain_id=5, observed_prices="/data/seen.csv").observed_file == Path("/data/seen.csv")
