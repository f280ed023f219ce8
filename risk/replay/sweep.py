# SPDX-License-Identifier: Apache-2.0
"""Many replays at once: simulated paths, grids of parameters; in this process, in others, or on a Dask cluster.

A task carries everything it depends on, and its randomness is a child of one ``SeedSequence`` by the number of its path
alone. So neither the number of workers nor the order in which they finish changes a bit of any result, and every point
of a grid sees the same paths.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np

from risk.errors import BadInput
from risk.margin import Book
from risk.replay.engine import run
from risk.replay.market import PricePath
from risk.replay.prepare import Prepared
from risk.replay.results import Summary
from risk.replay.settings import Outage, ReplaySettings

Progress = Callable[[int, int], None]
INSTALL = "pip install 'ballast-margin[research]'"
AXES = ("scan_multiple", "buffer", "outage_h", "capital_usd", "impact", "fund_usd", "auctions_per_block")


@dataclass(frozen=True, slots=True)
class Paths:
    """How the simulated paths of a task are drawn: see ``Prepared.path``."""

    hours: int
    seed: int
    stress: float = 1.0
    stressed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Replays of one point: along simulated paths ``first <= number < last``, or along a given one."""

    point: int
    first: int
    last: int
    settings: ReplaySettings


@dataclass(frozen=True, slots=True)
class Shared:
    """What every task of a run needs: the start, the book, and where prices come from."""

    prepared: Prepared
    book: Book
    paths: Paths | PricePath


def run_task(shared: Shared, task: Task) -> list[Summary]:
    """Replay each path of a task, in order."""
    out = []
    for number in range(task.first, task.last):
        path = shared.paths
        if isinstance(path, Paths):
            rng = np.random.default_rng(np.random.SeedSequence(path.seed, spawn_key=(number,)))
            path = shared.prepared.path(path.hours, rng, stress=path.stress, stressed=path.stressed)
        out.append(run(shared.book, shared.prepared.inputs, path, task.settings).summary)
    return out


def make_tasks(points: Sequence[ReplaySettings], paths: int, chunk: int) -> list[Task]:
    """Tasks of at most `chunk` paths each, in the order of points and paths.

    Raises
    ------
    BadInput
        No paths, or chunks of none.
    """
    if paths < 1 or chunk < 1:
        raise BadInput(f"{paths} paths in chunks of {chunk}: need at least one of each")
    return [
        Task(point, first, min(first + chunk, paths), settings)
        for point, settings in enumerate(points)
        for first in range(0, paths, chunk)
    ]


def run_tasks(
    shared: Shared,
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    dask: str | None = None,
    progress: Progress | None = None,
) -> list[list[Summary]]:
    """Summaries of every point, paths in order; equal whatever runs them.

    Parameters
    ----------
    shared, tasks
    workers : int
        Processes of this machine; 1 = this one.
    dask : str, optional
        Address of a Dask scheduler, used in place of own processes.
    progress : callable, optional
        Called with (tasks done, tasks in all).

    Raises
    ------
    BadInput
        No tasks, no workers, or Dask wanted and not installed or not reached.
    """
    if not tasks or workers < 1:
        raise BadInput(f"{len(tasks)} tasks for {workers} workers: need at least one of each")
    tell = progress or (lambda _done, _all: None)
    found: dict[int, list[Summary]] = {}
    source = _on_dask(shared, tasks, dask) if dask else _in_processes(shared, tasks, workers)
    for number, summaries in source:
        found[number] = summaries
        tell(len(found), len(tasks))
    points: list[list[Summary]] = [[] for _ in range(1 + max(task.point for task in tasks))]
    for number, task in enumerate(tasks):
        points[task.point].extend(found[number])
    return points


def _in_processes(shared: Shared, tasks: Sequence[Task], workers: int) -> Iterator[tuple[int, list[Summary]]]:
    if workers == 1:
        yield from ((number, run_task(shared, task)) for number, task in enumerate(tasks))
        return
    # Not forked: a child of a process with threads may hang in a lock that one of them held.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_keep, initargs=(shared,)) as pool:
        futures = {pool.submit(_run_kept, task): number for number, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()


_kept: list[Shared] = []


def _keep(shared: Shared) -> None:
    _kept[:] = [shared]


def _run_kept(task: Task) -> list[Summary]:
    return run_task(_kept[0], task)


def _on_dask(shared: Shared, tasks: Sequence[Task], address: str) -> Iterator[tuple[int, list[Summary]]]:
    with _client(address) as (distributed, client):
        # Sent once to every worker, not once a task.
        data = client.scatter(shared, broadcast=True, hash=False)
        futures = client.map(lambda task, common: run_task(common, task), list(tasks), common=data, pure=False)
        numbers = {future.key: number for number, future in enumerate(futures)}
        for future, summaries in distributed.as_completed(futures, with_results=True, loop=client.loop):
            yield numbers[future.key], summaries


@contextmanager
def _client(address: str) -> Iterator[tuple[Any, Any]]:
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise BadInput(f"a cluster at {address} needs Dask, which is not installed; {INSTALL}") from error
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"no Dask scheduler answers at {address} ({error}); start one, or leave out --dask") from error
    with client:
        yield distributed, client


def grid(text: str, base: ReplaySettings) -> tuple[list[dict[str, float]], list[ReplaySettings]]:
    r"""Points of a sweep: every combination of the values of a TOML file, over settings that stay.

    Parameters
    ----------
    text : str
        A table ``[grid]`` with lists by name: ``scan_multiple``, ``buffer`` (target of a sale, the end buffer stays 5
        points below), ``outage_h`` (from the start of the first outage of `base`), ``capital_usd``, ``impact``
        (multiple of both coefficients), ``fund_usd``, ``auctions_per_block``.
    base : ReplaySettings

    Raises
    ------
    BadInput
        Unreadable text, an unknown name, an empty list or a value that is no number.

    Examples
    --------
    >>> names, points = grid("[grid]\nimpact = [0, 1]\nbuffer = [0.15]", ReplaySettings())
    >>> names[0], points[0].impact.temporary
    ({'impact': 0.0, 'buffer': 0.15}, 0.0)
    """
    try:
        axes = tomllib.loads(text).get("grid", {})
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"sweep file is no TOML: {error}") from error
    if not isinstance(axes, dict) or not axes:
        raise BadInput(f"sweep file needs a table [grid] with lists for some of {', '.join(AXES)}")
    for name, values in axes.items():
        numbers = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        if name not in AXES or not numbers or not values:
            raise BadInput(f"sweep axis {name} = {values!r}: give a list of numbers for one of {', '.join(AXES)}")
    named = [dict(zip(axes, map(float, point), strict=True)) for point in product(*axes.values())]
    return named, [_applied(base, point) for point in named]


def _applied(base: ReplaySettings, point: dict[str, float]) -> ReplaySettings:
    out = base
    for name, value in point.items():
        if name == "buffer":
            out = replace(out, auction=replace(out.auction, target_buffer=value, end_buffer=value - 0.05))
        elif name == "outage_h":
            start = base.outages[0].start_h if base.outages else 0.0
            out = replace(out, outages=(Outage(start, value), *base.outages[1:]))
        elif name == "capital_usd":
            out = replace(out, liquidators=replace(out.liquidators, capital_usd=value))
        elif name == "impact":
            scaled = replace(base.impact, temporary=base.impact.temporary * value)
            out = replace(out, impact=replace(scaled, permanent=base.impact.permanent * value))
        elif name == "auctions_per_block":
            out = replace(out, auctions_per_block=int(value))
        elif name == "scan_multiple":
            out = replace(out, scan_multiple=value)
        else:
            out = replace(out, fund_usd=value)
    return out
