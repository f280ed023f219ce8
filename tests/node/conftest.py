# SPDX-License-Identifier: Apache-2.0
"""A real node for each test: anvil, from node_modules or named by ANVIL. Skipped visibly without; an error in CI."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from web3 import HTTPProvider, Web3

from keeper.chain.rpc import Rpc
from keeper.tx.signer import LocalSigner

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0
# First account of the mnemonic that anvil and hardhat use; public, worth nothing.
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@dataclass(frozen=True)
class Anvil:
    """A running node."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def web3(self) -> Web3:
        return Web3(HTTPProvider(self.url, exception_retry_configuration=None))

    @property
    def rpc(self) -> Rpc:
        return Rpc.connect([self.url])


def find_anvil() -> Path | None:
    """The binary itself rather than npm's wrapper, which would leave it behind when killed."""
    named = os.environ.get("ANVIL")
    if named:
        return Path(named)
    binaries = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if binaries:
        return binaries[0]
    on_path = shutil.which("anvil")
    return Path(on_path) if on_path else None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def anvil_binary() -> Path:
    binary = find_anvil()
    if binary is None or not binary.is_file():
        message = "no anvil: run `make node` (needs npm) or set ANVIL to the binary"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return binary


@pytest.fixture
def anvil(anvil_binary: Path, tmp_path: Path) -> Iterator[Anvil]:
    yield from start_anvil(anvil_binary, tmp_path / "anvil.log")


def start_anvil(binary: Path, log: Path, *arguments: str) -> Iterator[Anvil]:
    """Start a node on a free port, wait until it answers, stop it at the end."""
    port = free_port()
    command = [str(binary), "--port", str(port), "--host", "127.0.0.1", "--silent", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            node = Anvil(f"http://127.0.0.1:{port}", process)
            wait_ready(node, log)
            yield node
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_ready(node: Anvil, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not node.web3.is_connected():
        if node.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"anvil did not start: {log.read_text(errors='replace')[-2_000:]}")
        time.sleep(0.05)


@pytest.fixture
def deployer() -> LocalSigner:
    return LocalSigner.from_key(FIRST_KEY, "anvil's first account")
