# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a backtest: tables, plots as embedded PNG, no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from risk.backtest import Result, passed
from risk.backtest.peers import OWN
from risk.market.history import utc
from risk.plots import Plot, plots

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:.25em .6em;border-bottom:1px solid #ddd}"
    "td{text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}"
    ".bad{color:#c0392b;font-weight:600}.good{color:#1e8449;font-weight:600}figcaption,.small{color:#555;font-size:13px}"
    "figure{margin:1em 0 2em}"
)
_CLASS_HEAD = (
    "class", "accounts", "above VaR", "rate p", "independence p", "dynamic p", "Kupiec p", "Christoffersen p",
    "accounts rejected", "yellow", "red", "Z1", "Z2", "Z2 p", "above MM", "above IM", "worst / IM", "mean IM",
)  # fmt: skip
_PEER_HEAD = (
    "methodology", "mean IM", "above IM", "factor", "capital", "second half alone", "factor of first half",
    "above in second", "capital in second", "Ballast over it, 95 %",
)  # fmt: skip


def html(result: Result, pictures: Sequence[Plot] | None = None) -> str:
    """The page. Made of the result alone, so the same result gives the same page.

    Parameters
    ----------
    result : Result
    pictures : sequence of Plot, optional
        Default: `risk.plots.plots` of the result.
    """
    drawn = plots(result) if pictures is None else pictures
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Ballast: backtest</title><style>{_STYLE}</style>",
        *_head(result),
        *_classes(result),
        *(_figure(picture) for picture in drawn),
        *_peers(result),
        *_cycles(result),
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _head(result: Result) -> list[str]:
    walk = result.walk
    good = passed(result.gates)
    verdict = "All enforced gates passed." if good else "A gate failed: do not push."
    end = utc(int(walk.at[-1]) + result.config.horizon_s)
    config = result.config
    what = (
        f"{', '.join(walk.population.symbols)}; {len(walk.population)} accounts, {walk.at.size} decisions from "
        f"{utc(int(walk.at[0]))} to {end}, horizon {config.horizon_s // 3600} h, confidence {config.level:.1%}, seed "
        f"{config.seed}. {result.checked} decisions were proved not to depend on later data. Data {result.data_hash}, "
        f"model {config.calibration.model_hash()}."
    )
    lines = ["<h1>Backtest</h1>", f"<p>{escape(what)}</p>", f'<p class="{"good" if good else "bad"}">{verdict}</p>']
    failed = [gate for gate in result.gates if not gate.passed]
    if failed:
        rows = [
            (g.name, f"{g.value:.4g}", f"{g.limit:.4g}", "gate" if g.enforced else "remark, not enforced")
            for g in failed
        ]
        lines += ["<h2>What did not hold</h2>", _table(("condition", "value", "limit", "kind"), rows)]
    left_out = [*walk.skipped, *walk.refused]
    if left_out:
        lines += ["<h2>Left out or refused</h2><ul>", *(f"<li>{escape(text)}</li>" for text in left_out), "</ul>"]
    return lines


def _classes(result: Result) -> list[str]:
    rows = []
    for item in result.classes:
        cover, short = item.coverage, item.shortfall
        rejected = f"{cover.accounts_kupiec:.0%} / {cover.accounts_christoffersen:.0%}"
        rows.append(
            (
                item.name, str(item.accounts), f"{cover.rate:.2%}", _p(cover.by_day), _p(cover.independence),
                _p(cover.dynamic), _p(cover.kupiec), _p(cover.christoffersen), rejected, f"{cover.zones[1]:.1%}",
                f"{cover.zones[2]:.1%}", f"{short.z1:.2f}", f"{short.z2:.2f}", _p(short.z2_p), f"{item.mm_rate:.3%}",
                f"{item.im_rate:.3%}", f"{item.worst:.2f}", f"{item.mean_im:.2%}",
            )
        )  # fmt: skip
    note = (
        '<p class="small">VaR is the forecast, which must breach as often as it says; MM and IM are what Ballast '
        "required, which floor and stressed weight make larger by design. Rate, independence, dynamic quantile and Z2 "
        "take all account-days, each day as a whole; p of one class alone (gates adjust for the number of them). "
        "Kupiec and Christoffersen on one account a day (medians over draws, which reject too rarely); accounts "
        "rejected by either test on their own sequence.</p>"
    )
    return ["<h2>Forecast and margin by class of account</h2>", _table(_CLASS_HEAD, rows), note]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.05 else f"!{value:.3f}"


def _figure(picture: Plot) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<h2>{escape(picture.title)}</h2><figure><img alt="{escape(picture.title)}" '
        f'src="data:image/png;base64,{data}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )


def _peers(result: Result) -> list[str]:
    lines = ["<h2>Methodologies at equal coverage</h2>"]
    for label, found in result.peers.items():
        rows = [
            (
                item.name, f"{item.mean_margin:.2%}", f"{item.rate:.2%}", f"{item.factor:.3f}", f"{item.capital:.2%}",
                f"{item.late_capital:.2%}", f"{item.out_factor:.3f}", f"{item.out_rate:.2%}", f"{item.out_capital:.2%}",
                _interval(result, label, item.name),
            )
            for item in found
        ]  # fmt: skip
        first = " Ballast needs least." if found[0].name == OWN else f" {found[0].name} needs least."
        lines += [f"<h3>{escape(label)}</h3><p>{escape(first)}</p>", _table(_PEER_HEAD, rows)]
    return lines


def _interval(result: Result, label: str, name: str) -> str:
    """Ballast's capital over that of a peer, over resampled days, where it was looked at."""
    one = result.relative.get(label, {}).get(name)
    return "" if one is None else f"{one.low:.2f} .. {one.high:.2f}"


def _cycles(result: Result) -> list[str]:
    head = ("series", "peak / trough", "1-day rise", "5-day rise", "30-day rise")
    named = [(f"margin of the mix, {name}", item) for name, item in result.cycles.items()]
    named += [(f"scan range {name}", item) for name, item in result.scans.items()]
    named += [(f"scan range {name}, no slow fall", item) for name, item in result.raw.items()]
    rows = [
        (name, f"{c.peak_to_trough:.2f}", f"{c.rise_1d:.1%}", f"{c.rise_5d:.1%}", f"{c.rise_30d:.1%}")
        for name, c in named
    ]
    lines = ["<h2>Procyclicality in numbers</h2>", _table(head, rows)]
    if result.impulse is not None:
        shock = result.impulse
        half = f"{shock.half_life_days} days" if shock.half_life_days >= 0 else "later than the response looks"
        lines.append(
            f"<p>Impulse: a step of {shock.step:+.0%} in one hour at {utc(shock.at)} raises the margin of perpetuals "
            f"to {shock.peak:.2f} times what it would be; half of that is gone after {half}.</p>"
        )
    return lines


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(text: str) -> str:
    """A cell; one that begins with an exclamation mark is a rejection."""
    if text.startswith("!"):
        return f'<td class="bad">{escape(text[1:])}</td>'
    return f"<td>{escape(text)}</td>"
