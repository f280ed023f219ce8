# SPDX-License-Identifier: Apache-2.0
"""Many calls at one block in one request, through Multicall3's ``aggregate3``; plain calls where there is none.

``contracts/Multicall.vy`` has the same function. ``snekmate.utils.multicall`` is no substitute for reads: it returns at
most 255 bytes a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keeper.chain.failures import revert_reason, reverted
from keeper.chain.rpc import Rpc
from keeper.errors import KeeperError, Permanent, Reverted

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
AGGREGATE3 = bytes.fromhex("82ad56cb")
WORD = 32
MOST_CALLS = 512
# allowFailure, and where the call data begins
_ALLOWED = (1).to_bytes(WORD, "big") + (3 * WORD).to_bytes(WORD, "big")


class Call(NamedTuple):
    """One call; ``what`` names it in messages."""

    to: str
    data: bytes
    what: str


def encode_calls(calls: Sequence[Call]) -> bytes:
    """Encode the argument of ``aggregate3``, every call allowed to fail."""
    parts = []
    offsets, at = bytearray(), WORD * len(calls)
    for call in calls:
        offsets += at.to_bytes(WORD, "big")
        padded = call.data + bytes(-len(call.data) % WORD)
        parts.append(bytes(12) + bytes.fromhex(call.to[2:]) + _ALLOWED + len(call.data).to_bytes(WORD, "big") + padded)
        at += 4 * WORD + len(padded)
    return WORD.to_bytes(WORD, "big") + len(calls).to_bytes(WORD, "big") + bytes(offsets) + b"".join(parts)


def decode_results(data: bytes) -> list[tuple[bool, bytes]]:
    """Decode what ``aggregate3`` returns: (success, return data) of each call.

    Raises
    ------
    ValueError
        The data is no such list.
    """
    found, at = [], _number(data, 0)
    count, start = _number(data, at), at + WORD
    if count > len(data) // WORD:
        raise ValueError(f"a list of {count} results does not fit {len(data)} bytes")
    for k in range(count):
        place = start + _number(data, start + WORD * k)
        good, held = _number(data, place), place + _number(data, place + WORD)
        size = _number(data, held)
        if good > 1 or held + WORD + size > len(data):
            raise ValueError(f"result {k} reaches beyond the {len(data)} bytes")
        found.append((good == 1, data[held + WORD : held + WORD + size]))
    return found


def _number(data: bytes, at: int) -> int:
    if at + WORD > len(data):
        raise ValueError(f"{len(data)} bytes end before word {at // WORD}")
    return int.from_bytes(data[at : at + WORD], "big")


class Multicall:
    """Batches of calls pinned to one block.

    Parameters
    ----------
    rpc
        The chain.
    address
        A contract with ``aggregate3``; None asks one call after the other.
    batch
        Calls in one request to begin with. A batch that fails as a whole is halved, and no later one is as large; full
        batches that succeed double it, up to `MOST_CALLS`.
    """

    def __init__(self, rpc: Rpc, address: str | None, batch: int = 64) -> None:
        self._rpc = rpc
        self._address = address
        self._batch = batch
        self._ceiling = max(batch, MOST_CALLS)
        self.requests = 0

    @property
    def batch(self) -> int:
        """Calls in one request, as learned so far."""
        return self._batch

    @classmethod
    def detect(cls, rpc: Rpc, address: str | None = None, batch: int = 64) -> Multicall:
        """Use ``address`` (default: Multicall3's on every chain) where code is found there."""
        candidate = address or MULTICALL3
        return cls(rpc, candidate if rpc.code(candidate) else None, batch)

    @property
    def address(self) -> str | None:
        """The contract in use, None for plain calls."""
        return self._address

    def run(self, calls: Sequence[Call], block: int) -> list[bytes | KeeperError]:
        """Run the calls at a block.

        Returns
        -------
        list
            For each call its return data, or the error it failed with; the caller turns that into ``Unknown``.
        """
        results: list[bytes | KeeperError] = []
        while len(results) < len(calls):
            size = self._batch
            results += self._chunk(calls[len(results) : len(results) + size], block)
            if self._batch == size and len(calls) > len(results):
                self._batch = min(2 * size, self._ceiling)
        return results

    def _chunk(self, calls: Sequence[Call], block: int) -> list[bytes | KeeperError]:
        if self._address is None or len(calls) == 1:
            return [self._plain(call, block) for call in calls]
        try:
            return self._aggregate(calls, self._address, block)
        except KeeperError:  # too much gas or too long an answer for one request, or the node failed
            half = len(calls) // 2
            found = self._chunk(calls[:half], block) + self._chunk(calls[half:], block)
            if any(isinstance(answer, bytes) for answer in found):  # it was the size, not the node
                self._ceiling = self._batch = max(1, min(self._ceiling, half))
            return found

    def _inner(self, call: Call, good: bool, data: bytes, block: int) -> bytes | KeeperError:
        if good:
            return data
        if not data:  # as likely the batch's gas ran out: ask alone before believing it
            return self._plain(call, block)
        return reverted(call.what, revert_reason(data))

    def _aggregate(self, calls: Sequence[Call], address: str, block: int) -> list[bytes | KeeperError]:
        data = AGGREGATE3 + encode_calls(calls)
        self.requests += 1
        answer = self._rpc.call(address, data, block, what=f"multicall of {len(calls)} calls")
        try:
            rows = decode_results(answer)
        except ValueError as error:
            raise Permanent(
                f"multicall at {address} gave {len(answer)} bytes that are no result list; check it"
            ) from error
        if len(rows) != len(calls):
            raise Permanent(f"multicall at {address} answered {len(rows)} of {len(calls)} calls; check the contract")
        return [self._inner(call, good, data, block) for call, (good, data) in zip(calls, rows, strict=True)]

    def _plain(self, call: Call, block: int) -> bytes | KeeperError:
        self.requests += 1
        try:
            return self._rpc.call(call.to, call.data, block, what=call.what)
        except Reverted as error:
            return reverted(call.what, error.reason)
        except KeeperError as error:
            return error
