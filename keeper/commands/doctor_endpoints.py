# SPDX-License-Identifier: Apache-2.0
"""Each endpoint of the settings asked by itself: is it there, on the right chain, fresh, and how wide are its logs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.chain.connect import rpc_options
from keeper.chain.endpoint import Endpoint
from keeper.chain.rpc import Rpc
from keeper.domain import Block
from keeper.errors import KeeperError
from keeper.settings import Settings


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One endpoint; ``name`` is host and port, ``head`` None where it could not be read."""

    name: str
    ok: bool
    detail: str
    head: Block | None = None


def examine_endpoints(settings: Settings, addresses: Sequence[str]) -> list[EndpointReport]:
    """Ask every endpoint to read from, then those to send to.

    Parameters
    ----------
    addresses
        Contracts whose logs are read, to learn how many blocks an endpoint gives at once.
    """
    reads = [_read(settings, url, addresses) for url in settings.endpoints]
    best = max((report.head.number for report in reads if report.head is not None), default=0)
    return [_lag(report, best, settings) for report in reads] + [
        _send(settings, url) for url in settings.send_endpoints
    ]


def _single(settings: Settings, url: str) -> Rpc:
    return Rpc.connect([url], timeout_s=settings.rpc_timeout_s, options=rpc_options(settings))


def _read(settings: Settings, url: str, addresses: Sequence[str]) -> EndpointReport:
    name = Endpoint.http(url, settings.rpc_timeout_s).name
    try:
        rpc = _single(settings, url)
        rpc.check_chain(settings.expected_chain_id)
        head = rpc.block()
        first = max(0, head.number - settings.index.block_range + 1)
        rpc.logs(first, head.number, addresses)
        asked = head.number - first + 1
        span = rpc.pools[0].states[0].span.blocks(asked)
    except KeeperError as error:
        return EndpointReport(name, False, " ".join(str(error).split()))
    age = max(0, int(time.time()) - head.timestamp)
    said = f"chain {settings.expected_chain_id}, head {head.number}, {age} s old, logs of {span:,} blocks at once"
    return EndpointReport(name, True, said if span == asked else f"{said} ({asked:,} blocks were refused)", head)


def _lag(report: EndpointReport, best: int, settings: Settings) -> EndpointReport:
    if report.head is None:
        return report
    lag = best - report.head.number
    if lag > settings.rpc.max_lag_blocks:
        limit = settings.rpc.max_lag_blocks
        return replace(report, ok=False, detail=f"{lag} blocks behind the best endpoint (limit {limit}): not read from")
    return replace(report, detail=f"{report.detail}, {lag} blocks behind the best")


def _send(settings: Settings, url: str) -> EndpointReport:
    name = f"{Endpoint.http(url, settings.rpc_timeout_s).name} (send)"
    try:
        _single(settings, url).check_chain(settings.expected_chain_id)
    except KeeperError as error:
        return EndpointReport(name, False, " ".join(str(error).split()))
    return EndpointReport(name, True, f"chain {settings.expected_chain_id}, gets every transaction")
