# SPDX-License-Identifier: Apache-2.0
"""Handing the contracts over: what is left to send until their owner is who the configuration names.

The deployment offers every contract. An address accepts each by itself. A timelock accepts all in one batch, which a
proposer schedules (the deployment does, when its key is one) and an executor carries out after the delay. Everything
here is read from the chain, so it can be asked, sent and interrupted at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eth_utils.crypto import keccak

from keeper.artifacts import load
from keeper.chain.rpc import Rpc
from keeper.deploy.config import Network
from keeper.deploy.config_base import ZERO
from keeper.deploy.manifest import Manifest, ManifestFile, StepRecord
from keeper.deploy.outbox import Message, Outbox, Waiting
from keeper.deploy.steps import Check, Hashed, Ref, answer_of, call_data, resolve
from keeper.errors import ConfigError, Permanent
from keeper.ports import Signer

TIMELOCK = "Timelock"
OWNED = (
    "PriceOracle", "InstrumentRegistry", "RiskParameters", "RiskTable", "MarginAccounts", "InsuranceFund",
    "LiquidationAuction", "SignedTradeVenue",
)  # fmt: skip
ACCEPT_OWNERSHIP = keccak(text="accept_ownership()")[:4]
PROPOSER, EXECUTOR = keccak(text="PROPOSER_ROLE"), keccak(text="EXECUTOR_ROLE")
# targets, amounts, payloads, predecessor, salt
BATCH_TYPES = ("address[]", "uint256[]", "bytes[]", "bytes32", "bytes32")
NOTHING = bytes(32)
DONE = 1  # the timelock's time of an operation that was executed

Role = Literal["owner", "proposer", "executor"]


def accept_batch(names: Sequence[str]) -> tuple[Any, ...]:
    """Targets, amounts, payloads, predecessor and salt of the batch, as the timelock's functions take them."""
    targets = tuple(Ref(name) for name in names)
    return (targets, (0,) * len(targets), (ACCEPT_OWNERSHIP,) * len(targets), NOTHING, NOTHING)


def batch_id(names: Sequence[str]) -> Hashed:
    """The timelock's identifier of the batch."""
    return Hashed(BATCH_TYPES, accept_batch(names))


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left.

    Attributes
    ----------
    calls
        To be sent next, in this order; empty when the owner has everything, or nothing can be sent yet.
    role
        Whose business they are.
    ready_at
        Unix seconds from when the batch can be executed; 0 unless it waits.
    """

    calls: tuple[Message, ...] = ()
    role: Role = "owner"
    ready_at: int = 0

    @property
    def complete(self) -> bool:
        """Whether the owner has every contract."""
        return not self.calls and not self.ready_at


class Handover:
    """Reads a hand-over's state and sends what is next.

    Parameters
    ----------
    manifest, rpc
        The deployment and its chain.
    """

    def __init__(self, manifest: Manifest, rpc: Rpc) -> None:
        self.manifest = manifest
        self.rpc = rpc

    def state(self, now: int = 0) -> Remaining:
        """What is left now.

        Parameters
        ----------
        now
            Unix seconds, for a chain on which nothing happens between two calls and whose head is therefore old.

        Raises
        ------
        ConfigError
            A contract has not been offered to the owner: the deployment is not complete.
        """
        left = [name for name in OWNED if not self._owns(name)]
        for name in left:
            if str(self._read(name, "pending_owner")).lower() != self.manifest.owner.lower():
                raise ConfigError(
                    f"{name} has not been offered to {self.manifest.owner}; complete the deployment first"
                )
        if not left:
            return Remaining()
        if self.manifest.governance != TIMELOCK:
            return Remaining(tuple(self._acceptance(name) for name in left))
        return self._of_timelock(now)

    def may(self, role: Role, who: str) -> bool:
        """Whether somebody can send the calls of a role."""
        if role == "owner":
            return who.lower() == self.manifest.owner.lower()
        if role == "executor" and self._read(TIMELOCK, "hasRole", EXECUTOR, ZERO):
            return True
        return bool(self._read(TIMELOCK, "hasRole", EXECUTOR if role == "executor" else PROPOSER, who))

    def send(
        self, left: Remaining, network: Network, signer: Signer, file: ManifestFile, waiting: Waiting | None = None
    ) -> None:
        """Send what is next and wait for it; the manifest stays as it is.

        Raises
        ------
        ConfigError
            The key has not got the role.
        Permanent, Transient
            A call failed; running again goes on there.
        """
        if not self.may(left.role, signer.address):
            raise ConfigError(f"{signer.address} is not {left.role}; use that key, or send the calls shown from there")
        outbox = Outbox(network, self.rpc, signer, file, waiting or Waiting())
        for message in left.calls:
            receipt = outbox.deliver(self.manifest, StepRecord(id=message.what), message)
            if not receipt.succeeded:
                raise Permanent(f"{message.what} was mined and reverted (transaction 0x{receipt.tx_hash.hex()})")

    def _acceptance(self, name: str) -> Message:
        data = call_data(load(name), "accept_ownership", ())
        return Message(f"{name}.accept_ownership", self.manifest.addresses[name], data, lambda _: self._owns(name))

    def _of_timelock(self, now: int) -> Remaining:
        due = int(self._read(TIMELOCK, "get_timestamp", batch_id(OWNED)))
        if due == 0:
            delay_s = self._read(TIMELOCK, "get_minimum_delay")
            return Remaining((self._batch("schedule_batch", delay_s),), "proposer")
        if due == DONE:
            raise ConfigError("the timelock accepted once already; its proposers must schedule what is missing now")
        if due > max(now, self.rpc.block().timestamp):
            return Remaining((), "executor", due)
        return Remaining((self._batch("execute_batch"),), "executor")

    def _batch(self, function: str, *more: int) -> Message:
        addresses = self.manifest.addresses
        data = call_data(load(TIMELOCK), function, resolve((*accept_batch(OWNED), *more), addresses))
        state = "is_operation_done" if function == "execute_batch" else "is_operation"
        return Message(
            f"{TIMELOCK}.{function}", addresses[TIMELOCK], data,
            lambda _: bool(self._read(TIMELOCK, state, batch_id(OWNED))),
        )  # fmt: skip

    def _owns(self, name: str) -> bool:
        return str(self._read(name, "owner")).lower() == self.manifest.owner.lower()

    def _read(self, name: str, view: str, *args: Any) -> Any:
        def read(to: str, data: bytes) -> bytes:
            return self.rpc.call(to, data, self.rpc.block().number, what=f"{name}.{view}")

        return answer_of(Check(name, view, args, ()), load(name), self.manifest.addresses, read)[0]
