# SPDX-License-Identifier: Apache-2.0
"""A page over the small world of `keeper_world`: what a turn saw is written down, database and server are real."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from keeper.assess import Assessments, Parity, assess_all, liquidatable
from keeper.decide import Decision, Note, Situation
from keeper.domain import Event, Snapshot, Unknown
from keeper.index.projection import store_events
from keeper.observe.board import standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.page.database import ReadOnlyDatabase
from keeper.page.view import Endpoint, Feed, Source
from keeper.report import CycleReport
from keeper.service import JobStatus
from keeper.store import Store, open_store
from tests.support.keeper_world import NOW

CHAIN = 31337
OWNER = "0xAbCdEf0000000000000000000000000000000001"


def opened(account: int, owner: str = OWNER) -> Event:
    args = {"account": account, "owner": owner}
    return Event(10 + account, b"\x01" * 32, 0, b"\x02" * 32, "MarginAccounts", "AccountOpened", args)


def event(block: int, contract: str, name: str, args: Mapping[str, Any], index: int = 1) -> Event:
    return Event(block, b"\x01" * 32, index, bytes([block % 256]) * 32, contract, name, args)


def stored(folder: Path, events: Sequence[Event] = ()) -> Store:
    store = open_store(f"sqlite:///{folder / 'keeper.sqlite'}")
    with store.session() as session:
        store_events(session, CHAIN, events)
    return store


def report_of(snapshot: Snapshot, found: Assessments, notes: Sequence[Note] = ()) -> CycleReport:
    known = [(r.mm_health, a) for a, r in found.items() if not isinstance(r, Unknown)]
    worst = min(known, default=None)
    return CycleReport(
        block=snapshot.block,
        accounts=len(found),
        unknown={a: r for a, r in found.items() if isinstance(r, Unknown)},
        liquidatable=liquidatable(found),
        worst=None if worst is None else (worst[1], worst[0]),
        parity=Parity((), (), {}),
        decision=Decision((), tuple(notes)),
        outcomes=(),
        halted=(),
        duration_s=0.01,
    )


def turn(source: Source, snapshot: Snapshot, found: Assessments | None = None, notes: Sequence[Note] = ()) -> None:
    assessments = assess_all(snapshot) if found is None else found
    source.feed.turned(Situation(snapshot, assessments), report_of(snapshot, assessments, notes))


def source_over(folder: Path, **changes: Any) -> Source:
    fields: dict[str, Any] = {
        "chain_id": CHAIN,
        "network": "test",
        "sends": False,
        "interval_s": 12.0,
        "clock": lambda: NOW + 5,
        "feed": Feed(lambda: NOW + 3),
        "health": HealthBoard(standing_limits(12.0), NOW),
        "metrics": Metrics("test", CHAIN),
        "database": ReadOnlyDatabase(f"sqlite:///{folder / 'keeper.sqlite'}", timeout_s=0.3),
        "names": lambda: {0: "WETH"},
        "jobs": lambda: (JobStatus("cycle", 12.0, NOW + 12.0, NOW + 0.0, "executed", {"executed": 3, "error": 0,
                                                                                      "missed": 0, "overlap": 0}),),
        "endpoints": lambda: (Endpoint("rpc.example", "read", 100, NOW, 0, ""),),
        **changes,
    }  # fmt: skip
    return Source(**fields)


class Client:
    """Asks an application without a network between."""

    def __init__(self, app: ASGIApp, base_url: str = "http://localhost:9465") -> None:
        self._app = app
        self._base_url = base_url

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())
