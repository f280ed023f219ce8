# SPDX-License-Identifier: Apache-2.0
"""Values beside prices: when each of a real file's is known, and what a series refuses."""

from __future__ import annotations

import numpy as np
import pytest

from risk.adaptive_features import Signals
from risk.errors import BadInput
from risk.market.load import parse_time
from risk.market.observed import load_funding, load_vol
from risk.market.signals import DatedSeries
from tests.support.shared import shared_path

SYMBOLS = ["BTC", "ETH", "SOL"]


def test_real_files_are_dated_by_when_they_are_known() -> None:
    vol, _ = load_vol(shared_path("data", "vol"), SYMBOLS)
    rates, _ = load_funding(shared_path("data", "funding"), SYMBOLS)
    btc, sol = Signals.of("BTC", vol, rates), Signals.of("SOL", vol, rates)
    assert btc.vol is not None
    assert sol.vol is None
    # The first bar is of 2021-03-24 and closes at 95.04.
    assert (btc.vol.known_at[0], btc.vol.value[0]) == (parse_time("2021-03-25"), 95.04)
    paid, daily = btc.funding, sol.funding
    assert paid is not None
    assert daily is not None
    assert (paid.known_at[-1], paid.value[-1]) == (parse_time("2023-12-31T16:00:00Z"), 0.00033597)
    # After the crash of March 2020 shorts paid 0.3 % for eight hours.
    assert paid.value.min() == pytest.approx(-0.003, abs=1e-6)
    assert paid.known_at[paid.value.argmin()] // 86_400 == parse_time("2020-03-13") // 86_400
    # A daily file's rate is the day's last print, paid at 16:00: not known at the day's beginning, which it is dated.
    assert daily.known_at[0] == parse_time("2022-01-02T16:00:00Z")
    assert daily.value[0] == pytest.approx(0.0001)
    at_midnight = daily.at(np.array([parse_time("2022-01-02"), parse_time("2022-01-03")]), 86_400)
    np.testing.assert_array_equal(np.isnan(at_midnight), [True, False])


def test_nothing_is_known_of_a_symbol_without_a_file() -> None:
    assert Signals.of("BTC") == Signals()
    assert Signals.of("BTC", None, {}) == Signals()


def test_a_series_ends_with_what_is_known() -> None:
    series = DatedSeries(np.array([10, 20, 30]), np.array([1.0, 2.0, 3.0]))
    assert series.until(20).value.tolist() == [1.0, 2.0]
    assert series.until(9).value.tolist() == []


@pytest.mark.parametrize(
    ("times", "values", "why"),
    [
        ([1, 2], [1.0], "2 times and 1 values"),
        ([1, 1], [1.0, 1.0], "times do not ascend at 1970-01-01T00:00Z"),
        ([2, 1], [1.0, 1.0], "times do not ascend"),
        ([1], [np.nan], "1970-01-01T00:00Z is not a number"),
    ],
)
def test_a_series_refuses_what_it_cannot_hold(times: list[int], values: list[float], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        DatedSeries(np.array(times), np.array(values))
