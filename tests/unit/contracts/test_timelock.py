# SPDX-License-Identifier: Apache-2.0
"""Timelock: nothing before its delay, nothing by anybody else, nothing out of order, roles by itself alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import DAY, address_of, selector
from tests.support.revm import CALLER, Contract, deploy

PROPOSER, EXECUTOR, STRANGER = map(address_of, ("proposer", "executor", "stranger"))
NOBODY: Final = "0x" + "0" * 40
NONE: Final = bytes(32)
DELAY: Final = 2 * DAY
PATH: Final = "contracts/Timelock.vy"
ROLES: Final = {name: keccak(text=f"{name}_ROLE") for name in ("PROPOSER", "EXECUTOR", "CANCELLER")}
NOT_READY: Final = "timelock_controller: operation is not ready"
NO_ROLE: Final = "access_control: account is missing role"


@dataclass(frozen=True)
class Lock:
    """The timelock as owner of the insurance fund."""

    world: World
    lock: Contract
    fund: Contract

    def call(self, name: str, *args: Any, caller: str = STRANGER) -> Any:
        return self.lock.call(name, *args, caller=caller)

    def set_auction(self, address: str, after: bytes = NONE, salt: bytes = NONE) -> tuple[Any, ...]:
        payload = selector("set_auction(address)") + encode(["address"], [address])
        return (self.fund.address, 0, payload, after, salt)

    def schedule(self, operation: tuple[Any, ...], delay: int = DELAY, caller: str = PROPOSER) -> bytes:
        self.call("schedule", *operation, delay, caller=caller)
        return bytes(self.call("hash_operation", *operation))

    def execute(self, operation: tuple[Any, ...], caller: str = EXECUTOR) -> None:
        self.call("execute", *operation, caller=caller)

    def auction(self) -> int:
        return int(self.fund.call("auction"), 16)


@pytest.fixture
def lock() -> Iterator[Lock]:
    with deployed().undone() as world:
        contract = deploy(world.evm, PATH, DELAY, [PROPOSER], [EXECUTOR])
        world.govern(world.fund, "transfer_ownership", contract.address)
        yield own(Lock(world, contract, world.fund))


def own(lock: Lock) -> Lock:
    """Take the fund over as governance would: by an operation."""
    accept = (lock.fund.address, 0, selector("accept_ownership()"), NONE, NONE)
    lock.schedule(accept)
    lock.world.wait(DELAY)
    lock.execute(accept)
    assert int(lock.fund.call("owner"), 16) == int(lock.lock.address, 16)
    return lock


def own_call(lock: Lock, signature: str, types: list[str], *values: Any) -> tuple[Any, ...]:
    return (lock.lock.address, 0, selector(signature) + encode(types, values), NONE, NONE)


# ------------------------------------------------------------------ delay


def test_nothing_before_its_time(lock: Lock) -> None:
    operation = lock.set_auction(STRANGER)
    with refused(NOT_READY):
        lock.execute(operation)  # never scheduled
    number = lock.schedule(operation)
    assert lock.call("get_timestamp", number) == lock.world.now + DELAY
    assert lock.call("is_operation_pending", number)
    lock.world.wait(DELAY - 1)
    with refused(NOT_READY):
        lock.execute(operation)
    lock.world.wait(1)
    assert lock.call("is_operation_ready", number)
    lock.execute(operation)
    assert lock.auction() == int(STRANGER, 16)
    assert lock.call("is_operation_done", number)
    with refused(NOT_READY):
        lock.execute(operation)  # once
    with refused("timelock_controller: operation already scheduled"):
        lock.schedule(operation)


def test_no_shorter_delay_and_a_longer_one_counts(lock: Lock) -> None:
    operation = lock.set_auction(STRANGER)
    with refused("timelock_controller: insufficient delay"):
        lock.schedule(operation, DELAY - 1)
    lock.schedule(operation, DELAY + 60)
    lock.world.wait(DELAY)
    with refused(NOT_READY):
        lock.execute(operation)


@pytest.mark.parametrize("delay,ok", [(0, True), (30 * DAY, True), (30 * DAY + 1, False)])
def test_a_delay_that_nothing_could_be_mended_in_is_refused(lock: Lock, delay: int, ok: bool) -> None:
    operation = own_call(lock, "update_delay(uint256)", ["uint256"], delay)
    lock.schedule(operation)
    lock.world.wait(DELAY)
    if not ok:
        with pytest.raises(Exception, match="timelock"):
            lock.execute(operation)
        with pytest.raises(RuntimeError, match=b"timelock: delay".hex()):
            deploy(lock.world.evm, PATH, delay, [PROPOSER], [EXECUTOR])
        return
    assert lock.call("get_minimum_delay") == DELAY
    lock.execute(operation)
    (event,) = lock.world.events("Timelock", "MinimumDelayChange")
    assert event == {"old_duration": DELAY, "new_duration": delay}
    assert lock.call("get_minimum_delay") == delay


@pytest.mark.parametrize("caller", [PROPOSER, EXECUTOR, STRANGER, CALLER])
def test_the_delay_changes_through_the_timelock_alone(lock: Lock, caller: str) -> None:
    with refused("timelock: not itself"):
        lock.call("update_delay", 0, caller=caller)


# ------------------------------------------------------------------ roles


@pytest.mark.parametrize("caller", [EXECUTOR, STRANGER, CALLER])
def test_only_proposers_schedule_and_cancel(lock: Lock, caller: str) -> None:
    operation = lock.set_auction(STRANGER)
    with refused(NO_ROLE):
        lock.schedule(operation, caller=caller)
    number = lock.schedule(operation)
    with refused(NO_ROLE):
        lock.call("cancel", number, caller=caller)


def test_a_cancelled_operation_is_gone(lock: Lock) -> None:
    operation = lock.set_auction(STRANGER)
    number = lock.schedule(operation)
    lock.call("cancel", number, caller=PROPOSER)
    assert not lock.call("is_operation", number)
    lock.world.wait(DELAY)
    with refused(NOT_READY):
        lock.execute(operation)
    with refused("timelock_controller: operation cannot be cancelled"):
        lock.call("cancel", number, caller=PROPOSER)


@pytest.mark.parametrize("caller", [PROPOSER, STRANGER, CALLER])
def test_only_executors_execute(lock: Lock, caller: str) -> None:
    operation = lock.set_auction(STRANGER)
    lock.schedule(operation)
    lock.world.wait(DELAY)
    with refused(NO_ROLE):
        lock.execute(operation, caller=caller)


def test_the_zero_address_among_executors_lets_anybody(lock: Lock) -> None:
    contract = deploy(lock.world.evm, PATH, 60, [PROPOSER], [NOBODY])
    contract.call("schedule", STRANGER, 0, b"", NONE, NONE, 60, caller=PROPOSER)
    lock.world.wait(60)
    contract.call("execute", STRANGER, 0, b"", NONE, NONE, caller=STRANGER)


def test_nobody_administers_but_the_timelock_itself(lock: Lock) -> None:
    admin = lock.call("DEFAULT_ADMIN_ROLE")
    assert lock.call("hasRole", admin, lock.lock.address)
    for who in (CALLER, PROPOSER, EXECUTOR, STRANGER):  # CALLER deployed it
        assert not lock.call("hasRole", admin, who)
        with refused(NO_ROLE):
            lock.call("grantRole", ROLES["PROPOSER"], STRANGER, caller=who)
    assert lock.call("hasRole", ROLES["CANCELLER"], PROPOSER)
    assert not lock.call("hasRole", ROLES["EXECUTOR"], PROPOSER)
    grant = own_call(lock, "grantRole(bytes32,address)", ["bytes32", "address"], ROLES["PROPOSER"], STRANGER)
    lock.schedule(grant)
    lock.world.wait(DELAY)
    lock.execute(grant)
    lock.schedule(lock.set_auction(STRANGER), caller=STRANGER)


@pytest.mark.parametrize("proposers,executors", [([], [EXECUTOR]), ([PROPOSER], [])])
def test_a_timelock_that_nobody_can_use_is_refused(lock: Lock, proposers: list[str], executors: list[str]) -> None:
    with pytest.raises(RuntimeError, match=b"timelock: nobody".hex()):
        deploy(lock.world.evm, PATH, DELAY, proposers, executors)


# ------------------------------------------------------------------ order


def test_a_predecessor_comes_first(lock: Lock) -> None:
    first = lock.set_auction(STRANGER)
    second = lock.set_auction(NOBODY, after=lock.call("hash_operation", *first))
    lock.schedule(first)
    lock.schedule(second)
    lock.world.wait(DELAY)
    with refused("timelock_controller: missing dependency"):
        lock.execute(second)
    lock.execute(first)
    lock.execute(second)
    assert lock.auction() == 0


def test_a_batch_happens_whole_or_not_at_all(lock: Lock) -> None:
    good = lock.set_auction(STRANGER)[2]
    bad = selector("transfer_ownership(address)") + bytes(31)  # half an argument
    for payloads in ([good, bad], [bad, good]):
        batch = ([lock.fund.address] * 2, [0, 0], payloads, NONE, NONE)
        with lock.world.undone():
            lock.call("schedule_batch", *batch, DELAY, caller=PROPOSER)
            lock.world.wait(DELAY)
            with refused("timelock_controller: underlying transaction reverted"):
                lock.call("execute_batch", *batch, caller=EXECUTOR)
            assert lock.auction() == int(lock.world.auction.address, 16)
    two = ([lock.fund.address, lock.lock.address], [0, 0], [good, selector("update_delay(uint256)") + bytes(32)])
    lock.call("schedule_batch", *two, NONE, NONE, DELAY, caller=PROPOSER)
    with refused(NOT_READY):
        lock.call("execute_batch", *two, NONE, NONE, caller=EXECUTOR)
    lock.world.wait(DELAY)
    lock.call("execute_batch", *two, NONE, NONE, caller=EXECUTOR)
    assert (lock.auction(), lock.call("get_minimum_delay")) == (int(STRANGER, 16), 0)


def test_lengths_of_a_batch(lock: Lock) -> None:
    batch = ([lock.fund.address], [0, 0], [b""], NONE, NONE)
    with refused("timelock_controller: length mismatch"):
        lock.call("schedule_batch", *batch, DELAY, caller=PROPOSER)
    with refused("timelock_controller: length mismatch"):
        lock.call("execute_batch", *batch, caller=EXECUTOR)


def test_a_batch_is_not_the_operation_of_its_parts(lock: Lock) -> None:
    target, amount, payload, after, salt = lock.set_auction(STRANGER)
    lock.call("schedule_batch", [target], [amount], [payload], after, salt, DELAY, caller=PROPOSER)
    lock.world.wait(DELAY)
    with refused(NOT_READY):
        lock.execute((target, amount, payload, after, salt))
    assert lock.call("hash_operation_batch", [target], [amount], [payload], after, salt) != lock.call(
        "hash_operation", target, amount, payload, after, salt
    )


def test_the_same_again_needs_another_salt(lock: Lock) -> None:
    lock.schedule(lock.set_auction(STRANGER))
    lock.schedule(lock.set_auction(STRANGER, salt=b"\x01" * 32))
    lock.world.wait(DELAY)
    lock.execute(lock.set_auction(STRANGER))
    lock.execute(lock.set_auction(STRANGER, salt=b"\x01" * 32))
