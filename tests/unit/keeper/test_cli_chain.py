# SPDX-License-Identifier: Apache-2.0
"""The commands against a deployed protocol behind HTTP, as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from keeper.cli import app
from risk.market.synthetic import warmup
from risk.types import CollateralParameters, GlobalParameters, UnderlyingParameters
from tests.support.embedded_node import DEPLOYER_KEY, GENESIS, STRANGER_KEY, Node, deployed_node
from tests.support.keeper_world import target
from tests.support.shared import ROOT

HOUR = 3_600


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with deployed_node(Path(tmp_path_factory.mktemp("node"))) as found:
        world = found.world()
        for cash in (5_000, 9_000):
            number = world.open_account(found.deployer)
            world.deposit(found.deployer, number, "USDC", cash * 10**6)
        yield found


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty-five simulated days of BTC and ETH that end where the chain begins."""
    folder = Path(tmp_path_factory.mktemp("prices"))
    past = warmup(["BTC", "ETH"], 1_560, [60_000.0, 3_000.0], np.random.default_rng(7), end_ts=GENESIS // HOUR * HOUR)
    for column, symbol in enumerate(past.symbols):
        lines = ["ts,open,high,low,close,volume"]
        for ts, row, volume in zip(past.ts, past.close, past.volume, strict=True):
            lines.append(",".join([str(ts), *[repr(float(row[column]))] * 4, repr(float(volume[column]))]))
        (folder / f"{symbol}USDT_1h.csv").write_text("\n".join(lines) + "\n")
    return folder


@dataclass
class Operator:
    """Runs commands in a folder of their own."""

    node: Node
    env: dict[str, str]

    def run(self, *args: str, **env: str) -> Result:
        return CliRunner().invoke(app, list(args), env={**self.env, **env})

    def on_chain(self, *args: str, **env: str) -> Result:
        return self.run(*args, "--manifest", str(self.node.manifest_path), "--rpc-url", self.node.url, **env)


@pytest.fixture
def operator(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.chdir(tmp_path)
    return Operator(
        node,
        {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'keeper.sqlite'}",
            "BALLAST_FEES__MAX_FEE_GWEI": "500",
            "LOG_LEVEL": "ERROR",
            "COLUMNS": "200",
        },
    )


def key(raw: bytes) -> str:
    return "0x" + raw.hex()


def test_accounts_lists_every_account_worst_first(operator: Operator) -> None:
    result = operator.on_chain("accounts", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["unknown"] == {}
    assert [(a["account"], a["equity_mark"]) for a in found["accounts"]] == [
        (1, "5000000000000000000000"),
        (2, "9000000000000000000000"),
    ]


def test_accounts_prints_a_table(operator: Operator) -> None:
    result = operator.on_chain("accounts")
    assert result.exit_code == 0
    assert "5,000.00" in result.stdout and "healthy" in result.stdout


def test_explain_says_how_far_from_the_line(operator: Operator) -> None:
    result = operator.on_chain("explain", "2")
    assert result.exit_code == 0
    assert "account 2: healthy: 9,000.00 USD above maintenance and 9,000.00 above initial margin" in result.stdout


def test_explain_shows_peers_and_what_can_leave(operator: Operator) -> None:
    found = json.loads(operator.on_chain("explain", "2", "--json").stdout)
    names = {item["name"]: (item["equity"], item["im"], item["problem"]) for item in found["peers"]}
    assert names.pop("ballast (on chain)") == (9_000.0, 0.0, "") and len(names) == 5
    assert set(names.values()) == {(9_000.0, 0.0, "")}
    assert [(item["name"], item["value"]) for item in found["withdrawals"]] == [("cash", 9_000.0)]
    assert (found["trades"], found["swaps"], found["contributions"]) == ([], [], [])
    brief = json.loads(operator.on_chain("explain", "2", "--json", "--brief").stdout)
    assert brief == {key: value for key, value in found.items() if key in brief} and "peers" not in brief


def test_explain_of_an_account_that_does_not_exist_is_one_sentence(operator: Operator) -> None:
    result = operator.on_chain("explain", "99")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: account 99 does not exist; the highest is 2, see 'ballast accounts'\n"


def test_params_show_names_every_lane(operator: Operator) -> None:
    result = operator.on_chain("params", "show", "--json")
    assert result.exit_code == 0
    rows = {(r["kind"], r["id"], r["name"]): r for r in json.loads(result.stdout)["parameters"]}
    assert rows["underlying", 0, "scan_bps"]["value"] == 2_400  # config/local.toml
    assert rows["underlying", 1, "scan_bps"]["value"] == 3_000
    # nothing ramps after a deployment, and nobody has lapsed
    assert all(row["in_force"] == row["value"] for row in rows.values())
    assert len(rows) == 5 + 2 * 12 + 2 * 5
    shown = operator.on_chain("params", "show").stdout
    assert re.search(r"underlying\s*│ ETH\s*│ scan_bps\s*│ 3000", shown), shown
    assert re.search(r"collateral\s*│ wstETH\s*│ haircut_im_bps\s*│ 800", shown), shown


def test_params_show_says_until_when_the_parameters_are_valid(operator: Operator) -> None:
    result = operator.on_chain("params", "show")
    assert result.exit_code == 0
    last = " ".join(result.stdout.splitlines()[-2:])
    assert re.search(r"push 0 at \S+Z, observed at \S+Z, valid until \S+Z; at least 3600 s between pushes", last), last


def test_table_show_sees_that_nothing_is_published(operator: Operator) -> None:
    result = operator.on_chain("table", "show", "--json")
    assert result.exit_code == 0
    assert [(p["symbol"], p["epoch"]) for p in json.loads(result.stdout)["pages"]] == [("BTC", 0), ("ETH", 0)]
    assert re.search(r"BTC\s*│ 0", operator.on_chain("table", "show").stdout)


def test_doctor_without_key_and_pages_says_what_is_missing(operator: Operator) -> None:
    result = operator.on_chain("doctor", "--json")
    assert result.exit_code == 1
    found = {item["name"]: item for item in json.loads(result.stdout)}
    endpoint = found[f"endpoint {operator.node.url.removeprefix('http://')}"]
    assert endpoint["ok"] and "blocks at once, 0 blocks behind the best" in endpoint["detail"]
    assert found["chain and contracts"]["ok"] and found["parity"]["ok"] and found["prices"]["ok"]
    assert re.fullmatch(r"all \d+ steps are done", found["deployment"]["detail"])
    assert found["parity"]["detail"] == "2 accounts equal the engine's integers"
    assert not found["signer"]["ok"] and "PRIVATE_KEY_FILE" in found["signer"]["detail"]
    assert not found["risk table"]["ok"] and found["risk table"]["detail"].startswith("BTC has 0 of ")
    assert result.stderr == "error: not ready: signer, risk table; the table says what to do\n"


def test_doctor_sees_a_deployment_that_stopped_half_way(operator: Operator, tmp_path: Path) -> None:
    manifest = json.loads(operator.node.manifest_path.read_text())
    whole = len(manifest["steps"])
    manifest["steps"] = manifest["steps"][: whole - 2]
    half = tmp_path / "half.json"
    half.write_text(json.dumps(manifest))
    result = operator.run("doctor", "--json", "--manifest", str(half), "--rpc-url", operator.node.url)
    assert result.exit_code == 1
    found = {item["name"]: item for item in json.loads(result.stdout)}
    assert found["deployment"] == {
        "name": "deployment", "ok": False,
        "detail": f"deployment unfinished: {whole - 2} of {whole} steps; run ballast deploy again",
    }  # fmt: skip
    assert "not ready: deployment, " in result.stderr


def test_doctor_compares_the_price_files_with_the_chain(operator: Operator, prices: Path, tmp_path: Path) -> None:
    def asked(folder: Path) -> dict[str, Any]:
        result = operator.on_chain("doctor", "--json", BALLAST_PRICES_DIR=str(folder))
        return next(item for item in json.loads(result.stdout) if item["name"] == "price files")

    near = asked(prices)
    assert near["ok"] and near["detail"].startswith("1560 bars of BTC, ETH, the last of 20"), near
    other = tmp_path / "other"
    other.mkdir()
    (other / "BTCUSDT_1h.csv").write_text((prices / "BTCUSDT_1h.csv").read_text())
    (other / "ETHUSDT_1h.csv").write_text((prices / "BTCUSDT_1h.csv").read_text())  # ether at the price of bitcoin
    far = asked(other)
    assert not far["ok"]
    assert re.match(
        r"the prices of ETH end at [\d,.]+ on 20\d\d-.*, the chain says 3,000\.00; hand over", far["detail"]
    )


def test_a_dry_run_sends_nothing_and_says_what_it_would_do(operator: Operator) -> None:
    before = operator.node.web3.eth.block_number
    result = operator.on_chain("keeper", "run", "--once", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["executed"] is False and found["result"] == "ok"
    assert found["parity"] == {"checked": 2, "mismatches": 0}
    assert operator.node.web3.eth.block_number == before
    status = operator.run("keeper", "status", "--json", "--manifest", str(operator.node.manifest_path))
    assert [run["result"] for run in json.loads(status.stdout)["runs"]] == ["ok"]
    shown = operator.run("keeper", "status", "--manifest", str(operator.node.manifest_path))
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown.stdout), shown.stdout


def test_what_an_earlier_process_sent_is_no_news(operator: Operator) -> None:
    def actions() -> list[str]:
        result = operator.on_chain("keeper", "run", "--once", "--execute", "--json", PRIVATE_KEY=key(DEPLOYER_KEY))
        assert result.exit_code == 0, result.stderr
        return [text for text in json.loads(result.stdout)["actions"] if text.startswith("record_price")]

    first = actions()
    assert len(first) >= 2 and all(" done: 0x" in text for text in first)
    nonce = operator.node.web3.eth.get_transaction_count(operator.node.deployer.address)
    assert actions() == []
    assert operator.node.web3.eth.get_transaction_count(operator.node.deployer.address) == nonce


def test_executing_without_a_key_is_refused(operator: Operator) -> None:
    result = operator.on_chain("keeper", "run", "--once", "--execute")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no key to sign with; set PRIVATE_KEY_FILE, or ETH_KEYSTORE and ETH_PASSWORD\n"
    )


def test_a_key_without_the_role_is_refused_before_anything_is_sent(operator: Operator, prices: Path) -> None:
    before = operator.node.web3.eth.block_number
    result = operator.on_chain(
        "keeper", "run", "--once", "--execute", "--prices", str(prices),
        PRIVATE_KEY=key(STRANGER_KEY), BALLAST_PUBLISHER__ENABLED="true",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "is no publisher of RiskTable; have governance call set_publisher, or use a publisher's key" in result.stderr
    assert operator.node.web3.eth.block_number == before


def test_a_bidder_account_of_somebody_else_is_refused(operator: Operator) -> None:
    result = operator.on_chain(
        "keeper", "run", "--once", "--execute",
        PRIVATE_KEY=key(STRANGER_KEY), BALLAST_LIQUIDATOR__POLICY="bid", BALLAST_LIQUIDATOR__BIDDER_ACCOUNT="1",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "may not bid for account 1; make it the owner or an operator with the right MANAGE" in result.stderr


def test_an_account_for_rewards_that_does_not_exist_is_refused(operator: Operator) -> None:
    result = operator.on_chain(
        "keeper", "run", "--once", "--execute",
        PRIVATE_KEY=key(STRANGER_KEY), BALLAST_LIQUIDATOR__POLICY="start-only",
        BALLAST_LIQUIDATOR__BIDDER_ACCOUNT="77",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "account 77, which is to get the rewards, does not exist" in result.stderr


def test_publishing_without_prices_is_refused(operator: Operator) -> None:
    result = operator.on_chain("keeper", "run", "--once", BALLAST_PUBLISHER__ENABLED="true")
    assert result.exit_code == 2
    assert "set prices_dir to a folder of price files" in result.stderr


def test_publishing_with_a_price_file_missing_names_the_symbol(
    operator: Operator, prices: Path, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1h.csv").write_text((prices / "BTCUSDT_1h.csv").read_text())
    result = operator.on_chain("keeper", "run", "--once", "--prices", str(tmp_path), BALLAST_PUBLISHER__ENABLED="true")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no price file for ETH")


def test_the_wrong_chain_id_is_refused(operator: Operator) -> None:
    result = operator.on_chain("accounts", BALLAST_CHAIN_ID="1")
    assert result.exit_code == 2
    assert "is of chain 1337, settings expect 1; give the manifest of this chain" in result.stderr


def test_an_endpoint_of_another_chain_is_refused(operator: Operator, tmp_path: Path) -> None:
    manifest = json.loads(operator.node.manifest_path.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**manifest, "chain_id": 31337}))
    result = operator.run("accounts", "--manifest", str(other), "--rpc-url", operator.node.url)
    assert result.exit_code == 2
    assert "is on chain 1337, settings expect 31337; correct the URL or the chain id" in result.stderr


def test_an_address_without_code_is_refused(operator: Operator, tmp_path: Path) -> None:
    manifest = json.loads(operator.node.manifest_path.read_text())
    manifest["contracts"]["MarginEngine"]["address"] = "0x" + "99" * 20
    other = tmp_path / "other.json"
    other.write_text(json.dumps(manifest))
    result = operator.run("accounts", "--manifest", str(other), "--rpc-url", operator.node.url)
    assert result.exit_code == 2
    assert "MarginEngine has no code at 0x9999" in result.stderr


def test_an_unreachable_node_is_a_passing_failure(operator: Operator) -> None:
    result = operator.run("accounts", "--manifest", str(operator.node.manifest_path), "--rpc-url", "http://127.0.0.1:9")
    assert result.exit_code == 75
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "127.0.0.1" in result.stderr


def test_the_publisher_publishes_and_anybody_can_rebuild_it(operator: Operator, prices: Path) -> None:
    env = {
        "PRIVATE_KEY": key(DEPLOYER_KEY),
        "BALLAST_PUBLISHER__ENABLED": "true",
        "BALLAST_CONFIRMATIONS": "0",
    }
    result = operator.on_chain("keeper", "run", "--once", "--execute", "--prices", str(prices), "--json", **env)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["result"] == "ok", found
    done = [a for a in found["actions"] if " done" in a]
    assert sum(a.startswith("publish_page") for a in done) == 2
    assert sum(a.startswith("publish_joint") for a in done) == 1
    verified = operator.on_chain("table", "verify", "--json")
    assert verified.exit_code == 0, verified.stdout
    assert [v["problems"] for v in json.loads(verified.stdout)] == [[], []]
    again = operator.on_chain("keeper", "run", "--once", "--execute", "--prices", str(prices), "--json", **env)
    assert not any(a.startswith("publish_page") for a in json.loads(again.stdout)["actions"])
    listed = operator.run("tx", "list", "--json", "--manifest", str(operator.node.manifest_path))
    assert {row["kind"] for row in json.loads(listed.stdout)} >= {"publish_page", "publish_joint"}


def test_params_diff_shows_the_step_and_the_target(operator: Operator, prices: Path) -> None:
    result = operator.on_chain("params", "diff", "--prices", str(prices), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["changes"], "a fresh calibration equals the initial parameters in every lane"
    for change in found["changes"]:
        low, high = sorted((change["now"], change["target"]))
        assert low <= change["after_push"] <= high, change


def test_params_push_names_what_it_sent(operator: Operator, tmp_path: Path) -> None:
    """The model first wants a wider scan of bitcoin than is on chain, which is pushed, then a smaller one."""
    shown = json.loads(operator.on_chain("params", "show", "--json").stdout)["parameters"]
    lanes: dict[tuple[str, int], list[int]] = {}
    for row in shown:
        lanes.setdefault((row["kind"], row["id"]), []).append(row["value"])
    there = target(
        global_parameters=GlobalParameters(*lanes["global", 0]),
        underlyings={name: UnderlyingParameters(*lanes["underlying", u]) for u, name in enumerate(("BTC", "ETH"))},
        collaterals={name: CollateralParameters(*lanes["collateral", a]) for a, name in enumerate(("WBTC", "WETH"))},
        provenance=replace(target().provenance, observed_at=GENESIS),
    )
    bitcoin = there.underlyings["BTC"]
    said = []
    for scan_bps in (bitcoin.scan_bps + 300, bitcoin.scan_bps - 300):
        wanted = {"BTC": replace(bitcoin, scan_bps=scan_bps), "ETH": there.underlyings["ETH"]}
        file = tmp_path / f"{scan_bps}.json"
        file.write_text(replace(there, underlyings=wanted).to_json(), encoding="utf-8")
        env = {"PRIVATE_KEY": key(DEPLOYER_KEY), "BALLAST_CONFIRMATIONS": "0"}
        result = operator.on_chain("params", "push", "--execute", "--params", str(file), **env)
        said.append(result.stderr)
    assert said == ["push 1 is on chain and reads back as sent\n", "proposal 2 is announced\n"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body, (0, "") while nobody listens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_the_daemon_runs_answers_and_ends_on_sigterm(operator: Operator) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "keeper", "keeper", "run", "--manifest", str(operator.node.manifest_path),
         "--rpc-url", operator.node.url],
        env={**os.environ, **operator.env, "METRICS_PORT": str(port), "BALLAST_CYCLE_INTERVAL_S": "0.2",
             "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while 'cycles_total{result="ok"}' not in ask(port, "/metrics")[1]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # the chain lives in the past, so by the age of head and prices this keeper must not count as healthy
        status, body = ask(port, "/health")
        failed = [name for name, check in json.loads(body)["checks"].items() if not check["ok"]]
        assert (status, failed) == (503, ["head_block", "prices"])
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, stderr
