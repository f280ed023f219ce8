# SPDX-License-Identifier: Apache-2.0
"""Feeds as ``PriceOracle.set_feed`` takes them, words as ``read`` gives them, and code that answers badly."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

ZERO: Final = "0x" + 40 * "0"
FRESH, LATE, DEAD = 0, 1, 2
UNDERLYING, COLLATERAL, CASH = 0, 1, 2


def feed_config(
    feed: str,
    heartbeat_s: int,
    dead_s: int | None = None,
    secondary: str = ZERO,
    max_deviation_bps: int = 0,
    rate: tuple[str, int, int, int] = (ZERO, 0, 0, 0),
) -> tuple[Any, ...]:
    """``IPriceOracle.FeedConfig``; without ``dead_s`` a price is dead as soon as it is not fresh.

    ``rate`` is (source, kind, lowest and highest rate in 1e-9).
    """
    return (feed, heartbeat_s, heartbeat_s if dead_s is None else dead_s, secondary, max_deviation_bps, *rate)


class Word(NamedTuple):
    """A word of ``read``."""

    price: int
    state: int
    updated_at: int
    late_bps: int

    @classmethod
    def of(cls, word: int) -> Word:
        """Decode; refuses bits that mean nothing."""
        assert word >> 216 == 0
        return cls(word & 2**128 - 1, word >> 128 & 255, word >> 136 & 2**64 - 1, word >> 200 & 65_535)


def answering(*words: int) -> bytes:
    """Code that returns these words to any call."""
    stores = b"".join(
        b"\x7f" + (w % 2**256).to_bytes(32, "big") + b"\x60" + bytes([32 * k]) + b"\x52" for k, w in enumerate(words)
    )
    return stores + b"\x60" + bytes([32 * len(words)]) + b"\x5f\xf3"


# code of feeds that are broken in every way that costs the reader nothing but gas
BROKEN: Final = {
    "none": b"",
    "reverts": b"\x5f\x5f\xfd",
    "invalid": b"\xfe",
    "loops": b"\x5b\x5f\x56",
    "bomb": b"\x62\x03\x0d\x40\x5f\xf3",  # returns 200,000 bytes of nothing
    "bomb_revert": b"\x62\x03\x0d\x40\x5f\xfd",
    "short": answering(10**8),
    "ones": answering(*[2**256 - 1] * 5),
    "huge": answering(1, 2**255 - 1, 1, 1, 1),
    "negative": answering(1, -(10**8), 1, 1, 1),
    "zeros": answering(0, 0, 0, 0, 0),
    "late": answering(1, 10**8, 1, 2**255, 1),
}
