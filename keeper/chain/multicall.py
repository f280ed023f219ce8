# SPDX-License-Identifier: Apache-2.0
"""Many calls at one block in one request, through Multicall3's ``aggregate3``; plain calls where there is none.

``contracts/Multicall.vy`` has the same function. ``snekmate.utils.multicall`` is no substitute for reads: it returns at
most 255 bytes a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from keeper.chain.failures import revert_reason, reverted
from keeper.chain.rpc import Rpc
from keeper.errors import KeeperError, Permanent, Reverted

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
AGGREGATE3 = bytes.fromhex("82ad56cb")


class Call(NamedTuple):
    """One call; ``what`` names it in messages."""

    to: str
    data: bytes
    what: str


class Multicall:
    """Batches of calls pinned to one block.

    Parameters
    ----------
    rpc
        The chain.
    address
        A contract with ``aggregate3``; None asks one call after the other.
    batch
        Calls in one request. A batch that fails as a whole is halved.
    """

    def __init__(self, rpc: Rpc, address: str | None, batch: int = 64) -> None:
        self._rpc = rpc
        self._address = address
        self._batch = batch

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
        for start in range(0, len(calls), self._batch):
            results += self._chunk(calls[start : start + self._batch], block)
        return results

    def _chunk(self, calls: Sequence[Call], block: int) -> list[bytes | KeeperError]:
        if self._address is None or len(calls) == 1:
            return [self._plain(call, block) for call in calls]
        try:
            return self._aggregate(calls, self._address, block)
        except KeeperError:  # too much gas or too long an answer for one request, or the node failed
            half = len(calls) // 2
            return self._chunk(calls[:half], block) + self._chunk(calls[half:], block)

    def _inner(self, call: Call, good: bool, data: bytes, block: int) -> bytes | KeeperError:
        if good:
            return data
        if not data:  # as likely the batch's gas ran out: ask alone before believing it
            return self._plain(call, block)
        return reverted(call.what, revert_reason(data))

    def _aggregate(self, calls: Sequence[Call], address: str, block: int) -> list[bytes | KeeperError]:
        packed = encode(["(address,bool,bytes)[]"], [[(call.to, True, call.data) for call in calls]])
        answer = self._rpc.call(address, AGGREGATE3 + packed, block, what=f"multicall of {len(calls)} calls")
        try:
            (rows,) = decode(["(bool,bytes)[]"], answer)
        except DecodingError as error:
            raise Permanent(
                f"multicall at {address} gave {len(answer)} bytes that are no result list; check it"
            ) from error
        if len(rows) != len(calls):
            raise Permanent(f"multicall at {address} answered {len(rows)} of {len(calls)} calls; check the contract")
        return [self._inner(call, good, data, block) for call, (good, data) in zip(calls, rows, strict=True)]

    def _plain(self, call: Call, block: int) -> bytes | KeeperError:
        try:
            return self._rpc.call(call.to, call.data, block, what=call.what)
        except Reverted as error:
            return reverted(call.what, error.reason)
        except KeeperError as error:
            return error
