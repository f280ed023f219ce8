# SPDX-License-Identifier: Apache-2.0
"""What a client of the timelock reads: roles, states of an operation, interfaces. The rest is in test_timelock.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest
from eth_abi import encode
from eth_utils import function_signature_to_4byte_selector as selector
from eth_utils import keccak

DELAY: Final = 2 * 86_400
NONE, WAITING, READY, DONE = 1, 2, 4, 8
PROPOSER: Final = boa.env.generate_address("proposer")
EXECUTOR: Final = boa.env.generate_address("executor")
OUTSIDER: Final = boa.env.generate_address("outsider")
SALT: Final = b"\x05" * 32
NO_PREDECESSOR: Final = bytes(32)
ROLES: Final = {name: keccak(text=name) for name in ("PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE")}


@pytest.fixture(scope="module")
def deployed() -> Any:
    return boa.load("contracts/Timelock.vy", DELAY, [PROPOSER], [EXECUTOR])


@pytest.fixture
def lock(deployed: Any) -> Iterator[Any]:
    with boa.env.anchor():
        yield deployed


def role_call(name: str, role: bytes, who: str) -> bytes:
    return bytes(selector(f"{name}(bytes32,address)")) + encode(["bytes32", "address"], [role, who])


def test_roles_by_name(lock: Any) -> None:
    for name, role in ROLES.items():
        assert getattr(lock, name)() == role
        assert lock.getRoleAdmin(role) == lock.DEFAULT_ADMIN_ROLE() == bytes(32)
        holder = EXECUTOR if name == "EXECUTOR_ROLE" else PROPOSER
        assert [lock.hasRole(role, who) for who in (holder, OUTSIDER)] == [True, False]
    # nobody but itself gives roles
    assert [lock.hasRole(bytes(32), who) for who in (lock.address, PROPOSER)] == [True, False]
    assert [lock.supportsInterface(bytes.fromhex(i)) for i in ("01ffc9a7", "ffffffff")] == [True, False]


def test_the_life_of_an_operation_in_its_views(lock: Any) -> None:
    """Two roles given in one batch through the timelock itself."""
    payloads = [role_call("grantRole", ROLES[name], OUTSIDER) for name in ("PROPOSER_ROLE", "CANCELLER_ROLE")]
    batch = ([lock.address] * 2, [0, 0], payloads)
    operation = lock.hash_operation_batch(*batch, NO_PREDECESSOR, SALT)
    assert (lock.is_operation(operation), lock.get_operation_state(operation)) == (False, NONE)
    lock.schedule_batch(*batch, NO_PREDECESSOR, SALT, lock.get_minimum_delay(), sender=PROPOSER)
    due = int(boa.env.timestamp) + DELAY
    assert (lock.get_timestamp(operation), lock.get_operation_state(operation)) == (due, WAITING)
    boa.env.time_travel(seconds=DELAY)
    assert (lock.is_operation_pending(operation), lock.is_operation_ready(operation)) == (True, True)
    assert lock.get_operation_state(operation) == READY
    lock.execute_batch(*batch, NO_PREDECESSOR, SALT, sender=EXECUTOR)
    assert (lock.is_operation_done(operation), lock.get_operation_state(operation)) == (True, DONE)
    assert all(lock.hasRole(ROLES[name], OUTSIDER) for name in ("PROPOSER_ROLE", "CANCELLER_ROLE"))


def test_roles_are_taken_by_itself_and_given_up_by_their_holder(lock: Any) -> None:
    role = ROLES["PROPOSER_ROLE"]
    for sender in (PROPOSER, EXECUTOR, OUTSIDER):
        for name in ("grantRole", "revokeRole"):
            with boa.reverts("access_control: account is missing role"):
                getattr(lock, name)(role, OUTSIDER, sender=sender)
    data = role_call("revokeRole", role, PROPOSER)
    assert lock.hash_operation(lock.address, 0, data, NO_PREDECESSOR, SALT) != bytes(32)
    lock.schedule(lock.address, 0, data, NO_PREDECESSOR, SALT, DELAY, sender=PROPOSER)
    boa.env.time_travel(seconds=DELAY)
    lock.execute(lock.address, 0, data, NO_PREDECESSOR, SALT, sender=EXECUTOR)
    assert not lock.hasRole(role, PROPOSER)
    with boa.reverts("access_control: can only renounce roles for itself"):
        lock.renounceRole(ROLES["EXECUTOR_ROLE"], EXECUTOR, sender=OUTSIDER)
    lock.renounceRole(ROLES["EXECUTOR_ROLE"], EXECUTOR, sender=EXECUTOR)
    assert not lock.hasRole(ROLES["EXECUTOR_ROLE"], EXECUTOR)
