# SPDX-License-Identifier: Apache-2.0
"""The embedded chain behind HTTP, so that a test meets the keeper as an operator does: a URL and a manifest."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.providers import BaseProvider

from keeper.chain.embedded import make_web3
from keeper.chain.rpc import Rpc
from keeper.demo.world import World
from keeper.deploy.config import load_config
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import Manifest, ManifestFile
from keeper.deploy.plan import make_plan
from keeper.tx.signer import LocalSigner
from tests.support.shared import ROOT

CHAIN_ID = 1337
GENESIS = 1_700_000_000
DEPLOYER_KEY, STRANGER_KEY = (1).to_bytes(32, "big"), (3).to_bytes(32, "big")


@dataclass
class Node:
    """A deployed protocol on a node that answers at ``url``."""

    url: str
    web3: Web3
    manifest_path: Path
    manifest: Manifest
    deployer: LocalAccount

    def world(self) -> World:
        """The people's side."""
        manifest = self.manifest
        return World(self.web3, manifest.addresses, manifest.tokens, manifest.price_feeds, self.deployer)


def plain(value: Any) -> Any:
    """JSON-RPC form of what web3's middleware makes of an answer."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def _block(param: Any) -> Any:
    """A block by hash as text: web3's eth-tester middleware does not know the object of EIP-1898."""
    pinned = isinstance(param, dict) and set(param) == {"blockHash", "requireCanonical"}
    return param["blockHash"] if pinned else param


@contextmanager
def over_http(web3: Web3) -> Iterator[str]:
    """Serve a chain in this process at a URL on localhost."""
    provider: Any = web3.provider
    ask = provider.request_func(web3, web3.middleware_onion)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                answer = ask(request["method"], [_block(item) for item in request["params"]])
            key = "error" if answer.get("error") else "result"
            body = answer["error"] if key == "error" else plain(answer["result"])
            payload = json.dumps({"jsonrpc": "2.0", "id": request["id"], key: body}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def deployed_node(folder: Path, provider: BaseProvider | None = None) -> Iterator[Node]:
    """Deploy ``config/local.toml`` to an embedded chain (or the one behind ``provider``) and serve it."""
    text = (ROOT / "config" / "local.toml").read_text().replace("chain_id = 31337", f"chain_id = {CHAIN_ID}")
    (folder / "local.toml").write_text(text)
    web3 = make_web3("revm", accounts=4, genesis_timestamp=GENESIS) if provider is None else Web3(provider)
    rpc = Rpc.in_process(web3.provider)
    deployer = Account.from_key(DEPLOYER_KEY)
    path = folder / "manifest.json"
    plan = make_plan(load_config(folder / "local.toml"), rpc, deployer.address)
    manifest = Executor(plan, rpc, LocalSigner(deployer), ManifestFile(path)).run()
    with over_http(web3) as url:
        yield Node(url, web3, path, manifest, deployer)
