# SPDX-License-Identifier: Apache-2.0
"""Which round of a Chainlink feed was current at a moment, and which came next, by bisection over ``getRoundData``.

A proxy numbers rounds ``phase << 64 | round of the phase's aggregator``. Rounds count up from 1 inside a phase; how
many an earlier phase had is not recorded anywhere. ``PriceOracle.price_at`` takes the last complete round that was
updated by the moment, in the newest phase that had begun by it, together with the next complete round (docs/adr/0007).
This looks for those two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from keeper.domain import Block
from keeper.errors import Permanent, Reverted, Transient
from keeper.ports import Chain

PHASE_BITS = 64
INDEX_MASK = (1 << PHASE_BITS) - 1
MAX_CALLS = 256  # two bisections over 2**64 rounds, and room for holes and phases
MAX_HOLE = 8  # incomplete rounds in a row that are stepped over
MAX_ANSWER = 2**90 - 1  # above it an answer is no price
ROUND_TYPES = ("uint80", "int256", "uint256", "uint256", "uint80")
LATEST = keccak(text="latestRoundData()")[:4]
OF_NUMBER = keccak(text="getRoundData(uint80)")[:4]


class NoRoundYet(Transient):
    """The feed has not been updated since the moment: the round that was current at it is not final."""


@dataclass(frozen=True, slots=True)
class Round:
    """A complete round: ``updated_at`` in unix s, ``number`` as the proxy counts."""

    number: int
    updated_at: int

    @property
    def phase(self) -> int:
        """Phase of the proxy."""
        return self.number >> PHASE_BITS

    @property
    def index(self) -> int:
        """Number inside its phase."""
        return self.number & INDEX_MASK


@dataclass(frozen=True, slots=True)
class Proof:
    """The round that was current at a moment and the next complete one."""

    current: Round
    following: Round


@dataclass(slots=True)
class Feed:
    """Rounds of one feed at one block, each asked for once; at most ``max_calls`` requests."""

    chain: Chain
    address: str
    block: Block
    max_calls: int = MAX_CALLS
    calls: int = 0
    _seen: dict[int, Round | None] = field(default_factory=dict)
    _latest: Round | None = None

    def latest(self) -> Round:
        """Newest complete round of the latest phase.

        Raises
        ------
        Permanent
            The feed shows none that is complete.
        """
        if self._latest is None:
            number, found = self._ask(LATEST, "latestRoundData")
            phase, index = number >> PHASE_BITS, number & INDEX_MASK
            for step in range(MAX_HOLE + 1):
                if found is not None or index <= step:
                    break
                found = self.round(phase, index - step)
            if found is None:
                raise Permanent(f"feed {self.address} shows no complete round; have governance look at the feed")
            self._latest = found
        return self._latest

    def round(self, phase: int, index: int) -> Round | None:
        """A round, None where it does not exist or is not complete."""
        number = phase << PHASE_BITS | index
        if number not in self._seen:
            answered, found = self._ask(OF_NUMBER + number.to_bytes(32, "big"), f"getRoundData({number})")
            self._seen[number] = found if answered == number else None
        return self._seen[number]

    def next_complete(self, phase: int, index: int, end: int) -> Round | None:
        """First complete round of a phase from ``index`` on and before ``end``, at most `MAX_HOLE` further."""
        for number in range(index, min(index + MAX_HOLE + 1, end)):
            found = self.round(phase, number)
            if found is not None:
                return found
        return None

    def _ask(self, data: bytes, what: str) -> tuple[int, Round | None]:
        """(number that the feed answers with, the round where it is complete)."""
        if self.calls >= self.max_calls:
            raise Permanent(
                f"feed {self.address}: the round was not found within {self.max_calls} requests; "
                "settle by hand with round ids from the feed's explorer"
            )
        self.calls += 1
        try:
            answer = self.chain.read(self.address, data, self.block, f"{what} of feed {self.address}")
            number, price, _, updated_at, _ = decode(ROUND_TYPES, answer)
        except (Reverted, DecodingError):  # aggregators refuse numbers that they do not have
            return 0, None
        complete = 0 < price <= MAX_ANSWER and 0 < updated_at <= self.block.timestamp
        return number, Round(number, updated_at) if complete else None


def round_at(feed: Feed, moment: int) -> Proof:
    """Round that was current at a moment (unix s), the last complete one updated by it, and the next complete one.

    Where phases overlap in time, the newest phase that had begun counts. The next round is one of the same phase or,
    where that has none, the first of a later one.

    Raises
    ------
    NoRoundYet
        No round came after the moment yet.
    Permanent
        The feed began after the moment, left too many rounds out, or the limit of requests is reached.
    Transient
        The node did not answer.
    """
    latest = feed.latest()
    if latest.updated_at <= moment:
        raise NoRoundYet(
            f"feed {feed.address} has no round after {moment} yet (the last is of {latest.updated_at}); wait for one"
        )
    later: Round | None = None
    for phase in range(latest.phase, 0, -1):
        first = feed.next_complete(phase, 1, 2 + MAX_HOLE)
        if first is None:
            continue
        if first.updated_at <= moment:
            return _proof(feed, first, latest, later, moment)
        later = first
    raise Permanent(f"feed {feed.address} has no round of {moment} or before; settle by hand or replace the feed")


def _proof(feed: Feed, first: Round, latest: Round, later: Round | None, moment: int) -> Proof:
    """The two rounds, in the phase that ``first`` begins; ``later`` is the first round of a later phase."""
    if first.phase == latest.phase:
        low, high = _back(feed, first, latest, moment)
    else:
        low, high = _forth(feed, first, moment)
    current = _bisect(feed, low, high, moment)
    following = feed.next_complete(current.phase, current.index + 1, current.index + 2 + MAX_HOLE) or later
    if following is None:
        raise Permanent(
            f"feed {feed.address} leaves more than {MAX_HOLE} rounds out after {current.number}; have governance settle"
        )
    return Proof(current, following)


def _back(feed: Feed, first: Round, latest: Round, moment: int) -> tuple[Round, int]:
    """Gallop back from the latest round, because expiries are recent: (round by the moment, index of one after it)."""
    high, step = latest.index, 1
    while high - step > first.index:
        found = feed.next_complete(latest.phase, high - step, high)
        if found is not None and found.updated_at <= moment:
            return found, high
        high, step = high - step, step * 2
    return first, high


def _forth(feed: Feed, first: Round, moment: int) -> tuple[Round, int]:
    """Gallop forth in a phase of unknown length: (round by the moment, index from which none is)."""
    low, step = first, 1
    while True:
        found = feed.next_complete(low.phase, low.index + step, low.index + step + MAX_HOLE + 1)
        if found is None or found.updated_at > moment:
            return low, low.index + step
        low, step = found, step * 2


def _bisect(feed: Feed, low: Round, high: int, moment: int) -> Round:
    """Last complete round updated by the moment; ``low`` is one, and none from index ``high`` on is."""
    while high - low.index > 1:
        middle = (low.index + high) // 2
        found = feed.next_complete(low.phase, middle, high)
        if found is not None and found.updated_at <= moment:
            low = found
        else:
            high = middle
    return low
