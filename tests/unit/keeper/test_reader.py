# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a complete deployment, compared with what the contracts say one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from hexbytes import HexBytes
from web3 import Web3
from web3.types import RPCEndpoint, RPCResponse

from keeper.assess import assess_all, check_parity
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.embedded import EmbeddedProvider, make_backend
from keeper.chain.rpc import Rpc
from keeper.deploy.config import load_config
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.plan import make_plan
from keeper.domain import AuctionState, Block, ContractCall, Phase, Unknown
from keeper.errors import ConfigError, Permanent, Reverted, Transient
from keeper.tx.signer import LocalSigner
from risk.onchain import ChainMarket, assess_words
from tests.support.shared import ROOT

WAD = 10**18
CHAIN_ID = 1337


class MoodyProvider(EmbeddedProvider):
    """The embedded chain, with answers that a test can spoil: by the start of the call data, or by method."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.broken: set[str] = set()
        self.after: dict[str, Any] = {}

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        data = str(params[0].get("data", "")) if method == "eth_call" else ""
        if method in self.broken or data[:10] in self.broken:
            return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32603, "message": "Internal error"}}
        answer = super().make_request(method, params)
        hook = self.after.pop(method, None)
        if hook is not None:
            hook()
        return answer


@dataclass
class Deployment:
    provider: MoodyProvider
    rpc: Rpc
    deployed: list[Deployed]
    multicall: str | None
    tokens: dict[str, str]

    def chain(self, multicall: str | None = None, batch: int = 64) -> ChainClient:
        return ChainClient(self.rpc, Contracts(self.deployed), CHAIN_ID, multicall=multicall, batch=batch)

    def send(self, address: str, signature: str, types: list[str], *args: Any) -> None:
        web3 = self.rpc.web3
        data = Web3.keccak(text=signature)[:4] + encode(types, args)
        sent = web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": address, "data": HexBytes(data)})
        assert web3.eth.wait_for_transaction_receipt(sent)["status"] == 1

    def open_account(self, cash_raw: int) -> None:
        """An account of the deployer with cash."""
        accounts = self.chain().contracts.addresses["MarginAccounts"]
        owner = self.rpc.web3.eth.accounts[0]
        number = self.chain().call(ContractCall("MarginAccounts", "account_count"))
        self.send(accounts, "open_account(address)", ["address"], owner)
        self.send(self.tokens["USDC"], "mint(address,uint256)", ["address", "uint256"], owner, cash_raw)
        self.send(self.tokens["USDC"], "approve(address,uint256)", ["address", "uint256"], accounts, cash_raw)
        self.send(
            accounts,
            "deposit(uint256,address,uint256)",
            ["uint256", "address", "uint256"],
            number,
            self.tokens["USDC"],
            cash_raw,
        )


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = Path(tmp_path_factory.mktemp("deployment"))
    text = (ROOT / "config" / "local.toml").read_text().replace("chain_id = 31337", f"chain_id = {CHAIN_ID}")
    (folder / "local.toml").write_text(text)
    provider = MoodyProvider(make_backend("revm", accounts=4, genesis_timestamp=1_700_000_000))
    rpc = Rpc.in_process(provider)
    signer = LocalSigner(Account.from_key((1).to_bytes(32, "big")))
    plan = make_plan(load_config(folder / "local.toml"), rpc, signer.address)
    manifest = Executor(plan, rpc, signer, ManifestFile(folder / "manifest.json")).run()
    built = Deployment(provider, rpc, manifest.deployed(), manifest.addresses.get("Multicall"), manifest.tokens)
    built.open_account(5_000 * 10**6)
    built.open_account(7_000 * 10**6)
    yield built


def test_start_accepts_what_was_deployed_and_nothing_else(deployment: Deployment) -> None:
    deployment.chain().start()
    wrong_chain = ChainClient(deployment.rpc, Contracts(deployment.deployed), 1)
    with pytest.raises(ConfigError, match="is on chain 1337, settings expect 1"):
        wrong_chain.start()
    first, second = deployment.deployed[:2]
    swapped = [Deployed(first.name, second.address, first.abi, first.code_hash), *deployment.deployed[1:]]
    with pytest.raises(ConfigError, match=f"{first.name} at .* has code"):
        ChainClient(deployment.rpc, Contracts(swapped), CHAIN_ID).start()


@pytest.mark.parametrize("with_multicall", [True, False])
def test_a_snapshot_says_what_the_contracts_say(deployment: Deployment, with_multicall: bool) -> None:
    chain = deployment.chain(deployment.multicall if with_multicall else None, batch=20)
    snapshot = chain.snapshot()
    block = snapshot.block
    assert block == chain.block()
    accounts = chain.call(ContractCall("MarginAccounts", "account_count"), block)
    assert sorted(snapshot.accounts) == list(range(1, accounts))
    for account, words in snapshot.accounts.items():
        assert words == tuple(chain.call(ContractCall("MarginAccounts", "state", (account,)), block))
        assert snapshot.auctions[account] == AuctionState(Phase.NONE, 0, 0, 0, 0)
    assert not isinstance(snapshot.prices, Unknown)
    for (kind, number), price in snapshot.prices.items():
        read = chain.call(ContractCall("PriceOracle", "price", (kind, number)), block)
        assert (price.price_wad, price.state, price.updated_at) == read
    assert snapshot.prices[0, 0].price_wad == 60_000 * WAD
    assert not isinstance(snapshot.parameter_words, Unknown)
    for (kind, number), word in snapshot.parameter_words.items():
        assert word == chain.call(ContractCall("RiskParameters", "word", (kind, number)), block)
    assert sorted(snapshot.parameter_words) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert not isinstance(snapshot.parameter_bounds, Unknown)
    bounds = snapshot.parameter_bounds[1]
    read = chain.call(ContractCall("RiskParameters", "bounds", (1,)), block)
    assert (bounds.low, bounds.high, bounds.step_up, bounds.step_down) == read


def test_markets_and_instruments(deployment: Deployment) -> None:
    snapshot = deployment.chain(deployment.multicall).snapshot()
    assert not isinstance(snapshot.underlyings, Unknown)
    assert [(u.symbol, u.has_perp, u.option_slots) for u in snapshot.underlyings.values()] == [
        ("BTC", True, 20),
        ("ETH", True, 20),
    ]
    assert not isinstance(snapshot.collaterals, Unknown)
    assert [(c.decimals, c.linked) for c in snapshot.collaterals.values()] == [(18, 1), (18, 1)]
    assert not isinstance(snapshot.options, Unknown)
    assert len(snapshot.options) == 40  # two expiries, five strikes, calls and puts, for each of two
    strikes = {o.strike_wad for o in snapshot.options.values() if o.underlying == 0}
    assert {48_000 * WAD, 60_000 * WAD, 72_000 * WAD} <= strikes
    assert all(o.settlement_wad == 0 and o.expiry > snapshot.block.timestamp for o in snapshot.options.values())
    assert all(o.listed_at > 0 and o.serial > 0 for o in snapshot.options.values())
    assert not isinstance(snapshot.delta_ones, Unknown)
    assert sorted(snapshot.delta_ones) == [254, 255, 256 + 254, 256 + 255]
    assert snapshot.delta_ones[255].expiry == 0 < snapshot.delta_ones[254].expiry
    serials = [item.serial for item in (*snapshot.options.values(), *snapshot.delta_ones.values())]
    assert len(set(serials)) == 44
    assert not isinstance(snapshot.table, Unknown)
    assert [(p.address, p.epoch, p.rows_wanted) for p in snapshot.table.pages.values()] == [(None, 0, 20)] * 2
    assert snapshot.table.joint.address is None


def test_the_twin_agrees_with_the_engine_on_what_was_read(deployment: Deployment) -> None:
    chain = deployment.chain(deployment.multicall)
    snapshot = chain.snapshot()
    assert isinstance(snapshot.market, ChainMarket)
    for account, words in snapshot.accounts.items():
        assert not isinstance(words, Unknown)
        engine = chain.call(ContractCall("MarginEngine", "assess", (account,)), snapshot.block)
        assert assess_words(words, snapshot.market) == engine
    assert assess_all(snapshot)[1] != assess_all(snapshot)[2]
    accounts = tuple(snapshot.accounts)
    parity = check_parity(chain, snapshot, assess_all(snapshot), accounts)
    assert parity.checked == accounts and not parity.mismatches and not parity.unread
    richest = assess_words(snapshot.accounts[2], snapshot.market)  # type: ignore[arg-type]
    assert richest.equity_mm == 7_000 * WAD


def test_only_the_accounts_asked_for(deployment: Deployment) -> None:
    assert list(deployment.chain().snapshot(accounts=[2]).accounts) == [2]


def test_an_older_block_stays_readable(deployment: Deployment) -> None:
    chain = deployment.chain(deployment.multicall)
    before = chain.block()
    known = chain.snapshot(block=before)
    deployment.open_account(10**6)
    assert chain.snapshot(block=before) == known
    assert len(chain.snapshot().accounts) == len(known.accounts) + 1


@pytest.mark.parametrize(
    ("function", "types", "part"),
    [
        ("state", "(uint256)", "accounts"),
        ("auction_of", "(uint256)", "auctions"),
        ("read", "(uint256,uint256)", "prices"),
        ("status", "()", "parameters"),
        ("bounds", "(uint256)", "parameter_bounds"),
        ("page_info", "(uint256)", "table"),
        ("instrument_info", "(uint256)", "options"),
        ("instrument_info", "(uint256)", "delta_ones"),
        ("word", "(uint256,uint256)", "parameter_words"),
        ("marks", "(uint256)", "market"),
        ("peg_bps", "()", "peg"),
        ("ramp_ends_at", "(uint256,uint256)", "ramp_ends"),
        ("words", "(uint256,uint256)", "market"),
    ],
)
def test_what_cannot_be_read_is_unknown_since_the_first_time(
    deployment: Deployment, function: str, types: str, part: str
) -> None:
    chain = deployment.chain()
    selector = Web3.keccak(text=f"{function}{types}")[:4].to_0x_hex()
    deployment.provider.broken.add(selector)
    try:
        first = chain.snapshot()
        deployment.open_account(1)
        second = chain.snapshot()
    finally:
        deployment.provider.broken.discard(selector)
    for snapshot in (first, second):
        found = getattr(snapshot, part)
        value = found[1] if part in ("accounts", "auctions") else found
        assert isinstance(value, Unknown)
        assert "Internal error" in value.reason
        assert value.since == first.block.timestamp < second.block.timestamp
    healthy = chain.snapshot()
    value = getattr(healthy, part)
    assert not isinstance(value[1] if part in ("accounts", "auctions") else value, Unknown)


def test_without_the_counts_there_is_no_snapshot(deployment: Deployment) -> None:
    selector = Web3.keccak(text="account_count()")[:4].to_0x_hex()
    deployment.provider.broken.add(selector)
    try:
        with pytest.raises(Transient, match="Internal error"):
            deployment.chain().snapshot()
    finally:
        deployment.provider.broken.discard(selector)


def test_a_block_that_left_the_chain_gives_no_snapshot(deployment: Deployment) -> None:
    chain = deployment.chain(deployment.multicall)
    web3 = deployment.rpc.web3
    mark = web3.manager.request_blocking(RPCEndpoint("evm_snapshot"), [])
    web3.manager.request_blocking(RPCEndpoint("evm_mine"), [])
    gone = chain.block()

    def fork() -> None:
        web3.manager.request_blocking(RPCEndpoint("evm_revert"), [mark])
        web3.manager.request_blocking(RPCEndpoint("evm_mine"), [])

    deployment.provider.after["eth_call"] = fork  # in the middle of the snapshot
    with pytest.raises(Transient, match="was replaced by"):
        chain.snapshot()
    with pytest.raises(Transient, match="was replaced by"):
        chain.snapshot(block=gone)
    assert isinstance(chain.snapshot().block, Block)


def test_calls_carry_the_contracts_words(deployment: Deployment) -> None:
    chain = deployment.chain()
    with pytest.raises(Reverted) as caught:
        chain.call(ContractCall("LiquidationAuction", "start", (1, 0)))  # nobody owes anything
    assert caught.value.reason.startswith("auction: ")
    assert "LiquidationAuction.start(1, 0)" in str(caught.value)
    good, bad = chain.call_many(
        [ContractCall("MarginAccounts", "account_count"), ContractCall("LiquidationAuction", "start", (1, 0))],
        chain.block(),
    )
    assert good > 1
    assert isinstance(bad, Permanent)
