# SPDX-License-Identifier: Apache-2.0
"""The keeper reads and sends through two bad endpoints of a real node: it never acts on stale or wrong data.

Every cycle either refuses with an error that a later cycle may cure, or is of a block that is on the node's chain and
near its head, with the accounts that are there. Then the faults end, and without help it goes on as before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import select

from keeper.app import Keeper, build_keeper, connect
from keeper.chain.rpc import Rpc
from keeper.demo.world import World, person_key
from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import execute
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.outbox import Waiting
from keeper.deploy.plan import make_plan
from keeper.errors import ConfigError, KeeperError, Transient
from keeper.report import CycleReport
from keeper.settings import load_settings
from keeper.store.models import EventRow
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, Anvil, start_anvil
from tests.support.chaos_proxy import API_KEY, ChaosProxy, Fault, chaos_proxy

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
# Second account of the mnemonic that anvil and hardhat use; public, worth nothing.
SECOND_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
MAX_LAG = 2
PATIENCE_S = 20.0
STALE_S = 4.0
QUICK: dict[str, Any] = {
    "pause_s": 0.05,
    "max_pause_s": 0.3,
    "max_wait_s": 0.1,
    "probe_s": 0.2,
    "chain_check_s": 0.2,
    "still_s": 0.0,
    "max_lag_blocks": MAX_LAG,
}
KINDS = {
    Fault.DELAY: "unreachable",
    Fault.CUT: "unreachable",
    Fault.SHORT_JSON: "unreachable",
    Fault.BUSY: "rate_limit",
    Fault.BUSY_UNTIL: "rate_limit",
    Fault.BAD_GATEWAY: "unreachable",
    Fault.HTML: "unreachable",
    Fault.ERROR_BODY: "node",
    Fault.LIMIT_BODY: "rate_limit",
    Fault.WRONG_CHAIN: "wrong_chain",
    Fault.FROZEN: "lagging",
}


@dataclass
class Market:
    """A deployment on a node with a few accounts."""

    node: Anvil
    world: World
    manifest: Path

    @property
    def head(self) -> int:
        return int(self.node.web3.eth.block_number)

    def mine(self, blocks: int) -> None:
        self.node.web3.provider.make_request("anvil_mine", [hex(blocks)])  # type: ignore[arg-type]

    def open_account(self) -> int:
        number = self.count
        return self.world.open_account(person_key(f"owner {number}"))

    @property
    def count(self) -> int:
        return int(self.world.contract("MarginAccounts").functions.account_count().call())


@pytest.fixture(scope="module")
def market(anvil_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("chaos")
    for node in start_anvil(anvil_binary, folder / "anvil.log"):
        full = load_config(ROOT / "config" / "local.toml")
        options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
        few = tuple(item.model_copy(update={"options": options}) for item in full.underlyings)
        deployer = LocalSigner.from_key(FIRST_KEY, "anvil's first account")
        plan = make_plan(full.model_copy(update={"underlyings": few}), node.rpc, deployer.address)
        path = folder / "deployments" / "31337" / "local.json"
        done = execute(plan, node.rpc, deployer, ManifestFile(path), waiting=Waiting(timeout_s=30.0, poll_s=0.02))
        world = World(node.web3, done.addresses, done.tokens, done.price_feeds, Account.from_key(FIRST_KEY))
        made = Market(node, world, path)
        for _ in range(6):
            made.open_account()
        yield made


@dataclass
class Stand:
    """A keeper between two proxies."""

    market: Market
    first: ChaosProxy
    second: ChaosProxy
    keeper: Keeper

    def cycle(self) -> CycleReport | KeeperError:
        """One cycle: refused for now, or true."""
        head = self.market.head
        try:
            self.keeper.look()
            report = self.keeper.turn()
        except KeeperError as error:
            assert not isinstance(error, ConfigError), error
            assert API_KEY not in str(error)
            return error
        assert report is not None
        there = self.market.node.web3.eth.get_block(report.block.number)
        assert bytes(there["hash"]) == report.block.hash
        assert report.block.number >= head - MAX_LAG
        assert len(report.unknown) or report.accounts == self.market.count - 1
        assert not report.parity.mismatches and not report.halted
        assert self.keeper.indexer.accounts() == list(range(1, self.market.count))
        return report

    def good_cycle(self) -> CycleReport:
        """Cycles until one is whole."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            report = self.cycle()
            if isinstance(report, CycleReport) and not report.unknown and report.result == "ok":
                return report
            assert time.monotonic() < deadline, report
            time.sleep(0.05)

    def errors(self, proxy: ChaosProxy, kind: str) -> float:
        return self.seen("rpc_request_errors_total", endpoint=proxy.name, kind=kind)

    def counts(self, kind: str) -> tuple[float, float, float]:
        """Errors of a kind and rate limits of the first endpoint, and rotations."""
        limits = self.seen("rpc_rate_limits_total", endpoint=self.first.name)
        return self.errors(self.first, kind), limits, self.seen("rpc_endpoint_rotations_total")

    def serves(self, proxy: ChaosProxy) -> bool:
        """Whether a cycle of now reads from an endpoint, and the metrics say so."""
        proxy.asked.clear()
        whole = isinstance(self.cycle(), CycleReport) and "eth_call" in proxy.asked
        return whole and self.seen("rpc_endpoint_usable", endpoint=proxy.name) == 1

    def seen(self, name: str, **labels: str) -> float:
        return self.keeper.metrics.registry.get_sample_value(f"ballast_keeper_{name}", labels) or 0.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def make_stand(stack: ExitStack, market: Market, folder: Path, fault: Fault | None = None, **rpc: Any) -> Stand:
    first, second = (stack.enter_context(chaos_proxy(market.node.url)) for _ in range(2))
    first.fault = fault
    settings = load_settings(
        chain_id=31337,
        manifest=market.manifest,
        rpc_url=f"{first.url},{second.url}",
        rpc={**QUICK, **rpc},
        rpc_timeout_s=2.0,
        database_url=f"sqlite:///{folder / 'keeper.sqlite'}",
        private_key=SECOND_KEY,
        metrics_port=None,
        index={"block_range": 50},
    )
    keeper = build_keeper(connect(settings), execute=True)
    stack.callback(keeper.close)
    return Stand(market, first, second, keeper)


@pytest.fixture(scope="module")
def stand(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One keeper that meets the faults one after the other."""
    with ExitStack() as stack:
        made = make_stand(stack, market, tmp_path_factory.mktemp("stand"))
        made.good_cycle()
        yield made


@pytest.fixture
def ticking(market: Market) -> Iterator[Market]:
    """A block a second."""
    market.node.web3.provider.make_request("evm_setIntervalMining", [1])  # type: ignore[arg-type]
    yield market
    market.node.web3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", list(KINDS))
def test_one_bad_endpoint(stand: Stand, fault: Fault) -> None:
    wait_for(stand, lambda: stand.serves(stand.first))
    before = stand.counts(KINDS[fault])
    spoil(stand, stand.first, fault)
    stand.market.open_account()
    stand.market.mine(2 * MAX_LAG + 3)
    for _ in range(2):
        stand.good_cycle()
    wait_for(stand, lambda: stand.counts(KINDS[fault])[0] > before[0])
    after = stand.counts(KINDS[fault])
    assert (after[1] > before[1]) is (KINDS[fault] == "rate_limit")
    assert after[2] > before[2]
    stand.first.fault = None
    wait_for(stand, lambda: stand.serves(stand.first))
    assert API_KEY.encode() not in stand.keeper.metrics.render()


@pytest.mark.parametrize("fault", [fault for fault in KINDS if fault not in {Fault.FROZEN, Fault.DELAY}])
def test_two_bad_endpoints(stand: Stand, fault: Fault) -> None:
    """Nothing is done, and nothing is sent; afterwards it goes on."""
    key = Account.from_key(SECOND_KEY).address
    told = stand.errors(stand.first, "wrong_chain") + 1, stand.errors(stand.second, "wrong_chain") + 1
    for proxy in (stand.first, stand.second):
        spoil(stand, proxy, fault)
    if fault is Fault.WRONG_CHAIN:  # found by the next check of a chain id
        wait_for(stand, lambda: stand.errors(stand.first, "wrong_chain") >= told[0])
        wait_for(stand, lambda: stand.errors(stand.second, "wrong_chain") >= told[1])
    before = stand.market.node.web3.eth.get_transaction_count(key)
    for _ in range(3):
        outcome = stand.cycle()
        assert isinstance(outcome, Transient), outcome
        time.sleep(0.1)
    assert stand.market.node.web3.eth.get_transaction_count(key) == before
    stand.first.fault = stand.second.fault = None
    stand.market.open_account()
    stand.good_cycle()
    wait_for(stand, lambda: stand.serves(stand.first))


def test_two_frozen_endpoints_are_refused_by_the_clock(stack: ExitStack, ticking: Market, tmp_path: Path) -> None:
    stand = make_stand(stack, ticking, tmp_path, stale_s=STALE_S)
    stand.good_cycle()
    for proxy in (stand.first, stand.second):
        proxy.freeze()
    time.sleep(STALE_S + 1.1)
    for _ in range(3):
        outcome = stand.cycle()
        assert isinstance(outcome, Transient) and "no endpoint has a fresh head" in str(outcome)
    assert stand.errors(stand.first, "stale") >= 1 and stand.errors(stand.second, "stale") >= 1
    stand.first.fault = stand.second.fault = None
    stand.good_cycle()


@pytest.mark.parametrize("both", [False, True])
def test_logs_that_are_kept_back(stack: ExitStack, market: Market, tmp_path: Path, both: bool) -> None:
    """The first reading of all events through endpoints that silently give five logs at most."""
    stand = make_stand(stack, market, tmp_path, fault=Fault.FEW_LOGS)
    if both:
        stand.second.fault = Fault.FEW_LOGS
    stand.good_cycle()
    assert stand.seen("rpc_truncated_logs_total", endpoint=stand.first.name) >= 1
    straight = tmp_path / "straight"
    straight.mkdir()
    other = make_stand(stack, market, straight)
    other.good_cycle()
    last = min(stand.keeper.indexer.cursor() or (0, b""), other.keeper.indexer.cursor() or (0, b""))[0]
    assert events(stand.keeper, last) == events(other.keeper, last) != []


def test_faults_at_random_while_the_market_moves(stack: ExitStack, market: Market, tmp_path: Path) -> None:
    """One request in twelve fails in some way, at both endpoints."""
    stand = make_stand(stack, market, tmp_path, max_wait_s=0.5)
    choose = random.Random(5)
    faults = [fault for fault in KINDS if fault not in {Fault.FROZEN, Fault.DELAY, Fault.WRONG_CHAIN}]
    for proxy in (stand.first, stand.second):
        proxy.schedule = iter(lambda: choose.choice(faults) if choose.random() < 1 / 12 else None, "never")
    whole = 0
    for turn in range(25):
        if turn % 5 == 0:
            stand.market.open_account()
            stand.market.mine(1)
        whole += isinstance(stand.cycle(), CycleReport)
        time.sleep(0.05)
    stand.first.schedule = stand.second.schedule = None
    stand.good_cycle()
    wait_for(stand, lambda: stand.serves(stand.first))
    assert 0 < whole < 25  # some came through, some were refused


def test_a_dead_sending_endpoint_beside_a_living_one(stack: ExitStack, market: Market, tmp_path: Path) -> None:
    relay, dead = (stack.enter_context(chaos_proxy(market.node.url)) for _ in range(2))
    dead.fault = Fault.BAD_GATEWAY
    rpc = Rpc.connect([market.node.url], send_url=[dead.url, relay.url])
    key = Account.from_key(SECOND_KEY)
    nonce = market.node.web3.eth.get_transaction_count(key.address)
    signed = key.sign_transaction(
        {
            "chainId": 31337,
            "nonce": nonce,
            "to": key.address,
            "gas": 21_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 1,
            "value": 0,
        }
    )
    tx = rpc.send_raw(bytes(signed.raw_transaction))
    assert rpc.receipt(tx) is not None
    assert relay.sent == [signed.raw_transaction.to_0x_hex()]
    assert dead.asked == ["eth_sendRawTransaction"]


def spoil(stand: Stand, proxy: ChaosProxy, fault: Fault) -> None:
    """Switch a fault on."""
    if fault is Fault.FROZEN:
        proxy.freeze()
        stand.good_cycle()
    else:
        proxy.fault = fault


def wait_for(stand: Stand, condition: Callable[[], bool]) -> None:
    """Cycles until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        stand.cycle()
        time.sleep(0.05)


def events(keeper: Keeper, last: int) -> list[tuple[int, int, str]]:
    """Block, index and name of every stored event up to a block."""
    with keeper.store.session() as session:
        rows = session.scalars(select(EventRow).where(EventRow.block_number <= last)).all()
        return sorted((row.block_number, row.log_index, row.name) for row in rows)
