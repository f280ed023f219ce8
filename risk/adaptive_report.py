# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about a comparison of the adaptive layer: verdict, table, plots; no network."""

from __future__ import annotations

import base64
import html
import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from risk.adaptive import ADAPTIVE, Comparison
from risk.adaptive_features import DAY_S
from risk.adaptive_scores import RULE, TAILS, SymbolResult, breach_flags, day_losses
from risk.coverage import adaptive_rate

COLOURS = {ADAPTIVE: "#2563eb", "fhs": "#d97706", "garch": "#059669", "ewma": "#9333ea", "long history": "#64748b"}
STYLE = """
body{margin:0 auto;max-width:1080px;padding:24px 16px;font:15px/1.5 system-ui,sans-serif;color:#0f172a;background:#fff}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:4px 8px;border-bottom:1px solid #e2e8f0;
text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}.bad{color:#dc2626}
.scroll{overflow-x:auto}img{width:100%}.dim{color:#64748b}
"""
HEADS = (
    "model", "loss, bp", "lower", "upper", "joint loss", "breaches", "Kupiec p", "Christoffersen p",
    "conformal rate", "adaptive less this, bp", "DM p",
)  # fmt: skip


def report(found: Comparison) -> str:
    """The page.

    Parameters
    ----------
    found : Comparison

    Returns
    -------
    str
        HTML with every image inside.
    """
    verdict = "on" if found.ships else "off"
    wins = sum(not r.faults for r in found.results)
    parts = [
        f"<h1>Adaptive layer: {verdict}</h1>",
        f"<p>It wins on {wins} of {len(found.results)} symbols. Rule: {html.escape(RULE)}.</p>",
        f"<p class=dim>Features that look ahead: {', '.join(found.leaks) or 'none'}. Data {found.data_hash}.</p>",
        *(f"<p class=dim>{html.escape(s)} left out: {html.escape(why)}.</p>" for s, why in found.absent.items()),
    ]
    for result in found.results:
        faults = "; ".join(result.faults) or "wins"
        head = f"{result.ts.size} days, best other: {result.best_other.model}; {faults}."
        parts += [
            f"<h2>{html.escape(result.symbol)}</h2><p>{html.escape(head)}</p>",
            f"<div class=scroll>{_table(result)}</div>",
            f'<img alt="{html.escape(result.symbol)}: quantiles, losses, monitor" src="{_image(result)}">',
        ]
    title = "Ballast: adaptive layer"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"</head><body>{''.join(parts)}</body></html>\n"
    )


def _table(result: SymbolResult) -> str:
    rows = []
    for s in result.scores.values():
        test = s.against
        cells = [
            s.model, f"{1e4 * s.loss:.2f}", f"{1e4 * s.tail_loss[0]:.2f}", f"{1e4 * s.tail_loss[1]:.2f}",
            f"{s.joint:.3f}", _pair(s.breaches, "d"), _pair(s.kupiec, ".3f"), _pair(s.christoffersen, ".3f"),
            f"{s.conformal_rate:.3f}", "" if test is None else f"{1e4 * test.difference:+.2f}",
            "" if test is None else f"{test.p_value:.3f}",
        ]  # fmt: skip
        style = "" if s.covers else ' class="bad"'
        rows.append(f"<tr{style}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADS)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _pair(values: tuple[float, float], form: str) -> str:
    return f"{values[0]:{form}} / {values[1]:{form}}"


def _image(result: SymbolResult) -> str:
    """Three panels as a data URI: quantiles and breaches, cumulated loss against each model, the monitor."""
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure = Figure(figsize=(11, 9), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
        days = result.ts / DAY_S
        _quantiles(top, result, days)
        own = day_losses(result.outcome, result.forecasts[ADAPTIVE])
        for name, forecast in result.forecasts.items():
            if name != ADAPTIVE:
                gap = 1e4 * np.cumsum(own - day_losses(result.outcome, forecast))
                middle.plot(days, gap, color=COLOURS[name], lw=1.2, label=name)
            hits = np.logical_or(*breach_flags(result.outcome, forecast)).astype(np.int64)
            bottom.plot(days, adaptive_rate(hits, 2.0 * TAILS[0]), color=COLOURS[name], lw=1.2, label=name)
        middle.axhline(0.0, color="black", lw=0.6)
        middle.set_ylabel("loss of the adaptive model\nless another's, cumulated, bp")
        bottom.axhline(2.0 * TAILS[0], color="black", lw=0.6)
        bottom.set_ylabel("conformal rate\n(target 0.02; falls at a breach)")
        for axes in (top, middle, bottom):  # above the panel, where no line runs
            place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
            axes.legend(ncols=5, frameon=False, fontsize=8, **place)
        bottom.xaxis_date()
        locator = bottom.xaxis.get_major_locator()
        bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _quantiles(axes: Axes, result: SymbolResult, days: np.ndarray) -> None:
    axes.plot(days, result.outcome, ".", color="#cbd5e1", ms=3, label="log return of the day")
    for name in dict.fromkeys((result.best_other.model, ADAPTIVE)):
        for side in (0, 1):
            axes.plot(
                days,
                result.forecasts[name].quantile[:, side],
                color=COLOURS[name],
                lw=0.9,
                label=f"{name}, 1 % and 99 %" if side == 0 else None,
            )
    below, above = breach_flags(result.outcome, result.forecasts[ADAPTIVE])
    axes.plot(days[below | above], result.outcome[below | above], ".", color="#dc2626", ms=5, label="adaptive breached")
    axes.set_title(f"{result.symbol}: one day ahead", loc="left")
    axes.set_ylabel("log return")
