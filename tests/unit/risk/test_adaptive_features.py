# SPDX-License-Identifier: Apache-2.0
"""Daily samples: values by hand, nothing from the future, and markets that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from risk.adaptive_features import DAY_S, Panel, Samples, Signals, build_panel, look_ahead
from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.market import PriceHistory, warmup
from risk.market.signals import DatedSeries

END = 1_700_006_400  # 2023-11-15T00:00Z, the open of the bar after the last
DAYS = 120


def market(symbols: tuple[str, ...] = ("BTC",), days: int = DAYS) -> dict[str, PriceHistory]:
    prices = [20e3 / (i + 1) for i in range(len(symbols))]
    past = warmup(list(symbols), 24 * days, prices, np.random.default_rng(1), end_ts=END - 3600)
    return {s: past.select([s]) for s in symbols}


def column(samples: Samples, name: str) -> np.ndarray:
    return samples.features[:, samples.names.index(name)]


def with_values(history: PriceHistory, **changes: np.ndarray) -> PriceHistory:
    return replace(history, **{name: values.reshape(-1, 1) for name, values in changes.items()})


def test_values_of_one_day_by_hand() -> None:
    history = market()["BTC"]
    samples = build_panel({"BTC": history})["BTC"]
    row = 50
    t = int(samples.ts[row])
    assert t % DAY_S == 0
    # The last bar that has closed opened an hour before.
    i = int(np.searchsorted(history.ts, t)) - 1
    assert history.ts[i] == t - 3600
    logs, volume = np.log(history.close[:, 0]), history.volume[:, 0]
    r = np.diff(logs, prepend=np.nan)
    scale = samples.scale[row]
    # Half-life of three days, by hand from far enough back.
    weights = 0.5 ** (np.arange(1_000) / 72.0)
    by_hand = np.sqrt(24.0 * weights @ r[i - 999 : i + 1][::-1] ** 2 * (1.0 - 0.5 ** (1 / 72.0)))
    assert scale == pytest.approx(by_hand, rel=1e-3)
    assert samples.target[row] == pytest.approx(logs[i + 24] - logs[i])
    day, span = r[i - 23 : i + 1], logs[i - 24 : i + 1]
    wanted = {
        "level": np.log(scale * np.sqrt(365.0)),
        "volatility_1d": np.log(np.sqrt(np.sum(day**2)) / scale),
        "volatility_30d": np.log(np.sqrt(np.mean(r[i - 719 : i + 1] ** 2) * 24.0) / scale),
        "largest_bar_1d": np.max(day**2) / np.sum(day**2),
        "return_1d": (logs[i] - logs[i - 24]) / scale,
        "parkinson_1d": np.log((span.max() - span.min()) / np.sqrt(4.0 * np.log(2.0)) / scale),
        "drawdown_30d": (logs[i] - logs[i - 719 : i + 1].max()) / (scale * np.sqrt(30.0)),
        "volume_1d": np.log(volume[i - 23 : i + 1].mean() / volume[i - 719 : i + 1].mean()),
        "market_return_1d": (logs[i] - logs[i - 24]) / scale,
    }
    for name, value in wanted.items():
        assert column(samples, name)[row] == pytest.approx(value, rel=1e-9), name
    # 1970-01-01 was a Thursday, 3 when Monday is 0.
    assert column(samples, "weekday")[row] == (t // DAY_S + 3) % 7
    assert np.isnan(samples.target[-1])


def test_the_market_is_the_mean_of_those_that_trade() -> None:
    both = market(("BTC", "ETH"))
    late = both | {"ETH": both["ETH"].window(start=END - 60 * DAY_S)}
    panel = build_panel(late)
    btc, eth = panel["BTC"], panel["ETH"]
    assert eth.ts.size < btc.ts.size
    shared = np.searchsorted(btc.ts, eth.ts)
    mean = 0.5 * (column(btc, "return_1d")[shared] + column(eth, "return_1d"))
    np.testing.assert_allclose(column(btc, "market_return_1d")[shared], mean, rtol=1e-12)
    np.testing.assert_array_equal(column(btc, "market_return_1d")[: shared[0]], column(btc, "return_1d")[: shared[0]])


def signals(history: PriceHistory) -> Signals:
    days = np.arange(history.ts[0] // DAY_S, history.ts[-1] // DAY_S + 1) * DAY_S
    rng = np.random.default_rng(3)
    series = [DatedSeries(days, 0.5 + 0.1 * rng.random(days.size)) for _ in range(3)]
    return Signals(series[0], DatedSeries(days, 1e-4 * rng.standard_normal(days.size)), series[2])


def cuts(panel: Panel) -> list[int]:
    ts = next(iter(panel.values())).ts
    return [int(ts[k]) + extra for k in (3, 20, 60) for extra in (0, 5 * 3600)]


def test_no_shipped_feature_looks_ahead() -> None:
    histories = market(("BTC", "ETH"))
    known = {s: signals(h) for s, h in histories.items()}
    panel = build_panel(histories, known)
    assert np.isfinite(column(panel["BTC"], "depth_change_5d")[10:]).all()
    assert look_ahead(build_panel, histories, known, cuts(panel)) == ()


def planted(kind: str) -> object:
    def build(histories: Mapping[str, PriceHistory], known: Mapping[str, Signals]) -> Panel:
        out = {}
        for symbol, s in build_panel(histories, known).items():
            tomorrow = {
                "tomorrow": s.target / s.scale,
                "normalised": (s.features[:, 0] - s.features[:, 0].mean()),
                "centred": np.convolve(s.features[:, 1], np.ones(3) / 3.0, mode="same"),
            }[kind]
            out[symbol] = replace(s, names=(*s.names, kind), features=np.column_stack([s.features, tomorrow]))
        return out

    return build


@pytest.mark.parametrize("kind", ["tomorrow", "normalised", "centred"])
def test_a_planted_look_ahead_is_caught_and_named(kind: str) -> None:
    histories = market(("BTC", "ETH"))
    panel = build_panel(histories)
    assert look_ahead(planted(kind), histories, {}, cuts(panel)) == (kind,)  # type: ignore[arg-type]


def test_a_scale_or_days_from_the_future_are_caught() -> None:
    histories = market()

    def smooth(past: Mapping[str, PriceHistory], known: Mapping[str, Signals]) -> Panel:
        return {n: replace(s, scale=s.scale / s.scale.mean()) for n, s in build_panel(past, known).items()}

    def chosen(past: Mapping[str, PriceHistory], known: Mapping[str, Signals]) -> Panel:
        keep = {n: np.isfinite(s.target) for n, s in build_panel(past, known).items()}
        return {
            n: replace(s, ts=s.ts[keep[n]], features=s.features[keep[n]], scale=s.scale[keep[n]])
            for n, s in build_panel(past, known).items()
        }

    times = cuts(build_panel(histories))
    assert look_ahead(smooth, histories, {}, times) == ("scale",)
    with pytest.raises(BadInput, match=r"days sampled up to .* depend on what follows"):
        look_ahead(chosen, histories, {}, times)


def test_a_bar_of_volatility_is_known_only_when_it_has_closed() -> None:
    history = market()["BTC"]
    # A bar of day D, as the loader dates it: known a day after its stamp.
    known = DatedSeries(np.array([END - 20 * DAY_S]), np.array([80.0]))
    samples = build_panel({"BTC": history}, {"BTC": Signals(vol=known)})["BTC"]
    implied = column(samples, "implied")
    has = np.flatnonzero(np.isfinite(implied))
    # Known from that moment for three days, percent read as such.
    np.testing.assert_array_equal(samples.ts[has], END - DAY_S * np.arange(20, 16, -1))
    assert implied[has[0]] == pytest.approx(np.log(0.8 / (samples.scale[has[0]] * np.sqrt(365.0))))


def test_missing_bars_are_missing_and_nothing_steps_across_them() -> None:
    history = market()["BTC"]
    whole = build_panel({"BTC": history})["BTC"]
    day = int(whole.ts[40])
    # From noon to eleven o'clock a week later.
    gone = (history.ts >= day + DAY_S // 2) & (history.ts < day + 7 * DAY_S + 11 * 3600)
    holed = replace(history, ts=history.ts[~gone], close=history.close[~gone], volume=history.volume[~gone])
    samples = build_panel({"BTC": holed})["BTC"]
    assert set(whole.ts) - set(samples.ts) == {day + k * DAY_S for k in range(1, 8)}
    assert np.isnan(samples.target[samples.ts == day]).all()
    after = int(np.searchsorted(samples.ts, day + 8 * DAY_S))
    assert np.isnan(column(samples, "return_5d")[after])
    assert np.isnan(column(samples, "volatility_5d")[after])
    # Twelve of the day's 24 returns are there: enough, and of the same size.
    assert np.isfinite(column(samples, "volatility_1d")[after])


def test_days_without_volume_are_named_and_left_out() -> None:
    history = market()["BTC"]
    volume = history.volume[:, 0].copy()
    volume[-24 * 11 : -24 * 10] = 0.0
    with pytest.warns(RiskWarning, match="BTC: 1 days without volume, the first before 2023-11-05T00:00Z"):
        samples = build_panel({"BTC": with_values(history, volume=volume)})["BTC"]
    silent = samples.ts == END - 10 * DAY_S
    assert np.isnan(column(samples, "volume_1d")[silent]).all()
    assert np.isfinite(column(samples, "volume_1d")[~silent]).all()


def test_markets_that_cannot_be_used() -> None:
    history = market()["BTC"]
    nan = history.volume[:, 0].copy()
    nan[100] = np.nan
    with pytest.raises(BadInput, match="BTC: volume is nan at 2023-07-"):
        with_values(history, volume=nan)
    still = with_values(history, close=np.full(history.ts.size, 7.0))
    with pytest.raises(BadInput, match="BTC: the price is constant over 100% of the bars"):
        build_panel({"BTC": still})
    with pytest.raises(InsufficientHistory, match="BTC: 719 bars hold no day after the first 30"):
        build_panel({"BTC": history.window(end=int(history.ts[719]))})
    with pytest.raises(BadInput, match=r"BTC: no bar closes at 00:00 UTC"):
        build_panel({"BTC": replace(history, ts=history.ts + 900)})
    with pytest.raises(BadInput, match="history of 2 symbols"):
        build_panel({"BTC": warmup(["BTC", "ETH"], 100, [1.0, 1.0], np.random.default_rng(1), end_ts=END)})
    with pytest.raises(BadInput, match="bars of 86400 s"):
        build_panel({"BTC": replace(history, interval_s=DAY_S)})
    with pytest.raises(BadInput, match="no price history"):
        build_panel({})
