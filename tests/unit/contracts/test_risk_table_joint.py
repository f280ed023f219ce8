# SPDX-License-Identifier: Apache-2.0
"""Joint scenarios: storage, guards, and what the engine makes of a page and scenarios that the table stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from tests.support.margin_words import UNIT, WAD, DeltaOne, row, words
from tests.support.revm import Reverted, deploy
from tests.support.table_world import ANYBODY, DAY, GOVERNANCE, HOUR, NOW, A, B, C, Header, TableWorld, sign

MODEL, DATA = b"\x03" * 32, b"\x04" * 32
ONE = (5).to_bytes(32, "big")


@pytest.fixture
def world() -> TableWorld:
    return TableWorld()


def content_hash(fields: dict[str, Any], data: bytes) -> bytes:
    types = ["uint256"] * 3 + ["bytes32"] * 3
    return bytes(keccak(encode(types, [*fields.values(), MODEL, DATA, keccak(data)])))


def publish(world: TableWorld, data: bytes = ONE, signers: Sequence[str] = (A,), **changes: Any) -> None:
    fields = {"epoch": 1, "observed_at": world.now, "expires_at": world.now + HOUR} | changes
    message = {"content_hash": content_hash(fields, data)}
    signatures = [sign(signer, world.table.address, "Joint", message) for signer in signers]
    world.table.call("publish_joint", *fields.values(), MODEL, DATA, data, signatures, caller=ANYBODY)


def test_scenarios_are_stored_padded_to_sixty_four(world: TableWorld) -> None:
    publish(world, ONE * 3)
    word = world.table.call("read", 0)[0]
    assert word >> 160 == 1 | 3 << 32 | (NOW + HOUR) << 40
    assert world.table.call("read", 2**16) == (0,)
    assert world.code(word)[:2049] == b"\0" + ONE * 3 + bytes(32 * 61)


@pytest.mark.parametrize("count", [1, 64])
def test_counts_that_are_taken(world: TableWorld, count: int) -> None:
    publish(world, ONE * count)
    assert world.table.call("read", 0)[0] >> 192 & 255 == count


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": b""}, "scenarios"),
        ({"data": ONE[1:]}, "scenarios"),
        ({"signers": ()}, "too few signatures"),
        ({"signers": (B, A)}, "signer order"),
        ({"epoch": 0}, "epoch"),
        ({"epoch": 2}, "epoch"),
        ({"observed_at": NOW + 1}, "observed in future"),
        ({"observed_at": NOW - 601}, "observed too old"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW + 30 * DAY + 1}, "life too long"),
    ],
)
def test_refusals(world: TableWorld, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Reverted, match=f"^table: {reason}$"):
        publish(world, **changes)
    assert world.table.call("read", 0) == (0,)


def test_epochs_follow_each_other(world: TableWorld) -> None:
    publish(world)
    world.wait(59)
    with pytest.raises(Reverted, match=r"^table: too soon$"):
        publish(world, epoch=2)
    world.wait(1)
    with pytest.raises(Reverted, match=r"^table: observed not newer$"):
        publish(world, epoch=2, observed_at=NOW)
    publish(world, epoch=2, expires_at=world.now + 30 * DAY)
    assert world.table.call("read", 0)[0] >> 160 & 0xFFFFFFFF == 2


def test_the_quorum_signs_every_field(world: TableWorld) -> None:
    world.table.call("set_quorum", 2, caller=GOVERNANCE)
    with pytest.raises(Reverted, match=r"^table: too few signatures$"):
        publish(world)
    fields = {"epoch": 1, "observed_at": NOW, "expires_at": NOW + HOUR}
    message = {"content_hash": content_hash(fields, ONE)}
    signatures = [sign(signer, world.table.address, "Joint", message) for signer in (A, C)]
    good = [*fields.values(), MODEL, DATA, ONE]
    for place, value in enumerate((None, NOW - 1, NOW + HOUR + 1, DATA, MODEL, ONE * 2)):
        if value is not None:
            other = [*good[:place], value, *good[place + 1 :]]
            with pytest.raises(Reverted, match=r"^table: signature$"):
                world.table.call("publish_joint", *other, signatures, caller=ANYBODY)
    world.table.call("publish_joint", *good, signatures, caller=ANYBODY)
    world.wait(60)
    with pytest.raises(Reverted, match=r"^table: epoch$"):
        world.table.call("publish_joint", *good, signatures, caller=ANYBODY)


def test_a_page_is_not_a_signature_of_scenarios(world: TableWorld) -> None:
    # equal content under the other type is another message
    fields = {"epoch": 1, "observed_at": NOW, "expires_at": NOW + HOUR}
    message = {"underlying": 0, "content_hash": content_hash(fields, ONE)}
    with pytest.raises(Reverted, match=r"^table: signature$"):
        world.table.call(
            "publish_joint", *fields.values(), MODEL, DATA, ONE, [sign(A, world.table.address, "Page", message)]
        )


def test_the_digest_is_the_one_that_wallets_compute(world: TableWorld) -> None:
    fields = {"epoch": 1, "observed_at": NOW, "expires_at": NOW + HOUR}
    digest = world.table.call("joint_digest", *fields.values(), MODEL, DATA, ONE)
    signature = sign(A, world.table.address, "Joint", {"content_hash": content_hash(fields, ONE)})[1]
    assert Account._recover_hash(digest, signature=signature) == A


def test_the_engine_reads_what_the_table_stored(world: TableWorld) -> None:
    # long an option worth 10 USD + 10 cents a step, against a short of half a unit elsewhere
    world.publish(Header(), row(lambda _, k: 10_000 + 100 * k) * 3)
    # first scenario: the first underlying falls by the whole scan range; second: both do
    falls = (256 - 127).to_bytes(32, "big")
    publish(world, ((256 - 127) | (256 - 127) << 16).to_bytes(32, "big") + falls)
    inputs = deploy(world.evm, "contracts/testing/EngineFixture.vy")
    engine = deploy(
        world.evm, "contracts/MarginEngine.vy", inputs.address, world.registry.address, world.oracle.address,
        world.parameters.address, world.table.address,
    )  # fmt: skip
    state = words(perps={1: DeltaOne(-UNIT // 2, 50 * UNIT * WAD)}, options={0: [(2, UNIT)]})
    inputs.call("set_state", 1, state)
    equity, _, _, _, _, risk, _, worst, flags, doubt, scans = engine.call("assess", 1)
    slack = 625 * 10**12
    assert equity == 10 * WAD - slack
    assert scans == (12 * WAD // 10 + slack, 12 * WAD)
    assert (worst, flags, doubt) == (1, 0, 0)
    # the second underlying's scan less the first's outweighs what the scenarios lose
    assert risk == 12 * WAD - 12 * WAD // 10 - slack
