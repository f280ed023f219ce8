# SPDX-License-Identifier: Apache-2.0
"""Files of live accounts: what is read, what is refused, and where a leg lands on the lattice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from risk.books import build_universe
from risk.errors import BadInput
from risk.live import LiveBooks, lattice_books, load_books, parse_instrument

NOW = 1_704_096_000  # 2024-01-01T08:00Z
SPOTS = {"BTC": 40_000.0, "ETH": 2_000.0}
UNIVERSE = build_universe(["BTC", "ETH"], np.array([0.5, 0.65]))
HEADER = "account,instrument,quantity\n"


def book(folder: Path, text: str, name: str = "book.csv") -> LiveBooks:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_books(path, ["BTC", "ETH"])


def lattice(folder: Path, *rows: str) -> np.ndarray:
    return lattice_books(book(folder, HEADER + "\n".join(rows) + "\n"), UNIVERSE, SPOTS, NOW)[0]


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    csv_ = book(tmp_path, HEADER + "alice,BTC-PERP,2\nalice,ETH-20240126,-3.5\nbob,ETH-20240126-2200.5-P,1\n")
    held = {"accounts": {"alice": {"BTC-PERP": 2, "ETH-20240126": -3.5}, "bob": {"ETH-20240126-2200.5-P": 1}}}
    json_ = book(tmp_path, json.dumps(held), "book.json")
    assert csv_.legs == json_.legs
    assert csv_.accounts == ("alice", "bob")
    last = csv_.legs[-1]
    assert (last.expiry, last.strike, last.is_call) == (1_706_256_000, 2_200.5, False)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,DOGE-PERP,1", "line 2: unknown instrument 'DOGE-PERP': DOGE is not calibrated; there are BTC, ETH"),
        ("a,BTC-SWAP,1", "line 2: unknown instrument 'BTC-SWAP'; write BTC-PERP, BTC-SPOT"),
        ("a,BTC-26JAN24-45000-C,1", "line 2: unknown instrument 'BTC-26JAN24-45000-C'"),
        ("a,BTC-20241301,1", "20241301 is no date"),
        ("a,BTC-20240126-0-C,1", "its strike must be above zero"),
        ("a,BTC-PERP,much", "line 2: quantity of BTC-PERP is 'much', not a finite number"),
        ("a,BTC-PERP,nan", "line 2: quantity of BTC-PERP is 'nan', not a finite number"),
        ("a,BTC-PERP", "line 2: quantity of BTC-PERP is None, not a finite number"),
    ],
)
def test_what_is_unknown_is_refused_by_name(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(BadInput, match=r"book\.csv, line 2") as caught:
        book(tmp_path, HEADER + row + "\n")
    assert words in str(caught.value)


def test_files_that_are_no_books(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_books(tmp_path / "none.csv", ["BTC"])
    with pytest.raises(BadInput, match="line 1: missing column quantity; write account,instrument,quantity"):
        book(tmp_path, "account,instrument\na,BTC-PERP\n")
    with pytest.raises(BadInput, match="holds no position"):
        book(tmp_path, HEADER)
    with pytest.raises(BadInput, match=r'is not {"accounts"'):
        book(tmp_path, '{"alice": {}}', "book.json")
    with pytest.raises(BadInput, match=r"account alice: quantity of BTC-PERP is None"):
        book(tmp_path, '{"accounts": {"alice": {"BTC-PERP": true}}}', "book.json")


def test_an_expired_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="account a holds an instrument of BTC that expired 2024-01-01T08:00Z"):
        lattice(tmp_path, "a,BTC-20240101-45000-C,1")


def test_linear_legs_are_usd_notional_of_the_perpetual(tmp_path: Path) -> None:
    books = lattice(tmp_path, "a,BTC-PERP,2", "a,BTC-20240126,-1", "a,ETH-SPOT,5", "b,ETH-PERP,-1")
    assert books.shape == (2, UNIVERSE.size)
    assert books[0, UNIVERSE.perp(0)] == 40_000.0
    assert books[0, UNIVERSE.perp(1)] == 10_000.0
    assert np.flatnonzero(books[1]).tolist() == [UNIVERSE.perp(1)]


def test_an_option_on_a_node_lands_there_and_others_between(tmp_path: Path) -> None:
    # 2024-01-31 is 30 days ahead; a strike at the spot is z = 0.
    on = lattice(tmp_path, "a,BTC-20240131-40000-C,-2")[0]
    (where,) = np.flatnonzero(on)
    assert (UNIVERSE.tau[where] * 365, UNIVERSE.strike[where], UNIVERSE.is_call[where]) == (30.0, 1.0, True)
    assert on[where] == -80_000.0
    between = lattice(tmp_path, "a,ETH-20240115-2100-P,1")[0]
    held = np.flatnonzero(between)
    assert set(np.rint(UNIVERSE.tau[held] * 365)) == {7.0, 30.0}
    assert not UNIVERSE.is_call[held].any()
    assert set(UNIVERSE.underlying[held]) == {1}
    assert between.sum() == pytest.approx(2_000.0)
    # Its value at the lattice is near the option's own: delta of a put a twentieth out of the money, two weeks.
    share = float(between @ UNIVERSE.deltas()) / 2_000.0
    assert share == pytest.approx(-0.64, abs=0.05)
    # Legs far outside stay at the edge and are named.
    text = HEADER + "a,BTC-20250131-90000-C,1\n"
    far, (finding,) = lattice_books(book(tmp_path, text), UNIVERSE, SPOTS, NOW)
    assert finding.name == "outside-lattice" and finding.text.startswith("1 options lie beyond")
    assert far.sum() == pytest.approx(40_000.0)


def test_names_of_instruments() -> None:
    assert parse_instrument("eth-PERP", ["ETH"]) == ("ETH", 0, 0.0, False)
    assert parse_instrument("ETH-20240628", ["ETH"]) == ("ETH", 1_719_561_600, 0.0, False)
