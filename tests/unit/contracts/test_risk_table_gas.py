# SPDX-License-Identifier: Apache-2.0
"""What a full page and a challenge cost, as whole transactions on cold state (``pytest -s`` prints them)."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from keeper.chain.revm_state import BlockContext, Message, Outcome, RevmState
from tests.support.table_world import EXPIRY, GOVERNANCE, HOUR, SURFACES, A, B, C, Header, Page, TableWorld

ROWS = 253
PUBLISH_TARGET, CHALLENGE_TARGET = 5_700_000, 450_000
# as many expiries as a page may have, the last one that of the options
EXPIRIES = tuple((EXPIRY - (15 - k) * HOUR, *SURFACES[0][1:]) for k in range(16))


@dataclass
class ColdEvm:
    """A revm that forgets after every transaction what was warm; refunds and EIP-7623 count."""

    state: RevmState = field(default_factory=lambda: RevmState(1, 10**9))
    timestamp: int = 0
    deployments: int = 0
    gas_used: int = 0

    def set_block_env(self, block: Any) -> None:
        """Only the time matters."""
        self.timestamp = block.timestamp

    def get_code(self, address: str) -> bytes:
        """Runtime code."""
        return self.state.account(bytes.fromhex(address[2:])).code

    def deploy(self, deployer: str, code: bytes, gas: int) -> str:
        """Create from a sender of its own: the state keeps no nonces of senders."""
        self.deployments += 1
        outcome, diff = self._execute(self.deployments.to_bytes(20, "big"), b"", code, gas)
        assert outcome.success, deployer
        self.state.apply(diff)
        created: bytes = next(a for a, (_, after) in diff.accounts.items() if after.code == outcome.output)
        return "0x" + created.hex()

    def message_call(self, caller: str, to: str, calldata: bytes, gas: int, is_static: bool) -> bytes:
        """One transaction."""
        outcome, diff = self._execute(bytes.fromhex(caller[2:]), bytes.fromhex(to[2:]), calldata, gas)
        if not outcome.success:
            raise RuntimeError(f"output: 0x{outcome.output.hex()} {outcome.halt}")
        if not is_static:
            self.state.apply(diff)
        self.gas_used = outcome.gas_used
        return outcome.output

    def _execute(self, sender: bytes, to: bytes, data: bytes, gas: int) -> tuple[Outcome, Any]:
        block = BlockContext(1, self.timestamp, 10**9, bytes(20), bytes(32))
        return self.state.execute(Message(sender, to, data, 0, gas), block)


@pytest.fixture
def world() -> TableWorld:
    """As many options as a page may have, bonded publishers, a quorum of three."""
    world = TableWorld(ColdEvm())
    for k in range(ROWS - 3):
        world.list_option(10 + k // 2, is_call=k % 2 == 0, expiry=EXPIRY - HOUR)
    world.open_challenges()
    world.table.call("set_quorum", 3, caller=GOVERNANCE)
    world.wait(60)
    return world


def used(world: TableWorld) -> int:
    """Gas of the last transaction, its base and calldata included."""
    return int(world.evm.gas_used)


def test_a_full_page_with_three_signatures(world: TableWorld) -> None:
    rng = Random(7)
    for epoch in (1, 2, 3):
        rows = rng.randbytes(96 * ROWS)
        page = world.put(Page(Header(epoch=epoch, observed_at=world.now), rows, EXPIRIES), (A, B, C))
        gas = used(world)
        print(f"publish, {ROWS} rows, 16 surfaces, 3 signatures, epoch {epoch}: {gas:,}")
        assert gas <= PUBLISH_TARGET
        assert world.code(world.table.call("read", 1)[1])[: 1 + len(rows)] == b"\0" + page.rows
        world.wait(60)
    assert world.table.call("rows_of", 0) == ROWS


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_challenge_of_an_option_at_the_last_expiry(world: TableWorld, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        page = world.true_page(epoch=epoch, surfaces=EXPIRIES)
        page = world.put(page.but(1, b"\x01\x00", at=40), (A, B, C))
        world.wait(60)
    world.challenge(page, 1)
    gas = used(world)
    print(f"challenge, 16 surfaces, 3 signers, {epochs - 1} epochs to return to: {gas:,}")
    assert gas <= CHALLENGE_TARGET


def test_reading_costs_what_it_did(world: TableWorld) -> None:
    world.put(Page(Header(observed_at=world.now), bytes(96 * ROWS), EXPIRIES), (A, B, C))
    world.table.call("read", 1 | 1 << 16, static=True)
    print(f"read of one underlying without the joint word: {used(world):,}")
    assert used(world) - 21_000 < 8_000
    world.table.call("has_row", 5, static=True)
    print(f"has_row: {used(world):,}")
    assert used(world) - 21_000 < 14_000
