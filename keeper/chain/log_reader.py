# SPDX-License-Identifier: Apache-2.0
"""Logs of any range of blocks, in pieces that the endpoint gives, and looked at twice where it may have kept some back.

An endpoint can lose logs without an error in three ways, each with its remedy here:

- it has not reached the last block yet and gives what it has: it must show that block, by hash, before it is asked;
- it cuts an answer off at some count of logs: then the answer is longer than any that was ever confirmed, and the
  blocks before its first and after its last log are read again, from another endpoint where there is one, and answers
  as long as a cut one are split down to single blocks, whose receipts (``eth_getBlockReceipts``) settle it;
- it cuts the range: then blocks at an end seem empty. One answer in `SAMPLE` has its ends read again.

The bloom filter of each header would tell exactly which blocks to doubt, but costs a request a block and is all ones on
busy chains. What escapes is found when the projection is compared with the contracts (`Indexer.resync`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import structlog
from web3 import Web3
from web3.types import FilterParams, LogReceipt

from keeper.chain.endpoint import EndpointState
from keeper.chain.rpc_pool import Pool
from keeper.errors import Behind, KeeperError, NotOffered, RangeTooLarge

SAMPLE = 16


class LogReader:
    """Reads logs through a pool.

    Parameters
    ----------
    chance
        Gives a number in 0..1 for each answer; below ``1 / SAMPLE`` the answer is looked at twice.
    """

    def __init__(self, pool: Pool, chance: Callable[[], float] = random.random) -> None:
        self._pool = pool
        self._chance = chance

    def read(self, first: int, last: int, addresses: Sequence[str]) -> list[LogReceipt]:
        """Logs of the addresses in blocks ``first..last``, both included.

        Raises
        ------
        RangeTooLarge
            The endpoint refuses a single block.
        Transient
            No endpoint can answer, or none has the last block.
        """
        found: list[LogReceipt] = []
        while first <= last:
            what = f"eth_getLogs of blocks {first}..{last}"
            begin = first

            def piece(state: EndpointState, begin: int = begin) -> tuple[list[LogReceipt], int]:
                return self._piece(state, begin, last, addresses)

            logs, end = self._pool.read(what, piece, pin=last)
            found += logs
            first = end + 1
        return found

    def _piece(
        self, state: EndpointState, first: int, last: int, addresses: Sequence[str]
    ) -> tuple[list[LogReceipt], int]:
        """Logs from ``first`` on, and the last block of as many as the endpoint gives."""
        while True:
            size = state.span.blocks(last - first + 1)
            end = first + size - 1
            try:
                logs = self._ask(state, first, end, addresses)
            except RangeTooLarge:
                if size == 1:
                    raise
                state.span.refused(size)
                continue
            if size == 1 and (state.span.doubt or state.span.reaches_cut(len(logs))):
                logs = self._of_receipts(state, first, addresses, logs)
            elif not self._complete(state, first, end, logs, addresses):
                state.span.distrust(size, len(logs))
                continue
            state.span.accepted(size)
            return logs, end

    def _ask(self, state: EndpointState, first: int, last: int, addresses: Sequence[str]) -> list[LogReceipt]:
        """One request. A single pinned block is named by its hash: a node without it cannot answer "nothing"."""
        filters: FilterParams = {
            "fromBlock": first,
            "toBlock": last,
            "address": [Web3.to_checksum_address(address) for address in addresses],
        }
        pinned = self._pool.pinned(last)
        if first == last and pinned is not None and state.by_hash:
            filters = {"blockHash": pinned, "address": filters["address"]}  # type: ignore[typeddict-item]
        what = f"eth_getLogs of blocks {first}..{last}"
        logs = self._pool.request(state, what, lambda web3: list(web3.eth.get_logs(filters)))
        for log in logs:
            if not first <= log["blockNumber"] <= last:
                raise Behind(f"{what} at {state.name} has a log of block {log['blockNumber']}; it will be read again")
        return logs

    def _complete(
        self, state: EndpointState, first: int, last: int, logs: Sequence[LogReceipt], addresses: Sequence[str]
    ) -> bool:
        """False where a second look at the ends of an answer finds logs that it lacks."""
        if not state.endpoint.remote or first == last:
            return True
        if not state.span.suspects(len(logs)) and self._chance() >= 1 / SAMPLE:
            return True
        other = self._pool.another(state, last)
        witness = other or state
        had = {_key(log) for log in logs}
        for begin, end in _ends(first, last, logs, alone=other is None):
            try:
                again = self._ask(witness, begin, end, addresses)
            except KeeperError:
                return True  # nobody to compare with now: the next answer as long as this is doubted again
            seen = {_key(log) for log in again}
            if seen - had:
                self._tell(state, first, last, len(seen - had))
                return False
            if other is not None and any(begin <= log["blockNumber"] <= end for log in logs if _key(log) not in seen):
                self._tell(witness, begin, end, len([log for log in logs if _key(log) not in seen]))
                witness.span.distrust(end - begin + 1, len(again))
                return True
        state.span.confirmed(len(logs))
        return True

    def _of_receipts(
        self, state: EndpointState, number: int, addresses: Sequence[str], logs: list[LogReceipt]
    ) -> list[LogReceipt]:
        """Logs of one block by its receipts, which are not cut, where the endpoint has kept logs back before."""
        what = f"eth_getBlockReceipts of {number}"
        try:
            receipts = self._pool.request(state, what, lambda web3: list(web3.eth.get_block_receipts(number)))
        except NotOffered:
            return logs
        wanted = {address.lower() for address in addresses}
        whole = [log for each in receipts for log in each["logs"] if str(log["address"]).lower() in wanted]
        missing = {_key(log) for log in whole} - {_key(log) for log in logs}
        if not missing:
            state.span.confirmed(len(logs))
            return logs
        state.span.distrust(1, len(logs))
        self._tell(state, number, number, len(missing))
        return whole

    def _tell(self, state: EndpointState, first: int, last: int, missing: int) -> None:
        self._pool.watcher.truncated(state.name)
        structlog.get_logger("rpc").warning(
            f"endpoint {state.name} kept back logs of blocks {first}..{last} ({missing} or more are missing); smaller "
            "ranges are asked for, set rpc.max_log_range or use another endpoint"
        )


def _ends(first: int, last: int, logs: Sequence[LogReceipt], *, alone: bool) -> list[tuple[int, int]]:
    """Blocks before the first and after the last log of an answer, these two included.

    Alone, an endpoint is not asked for the same range again, whose answer would be cut in the same way, but for the
    quarters at its ends.
    """
    numbers = [log["blockNumber"] for log in logs]
    low, high = min(numbers, default=last), max(numbers, default=first)
    ends = [(high, last), (first, low)] if numbers else [(first, last)]
    if not alone:
        return list(dict.fromkeys(ends))
    quarter = max(1, (last - first + 1) // 4)
    whole = (first, last)
    parts = [(last - quarter + 1, last), (first, first + quarter - 1)]
    return list(dict.fromkeys(part for end in ends for part in (parts if end == whole else [end])))


def _key(log: LogReceipt) -> tuple[bytes, int]:
    return bytes(log["blockHash"]), log["logIndex"]
