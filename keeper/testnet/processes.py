# SPDX-License-Identifier: Apache-2.0
"""The node and the keeper as processes of their own, ended in the right order."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from web3 import HTTPProvider, Web3

from keeper.errors import ConfigError, Permanent

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
TAIL_CHARACTERS = 2_000


def find_anvil() -> Path:
    """The node's binary: named by ``ANVIL``, from ``node_modules``, or on the path.

    Raises
    ------
    ConfigError
        There is none.
    """
    named = os.environ.get("ANVIL")
    # the binary itself rather than npm's wrapper, which would leave it behind when killed
    installed = sorted(Path("node_modules", "@foundry-rs").glob("anvil-*/bin/anvil*"))
    on_path = shutil.which("anvil")
    for found in (named, *installed[:1], on_path):
        if found and Path(found).is_file():
            return Path(found).resolve()
    raise ConfigError(
        "no anvil node was found; run 'make node' or 'npm install @foundry-rs/anvil' here, or install Foundry, "
        "or set ANVIL to the binary"
    )


def free_port(wanted: int) -> int:
    """The wanted port where it is free, else any that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError("no port of this machine is free; close some program")


class Child:
    """A process with a log of its own; the terminal's Ctrl-C does not reach it, `stop` does."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                list(command),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise `Permanent` with the end of its log when it has ended."""
        if not self.running:
            said = self.log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]
            raise Permanent(f"{self.name} ended with code {self._process.returncode}; see {self.log}. It said:\n{said}")

    def stop(self) -> None:
        """End it: politely, and by force after half a minute."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_node(
    binary: Path, port: int, state: Path, log: Path, block_s: int | None, mnemonic: str
) -> tuple[Child, str]:
    """Start a node that keeps its state; returns it and its URL once it answers.

    Parameters
    ----------
    block_s
        Seconds between blocks; None mines each transaction at once.
    """
    command = [
        *(str(binary), "--port", str(port), "--host", "127.0.0.1", "--silent", "--hardfork", "prague"),
        *("--mnemonic", mnemonic, "--gas-limit", "60000000", "--state", str(state), "--state-interval", "30"),
        *(() if block_s is None else ("--block-time", str(block_s))),
    ]
    child, url = Child("the node", command, log, state.parent), f"http://127.0.0.1:{port}"
    web3 = Web3(HTTPProvider(url))
    deadline = time.monotonic() + START_TIMEOUT_S
    while not web3.is_connected():
        child.check()
        if time.monotonic() > deadline:
            child.stop()
            raise Permanent(f"the node did not answer within {START_TIMEOUT_S:.0f} s; see {log}")
        time.sleep(0.05)
    return child, url


def start_keeper(config: Path, url: str, key: str, chain_id: int, log: Path, options: Sequence[str]) -> Child:
    """Start ``ballast keeper run --execute`` with a settings file, the node and a key."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_", "PRIVATE_KEY"))
    }
    environment = {**inherited, f"RPC_URL_{chain_id}": url, "PRIVATE_KEY": key}
    command = [sys.executable, "-m", "keeper", "keeper", "run", "--execute", "--config", config.name, *options]
    return Child("the keeper", command, log, config.parent, environment)
