# SPDX-License-Identifier: Apache-2.0
"""Real processes with a secret in every setting, at DEBUG level, made to fail: none shows in anything they leave."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path

import pytest
from eth_account import Account

from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import Waiting, execute
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.plan import make_plan
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, Anvil, free_port
from tests.support.mailbox import Mailbox, mailbox

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 90.0
# Each is unlike anything that a keeper says of itself.
PLANTED = {
    "RPC_URL_31337": "plantedreadkey0001",
    "TX_RPC_URL": "plantedsendkey0002",
    "ETH_RPC_URL": "plantedethkey0003",
    "DATABASE_URL": "pl4nt-db",
    "SLACK_WEBHOOK_URL": "plantedslacktoken00000005",
    "DISCORD_WEBHOOK_URL": "planteddiscord0006" * 4,
    "TELEGRAM_BOT_TOKEN": "AAplantedtelegram0007AAAAAAAAAAAAAAA",
    "BALLAST_ALERTS__URLS": "plantedapprise0008",
    "BALLAST_MARGIN_CALLS__SECRET": "plantedhmac0009",
    "ACCOUNTS": "plantedwebhook0010",
    "OWNERS": "plantedowner0011",
    "KEYSTORE_PASSWORD": "plantedkeystore0012",
}
SECRETS = {**PLANTED, "PRIVATE_KEY": FIRST_KEY.removeprefix("0x")}


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as made:
        yield made


@pytest.fixture
def manifest(anvil: Anvil, deployer: LocalSigner, tmp_path: Path) -> Path:
    full = load_config(ROOT / "config" / "local.toml")
    options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
    few = tuple(item.model_copy(update={"options": options}) for item in full.underlyings)
    plan = make_plan(full.model_copy(update={"underlyings": few}), anvil.rpc, deployer.address)
    path = tmp_path / "deployments" / "31337" / "local.json"
    execute(plan, anvil.rpc, deployer, ManifestFile(path), waiting=Waiting(timeout_s=20.0, poll_s=0.02))
    return path


def environment(folder: Path, rpc: str, box: Mailbox) -> dict[str, str]:
    """A secret wherever one can be; anvil ignores the path of its URL's query."""
    (folder / "accounts.toml").write_text(
        f'[accounts]\n1 = ["{box.url(path="/" + PLANTED["ACCOUNTS"])}"]\n'
        f'[owners]\n"0x{"ab" * 20}" = ["{box.url("json", "/" + PLANTED["OWNERS"])}"]\n'
    )
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL_"))},
        "PYTHONPATH": str(ROOT),
        "BALLAST_DEBUG": "1",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
        "RPC_URL_31337": f"{rpc}/?key={PLANTED['RPC_URL_31337']}",
        "TX_RPC_URL": f"{rpc}/?key={PLANTED['TX_RPC_URL']}",
        "ETH_RPC_URL": f"{rpc}/v3/{PLANTED['ETH_RPC_URL']}",
        "DATABASE_URL": f"sqlite:///{folder / 'keeper.sqlite'}",
        "PRIVATE_KEY": FIRST_KEY,
        "SLACK_WEBHOOK_URL": f"https://hooks.slack.com/services/T00000000/B00000000/{PLANTED['SLACK_WEBHOOK_URL'][:24]}",
        "DISCORD_WEBHOOK_URL": f"https://discord.com/api/webhooks/123456789012345678/{PLANTED['DISCORD_WEBHOOK_URL']}",
        "TELEGRAM_BOT_TOKEN": f"123456789:{PLANTED['TELEGRAM_BOT_TOKEN']}",
        "TELEGRAM_CHAT_ID": "-100123",
        "BALLAST_ALERTS__URLS": f"{box.url('json', '/' + PLANTED['BALLAST_ALERTS__URLS'])}",
        "BALLAST_MARGIN_CALLS__SECRET": PLANTED["BALLAST_MARGIN_CALLS__SECRET"],
        "BALLAST_MARGIN_CALLS__FILE": str(folder / "accounts.toml"),
        "BALLAST_CYCLE_INTERVAL_S": "0.5",
        "METRICS_PORT": "0",
        # Nothing of a test goes to the internet: web requests end at a port where nobody listens.
        "https_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


def clean(text: str | bytes, what: str) -> None:
    """No planted secret, nor half of one, is in a text."""
    data = text.encode() if isinstance(text, str) else text
    for name, secret in SECRETS.items():
        piece = secret[:24].encode()
        assert piece.lower() not in data.lower(), f"{name} shows in {what}: {excerpt(data, piece)}"


def excerpt(data: bytes, piece: bytes) -> str:
    at = data.lower().index(piece.lower())
    return data[max(0, at - 200) : at + 60].decode(errors="replace")


def ballast(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "keeper", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    clean(ran.stdout, f"stdout of {arguments}")
    clean(ran.stderr, f"stderr of {arguments}")
    return ran


def clean_folder(folder: Path, *but: str) -> None:
    """No file that a process has left holds a secret; ``but`` are those that the test wrote."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in but]
    assert files
    for path in files:
        clean(path.read_bytes(), path.name)


def test_the_search_finds_what_it_looks_for() -> None:
    with pytest.raises(AssertionError, match="TX_RPC_URL shows in x"):
        clean(f"at {PLANTED['TX_RPC_URL'].upper()}", "x")


def test_commands_that_work_and_commands_that_fail_show_no_secret(
    anvil: Anvil, manifest: Path, tmp_path: Path, box: Mailbox
) -> None:
    env = environment(tmp_path, anvil.url, box)
    worked = ballast(tmp_path, env, "keeper", "run", "--once", "--json")
    assert worked.returncode == 0 and json.loads(worked.stdout)["result"] == "ok", worked.stderr
    assert ballast(tmp_path, env, "config", "show").returncode == 0

    dead = f"http://127.0.0.1:{free_port()}"
    bad_rpc = env | {"RPC_URL_31337": f"{dead}/v3/{PLANTED['RPC_URL_31337']}"}
    failed = ballast(tmp_path, bad_rpc, "keeper", "run", "--once")
    assert failed.returncode != 0 and "127.0.0.1" in failed.stderr

    with socket.socket() as taken:  # somebody listens who is no PostgreSQL
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://keeper:{PLANTED['DATABASE_URL']}@127.0.0.1:{taken.getsockname()[1]}/ballast"
        assert ballast(tmp_path, env | {"DATABASE_URL": url}, "keeper", "run", "--once").returncode != 0
    strange = env | {"DATABASE_URL": f"nonsense://keeper:{PLANTED['DATABASE_URL']}@db.example/ballast"}
    assert ballast(tmp_path, strange, "keeper", "run", "--once").returncode != 0

    box.answers = [500] * 9
    refused = ballast(tmp_path, env, "alerts", "test", "--json")
    assert refused.returncode == 1 and [row["ok"] for row in json.loads(refused.stdout)] == [False] * 4
    box.answers = [403]
    assert ballast(tmp_path, env, "alerts", "test", "--account", "1").returncode == 1
    assert ballast(tmp_path, env, "alerts", "test", "--owner", "0x" + "ab" * 20).returncode == 0
    clean_folder(tmp_path, "accounts.toml", "anvil.log")


def test_a_key_in_a_file_and_a_keystore_show_nothing(
    anvil: Anvil, manifest: Path, tmp_path: Path, box: Mailbox
) -> None:
    env = {k: v for k, v in environment(tmp_path, anvil.url, box).items() if k != "PRIVATE_KEY"}
    password = PLANTED["KEYSTORE_PASSWORD"]
    (tmp_path / "key").write_text(FIRST_KEY + "\n")
    (tmp_path / "password").write_text(password + "\n")
    (tmp_path / "keystore.json").write_text(json.dumps(Account.encrypt(FIRST_KEY, password, iterations=2)))
    stored = env | {"ETH_KEYSTORE": str(tmp_path / "keystore.json"), "ETH_PASSWORD": str(tmp_path / "password")}
    assert ballast(tmp_path, stored, "keeper", "run", "--once", "--execute").returncode == 0
    (tmp_path / "password").write_text("wrong" + password)
    assert ballast(tmp_path, stored, "keeper", "run", "--once", "--execute").returncode != 0
    (tmp_path / "key").write_text(FIRST_KEY[:-1] + "z")
    assert ballast(tmp_path, env | {"PRIVATE_KEY_FILE": str(tmp_path / "key")}, "doctor").returncode != 0
    clean_folder(tmp_path, "accounts.toml", "anvil.log", "key", "password")


def test_a_service_that_loses_everything_shows_no_secret(
    anvil: Anvil, manifest: Path, tmp_path: Path, box: Mailbox
) -> None:
    port = free_port()
    env = environment(tmp_path, anvil.url, box) | {"METRICS_PORT": str(port), "BALLAST_ALERTS__MIN_SEVERITY": "info"}
    log = tmp_path / "service.log"
    command = [sys.executable, "-m", "keeper", "keeper", "run"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: '"event": "cycle"' in log.read_text(), process, log)
            for path in ("/health", "/ready", "/metrics", "/none"):
                clean(get(port, path), path)
            anvil.process.terminate()
            anvil.process.wait()
            box.answers = [500] * 50
            wait_until(lambda: log.read_text().count('"level": "warning"') >= 3, process, log)
            for path in ("/health", "/ready", "/metrics"):
                clean(get(port, path), path)
        finally:
            process.terminate()
            process.wait(timeout=60)
    clean(log.read_bytes(), "the log")
    clean_folder(tmp_path, "accounts.toml", "anvil.log")


def wait_until(done: object, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not done():  # type: ignore[operator]
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3_000:]
        time.sleep(0.1)


def get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
