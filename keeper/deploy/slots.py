# SPDX-License-Identifier: Apache-2.0
"""Which slot an instrument is in, or will be in: a slot is free again once its option has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keeper.artifacts import load
from keeper.chain.rpc import Rpc
from keeper.deploy.steps import Check, answer_of

OPTION_SLOTS = 253
FUTURE_SLOTS = (254, 253)
REGISTRY = "InstrumentRegistry"
# (expiry, strike wad, is a call) of an option, (expiry,) of a future
Terms = tuple[int, ...]


class Slots:
    """Slots of one underlying.

    Parameters
    ----------
    taken
        Terms of what is listed now to its slot.

    Examples
    --------
    >>> slots = Slots({(7, 100, True): 1})
    >>> slots.of((7, 90, True)), slots.of((7, 100, True)), slots.of((7, 110, True))
    (0, 1, 2)
    """

    def __init__(self, taken: Mapping[Terms, int] | None = None) -> None:
        self._known = dict(taken or {})
        used = set(self._known.values())
        self._options = (slot for slot in range(OPTION_SLOTS) if slot not in used)
        self._futures = (slot for slot in FUTURE_SLOTS if slot not in used)

    def of(self, terms: Terms) -> int:
        """Slot of an instrument that is listed, else the next free one, where the registry will put it."""
        if terms not in self._known:
            free = self._options if len(terms) > 1 else self._futures
            # without a free slot the registry refuses, whatever is expected here
            self._known[terms] = next(free, FUTURE_SLOTS[-1])
        return self._known[terms]


def read_taken(rpc: Rpc, registry: str, count: int) -> dict[int, dict[Terms, int]]:
    """What is listed now, for the first ``count`` underlyings, at the head."""
    block = rpc.block().number

    def ask(view: str, *args: int) -> tuple[Any, ...]:
        def read(to: str, data: bytes) -> bytes:
            return rpc.call(to, data, block, what=f"{REGISTRY}.{view}")

        return answer_of(Check(REGISTRY, view, args, ()), load(REGISTRY), {REGISTRY: registry}, read)

    def listed(underlying: int) -> Iterator[tuple[Terms, int]]:
        for slot in range(ask("row_count", underlying)[0]):
            terms = ask("option_info", underlying << 8 | slot)
            if terms[0]:
                yield terms, slot
        for slot in FUTURE_SLOTS:
            ((kind, expiry, *_),) = ask("instrument_info", underlying << 8 | slot)
            if kind:
                yield (expiry,), slot

    return {underlying: dict(listed(underlying)) for underlying in range(count)}
