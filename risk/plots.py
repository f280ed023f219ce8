# SPDX-License-Identifier: Apache-2.0
"""Plots of a backtest as PNG bytes; no display, no global state of the plotting library."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from risk.backtest import MIX, Result
from risk.backtest.peers import OWN
from risk.backtest.statistics import LIGHT_DAYS
from risk.coverage import accepted_breaches
from risk.market.load import parse_time

COLOURS: Mapping[str, str] = {
    OWN: "#c0392b",
    "deribit-pm": "#2471a3",
    "derive-pmrm2": "#1e8449",
    "fixed-haircut": "#7f8c8d",
    "paradex": "#8e44ad",
    "span": "#d68910",
}
CRASHES = (("March 2020", "2020-03-12"), ("May 2021", "2021-05-19"), ("November 2022", "2022-11-08"))
AROUND_DAYS = 30
DAY_S = 86_400
DPI = 110


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: a title that says what it shows, a caption that says how to read it, and the PNG."""

    name: str
    title: str
    caption: str
    png: bytes


def plots(result: Result) -> tuple[Plot, ...]:
    """Every plot the result has data for, in reading order."""
    made = [
        Plot("exceedances", "Exceedances over time", _EXCEEDANCES, _draw(_exceedances, result, 11.0, 7.0)),
        Plot("ranges", "Scan ranges against what happened", _RANGES, _draw(_ranges, result, 11.0, 7.0)),
    ]
    if _crashes(result):
        made.append(Plot("crashes", "Margin through each crash", _CRASHES, _draw(_through_crashes, result, 11.0, 7.5)))
    made += [
        Plot("capital", "Capital against each peer at equal coverage", _CAPITAL, _draw(_capital, result, 11.0, 7.0)),
        Plot("cycle", "Procyclicality", _CYCLE, _draw(_cycle, result, 11.0, 7.0)),
    ]
    if result.impulse is not None:
        made.append(Plot("impulse", "Impulse response", _IMPULSE, _draw(_impulse, result, 9.0, 4.5)))
    return tuple(made)


def _draw(paint: Callable[[Figure, Result], None], result: Result, width: float, height: float) -> bytes:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure, result)
    out = io.BytesIO()
    # Without a date in it the same result gives the same bytes.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _times(seconds: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return np.asarray(seconds).astype("datetime64[s]")


def _dated(axes: Any) -> None:
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.grid(alpha=0.25)


_EXCEEDANCES = (
    "Above: days on which accounts of a class lost more than the forecast VaR (dots, sized by the share of the "
    "class) or more than the maintenance margin Ballast required (red crosses). Below: the share of all account- "
    "days above VaR over the last 365 days, with what Kupiec's test accepts of a single account."
)


def _exceedances(figure: Figure, result: Result) -> None:
    walk = result.walk
    when = _times(walk.at)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    kinds = [item.name for item in result.classes if item.name != "all"]
    for row, kind in enumerate(kinds):
        mine = walk.population.members(kind)
        share = walk.hits[:, mine].mean(axis=1)
        hit, over = share > 0.0, (walk.loss > walk.maintenance)[:, mine].any(axis=1)
        above.scatter(when[hit], np.full(int(hit.sum()), row), s=90.0 * share[hit], color="#2471a3", alpha=0.55, lw=0)
        above.scatter(when[over], np.full(int(over.sum()), row), marker="x", s=28, color="#c0392b", lw=1.2)
    above.set_yticks(range(len(kinds)), kinds)
    above.invert_yaxis()
    above.set_title("dots: above VaR; crosses: above maintenance margin", loc="left", fontsize=10)
    _dated(above)
    length = min(LIGHT_DAYS, walk.at.size)
    total = np.concatenate([[0.0], np.cumsum(walk.hits.mean(axis=1))])
    below.plot(when[length - 1 :], (total[length:] - total[:-length]) / length * 100.0, color="#2471a3")
    low, high = accepted_breaches(length, 1.0 - result.config.level)
    below.axhspan(low / length * 100.0, high / length * 100.0, color="#1e8449", alpha=0.12)
    below.axhline((1.0 - result.config.level) * 100.0, color="black", lw=0.8, ls="--")
    below.set_ylabel(f"% above VaR,\nlast {length} days")
    below.set_ylim(bottom=0.0)
    _dated(below)


_RANGES = (
    "Grey: the size of the move over the horizon that followed each decision. Red: the scan range in force at the "
    "decision (99 % Expected Shortfall with stressed weight and floor, up at once, down at most 2 % a day). Dotted: "
    "the same without the slow fall."
)


def _ranges(figure: Figure, result: Result) -> None:
    walk = result.walk
    when, symbols = _times(walk.at), walk.population.symbols
    columns = 2 if len(symbols) > 1 else 1
    panels = figure.subplots(-(-len(symbols) // columns), columns, sharex=True, squeeze=False).ravel()
    for u, symbol in enumerate(symbols):
        axes = panels[u]
        # The population's first classes hold perpetuals alone, so their losses are the moves.
        move = np.abs(walk.loss[:, walk.population.names.index(f"long perp {symbol}")])
        axes.fill_between(when, 0.0, 100.0 * move, color="#95a5a6", lw=0, step="post")
        axes.plot(when, 100.0 * walk.raw[:, u], color="#2c3e50", lw=0.8, ls=":")
        axes.plot(when, 100.0 * walk.scan[:, u], color=COLOURS[OWN], lw=1.3)
        axes.set_title(symbol, loc="left", fontsize=10)
        axes.set_ylabel("% of price")
        axes.set_ylim(bottom=0.0)
        _dated(axes)
    for axes in panels[len(symbols) :]:
        axes.set_visible(False)


def _crashes(result: Result) -> list[tuple[str, int]]:
    first, last = int(result.walk.at[0]), int(result.walk.at[-1])
    found = [(name, parse_time(day)) for name, day in CRASHES]
    return [(name, at) for name, at in found if first <= at - AROUND_DAYS * DAY_S and at + AROUND_DAYS * DAY_S <= last]


_CRASHES = (
    "Thirty days before and after. Bars: the mean loss over the horizon that began that day (gains left out). Lines: "
    "mean initial margin as each methodology states it, unscaled; Ballast's maintenance margin is dashed."
)


def _through_crashes(figure: Figure, result: Result) -> None:
    walk, crashes = result.walk, _crashes(result)
    kinds = [kind for kind in ("long perp", "short straddle") if kind in walk.population.classes]
    panels = figure.subplots(len(kinds), len(crashes), squeeze=False)
    for row, kind in enumerate(kinds):
        mine = walk.population.members(kind)
        for column, (name, at) in enumerate(crashes):
            axes = panels[row, column]
            near = np.abs(walk.at - at) <= AROUND_DAYS * DAY_S
            when = _times(walk.at[near])
            loss = np.maximum(walk.loss[near][:, mine].mean(axis=1), 0.0)
            axes.bar(when, 100.0 * loss, width=np.timedelta64(DAY_S, "s"), color="#2c3e50", alpha=0.5, align="edge")
            for label, margin in result.margins.items():
                width = 2.0 if label == OWN else 1.0
                mean = 100.0 * margin[near][:, mine].mean(axis=1)
                axes.plot(when, mean, color=COLOURS[label], lw=width, label=label)
            held = 100.0 * walk.maintenance[near][:, mine].mean(axis=1)
            axes.plot(when, held, color=COLOURS[OWN], lw=1.2, ls="--", label=f"{OWN}, maintenance")
            axes.set_title(f"{name}: {kind}", loc="left", fontsize=10)
            _dated(axes)
        panels[row, 0].set_ylabel("% of gross notional")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


_CAPITAL = (
    "Mean initial margin, % of gross notional, after every methodology is scaled by the one factor that makes "
    "losses pass it on 1 % (left) or 0.1 % (right) of account-days of the same accounts and days. Below: each "
    "class scaled alone, relative to Ballast; above 1 the peer needs more."
)


def _capital(figure: Figure, result: Result) -> None:
    grid = figure.add_gridspec(2, 2, height_ratios=[1.0, 1.5])
    for column, label in enumerate(("mix, 0.99", "mix, 0.999")):
        axes = figure.add_subplot(grid[0, column])
        found = result.peers[label][::-1]
        values = [100.0 * item.capital for item in found]
        bars = axes.barh([item.name for item in found], values, color=[COLOURS[item.name] for item in found])
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
        axes.set_xlim(0.0, 1.15 * max(values))
        axes.set_xlabel("% of gross notional")
        axes.set_title(f"realistic mix, coverage {100.0 * float(label.split(', ')[1]):g} %", loc="left", fontsize=10)
    kinds = [item.name for item in result.classes if item.name != "all"]
    names = sorted(set(result.margins) - {OWN})
    table = np.array([[_relative(result, kind, name) for kind in kinds] for name in names])
    axes = figure.add_subplot(grid[1, :])
    # Beyond twice or half of Ballast the colour says no more than the number.
    axes.imshow(np.log2(np.clip(table, 0.5, 2.0)), cmap="RdBu_r", vmin=-1.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        text = f"{value:.2f}" if np.isfinite(value) else "never"
        axes.text(column, row, text, ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(kinds)), kinds, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title("peer's capital / Ballast's, each class scaled alone to 99 %", loc="left", fontsize=10)


def _relative(result: Result, kind: str, name: str) -> float:
    capital = {item.name: item.capital for item in result.peers[f"{kind}, 0.99"]}
    return capital[name] / capital[OWN]


_CYCLE = (
    "Above: mean initial margin of the realistic mix, books constant in moneyness, relative to its own mean. "
    "Peers with fixed ranges only move with option prices. Below: largest over smallest, and the largest rise "
    "within 1, 5, 30 days."
)


def _cycle(figure: Figure, result: Result) -> None:
    above, below = figure.subplots(2, 1, height_ratios=[2, 1.2])
    mix, when = result.walk.population.shares(MIX), _times(result.walk.at)
    for name, margin in result.margins.items():
        series = margin @ mix
        width = 1.8 if name == OWN else 0.9
        above.plot(when, series / series.mean(), color=COLOURS[name], lw=width, label=name)
    above.legend(ncols=3, frameon=False, fontsize=9)
    above.set_ylabel("margin / its mean")
    _dated(above)
    measures = ("peak_to_trough", "rise_1d", "rise_5d", "rise_30d")
    labels = ("peak / trough", "1-day rise", "5-day rise", "30-day rise")
    names = list(result.margins)
    for n, name in enumerate(names):
        values = [getattr(result.cycles[name], measure) for measure in measures]
        spots = np.arange(len(measures)) + (n - (len(names) - 1) / 2.0) * 0.13
        bars = below.bar(spots, values, width=0.12, color=COLOURS[name])
        below.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    below.set_xticks(range(len(measures)), labels)
    below.margins(y=0.15)
    below.grid(alpha=0.25, axis="y")


_IMPULSE = (
    "Every price steps down in a single hour of the calmest stretch of the walk; the rest of history is "
    "unchanged. Mean initial margin with the step over that without, by class."
)


def _impulse(figure: Figure, result: Result) -> None:
    shock = result.impulse
    assert shock is not None  # noqa: S101 (the caller asks only for a shock that is there)
    axes = figure.subplots()
    for kind, colour in zip(shock.ratio, ("#c0392b", "#2471a3", "#1e8449"), strict=False):
        axes.plot(shock.days, shock.ratio[kind], color=colour, marker=".", label=kind)
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_xlabel(f"days since a step of {shock.step:+.0%}")
    axes.set_ylabel("margin with / without")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
