# SPDX-License-Identifier: Apache-2.0
"""A process that dies at any step of a send: a restart neither repeats nor loses the action."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3.types import RPCEndpoint

from keeper.domain import ContractCall
from keeper.errors import Permanent, Transient
from keeper.tx.journal import State
from tests.support.counter_world import Bump, Fuse, Killed, World, make_world, mortal_sender


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    built = make_world(tmp_path, database_url)
    yield built
    built.store.close()


def steps_of_a_send(world: World) -> int:
    fuse = Fuse()
    mortal_sender(world, fuse).submit(Bump(10_000))
    return fuse.steps


def finish(world: World, key: int) -> None:
    """What the next process does: reconcile, decide the same again, and see it through."""
    sender = world.sender()
    sender.advance()
    sender.submit(Bump(key))
    world.mine(3)
    sender.advance()
    assert sender.advance() == []


@pytest.mark.parametrize("paused", [False, True], ids=["mined-at-once", "waiting-in-the-pool"])
def test_killed_at_every_step_of_a_send(world: World, paused: bool) -> None:
    count = steps_of_a_send(world)
    world.mine(3)
    world.sender().advance()
    world.provider.paused = paused
    assert count > 20
    for step in range(count):
        before = world.chain.nonce(world.signer.address)
        with pytest.raises(Killed):
            mortal_sender(world, Fuse(step)).submit(Bump(step))
        finish(world, step)
        assert world.total(step) == 1, f"killed at step {step}"
        assert world.chain.nonce(world.signer.address) == before + 1, f"killed at step {step}"


def test_killed_at_every_step_without_deciding_again(world: World) -> None:
    """Once the intent is written, the action is done even when the next process would not decide it any more."""
    count = steps_of_a_send(world)
    for step in range(count):
        with pytest.raises(Killed):
            mortal_sender(world, Fuse(step)).submit(Bump(step))
        written = any(intent.subject == str(step) for intent in world.journal.latest(500))
        world.sender().advance()
        world.mine(3)
        world.sender().advance()
        assert world.total(step) == int(written), f"killed at step {step}"


def test_killed_again_and_again_while_recovering(world: World) -> None:
    dice = random.Random(20_240_805)
    world.provider.paused = True
    deaths = 0
    for key in range(60):
        for _ in range(dice.randrange(1, 5)):
            try:
                mortal_sender(world, Fuse(dice.randrange(60))).submit(Bump(key))
            except Killed:
                deaths += 1
            except Transient:
                pass
            chance = dice.random()
            if chance < 0.3:
                world.mine(1)
            elif chance < 0.5:
                world.provider.lose()
        finish(world, key)
        assert world.total(key) == 1
    assert deaths > 60
    assert world.chain.nonce(world.signer.address) == 60


def test_the_same_bytes_go_out_again(world: World) -> None:
    fuse = Fuse()
    world.provider.before_send = lambda: (_ for _ in ()).throw(Killed())
    with pytest.raises(Killed):
        mortal_sender(world, fuse).submit(Bump(1))
    world.provider.before_send = None
    (intent,) = world.journal.open_intents()
    (stored,) = world.journal.transactions(intent)
    assert intent.state is State.SIGNED
    world.sender().advance()
    assert world.provider.seen == [stored.raw]
    assert world.total(1) == 1


def test_an_answer_that_is_lost_on_the_way(world: World) -> None:
    def lost() -> None:
        raise TimeoutError("read timed out")

    world.provider.after_send = lost
    with pytest.raises(Transient, match="timed out"):
        world.sender().submit(Bump(1))
    world.provider.after_send = None
    assert world.total(1) == 1
    world.mine(3)
    (intent,) = world.sender().advance()
    assert intent.state is State.FINAL
    assert world.total(1) == 1


def test_a_request_that_never_arrives_blocks_later_ones_until_it_does(world: World) -> None:
    def down() -> None:
        raise ConnectionError("no route to host")

    world.provider.before_send = down
    for key in (1, 2):
        with pytest.raises(Transient):
            world.sender().submit(Bump(key))
    assert [i.subject for i in world.journal.open_intents()] == ["1"]
    world.provider.before_send = None
    world.sender().submit(Bump(2))
    assert (world.total(1), world.total(2)) == (1, 1)


def test_a_transaction_the_node_forgot_is_sent_again(world: World) -> None:
    world.provider.paused = True
    sender = world.sender()
    sender.submit(Bump(1))
    world.provider.lose()
    sender.advance()
    assert len(world.provider.pool) == 1
    assert world.provider.seen[0] == world.provider.seen[1]
    world.mine(3)
    assert sender.advance()[0].state is State.FINAL


def test_a_fork_that_drops_the_block_sends_the_same_bytes_again(world: World) -> None:
    before = world.web3.manager.request_blocking(RPCEndpoint("evm_snapshot"), [])
    sender = world.sender()
    sender.submit(Bump(1))
    assert sender.advance()[0].state is State.MINED
    world.web3.manager.request_blocking(RPCEndpoint("evm_revert"), [before])
    world.mine(1)
    assert world.total(1) == 0
    (intent,) = sender.advance()
    assert intent.state is State.SENT
    assert world.total(1) == 1
    assert len(set(world.provider.seen)) == 1
    world.mine(3)
    assert sender.advance()[0].state is State.FINAL


def test_somebody_else_used_the_nonce(world: World) -> None:
    world.provider.paused = True
    sender = world.sender()
    intent = sender.submit(Bump(1))
    world.provider.lose()
    keeper = world.signer.address
    world.web3.eth.send_transaction({"from": keeper, "to": keeper, "value": 1})  # the operator's wallet
    (still,) = sender.advance()
    assert still.state is State.SENT  # one block is not deep enough to believe it
    world.mine(3)
    (gone,) = sender.advance()
    assert (gone.id, gone.state) == (intent.id, State.REPLACED)
    assert gone.error is not None
    assert "keep its key for it alone" in gone.error
    sender.submit(Bump(1))
    world.mine(3)
    sender.advance()
    assert world.total(1) == 1


def test_an_unsigned_intent_that_is_no_longer_possible_is_closed(world: World) -> None:
    action = Bump(1)
    to, data = world.chain.encode(action.call)
    world.journal.claim(action, to, data, world.clock.now(), 3)
    world.other(ContractCall("Counter", "close", (True,)))
    world.sender().advance()
    (intent,) = world.journal.latest()
    assert (intent.state, intent.nonce) == (State.FAILED, None)
    assert "counter: closed" in (intent.error or "")
    assert world.provider.seen == []


def test_a_refused_transaction_frees_its_nonce(world: World) -> None:
    def refuse() -> None:
        raise ValueError("exceeds block gas limit")

    world.provider.before_send = refuse
    with pytest.raises(Permanent, match="exceeds block gas limit"):
        world.sender().submit(Bump(1))
    world.provider.before_send = None
    assert world.journal.open_intents() == []
    assert world.sender().submit(Bump(2)).nonce == 0
    assert world.total(2) == 1
