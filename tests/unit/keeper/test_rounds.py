# SPDX-License-Identifier: Apache-2.0
"""The round that settles an expiry, on real feeds; the judge is ``PriceOracle.price_at`` itself."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from web3 import Web3
from web3.types import RPCEndpoint

from keeper.artifacts import load
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.embedded import make_web3
from keeper.chain.rounds import MAX_CALLS, MAX_HOLE, OF_NUMBER, Feed, NoRoundYet, Proof, round_at
from keeper.chain.rpc import Rpc
from keeper.domain import Block, ContractCall
from keeper.errors import Permanent, Reverted, Transient

PHASE = 1 << 64
START = 1_700_000_000
END = START + 10**9  # after every round that `Wide` has
ZERO = "0x" + "00" * 20
OWNER = Account.from_key((1).to_bytes(32, "big")).address


def deploy(web3: Web3, name: str, *args: Any) -> Any:
    artifact = load(name)
    sent = web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode).constructor(*args).transact({"from": OWNER})
    address = web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
    return web3.eth.contract(address=address, abi=artifact.abi)  # type: ignore[arg-type]


@dataclass
class Bench:
    """A feed and the oracle that reads it; ``times`` of every round written, by its number, 0 for an incomplete one."""

    web3: Web3
    feed: Any
    chain: ChainClient
    times: dict[int, int] = field(default_factory=dict)
    phase: int = 1
    index: int = 1

    @property
    def head(self) -> Block:
        """The head, after every round that was written: rounds of the future are none."""
        behind_s = max(self.times.values()) - self.chain.block().timestamp
        if behind_s > 0:
            for method, params in (("evm_increaseTime", [behind_s]), ("evm_mine", [])):
                self.web3.manager.request_blocking(RPCEndpoint(method), params)
        return self.chain.block()

    @property
    def search(self) -> Feed:
        return Feed(self.chain, self.feed.address, self.head)

    def write(self, at: int, complete: bool = True) -> int:
        self.feed.functions.set_answer(2_000 * 10**8 if complete else 0, at if complete else 0).transact(
            {"from": OWNER}
        )
        self.index += 1
        number = self.phase * PHASE + self.index
        self.times[number] = at if complete else 0
        return number

    def new_phase(self) -> None:
        self.feed.functions.start_phase().transact({"from": OWNER})
        self.phase, self.index = self.phase + 1, 0

    def accepted(self, at: int, numbers: Iterable[int] = ()) -> list[tuple[int, int]]:
        """Every pair of rounds that the contract takes as proof; ``numbers`` are all that is tried, by default all."""
        tried = list(numbers) or list(self.times)
        pairs = [(first, second) for first in tried for second in tried if second > first]
        calls = [ContractCall("PriceOracle", "price_at", (0, *pair, at)) for pair in pairs]
        answers = self.chain.call_many(calls, self.head)
        return [pair for pair, answer in zip(pairs, answers, strict=True) if not isinstance(answer, Reverted)]

    def near(self, proof: Proof) -> list[int]:
        """Rounds around the two of a proof, and the first ones of every phase."""
        listed = sorted(self.times)
        at = {listed.index(item.number) for item in (proof.current, proof.following)}
        around = {listed[k] for i in at for k in range(max(0, i - 3), min(len(listed), i + 4))}
        firsts = {number for number in listed if number % PHASE <= 2}
        return sorted(around | firsts)


@pytest.fixture
def bench() -> Bench:
    web3 = make_web3("revm", accounts=1, genesis_timestamp=START)
    feed = deploy(web3, "MockAggregator", 8, 2_000 * 10**8)
    first = int(web3.eth.get_block("latest")["timestamp"])
    oracle = deploy(web3, "PriceOracle", OWNER, ZERO, 0)
    config = (feed.address, 3_600, 86_400, ZERO, 0, ZERO, 0, 0, 0)
    oracle.functions.set_feed(0, 0, config).transact({"from": OWNER})
    rpc = Rpc.in_process(web3.provider)  # type: ignore[arg-type]
    chain = ChainClient(rpc, Contracts([Deployed("PriceOracle", oracle.address, load("PriceOracle").abi)]), 1337)
    return Bench(web3, feed, chain, {PHASE + 1: first})


def test_the_round_is_the_last_one_at_or_before_the_moment(bench: Bench) -> None:
    for at in (1_000, 2_000, 3_000):
        bench.write(START + at)
    for moment, index in ((999, 1), (1_000, 2), (1_999, 2), (2_000, 3), (2_999, 3)):
        found = round_at(bench.search, START + moment)
        assert (found.current.index, found.following.index) == (index, index + 1)
        assert bench.accepted(START + moment) == [(PHASE + index, PHASE + index + 1)]


def test_before_the_next_update_there_is_no_proof_yet(bench: Bench) -> None:
    last = START + 1_000
    bench.write(last)
    assert bench.accepted(last) == []
    with pytest.raises(NoRoundYet, match=r"has no round after \d+ yet \(the last is of \d+\); wait for one"):
        round_at(bench.search, last)
    bench.write(last + 1)
    assert round_at(bench.search, last).current.index == 2


def test_a_moment_before_the_feed_began_has_no_round(bench: Bench) -> None:
    bench.write(START + 1_000)
    moment = min(bench.times.values()) - 1
    assert bench.accepted(moment) == []
    with pytest.raises(Permanent, match="or before; settle by hand"):
        round_at(bench.search, moment)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_very_round_that_the_contract_takes(bench: Bench, seed: int) -> None:
    draw = random.Random(seed)
    at = START + 100
    for phase in range(draw.randint(1, 4)):
        if phase:
            bench.new_phase()
        for k in range(draw.choice((1, 2, 9, 40))):
            at += draw.randint(1, 3_000)
            bench.write(at, complete=k == 0 or draw.random() > 0.15)
    bench.write(at + 1)
    whole = sorted(t for t in bench.times.values() if t)
    for moment in draw.sample(range(whole[0], at + 1), 25) + draw.sample(whole[:-1], min(5, len(whole) - 1)):
        found = round_at(bench.search, moment)
        assert found.current.updated_at == max(t for t in whole if t <= moment)
        assert found.following.updated_at == min(t for t in whole if t > moment)
        assert bench.accepted(moment, bench.near(found)) == [(found.current.number, found.following.number)]


def test_where_phases_overlap_the_newest_that_had_begun_counts(bench: Bench) -> None:
    for at in (1_000, 2_000, 3_000, 9_000):
        bench.write(START + at)
    bench.new_phase()
    for at in (2_500, 5_000, 10_000):
        bench.write(START + at)
    found = round_at(bench.search, START + 6_000)
    assert (found.current.number, found.following.number) == (2 * PHASE + 2, 2 * PHASE + 3)
    assert bench.accepted(START + 6_000) == [(2 * PHASE + 2, 2 * PHASE + 3)]
    # the phase before goes on to the moment: its own next round follows, not the new phase
    assert bench.accepted(START + 2_400) == [(PHASE + 3, PHASE + 4)]
    assert round_at(bench.search, START + 2_400).following.number == PHASE + 4


def test_a_round_of_the_future_is_none(bench: Bench) -> None:
    bench.write(START + 1_000)
    search = bench.search
    bench.write(START + 9_000)
    early = Feed(bench.chain, bench.feed.address, bench.chain.block())
    with pytest.raises(NoRoundYet):
        round_at(early, START + 1_000)
    assert round_at(bench.search, START + 1_000).following.updated_at == START + 9_000
    assert search.latest().updated_at == START + 1_000


def test_after_the_last_round_of_a_phase_the_first_of_a_later_one_follows(bench: Bench) -> None:
    bench.write(START + 1_000)
    bench.new_phase()
    bench.write(0, complete=False)
    bench.write(START + 2_000)
    bench.write(START + 3_000)
    found = round_at(bench.search, START + 1_500)
    assert (found.current.number, found.following.number) == (PHASE + 2, 2 * PHASE + 2)
    assert bench.accepted(START + 1_500) == [(PHASE + 2, 2 * PHASE + 2)]


def test_the_newest_round_may_be_incomplete(bench: Bench) -> None:
    for at in (1_000, 2_000, 3_000):
        bench.write(START + at)
    bench.write(0, complete=False)
    found = round_at(bench.search, START + 2_500)
    assert (found.current.index, found.following.index) == (3, 4)
    assert bench.accepted(START + 2_500) == [(PHASE + 3, PHASE + 4)]


@pytest.mark.parametrize("missing", [MAX_HOLE, MAX_HOLE + 1])
def test_rounds_left_out(bench: Bench, missing: int) -> None:
    """Eight in a row are stepped over; after nine nothing is proven, by either."""
    bench.write(START + 1_000)
    for _ in range(missing):
        bench.write(0, complete=False)
    bench.write(START + 2_000)
    pair = (PHASE + 2, PHASE + 3 + missing)
    assert bench.accepted(START + 1_500, pair) == ([pair] if missing == MAX_HOLE else [])
    if missing == MAX_HOLE:
        found = round_at(bench.search, START + 1_500)
        assert (found.current.number, found.following.number) == pair
    else:
        with pytest.raises(Permanent, match="leaves more than 8 rounds out"):
            round_at(bench.search, START + 1_500)


def test_a_long_run_of_incomplete_rounds_is_bounded(bench: Bench) -> None:
    for k in range(MAX_HOLE + 30):
        bench.write(START + 100 + k, complete=False)
    bench.write(START + 5_000)
    search = bench.search
    with pytest.raises(Permanent, match="leaves more than 8 rounds out"):
        round_at(search, START + 4_000)
    assert search.calls < MAX_CALLS


def test_an_address_without_a_feed_is_named(bench: Bench) -> None:
    with pytest.raises(Permanent, match="shows no complete round"):
        round_at(Feed(bench.chain, "0x" + "99" * 20, bench.chain.block()), START)


class Wide:
    """A proxy with a million rounds a phase, one a minute; refuses numbers that it does not have, as aggregators do."""

    rounds = 10**6

    def __init__(self, phases: int, broken: bool = False) -> None:
        self.phases = phases
        self.broken = broken

    def read(self, _to: str, data: bytes, _block: Block, what: str) -> bytes:
        if self.broken:
            raise Transient(f"{what} timed out")
        number = int.from_bytes(data[4:], "big") if data[:4] == OF_NUMBER else self.phases * PHASE + self.rounds
        phase, index = number >> 64, number % PHASE
        if not (1 <= phase <= self.phases and 1 <= index <= self.rounds):
            raise Reverted("no such round", reason="No data present")
        at = START + 60 * ((phase - 1) * self.rounds + index)
        return encode(["uint80", "int256", "uint256", "uint256", "uint80"], [number, 10**8, at, at, number])


@pytest.mark.parametrize("phases", [1, 2, 5])
@pytest.mark.parametrize("back", [1, 61, 3_000, 40_000_000])
def test_a_million_rounds_take_a_few_dozen_requests(phases: int, back: int) -> None:
    feed = Feed(Wide(phases), "0x" + "11" * 20, Block(1, b"", b"", END))  # type: ignore[arg-type]
    moment = START + 60 * phases * Wide.rounds - back
    found = round_at(feed, moment)
    assert found.current.updated_at <= moment < found.following.updated_at == found.current.updated_at + 60
    assert feed.calls <= 60
    assert round_at(feed, START + 61).current.number == PHASE + 1
    assert feed.calls <= 160


def test_a_node_that_does_not_answer_is_not_a_missing_round() -> None:
    feed = Feed(Wide(1, broken=True), "0x" + "11" * 20, Block(1, b"", b"", END))  # type: ignore[arg-type]
    with pytest.raises(Transient, match="timed out"):
        round_at(feed, START)


def test_the_limit_of_requests_holds() -> None:
    feed = Feed(Wide(3), "0x" + "11" * 20, Block(1, b"", b"", END), max_calls=3)  # type: ignore[arg-type]
    with pytest.raises(Permanent, match="was not found within 3 requests; settle by hand"):
        round_at(feed, START + 61)
    assert feed.calls == 3
