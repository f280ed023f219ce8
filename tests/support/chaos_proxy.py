# SPDX-License-Identifier: Apache-2.0
"""A proxy between keeper and node that behaves as bad endpoints do: a real HTTP server whose faults are switched.

`ChaosProxy.fault` is what every request meets; `ChaosProxy.schedule` gives one fault for each request, in order, before
that. A proxy that was frozen stands at the head of that moment in every answer, as a node that lost its peers does.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

DELAY_S = 2.5
CUT_LOGS = 5
API_KEY = "CHAOSSECRETKEY"
LATEST = {"latest", "pending", "safe", "finalized"}
BLOCK_AT = {"eth_call": 1, "eth_getCode": 1, "eth_getBalance": 1, "eth_getTransactionCount": 1, "eth_estimateGas": 1}


class Fault(StrEnum):
    """What a request meets."""

    DELAY = "delay"
    CUT = "cut"
    SHORT_JSON = "short_json"
    BUSY = "busy"
    BUSY_UNTIL = "busy_until"
    BAD_GATEWAY = "bad_gateway"
    HTML = "html"
    ERROR_BODY = "error_body"
    LIMIT_BODY = "limit_body"
    WRONG_CHAIN = "wrong_chain"
    FEW_LOGS = "few_logs"
    FROZEN = "frozen"


@dataclass
class ChaosProxy:
    """A proxy that runs; ``asked`` are the methods that came, ``sent`` the raw transactions."""

    node: str
    port: int = 0
    fault: Fault | None = None
    schedule: Iterator[Fault | None] | None = None
    frozen_at: int = 0
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """With a path that stands for a key."""
        return f"http://127.0.0.1:{self.port}/v3/{API_KEY}"

    @property
    def name(self) -> str:
        """What metrics and messages call it."""
        return f"127.0.0.1:{self.port}"

    def freeze(self) -> None:
        """Stand still at the head of now."""
        self.frozen_at = int(self.ask("eth_blockNumber", [])["result"], 16)
        self.fault = Fault.FROZEN

    def next_fault(self) -> Fault | None:
        """What the next request meets."""
        return self.fault if self.schedule is None else next(self.schedule, self.fault)

    def ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        """Ask the node itself."""
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: dict[str, Any] = requests.post(self.node, json=request, timeout=30).json()
        return answer

    def answer(self, method: str, params: list[Any], fault: Fault | None) -> dict[str, Any]:
        """The body of an answer."""
        if fault is Fault.ERROR_BODY:
            return {"error": {"code": -32603, "message": "Internal error"}}
        if fault is Fault.LIMIT_BODY:
            return {"error": {"code": -32005, "message": "daily request count exceeded, request rate limited"}}
        if fault is Fault.WRONG_CHAIN and method == "eth_chainId":
            return {"result": "0x1"}
        if fault is Fault.FROZEN:
            return self._frozen(method, params)
        got = self.ask(method, params)
        if fault is Fault.FEW_LOGS and method == "eth_getLogs" and "result" in got:
            got["result"] = got["result"][:CUT_LOGS]
        return got

    def _frozen(self, method: str, params: list[Any]) -> dict[str, Any]:
        """As a node answers that has seen no block since: unknown blocks are null or an error, later logs are none."""
        if method == "eth_blockNumber":
            return {"result": hex(self.frozen_at)}
        if method == "eth_getBlockByNumber":
            if params[0] in LATEST:
                return self.ask(method, [hex(self.frozen_at), *params[1:]])
            return self.ask(method, params) if int(params[0], 16) <= self.frozen_at else {"result": None}
        if method == "eth_getLogs" and "toBlock" in params[0]:
            first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
            if first > self.frozen_at:
                return {"result": []}
            return self.ask(method, [{**params[0], "toBlock": hex(min(last, self.frozen_at))}])
        got = self.ask(method, params)
        if method in {"eth_getTransactionReceipt", "eth_getTransactionByHash"} and isinstance(got.get("result"), dict):
            late = got["result"]["blockNumber"] is None or int(got["result"]["blockNumber"], 16) > self.frozen_at
            return {"result": None} if late else got
        return self._frozen_state(method, params) if method in BLOCK_AT else got

    def _frozen_state(self, method: str, params: list[Any]) -> dict[str, Any]:
        at = BLOCK_AT[method]
        block = params[at] if len(params) > at else "latest"
        if isinstance(block, dict):
            known = self.ask("eth_getBlockByHash", [block["blockHash"], False])["result"]
            if known is None or int(known["number"], 16) > self.frozen_at:
                return {"error": {"code": -32001, "message": "Resource not found"}}
        elif block in LATEST:
            params = [*params[:at], hex(self.frozen_at), *params[at + 1 :]]
        elif int(block, 16) > self.frozen_at:
            return {"error": {"code": -32000, "message": "header not found"}}
        return self.ask(method, params)


def _handler(proxy: ChaosProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class prescribes this name
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = proxy.next_fault()
            proxy.asked.append(request["method"])
            if request["method"] == "eth_sendRawTransaction":
                proxy.sent.append(request["params"][0])
            if fault is Fault.DELAY:
                time.sleep(DELAY_S)
            if fault in PAGES:
                status, headers, text = PAGES[fault]
                self._say(status, {name: value() for name, value in headers.items()}, text.encode())
                return
            body = {
                "jsonrpc": "2.0",
                "id": request["id"],
                **_own(proxy.answer(request["method"], request["params"], fault)),
            }
            payload = json.dumps(body).encode()
            if fault is Fault.SHORT_JSON:
                payload = payload[: len(payload) // 2]
            self._say(200, {}, payload, cut=fault is Fault.CUT)

        def _say(self, status: int, headers: dict[str, str], payload: bytes, *, cut: bool = False) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up waiting
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload[: len(payload) // 2] if cut else payload)

        def log_message(self, *_args: Any) -> None:
            """Stay quiet."""

    return Handler


PAGES: dict[Fault, tuple[int, dict[str, Any], str]] = {
    Fault.BUSY: (429, {"Retry-After": lambda: "0.4"}, "slow down"),
    Fault.BUSY_UNTIL: (429, {"Retry-After": lambda: formatdate(time.time() + 2, usegmt=True)}, "slow down"),
    Fault.BAD_GATEWAY: (502, {}, "<html><title>502 Bad Gateway</title></html>"),
    Fault.HTML: (200, {}, "<!doctype html><title>We are down for maintenance</title>"),
}


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key in {"result", "error"}}


@contextmanager
def chaos_proxy(node: str) -> Iterator[ChaosProxy]:
    """Run a proxy in front of a node until the block ends."""
    proxy = ChaosProxy(node)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
