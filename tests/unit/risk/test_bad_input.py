# SPDX-License-Identifier: Apache-2.0
"""What markets and exporters really hand over: refused with a named error, or used with a finding in the provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from risk.adversary import AdversaryConfig
from risk.calibrate import calibrate
from risk.config import CalibrationConfig, Gates, SmileConfig
from risk.errors import BadInput, DataGap, InsufficientHistory, RiskWarning
from risk.haircuts import CollateralSpec
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from risk.market.quality import discount
from risk.market.synthetic import simulate_bars, warmup
from risk.types import ParameterSet
from tests.support.shared import shared_path

END = 1_699_999_200
HOUR, DAY = 3_600, 86_400
TINY = CalibrationConfig(
    n_sims=1_000,
    n_train=60,
    n_books=60,
    gates=Gates(0.0, 0.0, 1e9, 1e9),
    adversary=AdversaryConfig(rounds=0, books=5, steps=2),
)


@pytest.fixture(scope="module")
def past() -> PriceHistory:
    return warmup(["BTC", "ETH"], 1_500, [6e4, 3e3], np.random.default_rng(1), end_ts=END)


def run(history: PriceHistory, config: CalibrationConfig = TINY, **more: object) -> ParameterSet:
    return calibrate(history, config, np.random.default_rng(1), **more)  # type: ignore[arg-type]


def named(found: ParameterSet) -> dict[tuple[str, str], str]:
    return {(w["name"], w["subject"]): w["text"] for w in found.provenance.diagnostics["warnings"]}


def changed(past: PriceHistory, column: int, rows: Sequence[int] | slice, value: float, *, of: str) -> PriceHistory:
    array = getattr(past, of).copy()
    array[rows, column] = value
    return replace(past, **{of: array})


def write_bars(folder: Path, symbols: Sequence[str] = ("BTC", "ETH"), bars: int = 1_500) -> dict[str, list[str]]:
    made = simulate_bars(symbols, bars, [6e4, 3e3], np.random.default_rng(2), start_ts=END - bars * HOUR)
    out = {}
    for symbol in symbols:
        text = made.csv(symbol)
        (folder / f"{symbol}USDT_1h.csv").write_text(text, encoding="utf-8")
        out[symbol] = text.splitlines()
    return out


def rewrite(folder: Path, symbol: str, lines: Sequence[str]) -> None:
    (folder / f"{symbol}USDT_1h.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_clean_history_has_no_warning(past: PriceHistory) -> None:
    assert named(run(past)) == {}


def test_short_history(past: PriceHistory) -> None:
    with pytest.raises(InsufficientHistory, match="719 bars of BTC, ETH, 720 are needed"):
        run(past.window(int(past.ts[-719])))
    run(past.window(int(past.ts[-720])))


def test_one_asset_misses_a_week(tmp_path: Path) -> None:
    lines = write_bars(tmp_path)
    rewrite(tmp_path, "ETH", lines["ETH"][:701] + lines["ETH"][701 + 168 :])
    found = run(load_prices(tmp_path))
    text = named(found)["missing-bars", "ETH"]
    assert text.startswith("168 bars missing in 1 holes, the longest 168 between 2023-")
    assert "no return is taken across" in text
    assert found.provenance.observations == 1_500 - 168
    assert found.provenance.diagnostics["gap_count"] == 1
    # No return spans the hole: the largest one of the joined history is one of the whole history's.
    whole = load_prices({s: tmp_path / f"{s}USDT_1h.csv" for s in ("BTC",)})
    assert whole.ts.size == 1_500
    with pytest.raises(DataGap, match=r"ETH: 168 of 1500 bars missing \(11\.20%\), at most 10\.00% allowed"):
        load_prices(tmp_path, max_missing_fraction=0.10)


def test_a_depegged_stablecoin_pays_at_least_its_discount(past: PriceHistory) -> None:
    days = np.arange(END - 200 * DAY, END - DAY, DAY, dtype=np.int64)
    closes = np.ones(days.size)
    config = replace(TINY, collaterals=(CollateralSpec("USDX", slippage=0.0, floor=0.0),))

    def with_last(value: float) -> ParameterSet:
        closes[-1] = value
        pegs = PriceHistory(("USDX",), days, closes[:, None].copy(), np.ones((days.size, 1)), DAY)
        return run(past, config, peg_history=pegs)

    off = with_last(0.88)
    assert named(off)["off-peg", "USDX"] == "stands 12.0% below its peg; the haircut is at least that"
    assert off.collaterals["USDX"].haircut_im_bps >= 1_200
    whole = with_last(1.0)
    assert named(whole) == {}
    assert whole.collaterals["USDX"].haircut_im_bps == 0


def test_real_depegs_are_seen() -> None:
    hourly, daily = shared_path("data", "prices", "hourly"), shared_path("data", "prices", "daily")
    ust = load_prices(hourly, ["UST"], "1h")
    assert discount(ust) > 0.7
    usdc = load_prices({"USDC": daily / "cmc_USDC_1d.csv.gz"}, interval="1d")
    night = usdc.window(end=1_678_492_800 + DAY)  # the bar of 2023-03-11
    assert 0.01 < discount(night) < 0.13
    assert discount(usdc.window(end=1_677_628_800)) < 0.01


def test_zero_volume_is_no_reason_for_the_least_charge(past: PriceHistory) -> None:
    dry = run(changed(past, 1, slice(None), 0.0, of="volume"))
    assert "100.0% of the bars have no volume" in named(dry)["zero-volume", "ETH"]
    word = dry.underlyings["ETH"]
    assert (word.delta_charge_bps, word.depth) == (round(TINY.liquidity.delta_cap * 1e4), 1)
    assert run(past).underlyings["ETH"].delta_charge_bps < word.delta_charge_bps
    few = run(changed(past, 1, slice(0, 30), 0.0, of="volume"))
    assert "2.0% of the bars have no volume; they count as they are" in named(few)["zero-volume", "ETH"]


def test_duplicated_and_unsorted_times(tmp_path: Path) -> None:
    lines = write_bars(tmp_path)
    btc = lines["BTC"]
    mixed = [*btc[:500], btc[501], btc[500], btc[501], *btc[502:]]
    rewrite(tmp_path, "BTC", mixed)
    with pytest.raises(BadInput, match=r"BTCUSDT_1h\.csv, line 502: time .* is out of order; sort by time"):
        load_prices(tmp_path)
    with pytest.warns(RiskWarning, match="BTC: 1 bad rows left out"):
        repaired = load_prices(tmp_path, on_fault="repair")
    found = named(run(repaired))
    assert "step back in time 1 times; sorted" in found["unsorted-bars", "BTC"]
    assert found["duplicate-bars", "BTC"].startswith("1 rows left out; first: ")
    rewrite(tmp_path, "BTC", btc)
    assert repaired.content_hash == load_prices(tmp_path).content_hash


def test_a_price_of_zero(tmp_path: Path) -> None:
    lines = write_bars(tmp_path)
    cells = lines["ETH"][700].split(",")
    lines["ETH"][700] = ",".join([*cells[:4], "0", cells[5]])
    rewrite(tmp_path, "ETH", lines["ETH"])
    with pytest.raises(BadInput, match=r"ETHUSDT_1h\.csv, line 701: close is 0, prices must be above zero"):
        load_prices(tmp_path)
    with pytest.warns(RiskWarning, match="ETH: 1 bad rows left out"):
        history = load_prices(tmp_path, on_fault="drop")
    assert named(run(history))["price-not-positive", "ETH"].startswith("1 rows left out; first: ")


def test_a_surface_with_arbitrage(past: PriceHistory) -> None:
    with pytest.raises(BadInput, match=r"smile eta\*\(1\+\|rho\|\) = 2\.2800 exceeds 2 and admits butterfly arbitrage"):
        run(past, replace(TINY, smile=SmileConfig(eta=1.9)))
    # Quotes with arbitrage are fitted without it and warned about: tests/unit/risk/test_svi.py.


def test_correlations_that_fit_no_joint_law(past: PriceHistory) -> None:
    # The better and the worse of two assets: pair by pair, their rank correlations fit together in no joint law.
    steps = np.diff(np.log(past.close), axis=0, prepend=np.log(past.close[:1]))
    extremes = np.exp(np.cumsum(np.column_stack([steps.max(axis=1), steps.min(axis=1)]), axis=0))
    four = PriceHistory(
        ("BTC", "ETH", "BEST", "WORST"),
        past.ts,
        np.column_stack([past.close, extremes]),
        np.column_stack([past.volume, past.volume]),
        past.interval_s,
    )
    with pytest.warns(RiskWarning, match="indefinite-correlation: smallest eigenvalue -"):
        found = run(four)
    assert "smallest eigenvalue -" in named(found)["indefinite-correlation", "BTC, ETH, BEST, WORST"]


def test_a_price_that_stands_still(past: PriceHistory) -> None:
    frozen = changed(past, 0, slice(200, 260), 5e4, of="close")
    assert "stands still for 59 bars" in named(run(frozen))["stale-price", "BTC"]
    with pytest.raises(BadInput, match=r"BTC: price stands still in .* of the bars; there is no market to calibrate"):
        run(changed(past, 0, slice(0, 1_400), 5e4, of="close"))


def test_a_lone_print_is_named_and_kept(past: PriceHistory) -> None:
    spiked = changed(past, 1, [900], 2.0 * float(past.close[899, 1]), of="close")
    assert "1 closes jump by over 25% and return at once, first 2023-" in named(run(spiked))["lone-print", "ETH"]


def test_a_late_listing_that_takes_history_away(tmp_path: Path) -> None:
    lines = write_bars(tmp_path)
    rewrite(tmp_path, "ETH", [lines["ETH"][0], *lines["ETH"][401:]])
    text = named(run(load_prices(tmp_path)))["shortened", "BTC"]
    assert text.startswith("400 bars before 2023-") and "calibrate without ETH to use them" in text


def test_two_quote_currencies(tmp_path: Path) -> None:
    lines = write_bars(tmp_path)
    (tmp_path / "ETHUSDT_1h.csv").unlink()
    (tmp_path / "ETHUSDC_1h.csv").write_text("\n".join(lines["ETH"]) + "\n", encoding="utf-8")
    assert "prices are in USDC, USDT" in named(run(load_prices(tmp_path)))["mixed-quotes", "quote currency"]


def test_a_volatility_index_that_ended_long_ago(past: PriceHistory) -> None:
    def index(until: int) -> PriceHistory:
        days = np.arange(until - 100 * DAY, until, DAY, dtype=np.int64)
        return PriceHistory(("BTC",), days, np.full((100, 1), 62.0), np.zeros((100, 1)), DAY)

    old = run(past, vol_history=index(END - 20 * DAY))
    assert "the EWMA of returns gives today's level" in named(old)["stale-volatility", "BTC"]
    assert old.surfaces["BTC"].short_vol != pytest.approx(0.62)
    assert run(past, vol_history=index(END)).surfaces["BTC"].short_vol == pytest.approx(0.62)
