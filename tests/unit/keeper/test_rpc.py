# SPDX-License-Identifier: Apache-2.0
"""The RPC client over real HTTP: what nodes say becomes an error class, and never a zero."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from eth_abi import encode

from keeper.chain.embedded import make_web3
from keeper.chain.failures import AlreadyKnown, revert_reason
from keeper.chain.rpc import Rpc
from keeper.errors import (
    Behind,
    ConfigError,
    KeeperError,
    NoFunds,
    NonceTooLow,
    Permanent,
    RangeTooLarge,
    RateLimited,
    Refused,
    Reverted,
    Transient,
    Underpriced,
    Unreachable,
)
from tests.support.rpc_server import Answer, error, result, serve

HOLDER = "0x" + "11" * 20
ERROR_STRING = "0x08c379a0" + encode(["string"], ["accounts: margin"]).hex()
PANIC = "0x4e487b71" + encode(["uint256"], [0x11]).hex()


def client(url: str, timeout_s: float = 5.0) -> Rpc:
    return Rpc.connect([url], timeout_s=timeout_s)


def fails_with(answer: Answer, ask: Callable[[Rpc], object]) -> KeeperError:
    with serve(lambda method, params: answer) as node, pytest.raises(KeeperError) as caught:
        ask(client(node.url))
    assert "secret-key" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer("busy", status=503), Transient),
        (Answer("slow down", status=429, headers={"Retry-After": "7"}), Transient),
        (Answer("who are you", status=401), Permanent),
        (Answer("", status=200), Transient),
        (Answer("<html>maintenance</html>"), Transient),
        (Answer({}), Transient),
        (error(-32005, "daily request count exceeded, request rate limited"), Transient),
        (error(-32029, "Your app has exceeded its compute units per second capacity"), Transient),
        (error(-32603, "Internal error"), Transient),
        (error(-32000, "header not found"), Transient),
        (error(-32601, "the method eth_getBalance does not exist/is not available"), Permanent),
        (error(-32602, "invalid argument 0: hex string has length 3"), Permanent),
    ],
)
def test_failures_of_a_read(answer: Answer, kind: type[KeeperError]) -> None:
    raised = fails_with(answer, lambda rpc: rpc.balance(HOLDER))
    assert isinstance(raised, kind)
    assert not isinstance(raised, RangeTooLarge | Reverted)


def test_retry_after_is_kept() -> None:
    raised = fails_with(Answer("", status=429, headers={"Retry-After": "7"}), lambda rpc: rpc.balance(HOLDER))
    assert isinstance(raised, Transient)
    assert raised.retry_after_s == 7.0


def test_retry_after_as_a_date() -> None:
    headers = {"Retry-After": formatdate(time.time() + 30, usegmt=True)}
    raised = fails_with(Answer("", status=429, headers=headers), lambda rpc: rpc.balance(HOLDER))
    assert isinstance(raised, RateLimited)
    assert raised.retry_after_s is not None and 20 < raised.retry_after_s <= 30
    raised = fails_with(Answer("", status=429, headers={"Retry-After": "soon"}), lambda rpc: rpc.balance(HOLDER))
    assert isinstance(raised, RateLimited) and raised.retry_after_s is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(-32001, "Resource not found"), Behind),
        (error(-32602, "BlockOutOfRangeError: block height is 3 but requested was 99"), Behind),
        (error(-32000, "hash 0x12 is not currently canonical"), Behind),
        (error(-32007, "50/second request limit reached"), RateLimited),
        (error(-32005, "limit"), RateLimited),
        (error(3, "execution reverted: vault: over capacity"), Reverted),
        (error(-32000, "execution reverted: feed: nonce too low"), Reverted),
        (Answer("no", status=403), Refused),
        (error(-32601, "the method eth_call does not exist"), Refused),
        (Answer("<html>", status=200), Unreachable),
    ],
)
def test_whose_fault_a_failure_is(answer: Answer, kind: type[KeeperError]) -> None:
    assert isinstance(fails_with(answer, lambda rpc: rpc.call(HOLDER, b"", 1)), kind)


@pytest.mark.parametrize(
    "answer",
    [
        error(-32602, "query returned more than 10000 results. Try with this block range [0x1, 0x2]."),
        error(-32005, "query returned more than 10000 results"),
        error(-32600, "You can make eth_getLogs requests with up to a 500 block range."),
        error(-32614, "eth_getLogs is limited to a 10,000 range"),
        error(-32000, "exceed maximum block range: 5000"),
        error(-32701, "Please limit the query to at most 1000 blocks: block range too large"),
        error(-32000, "Log response size exceeded."),
        Answer("", status=413),
    ],
)
def test_range_limits_of_providers(answer: Answer) -> None:
    assert isinstance(fails_with(answer, lambda rpc: rpc.logs(1, 9, [HOLDER])), RangeTooLarge)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("nonce too low: next nonce 5, tx nonce 4", NonceTooLow),
        ("replacement transaction underpriced", Underpriced),
        ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7", Underpriced),
        ("insufficient funds for gas * price + value: balance 0, tx cost 9, overshot 9", NoFunds),
        ("exceeds block gas limit", Permanent),
    ],
)
def test_what_a_node_says_to_a_transaction(message: str, kind: type[KeeperError]) -> None:
    assert isinstance(fails_with(error(-32000, message), lambda rpc: rpc.send_raw(b"\x02\x01")), kind)


def test_a_transaction_the_node_has_already_is_success() -> None:
    with serve(lambda method, params: error(-32000, "already known")) as node:
        assert len(client(node.url).send_raw(b"\x02\x01")) == 32
    assert issubclass(AlreadyKnown, Transient)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(3, "execution reverted: accounts: margin", ERROR_STRING), "accounts: margin"),
        (error(-32000, "execution reverted", ERROR_STRING), "accounts: margin"),
        (error(3, "execution reverted", PANIC), "panic 0x11"),
        (error(3, "execution reverted", "0x"), ""),
        (error(-32000, "execution reverted"), ""),
        (error(3, "execution reverted", "0xdeadbeef"), "0xdeadbeef"),
    ],
)
def test_reverts_carry_the_contracts_reason(answer: Answer, reason: str) -> None:
    raised = fails_with(answer, lambda rpc: rpc.call(HOLDER, b"", 1))
    assert isinstance(raised, Reverted)
    assert raised.reason == reason


def test_revert_reason_of_broken_data() -> None:
    assert revert_reason(bytes.fromhex("08c379a0ff")) == "0x08c379a0ff"
    assert revert_reason(b"") == ""


def test_nobody_listens() -> None:
    with serve(lambda method, params: result("0x1")) as node:
        gone = node.url
    with pytest.raises(Transient, match=r"eth_getBalance of .* at 127\.0\.0\.1:\d+ did not get through"):
        client(gone).balance(HOLDER)


def test_a_node_that_hangs_is_given_up() -> None:
    import threading

    release = threading.Event()

    def hang(method: str, params: list[object]) -> Answer:
        release.wait(5)
        return result("0x1")

    with serve(hang) as node:
        with pytest.raises(Transient, match="did not get through"):
            client(node.url, timeout_s=0.2).balance(HOLDER)
        release.set()


def test_the_next_endpoint_is_asked_when_one_fails_for_a_passing_reason() -> None:
    with (
        serve(lambda method, params: error(-32000, "header not found")) as lagging,
        serve(lambda method, params: result("0x2a")) as good,
    ):
        assert Rpc.connect([lagging.url, good.url]).balance(HOLDER) == 42
        assert lagging.asked == ["eth_getBalance"]


def test_a_revert_is_not_shopped_around() -> None:
    with (
        serve(lambda method, params: error(3, "execution reverted", ERROR_STRING)) as first,
        serve(lambda method, params: result("0x")) as second,
    ):
        with pytest.raises(Reverted):
            Rpc.connect([first.url, second.url]).call(HOLDER, b"", 1)
        assert second.asked == []


def test_transactions_go_to_their_own_endpoint() -> None:
    with (
        serve(lambda method, params: result("0x" + "00" * 32)) as reads,
        serve(lambda method, params: result("0x" + "00" * 32)) as relay,
    ):
        Rpc.connect([reads.url], send_url=relay.url).send_raw(b"\x02\x01")
        assert (reads.asked, relay.asked) == ([], ["eth_sendRawTransaction"])


def test_chain_id_of_every_endpoint_is_checked() -> None:
    with (
        serve(lambda method, params: result("0x539")) as right,
        serve(lambda method, params: result("0x1")) as wrong,
    ):
        client(right.url).check_chain(1337)
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1:\d+ is on chain 1, settings expect 1337"):
            Rpc.connect([right.url], send_url=wrong.url).check_chain(1337)


@pytest.mark.parametrize("url", ["ws://node.example", "node.example", "http://", "file:///tmp/geth.ipc"])
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError, match="RPC endpoint"):
        Rpc.connect([url])


def test_no_endpoint() -> None:
    with pytest.raises(ConfigError, match="no RPC endpoint"):
        Rpc.connect([])


def test_reads_of_the_embedded_chain() -> None:
    web3 = make_web3(accounts=3, genesis_timestamp=1_700_000_000)
    rpc = Rpc.in_process(web3.provider)  # type: ignore[arg-type]
    someone, other = web3.eth.accounts[:2]
    sent = web3.eth.send_transaction({"from": someone, "to": other, "value": 5})
    head = rpc.block()
    assert (head.number, rpc.block(0).timestamp) == (1, 1_700_000_000)
    assert rpc.block(1) == head
    assert head.parent_hash == rpc.block(0).hash
    assert (rpc.nonce(someone), rpc.nonce(someone, 0)) == (1, 0)
    assert rpc.chain_id() == 1337
    receipt = rpc.receipt(bytes(sent))
    assert receipt is not None
    assert (receipt.succeeded, receipt.gas_used, receipt.block_hash) == (True, 21_000, head.hash)
    assert rpc.receipt(b"\x01" * 32) is None
    assert rpc.knows(bytes(sent))
    assert not rpc.knows(b"\x01" * 32)
    assert rpc.code(someone) == b""
    fees = rpc.fees()
    assert fees.base_fee_wei > 0
    with pytest.raises(Transient, match="block 99"):
        rpc.block(99)
