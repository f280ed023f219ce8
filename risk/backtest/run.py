# SPDX-License-Identifier: Apache-2.0
"""A whole backtest in one call, and its result for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from risk.backtest.accounts import MIX, Population, build_population
from risk.backtest.data import Data
from risk.backtest.gates import Gate, gates, passed
from risk.backtest.impulse import AFTER_DAYS, BEFORE_DAYS, Impulse, calmest, impulse_response
from risk.backtest.peers import OWN, PeerResult, compare, in_hindsight, peer_margins, peers
from risk.backtest.resample import Relative, relative_capital
from risk.backtest.settings import DAY_S, BacktestConfig
from risk.backtest.statistics import ClassResult, summarise
from risk.backtest.walk import Walk, check_no_look_ahead, walk
from risk.coverage import Procyclicality, procyclicality
from risk.errors import GateFailed, LookAhead
from risk.market.history import FloatArray, PriceHistory, utc

# Independent streams derived from the one recorded seed.
STREAM_BOOKS, STREAM_TESTS, STREAM_FUTURE, STREAM_DAYS = 1, 2, 3, 4
LEVELS = (0.99, 0.999)
CHECK_DAYS = 20

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything a backtest found.

    Attributes
    ----------
    config : BacktestConfig
    data_hash : str
        Of the prices, and of the volatility index where there is one.
    walk : Walk
    classes : tuple of ClassResult
        ``all`` is the last.
    gates : tuple of Gate
    margins : mapping of methodology to (T, A) float64
        Initial margins.
    peers : mapping of "population, level" to results, the cheapest first
    relative : mapping of "population, level" to Ballast's capital over that of each peer, with its interval
    scans, raw : mapping of symbol to Procyclicality
        Of the scan range in force, and of the one before the slow fall.
    cycles : mapping of methodology to Procyclicality
        Of the mean initial margin of the population.
    impulse : Impulse or None
        None when the walk is too short for one.
    checked : int
        Decisions that were proved not to depend on later data.
    """

    config: BacktestConfig
    data_hash: str
    walk: Walk
    classes: tuple[ClassResult, ...]
    gates: tuple[Gate, ...]
    margins: dict[str, FloatArray]
    peers: dict[str, tuple[PeerResult, ...]]
    relative: dict[str, dict[str, Relative]]
    scans: dict[str, Procyclicality]
    raw: dict[str, Procyclicality]
    cycles: dict[str, Procyclicality]
    impulse: Impulse | None
    checked: int


def backtest(
    prices: PriceHistory,
    config: BacktestConfig,
    *,
    vol: PriceHistory | None = None,
    against: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Walk, test, compare, shock; and prove on the data that nothing read the future.

    Parameters
    ----------
    prices : PriceHistory
        Underlyings only, with some months before the first decision.
    config : BacktestConfig
    vol : PriceHistory, optional
        Volatility index of some of them as ``close``, bars that close at midnight UTC.
    against : sequence of str, optional
        Methodologies to compare with; default: all.
    progress : callable, optional
        Called with a stage, work done and work in all.

    Raises
    ------
    LookAhead
        Something read the future.
    InsufficientHistory, BadInput, GateFailed
        As `walk`.
    """
    say = progress or (lambda _stage, _done, _all: None)
    rivals = peers(against)
    data = Data.build(prices, vol, config.calibration)
    population = build_population(prices.symbols, np.random.default_rng([config.seed, STREAM_BOOKS]))
    done = walk(data, population, config, progress=lambda n, m: say("walking forward", n, m))
    say("checking for look-ahead", 0, 1)
    checked = _check(data, population, config, done)
    say("statistics", 0, 1)
    classes = summarise(done, config.level, np.random.default_rng([config.seed, STREAM_TESTS]))
    others = peer_margins(done, config.notional, rivals, progress=lambda n, m: say("peers", n, m))
    margins = {OWN: done.initial, **others}
    knowing = peer_margins(done, config.notional, in_hindsight(done)) if against is None else {}
    say("impulse response", 0, 1)
    shock = impulse_response(data, population, config, calmest(done)) if _long_enough(done) else None
    mix = population.shares(MIX)
    return Result(
        config=config,
        data_hash=prices.content_hash if vol is None else f"{prices.content_hash} {vol.content_hash}",
        walk=done,
        classes=classes,
        gates=gates(classes, config.level),
        margins=margins,
        peers=_compared(done, margins, knowing),
        relative=_relative(done, margins, config.seed),
        scans={s: procyclicality(done.scan[:, u]) for u, s in enumerate(prices.symbols)},
        raw={s: procyclicality(done.raw[:, u]) for u, s in enumerate(prices.symbols)},
        cycles={name: procyclicality(margin @ mix) for name, margin in margins.items()},
        impulse=shock,
        checked=checked,
    )


def _check(data: Data, population: Population, config: BacktestConfig, done: Walk) -> int:
    """Look-ahead check of some decisions late in the walk, where every kind of data is read."""
    latest, refusal = 3 * (done.at.size - 1) // 4, None
    for last in range(latest, -1, -CHECK_DAYS):
        start, edge = int(done.at[max(0, last - CHECK_DAYS)]), int(done.at[last])
        rng = np.random.default_rng([config.seed, STREAM_FUTURE])
        try:
            return check_no_look_ahead(data, population, replace(config, start=start), edge, rng)
        except GateFailed as error:
            # The check begins with a first set, which has to pass gates that a later one of the walk need not.
            refusal = error
    raise refusal or LookAhead("no decision could be checked for look-ahead; walk more days")


def _long_enough(done: Walk) -> bool:
    return int(done.at[-1] - done.at[0]) > (BEFORE_DAYS + AFTER_DAYS + 1) * DAY_S


def _compared(
    done: Walk, margins: dict[str, FloatArray], knowing: dict[str, FloatArray]
) -> dict[str, tuple[PeerResult, ...]]:
    """Mix and equal classes at each level, the mix against ranges in hindsight, then each class alone at the first."""
    population = done.population
    out: dict[str, tuple[PeerResult, ...]] = {}
    for label, mix in (("mix", MIX), ("equal classes", None)):
        for level in LEVELS:
            out[f"{label}, {level:g}"] = compare(done, margins, population.shares(mix), level)
    for level in LEVELS if knowing else ():
        against = {OWN: margins[OWN], **knowing}
        out[f"mix, ranges in hindsight, {level:g}"] = compare(done, against, population.shares(MIX), level)
    for kind in dict.fromkeys(population.classes):
        out[f"{kind}, {LEVELS[0]:g}"] = compare(done, margins, population.shares({kind: 1.0}), LEVELS[0])
    return out


def _relative(done: Walk, margins: dict[str, FloatArray], seed: int) -> dict[str, dict[str, Relative]]:
    """Own capital over that of each peer on the same resampled days; once without spreads, which no peer offsets."""
    out: dict[str, dict[str, Relative]] = {}
    alone = {kind: share for kind, share in MIX.items() if kind != "spread"}
    for label, mix in (("mix", MIX), ("mix without spreads", alone), ("equal classes", None)):
        for level in LEVELS:
            rng = np.random.default_rng([seed, STREAM_DAYS])
            out[f"{label}, {level:g}"] = relative_capital(done.loss, margins, done.population.shares(mix), level, rng)
    return out


def plain(result: Result) -> dict[str, Any]:
    """The result as JSON-safe values, without the series."""
    shock = result.impulse
    return {
        "from": utc(int(result.walk.at[0])),
        "to": utc(int(result.walk.at[-1]) + result.config.horizon_s),
        "symbols": list(result.walk.population.symbols),
        "horizon_s": result.config.horizon_s,
        "level": result.config.level,
        "seed": result.config.seed,
        "data_hash": result.data_hash,
        "model_hash": result.config.calibration.model_hash(),
        "decisions": int(result.walk.at.size),
        "accounts": len(result.walk.population),
        "skipped": list(result.walk.skipped),
        "refused_calibrations": list(result.walk.refused),
        "no_look_ahead_decisions_checked": result.checked,
        "passed": passed(result.gates),
        "gates": [asdict(gate) for gate in result.gates],
        "classes": {item.name: asdict(item) for item in result.classes},
        "peers": {label: [asdict(item) for item in found] for label, found in result.peers.items()},
        "ballast_over_peer": {
            label: {name: asdict(item) for name, item in found.items()} for label, found in result.relative.items()
        },
        "procyclicality": {
            "scan": {s: asdict(item) for s, item in result.scans.items()},
            "scan_before_slow_fall": {s: asdict(item) for s, item in result.raw.items()},
            "margin_of_the_mix": {name: asdict(item) for name, item in result.cycles.items()},
        },
        "impulse": None
        if shock is None
        else {
            "at": utc(shock.at),
            "step": shock.step,
            "peak": shock.peak,
            "half_life_days": shock.half_life_days,
            "ratio": {kind: [round(float(v), 6) for v in series] for kind, series in shock.ratio.items()},
        },
    }
