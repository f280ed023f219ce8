# SPDX-License-Identifier: Apache-2.0
"""Sending: each action exactly once, on the embedded chain with a pool in front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.domain import ContractCall
from keeper.errors import Halt, Permanent, Reverted, Transient
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import State
from tests.support.counter_world import GWEI, POLICY, Bump, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = make_world(tmp_path)
    yield built
    built.store.close()


def test_an_action_lands_once_and_becomes_final(world: World) -> None:
    sender = world.sender()
    intent = sender.submit(Bump(1))
    assert intent.state is State.SENT
    assert [i.state for i in sender.advance()] == [State.MINED]
    world.mine(1)
    assert [i.state for i in sender.advance()] == [State.MINED]  # one block on top, two are wanted
    world.mine(1)
    assert [i.state for i in sender.advance()] == [State.FINAL]
    assert sender.advance() == []
    assert world.total(1) == 1


def test_the_same_action_is_not_sent_again(world: World) -> None:
    sender = world.sender()
    first = sender.submit(Bump(1))
    second = sender.submit(Bump(1))
    assert (second.id, second.state) == (first.id, State.MINED)
    assert world.total(1) == 1
    third = world.sender().submit(Bump(1))  # a new process
    assert third.id == first.id
    assert world.total(1) == 1


def test_a_later_epoch_is_a_new_action(world: World) -> None:
    sender = world.sender()
    sender.submit(Bump(1, turn=0))
    sender.submit(Bump(1, turn=1))
    assert world.total(1) == 2


def test_a_simulated_revert_sends_and_writes_nothing(world: World) -> None:
    world.other(ContractCall("Counter", "close", (True,)))
    with pytest.raises(Reverted, match=r"Counter\.bump.* reverted with 'counter: closed'") as caught:
        world.sender().submit(Bump(1))
    assert caught.value.reason == "counter: closed"
    assert world.provider.seen == []
    assert world.journal.latest() == []


def test_simulate_alone_sends_nothing(world: World) -> None:
    simulated = world.sender().simulate(Bump(1))
    assert 21_000 < simulated.gas < 100_000
    assert world.provider.seen == []
    assert world.total(1) == 0


def test_a_reverted_transaction_is_a_failure_and_may_be_tried_again(world: World) -> None:
    sender = world.sender()
    world.provider.paused = True
    sender.submit(Bump(1))
    world.other(ContractCall("Counter", "close", (True,)))  # between simulation and block
    world.mine(3)
    (intent,) = sender.advance()
    assert (intent.state, intent.succeeded, intent.tries) == (State.FAILED, False, 1)
    assert intent.error is not None
    assert "reverted" in intent.error
    world.other(ContractCall("Counter", "close", (False,)))
    again = sender.submit(Bump(1))
    assert (again.id, again.state) == (intent.id, State.SENT)
    world.mine(3)
    assert sender.advance()[0].state is State.FINAL
    assert world.total(1) == 1


def test_after_too_many_reverts_the_action_is_left_alone(world: World) -> None:
    sender = world.sender(replace(POLICY, max_tries=1))
    world.provider.paused = True
    sender.submit(Bump(1))
    world.other(ContractCall("Counter", "close", (True,)))
    world.mine(3)
    sender.advance()
    world.other(ContractCall("Counter", "close", (False,)))
    assert sender.submit(Bump(1)).state is State.FAILED
    assert world.total(1) == 0


def test_reverts_in_a_row_stop_the_sender_until_acknowledged(world: World) -> None:
    sender = world.sender(replace(POLICY, failures_in_a_row=2))
    world.provider.paused = True
    for key in (1, 2):
        world.other(ContractCall("Counter", "close", (False,)))
        sender.submit(Bump(key))
        world.other(ContractCall("Counter", "close", (True,)))
        world.mine(3)
        sender.advance()
    world.other(ContractCall("Counter", "close", (False,)))
    with pytest.raises(Halt, match="2 transactions in a row have reverted"):
        sender.submit(Bump(3))
    world.journal.acknowledge_failures()
    assert sender.submit(Bump(3)).state is State.SENT


def test_transactions_wait_with_consecutive_nonces(world: World) -> None:
    sender = world.sender(replace(POLICY, max_in_flight=3))
    world.provider.paused = True
    assert [sender.submit(Bump(key)).nonce for key in range(3)] == [0, 1, 2]
    with pytest.raises(Transient, match=r"3 transactions of 0x.* wait to be mined"):
        sender.submit(Bump(3))
    world.mine(3)
    sender.advance()
    assert [world.total(key) for key in range(3)] == [1, 1, 1]


def test_nonce_is_not_taken_from_what_the_node_calls_pending(world: World) -> None:
    # A stuck transaction of an earlier process: the node's 'pending' would queue behind it, the journal replaces it.
    world.provider.paused = True
    first = world.sender().submit(Bump(1))
    world.provider.lose()
    second = world.sender().submit(Bump(2))
    assert (first.nonce, second.nonce) == (0, 1)
    world.mine(3)
    assert (world.total(1), world.total(2)) == (1, 1)


def test_a_stuck_transaction_is_raised_by_both_fields(world: World) -> None:
    sender = world.sender()
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    world.clock.time += POLICY.bump_after_s - 1
    sender.advance()
    assert len(world.journal.transactions(intent)) == 1
    world.clock.time += 1
    sender.advance()
    old, new = world.journal.transactions(intent)
    assert old.nonce == new.nonce
    assert new.fees.max_fee_wei * 1000 >= old.fees.max_fee_wei * 1125
    assert new.fees.priority_fee_wei * 1000 >= old.fees.priority_fee_wei * 1125
    assert list(world.provider.pool.values()) == [new.raw]
    world.mine(3)
    (done,) = sender.advance()
    assert (done.state, done.tx_hash) == (State.FINAL, new.hash)
    assert world.total(1) == 1


def test_the_first_of_two_replacements_may_win(world: World) -> None:
    sender = world.sender()
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    (first,) = world.journal.transactions(intent)
    sender.bump(intent)
    key = next(iter(world.provider.pool))
    world.provider.pool[key] = first.raw  # the miner's node never got the second
    world.mine(3)
    (done,) = sender.advance()
    assert (done.state, done.tx_hash) == (State.FINAL, first.hash)
    assert world.total(1) == 1


def test_no_raise_above_the_cap(world: World) -> None:
    base = world.chain.fees().base_fee_wei
    tight = replace(POLICY, fees=FeeCaps(max_fee_wei=base * 2, max_priority_fee_wei=GWEI))
    sender = world.sender(tight)
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    with pytest.raises(
        Permanent, match=r"cannot be raised: the fee cap of \d+ wei forbids a raise; raise fees\.max_fee_gwei"
    ):
        sender.bump(intent)
    assert len(world.journal.transactions(intent)) == 1


def test_cancel_takes_the_nonce_and_stands(world: World) -> None:
    sender = world.sender()
    world.provider.paused = True
    intent = sender.submit(Bump(1))
    sender.cancel(intent)
    world.mine(3)
    (done,) = sender.advance()
    assert (done.state, world.total(1), world.chain.nonce(world.signer.address)) == (State.CANCELLED, 0, 1)
    assert sender.submit(Bump(1)).state is State.CANCELLED
    assert world.total(1) == 0


def test_a_mined_transaction_cannot_be_cancelled(world: World) -> None:
    sender = world.sender()
    intent = sender.submit(Bump(1))
    with pytest.raises(Permanent, match="is mined and cannot be cancelled"):
        sender.cancel(intent)


def test_base_fee_above_the_cap_waits_and_leaves_no_trace(world: World) -> None:
    low = replace(POLICY, fees=FeeCaps(max_fee_wei=1, max_priority_fee_wei=1))
    with pytest.raises(Transient, match="not below the cap of 1 wei"):
        world.sender(low).submit(Bump(1))
    assert world.journal.latest() == []


def test_a_transaction_over_its_budget_is_refused(world: World) -> None:
    with pytest.raises(Permanent, match=r"the limit is 5 wei; raise budget\.per_transaction_ether"):
        world.sender(replace(POLICY, per_transaction_wei=5)).submit(Bump(1))
    assert world.provider.seen == []


def test_the_daily_budget_halts(world: World) -> None:
    sender = world.sender()
    sender.submit(Bump(1))
    sender.advance()
    spent = world.journal.spent_since(0)
    receipt = world.chain.receipt(world.journal.latest()[0].tx_hash or b"")
    assert receipt is not None
    assert spent == receipt.gas_used * receipt.effective_gas_price_wei
    tight = world.sender(replace(POLICY, per_day_wei=spent + 1))
    with pytest.raises(Halt, match=r"gas of 24 hours would reach \d+ wei"):
        tight.submit(Bump(2))
    world.clock.time += 86_400 + 1
    with pytest.raises(Halt):  # one transaction alone may cost more than what is left
        world.sender(replace(POLICY, per_day_wei=1)).submit(Bump(2))
    assert sender.submit(Bump(2)).state is State.SENT


def test_wait_returns_when_mined_and_gives_up_in_time(world: World) -> None:
    sender = world.sender(replace(POLICY, bump_after_s=10_000))
    assert sender.wait(sender.submit(Bump(1)), 5).state is State.MINED
    world.clock.on_sleep = world.mine
    assert sender.wait(sender.submit(Bump(2)), 10, final=True).state is State.FINAL
    world.clock.on_sleep = None
    world.provider.paused = True
    with pytest.raises(Transient, match="is still sent after 3 s"):
        sender.wait(sender.submit(Bump(3)), 3)
