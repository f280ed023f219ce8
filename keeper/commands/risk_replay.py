# SPDX-License-Identifier: Apache-2.0
"""``ballast risk replay``: the whole protocol under history or simulated stress, without any chain."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keeper.commands.common import JsonOption, check_target, console, print_json, table, write_text
from keeper.errors import ConfigError
from risk.market import PriceHistory, load_prices, warmup
from risk.market.load import parse_time
from risk.replay import (
    Impact,
    LiquidatorPolicy,
    Outage,
    PopulationConfig,
    Prepared,
    RealPositions,
    ReplaySettings,
    Summary,
    historical_path,
    populate,
    prepare,
    run,
    size_fund,
)
from risk.replay.market import PricePath
from risk.replay.settings import Guards
from risk.replay.sweep import Paths, Shared, grid, make_tasks, run_tasks

# Independent streams of the one seed.
STREAM_MODEL, STREAM_BOOK, STREAM_PATHS, STREAM_BOOTSTRAP = 1, 2, 3, 4
# Without prices: a simulated past to calibrate on.
PAST_DAYS, PAST_SYMBOLS, PAST_PRICES = 240, ("BTC", "ETH", "SOL", "LINK"), (60e3, 3e3, 150.0, 15.0)
PAST_END = 1_700_000_000 // 3_600 * 3_600
NO_LIMIT_USD = 1e15
CHUNK = 5
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class World:
    """What every mode runs on."""

    prepared: Prepared
    shared: Shared
    settings: ReplaySettings
    path: PricePath
    seed: int


def replay(
    prices: Annotated[
        Path | None,
        typer.Option("--prices", help="Folder of hourly <BASE><QUOTE>_1h.csv[.gz] files; without: simulated."),
    ] = None,
    symbols: Annotated[str, typer.Option("--symbols", help="Comma list of underlyings.")] = "BTC,ETH,SOL,LINK",
    start: Annotated[str | None, typer.Option("--from", help="Start; the model knows nothing later.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of a replay of history.")] = None,
    simulate: Annotated[
        int | None,
        typer.Option("--simulate", min=0, help="Seed of simulated prices from --from on, in place of history."),
    ] = None,
    hours: Annotated[int, typer.Option("--hours", min=6, help="Length of a simulated path; a multiple of 6.")] = 72,
    paths: Annotated[int, typer.Option("--paths", min=1, help="Simulated paths; from 20 on the fund is sized.")] = 1,
    stress: Annotated[float, typer.Option("--stress", min=0.1, help="Factor on every simulated move.")] = 1.0,
    worst: Annotated[bool, typer.Option("--worst-period", help="Simulate from the worst period on record.")] = False,
    accounts: Annotated[int, typer.Option("--accounts", min=10, help="Number of accounts.")] = 5_000,
    size: Annotated[
        float | None, typer.Option("--size", help="Gross notional, USD; default: a quarter of a day's volume.")
    ] = None,
    positions: Annotated[
        Path | None, typer.Option("--positions", help="CSV of real borrowers: columns collateral, debt (one unit).")
    ] = None,
    fund: Annotated[
        float | None, typer.Option("--fund", help="Insurance fund, USD; default: 0.5 % of the size.")
    ] = None,
    capital: Annotated[float | None, typer.Option("--capital", help="Liquidators' capital; default: 3 %.")] = None,
    impact: Annotated[float, typer.Option("--impact", min=0, help="Factor on market impact; 0 = none.")] = 1.0,
    outage: Annotated[
        list[str] | None, typer.Option("--outage", help="START,HOURS without keepers and liquidators; repeatable.")
    ] = None,
    blocks: Annotated[int, typer.Option("--blocks-per-hour", min=1, help="Moments an hour that anybody acts.")] = 4,
    capacity: Annotated[int, typer.Option("--auctions-per-block", min=0, help="Starts and bids in one; 0 = any.")] = 0,
    push_hours: Annotated[int, typer.Option("--push-hours", min=1, help="Hours between parameter pushes.")] = 1,
    multiple: Annotated[float, typer.Option("--scan-multiple", help="Factor on every scan range.")] = 1.0,
    sweep: Annotated[Path | None, typer.Option("--sweep", help="TOML file with a table grid of parameters.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes for paths and sweeps.")] = 1,
    dask: Annotated[str | None, typer.Option("--dask", help="Address of a Dask scheduler, in place of them.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of model and accounts.")] = 1,
    report: Annotated[Path | None, typer.Option("--report", help="Write plots as one HTML page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay accounts, liquidations, impact, bad debt and insurance fund under history or simulated stress."""
    check_target("--report", report)
    outages = tuple(_outage(text) for text in outage or ())
    real = _positions(positions) if positions else None
    history, at = _history(prices, symbols, start, seed)
    prepared = prepare(history, at, _rng(seed, STREAM_MODEL), say=lambda text: typer.echo(text, err=True))
    volume = np.array([item.adv_usd for item in prepared.inputs.liquidity])
    gross = 0.25 * float(volume.sum()) if size is None else size
    settings = ReplaySettings(
        impact=Impact(Impact().temporary * impact, Impact().permanent * impact),
        liquidators=LiquidatorPolicy(capital_usd=0.03 * gross if capital is None else capital),
        guards=Guards(push_s=3_600 * push_hours),
        scan_multiple=multiple,
        fund_usd=0.005 * gross if fund is None else fund,
        blocks_per_hour=blocks,
        auctions_per_block=capacity,
        outages=outages,
    )
    people = PopulationConfig(accounts=accounts, gross_usd=gross, weights=tuple(volume.tolist()))
    book = populate(prepared, people, settings, _rng(seed, STREAM_BOOK), real).book
    drawn = Paths(hours, seed if simulate is None else simulate, stress, worst)
    path = _path(history, prepared, end, drawn, simulated=simulate is not None or prices is None)
    several = sweep is not None or paths > 1
    source = drawn if simulate is not None or prices is None else path
    world = World(prepared, Shared(prepared, book, source), settings, path, seed)
    if not several:
        _one(world, book, report, as_json=as_json)
    elif sweep is not None:
        _sweep(world, sweep.read_text(encoding="utf-8"), paths, workers, dask, as_json=as_json)
    else:
        _fund(world, paths, workers, dask, report, as_json=as_json)


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


def _history(prices: Path | None, symbols: str, start: str | None, seed: int) -> tuple[PriceHistory, int]:
    """Prices and the moment the replay begins, unix s."""
    if prices is None:
        if start is not None:
            raise ConfigError("--from needs --prices; without them the past is simulated too")
        past = warmup(PAST_SYMBOLS, 24 * PAST_DAYS, PAST_PRICES, _rng(seed, STREAM_PATHS), end_ts=PAST_END)
        return past, PAST_END + 3_600
    if start is None:
        raise ConfigError("a replay of prices needs --from; the history before it is what the model may know")
    return load_prices(prices, [name.strip() for name in symbols.split(",")], "1h"), parse_time(start)


def _path(history: PriceHistory, prepared: Prepared, end: str | None, drawn: Paths, *, simulated: bool) -> PricePath:
    if simulated:
        rng = np.random.default_rng(np.random.SeedSequence(drawn.seed, spawn_key=(0,)))
        return prepared.path(drawn.hours, rng, stress=drawn.stress, stressed=drawn.stressed)
    if end is None:
        raise ConfigError("a replay of history needs --to; or take --simulate SEED")
    return historical_path(history, prepared, parse_time(end))


def _positions(path: Path) -> RealPositions:
    """Real borrowers of a CSV file, gzip or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    try:
        pairs = np.array([(float(row["collateral"]), float(row["debt"])) for row in rows]).reshape(-1, 2)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: positions need numeric columns collateral and debt ({error!r})") from error
    kept = pairs[(pairs > 0).all(axis=1) & np.isfinite(pairs).all(axis=1)]
    if not kept.size:
        raise ConfigError(f"{path}: nobody has both collateral and debt; check the columns")
    return RealPositions(kept[:, 0], kept[:, 1] / kept[:, 0])


def _outage(text: str) -> Outage:
    try:
        begin, length = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--outage {text} is not START,HOURS; write two numbers, such as 100,6") from None
    return Outage(begin, length)


@contextmanager
def _bar(text: str) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _one(world: World, book: Any, report: Path | None, *, as_json: bool) -> None:
    with _bar("hours") as tell:
        found = run(book, world.prepared.inputs, world.path, world.settings, tell)
    if report is not None:
        from risk.replay.plots import draw_replay, page

        title = f"Replay of {', '.join(found.symbols)}, {found.summary.hours:,.0f} h"
        image = draw_replay(found, title)
        write_text(report, page(title, {"Over time": image}, found.summary.plain()))
    if as_json:
        print_json({**found.summary.plain(), **_start(world)})
        return
    _print([("replay", found.summary)])


def _start(world: World) -> dict[str, Any]:
    """What a run depends on, for the record."""
    inputs = world.prepared.inputs
    return {
        "symbols": list(inputs.instruments.symbols),
        "parameters": inputs.parameters.content_hash(),
        "data": inputs.parameters.provenance.data_hash,
        "fund_usd": world.settings.fund_usd,
        "capital_usd": world.settings.liquidators.capital_usd,
        "start": inputs.start_ts,
    }


def _fund(world: World, paths: int, workers: int, dask: str | None, report: Path | None, *, as_json: bool) -> None:
    """Size the fund: replays with one that never runs dry."""
    if isinstance(world.shared.paths, PricePath):
        raise ConfigError("--paths needs simulated prices; add --simulate SEED")
    settings = replace(world.settings, fund_usd=NO_LIMIT_USD)
    with _bar("paths") as tell:
        (found,) = run_tasks(
            world.shared, make_tasks([settings], paths, CHUNK), workers=workers, dask=dask, progress=tell
        )
    draws = np.array([item.fund_used_usd for item in found])
    sizing = size_fund(draws, _rng(world.seed, STREAM_BOOTSTRAP))
    if report is not None:
        from risk.replay.plots import draw_draws, page

        needed = {"empirical": sizing.empirical_usd} | ({} if sizing.tail_usd is None else {"tail": sizing.tail_usd})
        title = f"Insurance fund, {paths:,} paths of {found[0].hours:,.0f} h"
        write_text(report, page(title, {"Draws": draw_draws(draws, needed, title)}, sizing.plain()))
    if as_json:
        print_json({**sizing.plain(), "draws_usd": draws.tolist(), **_start(world)})
        return
    low, high = sizing.empirical_interval_usd
    screen = console()
    screen.print(f"{sizing.paths:,} paths, {sizing.draws:,} draw on the fund; {sizing.beyond:.1f} lie beyond the level")
    screen.print(
        f"fund at {sizing.level:.1%}: {sizing.empirical_usd:,.0f} USD, 95 % interval {low:,.0f} .. {high:,.0f}"
    )
    if sizing.tail_usd is not None and sizing.tail is not None and sizing.tail_interval_usd is not None:
        low, high = sizing.tail_interval_usd
        screen.print(
            f"by the fitted tail (shape {sizing.tail.shape:.2f}, {sizing.tail.excesses} draws): "
            f"{sizing.tail_usd:,.0f} USD, {low:,.0f} .. {high:,.0f}"
        )
        if sizing.tail.shape >= 1.0:
            screen.print("a law of shape 1 or more has no mean: too few draws to size a fund by; simulate more paths")


def _sweep(world: World, text: str, paths: int, workers: int, dask: str | None, *, as_json: bool) -> None:
    names, points = grid(text, world.settings)
    given = isinstance(world.shared.paths, PricePath)
    tasks = make_tasks(points, 1 if given else paths, CHUNK)
    with _bar("tasks") as tell:
        found = run_tasks(world.shared, tasks, workers=workers, dask=dask, progress=tell)
    if as_json:
        rows = [{"point": n, "paths": [item.plain() for item in items]} for n, items in zip(names, found, strict=True)]
        print_json({"points": rows, **_start(world)})
        return
    shown = [", ".join(f"{key} {value:g}" for key, value in name.items()) for name in names]
    worst = [max(items, key=lambda item: item.rescue_usd) for items in found]
    _print(list(zip(shown, worst, strict=True)), "worst path of each point" if not given and paths > 1 else "sweep")


def _print(rows: list[tuple[str, Summary]], title: str = "replay") -> None:
    heads = (
        "liquidated",
        "bad debt",
        "fund used",
        "lenders lost",
        "open",
        "hours p50/p90/max",
        "impact",
        "liquidators",
    )
    made = table(title, "run", *heads, right=heads)
    for name, item in rows:
        mid, late, last = item.hours_to_liquidation
        made.add_row(
            name,
            f"{item.liquidated:,} of {item.accounts:,}",
            *(f"{v:,.0f}" for v in (item.bad_debt_usd, item.fund_used_usd, item.lenders_loss_usd)),
            f"{item.open_shortfall_usd:,.0f}",
            f"{mid:.2f}/{late:.2f}/{last:.1f}",
            f"{item.worst_impact:.2%}",
            f"{item.liquidator_profit_usd:,.0f}",
        )
    screen = console()
    screen.print(made)
    screen.print(f"USD; sums agree to {max(item.conservation for _, item in rows):.1e}", markup=False)
