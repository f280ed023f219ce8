# SPDX-License-Identifier: Apache-2.0
"""Somebody who is first in the block makes the keeper's transaction revert: that must not stop the keeper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keeper.act import Result
from keeper.domain import ContractCall
from keeper.errors import Halt
from keeper.outbox import SenderOutbox
from keeper.tx.journal import State
from tests.support.counter_world import POLICY, Bump, Take, World, make_world

LIMIT = 2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = make_world(tmp_path)
    built.policy = replace(POLICY, failures_in_a_row=LIMIT)
    yield built
    built.store.close()


def close(world: World, closed: bool = True) -> None:
    world.other(ContractCall("Counter", "close", (closed,)))


def beaten(world: World, outbox: SenderOutbox, action: Take | Bump) -> str:
    """Send an action that is fine at the head and is front-run in its block; what is said of it."""
    close(world, False)
    world.provider.paused = True
    assert outbox.perform(action).result is Result.PENDING
    close(world)
    world.mine(1)
    (outcome,) = outbox.reconcile()
    world.mine(2)
    outbox.reconcile()
    return f"{outcome.result}: {outcome.detail}"


def test_races_that_others_win_in_the_block_never_stop_the_keeper(world: World) -> None:
    outbox = SenderOutbox(world.sender(), world.journal, None)
    for turn in range(2 * LIMIT):
        assert beaten(world, outbox, Take(1, turn)) == "overtaken: auction: nonce"
    close(world, False)
    assert outbox.perform(Take(1, 99)).result is Result.PENDING
    failed = world.journal.latest(states=[State.FAILED])
    assert len(failed) == 2 * LIMIT
    assert all(item.error is not None and "reverted with 'auction: nonce'" in item.error for item in failed)


def test_other_reverts_still_stop_it(world: World) -> None:
    outbox = SenderOutbox(world.sender(), world.journal, None)
    for turn in range(LIMIT):
        assert beaten(world, outbox, Bump(1, turn)) == "failed: counter: closed"
    close(world, False)
    with pytest.raises(Halt, match="2 transactions in a row have reverted"):
        outbox.perform(Take(1))


@dataclass(frozen=True, slots=True)
class Odd(Take):
    """A bid that the contract refuses for a reason that is no race."""

    @property
    def call(self) -> ContractCall:
        return ContractCall("Counter", "bump", (self.key,))


def test_a_bid_that_reverts_for_another_reason_counts_as_a_failure(world: World) -> None:
    outbox = SenderOutbox(world.sender(), world.journal, None)
    for turn in range(LIMIT):
        beaten(world, outbox, Odd(1, turn))
    close(world, False)
    with pytest.raises(Halt, match="2 transactions in a row have reverted"):
        outbox.perform(Take(1, 99))
