# SPDX-License-Identifier: Apache-2.0
"""Plots of a replay and one HTML page that holds them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from risk.market.history import FloatArray
from risk.replay.results import ReplayResult


def draw_replay(result: ReplayResult, title: str) -> bytes:
    """Six panels over time: prices, accounts under margin, fund and loss, liquidators, margin and scan, impact; PNG."""
    series = result.series
    hours = (series.ts - series.ts[0]) / 3_600.0
    figure = Figure(figsize=(13, 10), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(3, 2, sharex=True)
    names = result.symbols
    _lines(axes[0, 0], hours, series.price / series.path[0], names, "price, start = 1")
    _lines(axes[0, 1], hours, np.stack([series.under, series.auctions], 1),
           ("below maintenance margin", "in auction"), "accounts")  # fmt: skip
    _lines(axes[1, 0], hours, np.stack([series.fund, series.lost], 1) / 1e6,
           ("insurance fund", "lenders' loss"), "million USD")  # fmt: skip
    _lines(axes[1, 1], hours, np.stack([series.free, series.inventory], 1) / 1e6,
           ("liquidators' free margin", "their inventory"), "million USD")  # fmt: skip
    _lines(axes[2, 0], hours, series.scan / 100.0, names, "scan range in force, %")
    _lines(axes[2, 1], hours, 100.0 * series.impact, names, "impact of liquidations, %")
    for axis in axes[2]:
        axis.set_xlabel("hours")
    return _png(figure)


def draw_draws(draws: FloatArray, needed: Mapping[str, float], title: str) -> bytes:
    """Share of the paths whose draws (n,), USD, exceed so much, with the sizes found; PNG."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    ordered = np.sort(draws)[::-1]
    axis.step(ordered / 1e6, np.arange(1, ordered.size + 1) / ordered.size, where="post")
    axis.set_yscale("log")
    for number, (name, value) in enumerate(needed.items()):
        axis.axvline(value / 1e6, linestyle="--", color=f"C{number + 1}", label=f"{name}: {value / 1e6:,.2f}")
    axis.set(xlabel="drawn from the fund, million USD", ylabel="share of paths that draw as much", title=title)
    axis.legend()
    axis.grid(alpha=0.3)
    return _png(figure)


def page(title: str, images: Mapping[str, bytes], facts: Mapping[str, Any]) -> str:
    """One self-contained HTML page: plots, then a table of facts."""
    parts = [f"<h2>{html.escape(name)}</h2><img src='data:image/png;base64,{base64.b64encode(image).decode()}'>"
             for name, image in images.items()]  # fmt: skip
    rows = "".join(f"<tr><td>{html.escape(str(k))}<td>{html.escape(_text(v))}" for k, v in facts.items())
    style = "body{font-family:sans-serif;max-width:1300px;margin:auto}img{max-width:100%}td{padding:2px 12px}"
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{style}</style>"
    return f"<!doctype html>{head}<h1>{html.escape(title)}</h1>{''.join(parts)}<h2>Totals</h2><table>{rows}</table>\n"


def _text(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _lines(axis: Axes, x: FloatArray, y: FloatArray, names: tuple[str, ...], label: str) -> None:
    for column, name in zip(y.T, names, strict=True):
        axis.plot(x, column, label=name, linewidth=1.2)
    axis.set_ylabel(label)
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()
