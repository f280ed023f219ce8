# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a sender: fees, funds, forks, nonces, clocks; on the embedded chain with a pool in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from eth_account import Account
from web3.types import RPCEndpoint

from keeper.domain import ContractCall
from keeper.errors import NoFunds, Permanent, Transient
from keeper.observe.alerts import Alerts
from keeper.observe.metrics import Metrics
from keeper.observe.transactions import TransactionNews, announce_other_keys
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import Intent, Journal, State
from keeper.tx.sender import SELF_SEND_GAS, Sender
from tests.support.counter_world import CHAIN_ID, GWEI, POLICY, Bump, World, make_world

ALERTS = "ballast_keeper_alerts_total"
LATER = POLICY.bump_after_s


@dataclass(frozen=True, slots=True)
class PaidBump:
    """A bump that is worth only so much gas."""

    key: int
    gas_budget_wei: int
    epoch: int = 0
    kind: ClassVar[str] = "bump"

    @property
    def subject(self) -> str:
        return str(self.key)

    @property
    def call(self) -> ContractCall:
        return ContractCall("Counter", "bump", (self.key,))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = make_world(tmp_path)
    yield built
    built.store.close()


def snapshot(world: World) -> object:
    return world.web3.manager.request_blocking(RPCEndpoint("evm_snapshot"), [])


def fork_back_to(world: World, point: object, blocks: int) -> None:
    """Another branch from a point on, ``blocks`` long and without what was mined after it."""
    world.web3.manager.request_blocking(RPCEndpoint("evm_revert"), [point])
    world.clock.time += 1
    world.mine(blocks)


def close_counter(world: World, closed: bool = True) -> None:
    world.other(ContractCall("Counter", "close", (closed,)))


def heard(world: World) -> tuple[Sender, list[tuple[str, int]]]:
    """A sender, and what it tells."""
    told: list[tuple[str, int]] = []

    def listen(event: str, intent: Intent) -> None:
        told.append((event, intent.id))

    return Sender(world.chain, world.journal, world.signer, world.clock, world.policy, listen), told


def test_without_ether_nothing_is_written_and_a_gift_cures_it(world: World) -> None:
    world.keeper_key = 999
    address = world.signer.address
    with pytest.raises(NoFunds, match=rf"{address} holds 0 wei on chain {CHAIN_ID}, Counter\.bump may need \d+ wei"):
        world.sender().submit(Bump(1))
    assert world.journal.latest() == []
    world.web3.eth.send_transaction({"from": world.web3.eth.accounts[1], "to": address, "value": 10**17})  # type: ignore[typeddict-item]
    assert world.sender().submit(Bump(1)).state is State.SENT
    assert world.total(1) == 1


def test_a_node_that_finds_too_little_is_named_and_the_transaction_goes_out_when_funded(world: World) -> None:
    def broke() -> None:
        raise ValueError("insufficient funds for gas * price + value")

    world.provider.before_send = broke
    with pytest.raises(NoFunds, match=rf"{world.signer.address} holds \d+ wei, intent 1 .* may need \d+ wei"):
        world.sender().submit(Bump(1))
    world.provider.before_send = None
    world.sender().advance()
    assert world.total(1) == 1


def test_a_lost_transaction_that_became_too_cheap_is_raised_at_once(world: World) -> None:
    sender, told = heard(world)
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    (first,) = world.journal.transactions(intent)
    world.provider.lose()
    world.provider.least_fee_wei = first.fees.max_fee_wei + 1
    assert [i.state for i in sender.advance()] == [State.SENT]
    old, new = world.journal.transactions(intent)
    assert (old.nonce, new.fees.max_fee_wei * 1_000 >= 1_125 * old.fees.max_fee_wei) == (new.nonce, True)
    assert list(world.provider.pool.values()) == [new.raw]
    assert told == [("sent", 1), ("sent", 1), ("raised", 1)]


def test_a_lost_transaction_above_the_cap_waits_and_goes_out_when_fees_fall(world: World) -> None:
    base = world.chain.fees().base_fee_wei
    sender = world.sender(replace(POLICY, fees=FeeCaps(max_fee_wei=base * 2, max_priority_fee_wei=GWEI)))
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    world.provider.lose()
    world.provider.least_fee_wei = base * 3
    with pytest.raises(Transient, match=r"fee cap of \d+ wei forbids a raise.* it goes out when fees fall"):
        sender.advance()
    assert len(world.journal.transactions(intent)) == 1
    world.provider.least_fee_wei = 0
    assert [i.state for i in sender.advance()] == [State.SENT]
    world.mine()
    assert world.total(1) == 1


def test_a_raise_of_no_tip_pays_one(world: World) -> None:
    sender = world.sender(replace(POLICY, fees=FeeCaps(200 * GWEI, max_priority_fee_wei=0)))
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    sender.bump(intent)
    old, new = world.journal.transactions(intent)
    assert (old.fees.priority_fee_wei, new.fees.priority_fee_wei) == (0, 1)
    assert list(world.provider.pool.values()) == [new.raw]


def test_gas_never_costs_more_than_the_action_earns(world: World) -> None:
    gas = world.sender().simulate(Bump(1)).gas * 120 // 100
    base = world.chain.fees().base_fee_wei
    world.provider.paused = True
    sender = world.sender()
    intent = sender.submit(PaidBump(1, gas_budget_wei=gas * base * 3 // 2))
    (first,) = world.journal.transactions(intent)
    assert base < first.fees.max_fee_wei <= base * 3 // 2 < 2 * base
    with pytest.raises(Permanent, match=r"more than the \d+ wei that the action is expected to earn"):
        sender.bump(intent)
    world.clock.time += LATER
    sender.advance()
    assert world.journal.transactions(intent) == [replace(first, sent_at=1_700_000_000)]
    with pytest.raises(Permanent, match="it is left to others"):
        sender.submit(PaidBump(2, gas_budget_wei=gas * base))
    assert world.journal.find(Bump(2), 3) is None


def test_a_budget_outlives_the_process(world: World) -> None:
    gas = world.sender().simulate(Bump(1)).gas * 120 // 100
    budget = gas * world.chain.fees().base_fee_wei * 3 // 2
    world.provider.paused = True
    world.sender().submit(PaidBump(1, budget))
    for _ in range(4):
        world.clock.time += LATER
        world.sender().advance()  # a new process each time
    (intent,) = world.journal.open_intents()
    assert intent.gas_budget_wei == budget
    assert all(item.worst_wei <= budget for item in world.journal.transactions(intent))


def test_what_waited_and_would_revert_is_taken_back_and_may_be_done_later(world: World) -> None:
    sender, told = heard(world)
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    close_counter(world)
    world.clock.time += LATER
    sender.advance()
    assert ("withdrawn", intent.id) in told
    assert world.journal.transactions(intent)[-1].gas_limit == SELF_SEND_GAS
    world.mine(3)
    (done,) = sender.advance()
    assert (done.state, world.chain.nonce(world.signer.address)) == (State.CANCELLED, 1)
    assert done.error == "it waited and would revert by now ('counter: closed'); its nonce is taken back"
    close_counter(world, closed=False)
    again = sender.submit(Bump(1))
    assert (again.id, again.state, again.nonce, again.withdrawn) == (intent.id, State.SENT, 1, False)
    world.mine(3)
    sender.advance()
    assert world.total(1) == 1


def test_what_waited_at_the_cap_and_would_revert_stays_and_says_so(world: World) -> None:
    base = world.chain.fees().base_fee_wei
    sender = world.sender(replace(POLICY, fees=FeeCaps(max_fee_wei=base * 2, max_priority_fee_wei=GWEI)))
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    close_counter(world)
    world.clock.time += LATER
    sender.advance()
    (left,) = world.journal.open_intents()
    assert len(world.journal.transactions(intent)) == 1
    assert "would revert by now ('counter: closed'); it cannot be taken back: the fee cap of" in (left.error or "")


def test_a_final_transaction_whose_block_leaves_the_chain_is_sent_again(world: World) -> None:
    sender, told = heard(world)
    point = snapshot(world)
    sender.submit(Bump(1))
    world.mine(3)
    (intent,) = sender.advance()
    assert intent.state is State.FINAL
    fork_back_to(world, point, 8)
    assert world.total(1) == 0
    (back,) = sender.advance()
    assert (back.id, back.state, world.total(1)) == (intent.id, State.SENT, 1)
    assert ("deep_reorg", intent.id) in told
    assert len(set(world.provider.seen)) == 1
    world.mine(3)
    assert sender.advance()[0].state is State.FINAL
    assert world.total(1) == 1


def test_a_reverted_transaction_whose_block_leaves_the_chain_is_no_failure(world: World) -> None:
    sender = world.sender()
    point = snapshot(world)
    world.provider.paused = True
    sender.submit(Bump(1))
    close_counter(world)
    world.mine(3)
    assert [(i.state, i.tries) for i in sender.advance()] == [(State.FAILED, 1)]
    fork_back_to(world, point, 8)
    sender.advance()
    world.mine(3)
    assert [(i.state, i.tries) for i in sender.advance()] == [(State.FINAL, 0)]
    assert (world.total(1), world.journal.failures_in_a_row()) == (1, 0)


def test_what_is_deep_enough_is_not_asked_for_again(world: World) -> None:
    sender = world.sender()
    sender.submit(Bump(1))
    world.mine(3)
    sender.advance()
    world.provider.asked.clear()
    sender.advance()
    assert world.provider.asked.count("eth_getBlockByNumber") == 2  # the head and the block of the newest one
    world.mine(70)
    sender.advance()
    world.provider.asked.clear()
    assert world.sender().advance() == []
    assert len(world.provider.asked) == 1
    world.provider.asked.clear()
    sender.advance()
    sender.advance()
    assert world.provider.asked == []


def test_a_nonce_that_a_refusal_freed_is_filled(world: World) -> None:
    sender, told = heard(world)
    world.provider.paused = True
    first, second = sender.submit(Bump(1)), sender.submit(Bump(2))
    world.journal.close(first, State.FAILED, 1, "as if the node had refused it for good")
    world.provider.pool.pop((world.signer.address, 0))
    sender.advance()
    assert [event for event, _ in told][-1] == "filled"
    world.mine(3)
    ended = {i.kind: (i.nonce, i.state) for i in sender.advance()}
    assert ended == {"bump": (second.nonce, State.FINAL), "fill_nonce": (0, State.FINAL)}
    assert (world.total(1), world.total(2), world.chain.nonce(world.signer.address)) == (0, 1, 2)


def test_an_endpoint_that_is_behind_gives_no_nonce(world: World) -> None:
    sender = world.sender()
    sender.submit(Bump(1))
    world.mine(1)
    sender.advance()
    world.provider.blocks_behind = 2
    with pytest.raises(Transient, match=r"counts 0 transactions of 0x.*, nonce 0 is mined by the journal"):
        sender.submit(Bump(2))
    assert world.journal.find(Bump(2), 3) is None
    world.provider.blocks_behind = 0
    assert sender.submit(Bump(2)).nonce == 1
    assert world.total(2) == 1


def test_a_storm_of_nonce_too_low_calms_down(world: World) -> None:
    def refuse() -> None:
        raise ValueError("nonce too low")

    world.provider.before_send = refuse
    sender = world.sender()
    sender.submit(Bump(1))
    waits = 0
    for _ in range(30):
        try:
            sender.advance()
        except Transient as error:
            waits += 1
            assert "refused as used" in str(error) and "TX_RPC_URL" in str(error)
    assert world.provider.asked.count("eth_sendRawTransaction") <= 6
    assert waits >= 24
    world.provider.before_send = None
    for _ in range(10):
        try:
            sender.advance()
        except Transient:
            continue
    assert world.total(1) == 1


def test_what_a_node_has_had_is_not_given_up_when_it_is_refused_later(world: World) -> None:
    def refuse() -> None:
        raise ValueError("exceeds block gas limit")

    sender = world.sender()
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    world.provider.lose()
    world.provider.before_send = refuse
    with pytest.raises(Transient, match="though a node has had it before"):
        sender.advance()
    found = world.journal.get(intent.id)
    assert found is not None and found.open and found.nonce == 0
    world.provider.before_send = None
    sender.advance()
    world.mine(1)
    assert world.total(1) == 1


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_jumps_costs_one_raise(world: World, jump: int) -> None:
    sender = world.sender()
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    world.clock.time += jump
    for _ in range(5):
        sender.advance()
        world.clock.time += 1
    assert len(world.journal.transactions(intent)) == 2
    world.mine(3)
    assert sender.advance()[0].state is State.FINAL
    assert world.total(1) == 1


def test_the_days_budget_holds_for_raises_too(world: World) -> None:
    world.provider.paused = True
    intent = world.sender().submit(Bump(1))
    (first,) = world.journal.transactions(intent)
    tight = world.sender(replace(POLICY, per_day_wei=first.worst_wei * 11 // 10))
    with pytest.raises(Permanent, match=r"budget of \d+ wei a day forbids a raise"):
        tight.bump(intent)
    assert len(world.journal.transactions(intent)) == 1


def test_rows_of_another_key_or_chain_are_left_alone(world: World) -> None:
    world.provider.paused = True
    theirs = world.sender().submit(Bump(1))
    world.keeper_key = 2
    ours = world.sender()
    assert ours.advance() == []
    assert [i.id for i in world.journal.foreign_intents()] == [theirs.id]
    for verb in (ours.bump, ours.cancel):
        with pytest.raises(Permanent, match=rf"is of {theirs.sender} on chain {CHAIN_ID}, not of"):
            verb(theirs)
    with pytest.raises(Permanent, match="on chain 5, not of"):
        ours.cancel(replace(theirs, chain_id=5))
    metrics = Metrics("test", CHAIN_ID)
    announce_other_keys(world.journal, Alerts(metrics), world.clock.now())
    assert metrics.registry.get_sample_value(ALERTS, {"name": "open_under_another_key"}) == 1
    assert world.journal.get(theirs.id) == theirs
    assert ours.submit(Bump(1)) == theirs  # under way by the other key: not done twice
    assert len(world.provider.pool) == 1


def test_a_retry_by_another_key_does_not_take_the_old_receipt_for_its_own(world: World) -> None:
    world.provider.paused = True
    world.sender().submit(Bump(1))
    close_counter(world)
    world.mine(3)
    assert [i.state for i in world.sender().advance()] == [State.FAILED]
    close_counter(world, closed=False)
    to = Account.from_key((999).to_bytes(32, "big")).address
    world.web3.eth.send_transaction({"from": world.web3.eth.accounts[1], "to": to, "value": 10**17})
    world.keeper_key = 999  # a new key whose first nonce is 0 as well
    again = world.sender().submit(Bump(1))
    assert (again.nonce, again.state) == (0, State.SENT)
    assert len(Journal(world.store, CHAIN_ID, "").history(again)) == 2
    world.mine(3)
    assert [(i.state, i.succeeded) for i in world.sender().advance()] == [(State.FINAL, True)]
    assert world.total(1) == 1


def test_an_unsigned_intent_is_not_resumed_while_the_breaker_is_open(world: World) -> None:
    action = Bump(1)
    to, data = world.chain.encode(action.call)
    tight = world.sender(replace(POLICY, max_in_flight=1))
    world.provider.paused = True
    tight.submit(Bump(2))
    world.journal.claim(action, to, data, world.clock.now(), 3)
    tight.advance()
    assert [i.state for i in world.journal.open_intents()] == [State.SENT, State.INTENT]
    world.mine(1)
    tight.advance()
    world.mine(1)
    assert (world.total(1), world.total(2)) == (1, 1)


def test_events_are_counted_and_the_grave_ones_alert(world: World) -> None:
    metrics = Metrics("test", CHAIN_ID)
    alerts = Alerts(metrics)
    news = TransactionNews(metrics, alerts, world.clock.now)
    sender = Sender(world.chain, world.journal, world.signer, world.clock, world.policy, news)
    point = snapshot(world)
    sender.submit(Bump(1))
    world.mine(3)
    sender.advance()
    assert metrics.registry.get_sample_value(ALERTS, {"name": "deep_reorg"}) is None
    fork_back_to(world, point, 8)
    sender.advance()
    counted = metrics.registry.get_sample_value
    assert counted("ballast_keeper_transactions_total", {"kind": "bump", "event": "sent"}) == 1
    assert counted("ballast_keeper_transactions_total", {"kind": "bump", "event": "deep_reorg"}) == 1
    assert counted(ALERTS, {"name": "deep_reorg"}) == 1


class Liar:
    """A chain whose endpoint counts far too many transactions or estimates any gas."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.nonces: list[int] = []
        self.estimate: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def gas_of(self, *args: Any) -> int:
        return int(self._inner.gas_of(*args)) if self.estimate is None else self.estimate

    def nonce(self, address: str, block_number: int | None = None) -> int:
        return self.nonces.pop() if self.nonces else int(self._inner.nonce(address, block_number))


def test_one_wrong_count_of_an_endpoint_does_not_silence_the_keeper_for_ever(world: World) -> None:
    """A pool keeps a transaction of a nonce far ahead, and no block ever takes it."""
    liar, told = Liar(world.chain), []
    sender = Sender(
        liar,
        world.journal,
        world.signer,
        world.clock,
        world.policy,
        lambda event, intent: told.append((event, intent.id)),
    )  # type: ignore[arg-type]
    world.provider.paused = True
    liar.nonces = [1_000]
    assert sender.submit(Bump(1)).nonce == 1_000
    with pytest.raises(Transient, match="check that the endpoint is of the same chain"):
        sender.advance()  # it may yet turn out to be this count that is wrong
    world.clock.time += LATER
    sender.advance()
    (given_up,) = world.journal.latest()
    assert given_up.state is State.FAILED and "nonce 1000 is far above 0" in (given_up.error or "")
    assert ("stranded", given_up.id) in told
    world.provider.pool.clear()
    assert sender.submit(Bump(1)).nonce == 0
    world.mine(1)
    sender.advance()
    assert world.total(1) == 1


def test_a_count_that_is_too_low_gives_nothing_up(world: World) -> None:
    liar = Liar(world.chain)
    sender = Sender(liar, world.journal, world.signer, world.clock, world.policy)  # type: ignore[arg-type]
    for key in range(POLICY.max_in_flight + 2):
        sender.submit(Bump(key))
    world.provider.paused = True
    waiting = sender.submit(Bump(99))
    world.clock.time += LATER
    liar.nonces = [0] * 20
    with suppress(Transient):
        sender.advance()
    assert (world.journal.get(waiting.id) or waiting).open


@pytest.mark.parametrize("estimate", [5_000, 2_000_000_000])
def test_one_absurd_estimate_does_not_silence_the_keeper_for_ever(world: World, estimate: int) -> None:
    """No node takes a transaction with so little or so much gas; all later ones would wait for its nonce."""
    rich = replace(POLICY, per_transaction_wei=10**30, per_day_wei=10**30)
    world.web3.eth.send_transaction(
        {"from": world.web3.eth.accounts[1], "to": world.signer.address, "value": 10**20}  # type: ignore[typeddict-item]
    )
    liar = Liar(world.chain)
    liar.estimate = estimate
    sender = Sender(liar, world.journal, world.signer, world.clock, rich)  # type: ignore[arg-type]
    with pytest.raises(Permanent, match="no block can take so much or so little gas"):
        sender.submit(Bump(1))
    assert [intent.state for intent in world.journal.latest()] == [State.FAILED]
    liar.estimate = None
    assert sender.submit(Bump(2)).nonce == 0
    assert sender.submit(Bump(1)).nonce == 1
    assert [world.total(key) for key in (1, 2)] == [1, 1]
