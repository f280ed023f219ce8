# SPDX-License-Identifier: Apache-2.0
"""`ballast doctor` has a line for each endpoint: what is wrong with it, and nothing of its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from keeper.chain.connect import rpc_of
from keeper.chain.embedded import make_web3
from keeper.commands.doctor_endpoints import EndpointReport, examine_endpoints
from keeper.errors import ConfigError
from keeper.settings import Settings, load_settings
from tests.support.chaos_proxy import API_KEY, ChaosProxy, Fault, chaos_proxy
from tests.support.embedded_node import over_http
from tests.support.rpc_server import error

NOBODY = "0x" + "33" * 20


@pytest.fixture
def proxies() -> Iterator[list[ChaosProxy]]:
    web3 = make_web3(accounts=1, genesis_timestamp=1_700_000_000)
    for _ in range(30):
        web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    with ExitStack() as stack:
        node = stack.enter_context(over_http(web3))
        yield [stack.enter_context(chaos_proxy(node)) for _ in range(3)]


def settings(proxies: list[ChaosProxy], **more: Any) -> Settings:
    urls = ",".join(proxy.url for proxy in proxies[:2])
    return load_settings(chain_id=1337, rpc_url=urls, tx_rpc_url=proxies[2].url, index={"block_range": 16}, **more)


def reports(settings: Settings) -> list[EndpointReport]:
    found = examine_endpoints(settings, [NOBODY])
    assert not any(API_KEY in report.detail + report.name for report in found)
    return found


def test_endpoints_in_order(proxies: list[ChaosProxy]) -> None:
    found = reports(settings(proxies))
    assert [report.name for report in found] == [proxies[0].name, proxies[1].name, f"{proxies[2].name} (send)"]
    assert all(report.ok for report in found)
    assert found[0].detail.startswith("chain 1337, head 30, ")
    assert found[0].detail.endswith("s old, logs of 16 blocks at once, 0 blocks behind the best")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.WRONG_CHAIN, "is on chain 1, settings expect 1337"),
        (Fault.BAD_GATEWAY, "HTTP 502"),
        (Fault.BUSY, "rate-limited"),
        (Fault.HTML, "not JSON"),
        (Fault.CUT, "did not get through"),
    ],
)
def test_each_bad_endpoint_says_what_is_wrong(proxies: list[ChaosProxy], fault: Fault, said: str) -> None:
    proxies[0].fault = proxies[2].fault = fault
    first, second, sender = reports(settings(proxies))
    assert not first.ok and said in first.detail
    assert not sender.ok and said in sender.detail
    assert second.ok


def test_an_endpoint_that_lags(proxies: list[ChaosProxy]) -> None:
    proxies[1].frozen_at, proxies[1].fault = 19, Fault.FROZEN
    first, second, _ = reports(settings(proxies, rpc={"max_lag_blocks": 10}))
    assert first.ok
    assert (second.ok, second.detail) == (False, "11 blocks behind the best endpoint (limit 10): not read from")


def test_heads_that_are_too_old(proxies: list[ChaosProxy]) -> None:
    first, *_ = reports(settings(proxies, rpc={"stale_s": 60}))
    assert not first.ok and "s old (block 30, limit 60 s)" in first.detail


def test_the_span_that_is_taken(proxies: list[ChaosProxy]) -> None:
    honest = proxies[0].answer

    def narrow(method: str, params: list[dict[str, str]], fault: Fault | None) -> dict[str, object]:
        if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= 5:
            return dict(error(-32005, "block range too large").body)  # type: ignore[arg-type]
        return honest(method, params, fault)

    proxies[0].answer = narrow  # type: ignore[method-assign]
    first, *_ = reports(settings(proxies))
    assert first.ok and "logs of 4 blocks at once (16 blocks were refused)" in first.detail


def test_limits_of_an_endpoint_nobody_uses(proxies: list[ChaosProxy]) -> None:
    rpc_of(settings(proxies, rpc={"endpoints": {proxies[0].name: {"weight": 2, "requests_per_s": 5}}}))
    with pytest.raises(ConfigError, match=r"'rpc\.endpoints' names node\.example, which is no endpoint in use"):
        rpc_of(settings(proxies, rpc={"endpoints": {"node.example": {"weight": 2}}}))


def test_how_old_a_head_may_be() -> None:
    def limit(**more: Any) -> float | None:
        return load_settings(rpc_url="http://127.0.0.1:9", **more).stale_after_s

    own = {"l2": {"chain_id": 10, "stale_s": 20}}
    assert (limit(chain_id=31337), limit(chain_id=10)) == (None, 180.0)
    assert limit(network="l2", networks=own) == 20.0
    assert limit(network="l2", networks=own, rpc={"stale_s": 5}) == 5.0
