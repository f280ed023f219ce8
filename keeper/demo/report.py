# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about a demonstration: tables and plots, no network, light and dark."""

from __future__ import annotations

import html
import io
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.dates import ConciseDateFormatter
from numpy.typing import NDArray

from keeper.demo.record import WAD, Journal, Totals
from keeper.errors import Permanent

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
INK = "#64748b"  # readable on white and on the dark page
HEALTH_MAP = LinearSegmentedColormap.from_list("health", ["#7f1d1d", "#ef4444", "#fde68a", "#86efac", "#166534"])
STYLE = """
:root{color-scheme:light dark;--bg:#ffffff;--ink:#0f172a;--dim:#64748b;--line:#e2e8f0;--card:#f8fafc}
@media(prefers-color-scheme:dark){:root{--bg:#0b1220;--ink:#e2e8f0;--dim:#94a3b8;--line:#1e293b;--card:#111a2c}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}h1{font-size:26px;margin:0 0 4px}
h2{font-size:19px;margin:36px 0 8px}
p.sub{color:var(--dim);margin:0 0 20px}.cards{
display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}.card b{
display:block;font-size:21px}
.card span{color:var(--dim);font-size:13px}figure{
margin:0;overflow-x:auto}figure svg{width:100%;height:auto;min-width:560px}
figcaption{color:var(--dim);font-size:13px}.scroll{
overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:5px 7px;border-bottom:1px solid var(--line);white-space:nowrap}td.n,
th.n{text-align:right;
font-variant-numeric:tabular-nums}.bad{color:#dc2626}.good{color:#16a34a}
"""


def _day(ts: int) -> float:
    """Matplotlib's date number of unix seconds: days since 1970."""
    return ts / 86_400


def _times(journal: Journal) -> NDArray[np.float64]:
    return np.array([_day(hour.ts) for hour in journal.hours])


def _dress(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize=11, color=INK)
    ax.tick_params(colors=INK, labelsize=9)
    ax.grid(visible=True, alpha=0.25)
    for side in ax.spines.values():
        side.set_visible(False)
    formatter: Any = ConciseDateFormatter  # the library has no types here
    ax.xaxis.set_major_formatter(formatter(ax.xaxis.get_major_locator()))


def _dated(ax: Axes) -> None:
    ax.xaxis_date(tz=UTC)


def _figure(draw: Callable[[Axes], None], height: float, caption: str) -> str:
    """Draw one plot and return it as a figure element with an inline SVG."""
    figure, ax = plt.subplots(figsize=(10, height), layout="constrained")
    figure.patch.set_alpha(0)
    ax.patch.set_alpha(0)
    draw(ax)
    title = f"{ax.get_title(loc='left')}. {caption}"
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    svg = out.getvalue()
    named = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
    return f"<figure>{named}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _plot_prices(journal: Journal) -> str:
    times = _times(journal)

    def draw(ax: Axes) -> None:
        _dated(ax)
        for symbol, colour in zip(journal.hours[0].prices, COLOURS, strict=False):
            values = np.array([h.prices[symbol] for h in journal.hours])
            ax.plot(times, 100 * values / values[0], color=colour, label=symbol, lw=1.8)
        for item in journal.incidents:
            if item.kind == "AuctionStarted":
                ax.axvline(_day(item.ts), color="#dc2626", alpha=0.25, lw=1)
        ax.legend(frameon=False, labelcolor=INK)
        _dress(ax, "Prices, first hour = 100 (red lines: a liquidation starts)")

    return _figure(draw, 3.6, "The prices that the oracles gave, hour by hour.")


def _plot_health(journal: Journal) -> str:
    accounts = [a for a in journal.accounts if any(a.number in h.health for h in journal.hours)]
    ratios = np.array(
        [[h.health[a.number].ratio if a.number in h.health else np.nan for h in journal.hours] for a in accounts]
    )
    times = _times(journal)

    def draw(ax: Axes) -> None:
        shown = np.sign(ratios) * np.minimum(np.abs(ratios), 4)
        edges = np.append(times, times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / 24))
        rows = np.arange(len(accounts) + 1) - 0.5
        norm = TwoSlopeNorm(1.0, 0.0, 4.0)
        _dated(ax)
        mesh = ax.pcolormesh(edges, rows, shown, cmap=HEALTH_MAP, norm=norm)
        ax.set_yticks(range(len(accounts)), [a.name for a in accounts], fontsize=8)
        ax.invert_yaxis()
        _dress(ax, "Health of each account: equity / maintenance margin")
        bar = ax.figure.colorbar(mesh, ax=ax, ticks=[0, 0.5, 1, 2, 3, 4], pad=0.01)
        bar.ax.tick_params(colors=INK, labelsize=8)

    height = max(3.0, 0.27 * len(accounts) + 1)
    caption = (
        "Equity here is equity_mm, after the haircuts of maintenance margin. 1 is the line: below it an account may be "
        "liquidated. Dark green is 4 and more."
    )
    return _figure(draw, height, caption)


def _plot_epochs(journal: Journal) -> str:
    times = _times(journal)

    def draw(ax: Axes) -> None:
        _dated(ax)
        series = {name: [h.epochs[name] for h in journal.hours] for name in journal.hours[0].epochs}
        series["pushes"] = [h.push_nonce for h in journal.hours]
        for (name, values), colour in zip(series.items(), COLOURS, strict=False):
            ax.step(times, values, where="post", color=colour, label=name, lw=1.6)
        ax.legend(frameon=False, labelcolor=INK, ncols=3)
        _dress(ax, "Risk table epochs and parameter pushes")

    return _figure(
        draw, 3.0, "A page is republished when the price has drifted, when volatility moved or by heartbeat."
    )


def _plot_auctions(journal: Journal) -> str:
    times = _times(journal)

    def draw(ax: Axes) -> None:
        _dated(ax)
        ax.step(times, [h.open_auctions for h in journal.hours], where="post", color=COLOURS[4], lw=1.8)
        below = [sum(1 for v in h.health.values() if v.equity < v.mm) for h in journal.hours]
        ax.step(times, below, where="post", color=COLOURS[1], lw=1.4, ls="--")
        ax.legend(["open auctions", "accounts below maintenance margin"], frameon=False, labelcolor=INK)
        _dress(ax, "Liquidations")

    return _figure(draw, 2.8, "Counted after the keeper's turn of that hour.")


def _plot_insurance(journal: Journal) -> str:
    times = _times(journal)

    def draw(ax: Axes) -> None:
        _dated(ax)
        ax.plot(times, [h.insurance_wad / WAD for h in journal.hours], color=COLOURS[2], lw=1.8)
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(lambda v, _: f"${v:,.0f}")
        _dress(ax, "Insurance fund")

    return _figure(draw, 2.4, "Assets of the ERC-4626 vault that bears the first loss.")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[int]) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i in numeric else ''}>{v}</{tag}>" for i, v in enumerate(values))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table></div>"


def _usd(value: int) -> str:
    return f"{value / WAD:,.0f}"


def _account_table(journal: Journal) -> str:
    first, last = journal.hours[0].health, journal.hours[-1].health
    auctions = Counter(item.account for item in journal.incidents if item.kind == "AuctionStarted")
    rows = []
    for account in journal.accounts:
        if account.number not in first or account.number not in last:
            continue
        a, b = first[account.number], last[account.number]
        lowest = min(h.health[account.number].ratio for h in journal.hours)
        times = auctions[account.number]
        mark = f"<span class=bad>liquidated {times} x</span>" if times else "<span class=good>kept</span>"
        rows.append(
            (str(account.number), html.escape(account.name), html.escape(account.kind), _usd(a.equity), _usd(a.mm),
             _usd(b.equity), _usd(b.mm), f"{lowest:.2f}" if lowest < 20 else "no risk", mark)
        )  # fmt: skip
    head = ("#", "account", "kind", "equity_mm, start", "MM, start", "equity_mm, end", "MM, end", "lowest ratio", "")
    note = (
        "<p class=sub>Ratios at the end of an hour: an account liquidated within the hour is above the line again.</p>"
    )
    return _table(head, rows, frozenset({0, 3, 4, 5, 6, 7})) + note


def _incident_table(journal: Journal) -> str:
    rows = [
        (f"{datetime.fromtimestamp(i.ts, UTC):%Y-%m-%d %H:%M}", i.kind,
         html.escape(journal.name_of(i.account)) if i.account is not None else "", html.escape(i.text))
        for i in journal.incidents
    ]  # fmt: skip
    return _table(("time (UTC)", "event", "account", "what"), rows, frozenset())


def _cards(totals: Totals) -> str:
    items = [
        (f"{totals.accounts}", "accounts"),
        (f"{totals.blocks:,}", "blocks"),
        (f"{totals.epochs}", "table epochs"),
        (f"{totals.pushes}", "parameter pushes"),
        (f"{totals.proposals_executed} / {totals.proposals}", "loosening proposals executed / made"),
        (f"{totals.futures_settled}", "futures paid out"),
        (f"{totals.auctions_started}", "auctions started"),
        (f"{totals.bids}", "bids"),
        (f"${_usd(totals.bad_debt_wad)}", "bad debt"),
        (f"${_usd(totals.insurance_paid_wad)}", "paid by insurance"),
        (f"{totals.parity_checked:,} / {totals.parity_mismatches}", "parity checks / mismatches"),
        ("holds" if totals.conservation_ok else "BROKEN", f"conservation, {totals.conservation_checks} checks"),
    ]
    return (
        "<div class=cards>" + "".join(f"<div class=card><b>{v}</b><span>{k}</span></div>" for v, k in items) + "</div>"
    )


def write_report(path: Path, journal: Journal, totals: Totals, source: str) -> Path:
    """Write the page; returns its path.

    Raises
    ------
    keeper.errors.Permanent
        When the file cannot be written: the message names it and the reason.
    """
    first, last = (datetime.fromtimestamp(journal.hours[k].ts, UTC) for k in (0, -1))
    sections = [
        ("Prices", _plot_prices(journal)),
        ("Accounts", _plot_health(journal) + _account_table(journal)),
        ("Risk table", _plot_epochs(journal)),
        ("Liquidations", _plot_auctions(journal)),
        ("Insurance", _plot_insurance(journal)),
        ("What happened", _incident_table(journal)),
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Ballast: a crash, hour by hour</title>"
        f"<meta name=viewport content='width=device-width,initial-scale=1'><style>{STYLE}</style></head><body><main>"
        f"<h1>Ballast: a crash, hour by hour</h1><p class=sub>{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; "
        f"prices {html.escape(source)}; {totals.seconds:.0f} s</p>{_cards(totals)}"
        + "".join(f"<h2>{title}</h2>{body}" for title, body in sections)
        + "</main></body></html>"
    )
    partial = path.with_suffix(path.suffix + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Permanent(f"report {path} cannot be written: {error.strerror}; choose another --report path") from error
    return path
