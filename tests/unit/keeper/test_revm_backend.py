# SPDX-License-Identifier: Apache-2.0
"""The revm backend does what py-evm's does: `TestConformance` runs on both, gas and balances are compared."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from eth_account import Account
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3RPCError

from keeper.chain.embedded import make_web3, mine_at, set_next_timestamp

# storage[0] = calldata[0]; storage[2] = storage[1]; log with topic 0x42 and the timestamp as data
STORER = bytes.fromhex("5f355f5560015460025542" + "5f52" + "604260205fa100")
# reverts with Error("auction: healthy")
REASON = "auction: healthy"
_PAYLOAD = (
    bytes.fromhex("08c379a0")
    + (32).to_bytes(32, "big")
    + len(REASON).to_bytes(32, "big")
    + REASON.encode().ljust(32, b"\0")
)
REVERTER = bytes.fromhex(f"60{len(_PAYLOAD):02x}600a5f3960{len(_PAYLOAD):02x}5ffd") + _PAYLOAD
# returns (number, timestamp, chain id)
READER = bytes.fromhex("435f52" + "42602052" + "46604052" + "60605ff3")
# ten writes of 1 and then ten of 0: refunds beyond the cap of a fifth
CLEANER = b"".join(bytes.fromhex(f"600160{i:02x}55") for i in range(10)) + b"".join(
    bytes.fromhex(f"5f60{i:02x}55") for i in range(10)
)
# burns all its gas
BURNER = bytes.fromhex("5b5f56")

FEES = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 2 * 10**9}


def init_code(runtime: bytes) -> bytes:
    """Creation code that returns ``runtime``."""
    return bytes.fromhex(f"61{len(runtime):04x}80600a5f395ff3") + runtime


def deploy(w3: Web3, runtime: bytes, sender: str) -> Any:
    """Deploy and return the receipt."""
    return mined(w3, {"from": sender, "data": init_code(runtime), "gas": 1_000_000})


def mined(w3: Web3, transaction: dict[str, Any]) -> Any:
    """Send from an unlocked account with fixed fees; return the receipt."""
    return w3.eth.get_transaction_receipt(w3.eth.send_transaction({**FEES, **transaction}))  # type: ignore[typeddict-item]


@pytest.fixture(params=["revm", "pyevm"])
def w3(request: pytest.FixtureRequest) -> Web3:
    return make_web3(request.param, accounts=4)


@pytest.fixture
def payer(w3: Web3) -> str:
    return w3.eth.accounts[0]


@pytest.fixture
def receiver(w3: Web3) -> str:
    return w3.eth.accounts[1]


class TestConformance:
    """What eth-tester and web3 ask for, answered alike by both backends."""

    def test_transfer_charges_gas_at_the_effective_price(self, w3: Web3, payer: str, receiver: str) -> None:
        before = w3.eth.get_balance(payer)
        receipt = mined(w3, {"from": payer, "to": receiver, "value": 10**18, "gas": 50_000})
        base = w3.eth.get_block(receipt["blockNumber"])["baseFeePerGas"]
        assert receipt["status"] == 1
        assert receipt["gasUsed"] == 21_000
        assert receipt["effectiveGasPrice"] == base + 2 * 10**9
        assert w3.eth.get_balance(payer) == before - 10**18 - 21_000 * receipt["effectiveGasPrice"]
        assert w3.eth.get_balance(receiver) == 10**24 + 10**18
        assert w3.eth.get_balance(w3.eth.get_block("latest")["miner"]) == 21_000 * 2 * 10**9
        assert w3.eth.get_transaction_count(payer) == 1

    def test_first_base_fee_is_an_eighth_below_one_gwei(self, w3: Web3, payer: str) -> None:
        mined(w3, {"from": payer, "to": payer, "gas": 21_000})
        assert w3.eth.get_block(1)["baseFeePerGas"] == 875_000_000

    def test_raw_transaction_of_a_foreign_key(self, w3: Web3, payer: str) -> None:
        stranger = Account.from_key(b"\x77" * 32)
        mined(w3, {"from": payer, "to": stranger.address, "value": 10**18, "gas": 21_000})
        fields = {"to": payer, "value": 5, "gas": 21_000, "nonce": 0, "chainId": 1337, "type": 2, **FEES}
        sent = w3.eth.send_raw_transaction(stranger.sign_transaction(fields).raw_transaction)
        transaction = w3.eth.get_transaction(sent)
        assert transaction["from"] == stranger.address
        assert transaction["value"] == 5
        assert transaction["maxFeePerGas"] == 10**10
        assert w3.eth.get_transaction_receipt(sent)["status"] == 1

    def test_legacy_transaction(self, w3: Web3, payer: str) -> None:
        stranger = Account.from_key(b"\x78" * 32)
        mined(w3, {"from": payer, "to": stranger.address, "value": 10**18, "gas": 21_000})
        fields = {"to": payer, "value": 5, "gas": 21_000, "nonce": 0, "chainId": 1337, "gasPrice": 3 * 10**9}
        sent = w3.eth.send_raw_transaction(stranger.sign_transaction(fields).raw_transaction)
        assert w3.eth.get_transaction_receipt(sent)["effectiveGasPrice"] == 3 * 10**9
        assert w3.eth.get_balance(stranger.address) == 10**18 - 5 - 21_000 * 3 * 10**9

    def test_deploy_gives_code_at_the_create_address(self, w3: Web3, payer: str) -> None:
        receipt = deploy(w3, STORER, payer)
        # keccak(rlp([address of key 1, nonce 0]))[12:], a published constant of test chains
        assert receipt["contractAddress"] == "0xF2E246BB76DF876Cef8b38ae84130F4F55De395b"
        assert w3.eth.get_code(receipt["contractAddress"]) == HexBytes(STORER)
        assert w3.eth.get_code(payer) == HexBytes("0x")

    def test_logs_and_storage(self, w3: Web3, payer: str) -> None:
        storer = deploy(w3, STORER, payer)["contractAddress"]
        receipt = mined(w3, {"from": payer, "to": storer, "data": (7).to_bytes(32, "big"), "gas": 200_000})
        (log,) = receipt["logs"]
        block = w3.eth.get_block(receipt["blockNumber"])
        assert log["address"] == storer
        assert log["topics"] == [HexBytes((0x42).to_bytes(32, "big"))]
        assert int.from_bytes(log["data"], "big") == block["timestamp"]
        assert (log["blockHash"], log["blockNumber"], log["logIndex"]) == (block["hash"], 2, 0)
        assert int.from_bytes(w3.eth.get_storage_at(storer, 0), "big") == 7
        assert int.from_bytes(w3.eth.get_storage_at(storer, 1), "big") == 0

    def test_get_logs_by_range_address_and_topic(self, w3: Web3, payer: str) -> None:
        storer, other = (deploy(w3, STORER, payer)["contractAddress"] for _ in range(2))
        for value in (1, 2):
            mined(w3, {"from": payer, "to": storer, "data": value.to_bytes(32, "big"), "gas": 200_000})
        topic = "0x" + (0x42).to_bytes(32, "big").hex()
        found = w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": storer, "topics": [topic]})
        assert [log["blockNumber"] for log in found] == [3, 4]
        assert w3.eth.get_logs({"fromBlock": 4, "toBlock": 4, "address": storer})[0]["blockNumber"] == 4
        assert not w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": other})
        assert not w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "topics": ["0x" + "11" * 32]})

    def test_revert_reason_reaches_web3(self, w3: Web3, payer: str) -> None:
        target = deploy(w3, REVERTER, payer)["contractAddress"]
        with pytest.raises(ContractLogicError, match=f"^.*execution reverted: {REASON}") as caught:
            w3.eth.call({"from": payer, "to": target})
        assert HexBytes(caught.value.data) == HexBytes(_PAYLOAD)
        with pytest.raises(ContractLogicError, match=REASON):
            w3.eth.estimate_gas({"from": payer, "to": target})

    def test_reverted_transaction_has_status_zero_and_pays(self, w3: Web3, payer: str) -> None:
        target = deploy(w3, REVERTER, payer)["contractAddress"]
        before = w3.eth.get_balance(payer)
        receipt = mined(w3, {"from": payer, "to": target, "value": 9, "gas": 100_000})
        assert (receipt["status"], receipt["logs"]) == (0, [])
        assert w3.eth.get_balance(payer) == before - receipt["gasUsed"] * receipt["effectiveGasPrice"]
        assert w3.eth.get_transaction_count(payer) == 2

    def test_out_of_gas_uses_it_all(self, w3: Web3, payer: str) -> None:
        target = deploy(w3, BURNER, payer)["contractAddress"]
        receipt = mined(w3, {"from": payer, "to": target, "gas": 90_000})
        assert (receipt["status"], receipt["gasUsed"]) == (0, 90_000)

    def test_call_sees_the_latest_block(self, w3: Web3, payer: str) -> None:
        reader = deploy(w3, READER, payer)["contractAddress"]
        answer = w3.eth.call({"from": payer, "to": reader})
        number, timestamp, chain = (int.from_bytes(answer[i : i + 32], "big") for i in (0, 32, 64))
        assert (number, timestamp, chain) == (1, w3.eth.get_block(1)["timestamp"], 1337)
        assert w3.eth.chain_id == 1337

    def test_call_changes_nothing(self, w3: Web3, payer: str) -> None:
        storer = deploy(w3, STORER, payer)["contractAddress"]
        w3.eth.call({"from": payer, "to": storer, "data": "0x" + "01" * 32})
        assert int.from_bytes(w3.eth.get_storage_at(storer, 0), "big") == 0
        assert w3.eth.get_transaction_count(payer) == 1

    def test_estimate_suffices_and_one_less_does_not(self, w3: Web3, payer: str) -> None:
        storer = deploy(w3, STORER, payer)["contractAddress"]
        call = {"from": payer, "to": storer, "data": "0x" + "01" * 32}
        estimate = w3.eth.estimate_gas(call)  # type: ignore[arg-type]
        assert mined(w3, {**call, "gas": estimate})["status"] == 1

    def test_reads_at_an_earlier_block_by_number_and_hash(self, w3: Web3, payer: str) -> None:
        storer = deploy(w3, STORER, payer)["contractAddress"]
        for value in (3, 4):
            mined(w3, {"from": payer, "to": storer, "data": value.to_bytes(32, "big"), "gas": 200_000})
        second = w3.eth.get_block(2)
        assert w3.eth.get_balance(payer, 0) == 10**24
        assert w3.eth.get_transaction_count(payer, 2) == 2
        assert w3.eth.get_transaction_count(payer, second["hash"]) == 2
        assert w3.eth.get_code(storer, 0) == HexBytes("0x")
        assert w3.eth.get_balance(payer, second["hash"]) == w3.eth.get_balance(payer, 2)
        assert int.from_bytes(w3.eth.get_storage_at(storer, 0), "big") == 4

    def test_snapshot_and_revert(self, w3: Web3, payer: str, receiver: str) -> None:
        storer = deploy(w3, STORER, payer)["contractAddress"]
        mined(w3, {"from": payer, "to": storer, "data": (3).to_bytes(32, "big"), "gas": 200_000})
        tester = w3.provider.ethereum_tester  # type: ignore[attr-defined]
        snapshot, head, balance = tester.take_snapshot(), w3.eth.get_block("latest"), w3.eth.get_balance(payer)
        lost = mined(w3, {"from": payer, "to": storer, "data": (4).to_bytes(32, "big"), "gas": 200_000})
        for _ in range(2):
            mined(w3, {"from": payer, "to": receiver, "value": 1, "gas": 21_000})
            tester.revert_to_snapshot(snapshot)
            assert w3.eth.get_block("latest")["hash"] == head["hash"]
            assert w3.eth.get_balance(payer) == balance
            assert int.from_bytes(w3.eth.get_storage_at(storer, 0), "big") == 3
        with pytest.raises(TransactionNotFound):
            w3.eth.get_transaction_receipt(lost["transactionHash"])

    def test_manual_mining_puts_two_transactions_into_a_block(self, w3: Web3, payer: str, receiver: str) -> None:
        tester = w3.provider.ethereum_tester  # type: ignore[attr-defined]
        tester.disable_auto_mine_transactions()
        first = w3.eth.send_transaction({"from": payer, "to": receiver, "value": 1, "gas": 21_000, **FEES})
        second = w3.eth.send_transaction({"from": receiver, "to": payer, "value": 2, "gas": 21_000, **FEES})
        assert w3.eth.get_transaction_count(payer) == 0
        tester.mine_block()
        receipts = [w3.eth.get_transaction_receipt(item) for item in (first, second)]
        assert [item["blockNumber"] for item in receipts] == [1, 1]
        assert [item["cumulativeGasUsed"] for item in receipts] == [21_000, 42_000]
        assert [item["transactionIndex"] for item in receipts] == [0, 1]

    def test_time(self, w3: Web3, payer: str) -> None:
        start = w3.eth.get_block("latest")["timestamp"]
        later = max(start, int(time.time())) + 10_000
        mine_at(w3, later)
        assert w3.eth.get_block("latest")["timestamp"] == later
        set_next_timestamp(w3, later + 500)
        receipt = mined(w3, {"from": payer, "to": payer, "gas": 21_000})
        assert w3.eth.get_block(receipt["blockNumber"])["timestamp"] == later + 500
        mined(w3, {"from": payer, "to": payer, "gas": 21_000})
        assert w3.eth.get_block("latest")["timestamp"] == later + 501
        w3.provider.ethereum_tester.time_travel(later + 1_000)  # type: ignore[attr-defined]
        assert w3.eth.get_block("pending")["timestamp"] == later + 1_000

    def test_blocks_form_a_chain(self, w3: Web3) -> None:
        w3.provider.ethereum_tester.mine_blocks(3)  # type: ignore[attr-defined]
        blocks = [w3.eth.get_block(number) for number in range(4)]
        assert [block["number"] for block in blocks] == [0, 1, 2, 3]
        assert all(child["parentHash"] == parent["hash"] for parent, child in itertools.pairwise(blocks))
        assert len({block["hash"] for block in blocks}) == 4
        assert w3.eth.get_block(blocks[2]["hash"])["number"] == 2
        with pytest.raises(BlockNotFound):
            w3.eth.get_block(4)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"value": 2 * 10**24}, "insufficient|not enough|balance"), ({"nonce": 5}, "nonce|Invalid transaction")],
    )
    def test_impossible_transaction_is_refused_with_an_rpc_error(
        self, w3: Web3, payer: str, changes: dict[str, int], message: str
    ) -> None:
        with pytest.raises(Web3RPCError, match=f"(?i){message}"):
            mined(w3, {"from": payer, "to": payer, "gas": 21_000, **changes})
        assert mined(w3, {"from": payer, "to": payer, "gas": 21_000})["status"] == 1


class TestGasEqual:
    """The same transactions cost the same gas and leave the same balances on both chains."""

    def test_side_by_side(self) -> None:
        traces = {}
        for backend in ("revm", "pyevm"):
            w3 = make_web3(backend, accounts=3)  # type: ignore[arg-type]
            traces[backend] = self.play(w3)
        assert traces["revm"] == traces["pyevm"]

    @staticmethod
    def play(w3: Web3) -> list[tuple[int, ...]]:
        payer, other = w3.eth.accounts[:2]
        trace: list[tuple[int, ...]] = []
        contracts = [deploy(w3, code, payer) for code in (STORER, CLEANER, REVERTER, BURNER)]
        trace += [(item["gasUsed"],) for item in contracts]
        storer, cleaner, reverter, burner = (item["contractAddress"] for item in contracts)
        # new slot, same value, change, clear, set again: every price of EIP-2200, 2929 and 3529
        calls: list[tuple[str, bytes]] = [(storer, value.to_bytes(32, "big")) for value in (7, 7, 9, 0, 0, 1)]
        calls += [(cleaner, b""), (reverter, b""), (burner, b""), (other, b"\x01" * 3_000), (other, bytes(3_000))]
        calls += [(storer, b"\x05" * 32 + b"\x01" * 4_000)]  # the calldata floor binds here
        for target, data in calls:
            receipt = mined(w3, {"from": payer, "to": target, "data": data, "gas": 300_000})
            block = w3.eth.get_block(receipt["blockNumber"])
            trace.append((receipt["status"], receipt["gasUsed"], receipt["effectiveGasPrice"], block["baseFeePerGas"]))
        trace.append(tuple(w3.eth.get_balance(who) for who in (payer, other, "0x" + "00" * 20)))  # type: ignore[arg-type]
        return trace


class TestRevmOnly:
    """Beyond what py-evm's backend offers."""

    def test_a_re_mined_chain_has_other_hashes(self) -> None:
        w3 = make_web3(genesis_timestamp=1_700_000_000)
        tester = w3.provider.ethereum_tester  # type: ignore[attr-defined]
        snapshot = tester.take_snapshot()
        tester.mine_blocks(2)
        dropped = w3.eth.get_block(2)
        tester.revert_to_snapshot(snapshot)
        tester.mine_blocks(2)
        assert w3.eth.get_block(2)["hash"] != dropped["hash"]
        assert w3.eth.get_block(2)["timestamp"] == dropped["timestamp"]
        with pytest.raises(Web3RPCError, match="header not found"):
            w3.eth.get_balance(w3.eth.accounts[0], dropped["hash"])

    def test_same_history_has_the_same_hashes(self) -> None:
        heads = []
        for _ in range(2):
            w3 = make_web3(genesis_timestamp=1_700_000_000)
            mined(w3, {"from": w3.eth.accounts[0], "to": w3.eth.accounts[1], "value": 3, "gas": 21_000})
            heads.append(w3.eth.get_block("latest")["hash"])
        assert heads[0] == heads[1]

    def test_nonce_errors_are_worded_as_by_geth(self) -> None:
        w3 = make_web3()
        payer = w3.eth.accounts[0]
        mined(w3, {"from": payer, "to": payer, "gas": 21_000})
        with pytest.raises(Web3RPCError, match="nonce too low: next nonce 1, tx nonce 0"):
            mined(w3, {"from": payer, "to": payer, "gas": 21_000, "nonce": 0})
        with pytest.raises(Web3RPCError, match="nonce too high"):
            mined(w3, {"from": payer, "to": payer, "gas": 21_000, "nonce": 9})

    def test_logs_of_one_block_by_hash(self) -> None:
        w3 = make_web3()
        storer = deploy(w3, STORER, w3.eth.accounts[0])["contractAddress"]
        receipt = mined(w3, {"from": w3.eth.accounts[0], "to": storer, "gas": 200_000})
        assert len(w3.eth.get_logs({"blockHash": receipt["blockHash"]})) == 1
        assert not w3.eth.get_logs({"blockHash": w3.eth.get_block(1)["hash"]})

    def test_fee_history_matches_the_blocks(self) -> None:
        w3 = make_web3()
        mined(w3, {"from": w3.eth.accounts[0], "to": w3.eth.accounts[1], "gas": 21_000})
        history = w3.eth.fee_history(2, "latest", [50])
        assert history["oldestBlock"] == 0
        assert history["baseFeePerGas"][:2] == [w3.eth.get_block(n)["baseFeePerGas"] for n in (0, 1)]
        assert len(history["baseFeePerGas"]) == 3
        assert history["reward"] == [[0], [2 * 10**9]]

    def test_timestamps_cannot_go_back(self) -> None:
        w3 = make_web3(genesis_timestamp=1_700_000_000)
        with pytest.raises(Web3RPCError, match="timestamp 1699999999 is not after the latest block's 1700000000"):
            set_next_timestamp(w3, 1_699_999_999)

    def test_call_from_beyond_the_balance_is_an_rpc_error(self) -> None:
        w3 = make_web3()
        with pytest.raises(Web3RPCError, match="LackOfFund"):
            w3.eth.call({"from": "0x" + "12" * 20, "to": w3.eth.accounts[0], "value": 1})  # type: ignore[typeddict-item]
