# SPDX-License-Identifier: Apache-2.0
"""Logs to events, by the contracts' ABIs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from keeper.chain.contracts import Contracts, signature, types_of
from keeper.domain import Event
from keeper.errors import Permanent

DYNAMIC = ("string", "bytes")


@dataclass(frozen=True, slots=True)
class _Layout:
    name: str
    indexed: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, str], ...]


class EventDecoder:
    """Decodes the logs of a deployment's contracts."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self._layouts: dict[tuple[str, bytes], _Layout] = {}
        for name in contracts.names:
            for item in contracts.get(name).abi:
                if item["type"] == "event":
                    self._layouts[name, signature(item)] = _layout(item)

    def decode(self, log: Mapping[str, Any]) -> Event | None:
        """Decode one log; None for an emitter or an event that the ABIs do not have.

        Raises
        ------
        Permanent
            The log does not fit the ABI's event.
        """
        name = self._contracts.name_at(log["address"])
        topics = [bytes(topic) for topic in log["topics"]]
        layout = self._layouts.get((name, topics[0])) if name and topics else None
        if name is None or layout is None:
            return None
        return Event(
            block_number=log["blockNumber"],
            block_hash=bytes(log["blockHash"]),
            log_index=log["logIndex"],
            tx_hash=bytes(log["transactionHash"]),
            contract=name,
            name=layout.name,
            args=_arguments(
                layout, topics[1:], bytes(log["data"]), f"{name}.{layout.name} in block {log['blockNumber']}"
            ),
        )

    def decode_all(self, logs: Iterable[Mapping[str, Any]]) -> list[Event]:
        """Decode logs and put them in the order of the chain."""
        events = [event for event in map(self.decode, logs) if event is not None]
        return sorted(events, key=lambda event: (event.block_number, event.log_index))


def _layout(item: Mapping[str, Any]) -> _Layout:
    fields = list(zip((field["name"] for field in item["inputs"]), types_of(item["inputs"]), strict=True))
    marks = [field["indexed"] for field in item["inputs"]]
    return _Layout(
        name=item["name"],
        indexed=tuple(field for field, mark in zip(fields, marks, strict=True) if mark),
        plain=tuple(field for field, mark in zip(fields, marks, strict=True) if not mark),
    )


def _arguments(layout: _Layout, topics: list[bytes], data: bytes, what: str) -> dict[str, Any]:
    if len(topics) != len(layout.indexed):
        raise Permanent(f"{what} has {len(topics)} topics, its ABI says {len(layout.indexed)}; update the ABI")
    try:
        values = {name: _topic(kind, topic) for (name, kind), topic in zip(layout.indexed, topics, strict=True)}
        plain = decode([kind for _, kind in layout.plain], data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise Permanent(f"{what} does not fit its ABI ({error}); update the ABI") from error
    return values | {name: value for (name, _), value in zip(layout.plain, plain, strict=True)}


def _topic(kind: str, topic: bytes) -> Any:
    """Value of an indexed field; of a dynamic one only the hash exists."""
    if kind in DYNAMIC or kind.endswith("]") or kind.startswith("("):
        return topic
    return decode([kind], topic)[0]
