# SPDX-License-Identifier: Apache-2.0
"""Alignment, holes and returns that never step across one."""

from __future__ import annotations

import numpy as np
import pytest

from risk.errors import BadInput, DataGap, InsufficientHistory, RiskWarning
from risk.market.clean import align, contiguous_runs, find_gaps, horizon_returns, log_returns
from risk.market.history import PriceHistory, PriceSeries
from risk.market.load import load_prices
from risk.measures import expected_shortfall
from tests.support.shared import shared_path

HOUR = 3600


def series(symbol: str, hours: list[int], closes: list[float] | None = None, interval: int = HOUR) -> PriceSeries:
    ts = np.array(hours, dtype=np.int64) * HOUR
    close = np.array(closes if closes is not None else [100.0 + h for h in hours])
    return PriceSeries(symbol, ts, close, np.ones(ts.size), interval, "test")


def test_align_keeps_common_bars_and_names_each_hole() -> None:
    history = align([series("BTC", [0, 1, 2, 5, 6]), series("ETH", [0, 1, 2, 3, 4, 5, 6])])
    assert (history.ts // HOUR).tolist() == [0, 1, 2, 5, 6]
    assert [str(g) for g in history.gaps] == ["BTC: 2 bars missing between 1970-01-01T02:00Z and 1970-01-01T05:00Z"]


def test_gap_policies() -> None:
    holed = [series("BTC", [0, 1, 5, 6])]
    with pytest.raises(DataGap, match="first: BTC: 3 bars missing"):
        align(holed, on_gap="raise")
    with pytest.warns(RiskWarning, match="kept as holes"):
        align(holed, on_gap="warn")
    with pytest.raises(DataGap, match=r"BTC: 3 of 7 bars missing \(42.86%\), at most 10.00% allowed"):
        align(holed, max_missing_fraction=0.1)


def test_align_refuses_what_cannot_be_joined() -> None:
    with pytest.raises(BadInput, match="no price series"):
        align([])
    with pytest.raises(BadInput, match="different intervals"):
        align([series("BTC", [0, 1]), series("ETH", [0, 1], interval=60)])
    with pytest.raises(InsufficientHistory, match="0 common bars"):
        align([series("BTC", [0, 1]), series("ETH", [2, 3])])


def test_a_bar_off_the_grid_is_a_hole_of_at_least_one() -> None:
    assert [g.missing for g in find_gaps("X", np.array([0, 5400, 9000]), HOUR)] == [1]


def test_returns_skip_holes() -> None:
    history = align([series("BTC", [0, 1, 2, 5, 6], [100.0, 110.0, 121.0, 50.0, 55.0])])
    ts, returns = log_returns(history)
    assert (ts // HOUR).tolist() == [1, 2, 6]
    np.testing.assert_allclose(returns[:, 0], np.log(1.1))
    assert contiguous_runs(history.ts, HOUR) == [(0, 3), (3, 5)]


def test_horizon_returns_need_both_ends() -> None:
    history = align([series("BTC", [0, 1, 2, 5, 6], [100.0, 110.0, 121.0, 50.0, 55.0])])
    ts, moves = horizon_returns(history, 4 * HOUR)
    assert (ts // HOUR).tolist() == [5, 6]
    np.testing.assert_allclose(moves[:, 0], [50 / 110 - 1, 55 / 121 - 1])
    with pytest.raises(BadInput, match="positive multiple of the bar"):
        horizon_returns(history, 1800)
    with pytest.raises(InsufficientHistory, match="none of them"):
        horizon_returns(history, 40 * HOUR)


def test_history_refuses_unusable_values() -> None:
    ts = np.array([0, HOUR], dtype=np.int64)
    one = np.ones((2, 1))
    for close, words in ((one * np.nan, "close is nan"), (one * 0, "close is 0.0"), (one * -1, "close is -1.0")):
        with pytest.raises(BadInput, match=f"BTC: {words} at 1970-01-01T00:00Z"):
            PriceHistory(("BTC",), ts, close, one, HOUR)
    with pytest.raises(BadInput, match=r"volume is -1\.0"):
        PriceHistory(("BTC",), ts, one, -one, HOUR)
    with pytest.raises(BadInput, match="do not ascend"):
        PriceHistory(("BTC",), ts[::-1].copy(), one, one, HOUR)
    with pytest.raises(BadInput, match="must both be"):
        PriceHistory(("BTC", "ETH"), ts, one, one, HOUR)


def test_content_hash_sees_every_value_and_nothing_else() -> None:
    history = align([series("BTC", [0, 1, 2])])
    same = align([series("BTC", [0, 1, 2])])
    moved = align([series("BTC", [0, 1, 2], [100.0, 101.0, 102.0 + 1e-12])])
    assert history.content_hash == same.content_hash
    assert history.content_hash.startswith("0x")
    assert len(history.content_hash) == 66
    assert len({history.content_hash, moved.content_hash, align([series("ETH", [0, 1, 2])]).content_hash}) == 3


def test_select_window_extend() -> None:
    history = align([series("BTC", [0, 1, 2]), series("ETH", [0, 1, 2])])
    assert history.select(["ETH"]).symbols == ("ETH",)
    with pytest.raises(BadInput, match="no symbol SOL; it has BTC, ETH"):
        history.select(["SOL"])
    assert history.window(HOUR).ts.size == 2
    with pytest.raises(InsufficientHistory, match="no bar in the window"):
        history.window(10 * HOUR)
    longer = history.extend(3 * HOUR, [1.0, 2.0], [0.0, 0.0])
    assert longer.close[-1].tolist() == [1.0, 2.0]
    with pytest.raises(BadInput, match="do not ascend"):
        history.extend(2 * HOUR, [1.0, 2.0], [0.0, 0.0])


# ES 99 % down / up and worst, per cent, of hourly closes to the end of 2023, computed elsewhere from the same files.
DESIGN_TABLE = {
    "BTC": ((3.9, 3.8), (6.8, 6.9), (14.5, 15.3), -18.2, -46.4),
    "ETH": ((4.6, 4.5), (8.2, 8.2), (18.0, 17.6), -20.9, -47.8),
    "LINK": ((5.2, 5.5), (9.4, 10.7), (20.4, 25.5), -23.0, -53.0),
    "SOL": ((5.9, 6.8), (10.5, 12.9), (23.7, 31.8), -19.3, -47.6),
}


@pytest.mark.parametrize("symbol", sorted(DESIGN_TABLE))
def test_expected_shortfall_of_real_history_is_the_published_table(symbol: str) -> None:
    history = load_prices(shared_path("data", "prices", "hourly"), [symbol], "1h", end=1_704_067_200)
    *pairs, worst_hour, worst_day = DESIGN_TABLE[symbol]
    for hours, (down, up) in zip((1, 4, 24), pairs, strict=True):
        _, moves = horizon_returns(history, hours * HOUR)
        assert 100 * expected_shortfall(moves[:, 0], 0.99, "inverted_cdf") == pytest.approx(down, abs=0.051)
        assert 100 * expected_shortfall(-moves[:, 0], 0.99, "inverted_cdf") == pytest.approx(up, abs=0.051)
        if hours != 4:
            worst = worst_hour if hours == 1 else worst_day
            assert 100 * moves.min() == pytest.approx(worst, abs=0.051)
