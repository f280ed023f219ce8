# SPDX-License-Identifier: Apache-2.0
"""The words the contracts speak (docs/margin-rule.md, sections 2 and 3): parsing and building, integers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from risk.errors import BadInput

ROW_BYTES = 96
NODES = 15
PERPETUAL = 255
# In the order of the words; the bitmap of slot DELTA_ONE_SLOTS[k] starts at bit HEAD_BITS[k] of the head.
DELTA_ONE_SLOTS = (PERPETUAL, 254, 253)
HEAD_BITS = (128, 224, 240)


def instrument_id(underlying: int, slot: int) -> int:
    """Id of an instrument (section 1)."""
    return underlying << 8 | slot


def lane(word: int, k: int) -> int:
    """Sixteen-bit lane ``k`` of a parameter word."""
    return (word >> (16 * k)) & 0xFFFF


def signed(value: int, bits: int) -> int:
    """Two's complement of the lowest ``bits`` of ``value``."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class PriceWord(NamedTuple):
    """One price: wad, state (0 fresh, 1 late, 2 dead), unix time of its last update, lateness in bps.

    ``late_bps`` is 0 when fresh and 10,000 when dead.
    """

    price: int
    state: int
    updated_at: int
    late_bps: int

    @classmethod
    def from_word(cls, word: int) -> PriceWord:
        """Decode a word of ``PriceOracle.read``."""
        return cls(word & (2**128 - 1), (word >> 128) & 0xFF, (word >> 136) & (2**64 - 1), (word >> 200) & 0xFFFF)

    def to_word(self) -> int:
        """Inverse of `from_word`."""
        return self.price | self.state << 128 | self.updated_at << 136 | self.late_bps << 200


class MarkWord(NamedTuple):
    """A delta-one instrument now: settlement price in wad (0 = not settled), carry, signed, expiry (unix s).

    The carry of a perpetual is its cumulative funding in wad per unit, that of a future its basis in 1e-9 of the price.
    Expiry 0: none is known.
    """

    settled: int
    carry: int
    expiry: int = 0

    @classmethod
    def from_word(cls, word: int) -> MarkWord:
        """Decode a word of ``InstrumentRegistry.marks``."""
        return cls(word & (2**96 - 1), signed(word >> 128, 128), word >> 96 & (2**32 - 1))

    def to_word(self) -> int:
        """Inverse of `from_word`."""
        return self.settled | self.expiry << 96 | (self.carry & (2**128 - 1)) << 128


class Row(NamedTuple):
    """One instrument's risk array: ``lanes[v][n]``, and the three headers, in lane units.

    ``hour``: when it expires, counted from the hour before the page's observation; 0 = later than 30, or settled.
    """

    lanes: tuple[tuple[int, ...], ...]
    short_minimum: int
    absolute_delta: int
    tail: int
    hour: int = 0


@lru_cache(maxsize=65_536)
def _row(data: bytes) -> Row:
    words = [int.from_bytes(data[32 * v : 32 * v + 32], "big") for v in range(3)]
    lanes = tuple(tuple((word >> (16 * n)) & 0xFFFF for n in range(NODES)) for word in words)
    return Row(lanes, words[0] >> 240, words[1] >> 240, words[2] >> 240 & 0x7FF, words[2] >> 251)


@dataclass(frozen=True, slots=True)
class Page:
    """A living page: ``rows`` is the blob without its STOP byte; amounts wad, step in 1e-9."""

    address: str
    epoch: int
    observed_at: int
    expires_at: int
    reference_price: int
    lane_unit: int
    step_e9: int
    rows: bytes

    @classmethod
    def from_words(cls, first: int, second: int, rows: bytes) -> Page | None:
        """Decode the two page words of ``RiskTable.read``; ``None`` when there is no page."""
        if first & (2**160 - 1) == 0:
            return None
        return cls(
            address=f"0x{first & (2**160 - 1):040x}",
            epoch=(first >> 160) & 0xFFFFFFFF,
            observed_at=(first >> 192) & 0xFFFFFFFF,
            expires_at=first >> 224,
            reference_price=second & (2**112 - 1),
            lane_unit=(second >> 112) & (2**96 - 1),
            step_e9=second >> 208,
            rows=rows,
        )

    def expiry(self, row: Row) -> int | None:
        """When an option of the page expires (unix s); None where its row does not say."""
        return (self.observed_at // 3_600 + row.hour - 1) * 3_600 if row.hour else None

    def row(self, slot: int) -> Row | None:
        """Row of a slot, ``None`` when the page does not reach that far."""
        data = self.rows[ROW_BYTES * slot : ROW_BYTES * (slot + 1)]
        return _row(data) if len(data) == ROW_BYTES else None


@dataclass(frozen=True, slots=True)
class JointSet:
    """The joint scenarios: one 256-bit word each."""

    address: str
    epoch: int
    expires_at: int
    scenarios: tuple[int, ...]

    @classmethod
    def from_word(cls, word: int, blob: bytes) -> JointSet | None:
        """Decode the joint word of ``RiskTable.read`` and the blob without its STOP byte."""
        if word & (2**160 - 1) == 0:
            return None
        count = (word >> 192) & 0xFF
        if len(blob) < 32 * count:
            raise BadInput(f"joint blob holds {len(blob)} bytes, {32 * count} expected; read it again")
        scenarios = tuple(int.from_bytes(blob[32 * j : 32 * j + 32], "big") for j in range(count))
        return cls(f"0x{word & (2**160 - 1):040x}", (word >> 160) & 0xFFFFFFFF, (word >> 200) & 0xFFFFFFFF, scenarios)

    @property
    def count(self) -> int:
        """Number of scenarios."""
        return len(self.scenarios)

    def bytes_of(self, j: int, underlying: int) -> tuple[int, int]:
        """Signed (price, volatility) bytes of scenario ``j``."""
        pair = self.scenarios[j] >> (16 * underlying)
        return signed(pair, 8), signed(pair >> 8, 8)


class CollateralPosition(NamedTuple):
    """Amount in raw token units; ``linked`` is the underlying + 1, 0 for none."""

    asset: int
    amount: int
    use_bps: int
    decimals: int
    linked: int


class DeltaOnePosition(NamedTuple):
    """A perpetual or future: signed lots, and base in lot x wad with the carry at entry folded in."""

    lots: int
    base: int


class OptionPosition(NamedTuple):
    """Slot within the underlying and signed lots."""

    slot: int
    lots: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as the engine sees it: ``delta_ones`` by instrument id, ``options`` by underlying."""

    cash: int
    nonce: int = 0
    collaterals: tuple[CollateralPosition, ...] = ()
    delta_ones: Mapping[int, DeltaOnePosition] = field(default_factory=dict)
    options: Mapping[int, tuple[OptionPosition, ...]] = field(default_factory=dict)

    def delta_ones_of(self, underlying: int) -> dict[int, DeltaOnePosition]:
        """Perpetual and futures of one underlying by instrument id, in the order of the words."""
        ids = (instrument_id(underlying, slot) for slot in DELTA_ONE_SLOTS)
        return {k: self.delta_ones[k] for k in ids if k in self.delta_ones}

    @property
    def has_position(self) -> bool:
        """Whether it holds a perpetual, a future or an option."""
        return bool(self.delta_ones or self.options)


def _options(words: Sequence[int], count: int) -> tuple[OptionPosition, ...]:
    result = []
    for k in range(count):
        bits = (words[k // 4] >> (64 * (k % 4))) & (2**64 - 1)
        lots = bits >> 9
        result.append(OptionPosition(bits & 0xFF, -lots if (bits >> 8) & 1 else lots))
    return tuple(result)


def _positions(
    words: Sequence[int], at: int
) -> tuple[dict[int, DeltaOnePosition], dict[int, tuple[OptionPosition, ...]], int]:
    """Part 4 of the words: delta-one positions, options, and where the words end."""
    head = words[0]
    delta_ones, options = {}, {}
    for u in range(16):
        for slot, bit in zip(DELTA_ONE_SLOTS, HEAD_BITS, strict=True):
            if head >> (bit + u) & 1:
                delta_ones[instrument_id(u, slot)] = DeltaOnePosition(
                    signed(words[at], 64), signed(words[at] >> 64, 192)
                )
                at += 1
        count = head >> (8 * u) & 0xFF
        if count:
            size = (count + 3) // 4
            options[u] = _options([words[at + k] for k in range(size)], count)
            at += size
    return delta_ones, options, at


def parse_words(words: Sequence[int]) -> AccountState:
    """Decode what ``MarginAccounts.state`` returns.

    Raises
    ------
    risk.errors.BadInput
        when the number of words does not fit the head.
    """
    if len(words) < 2:
        raise BadInput(f"state of an account has {len(words)} words, at least 2 expected; read it again")
    head, at = words[0], 2
    try:
        collaterals = []
        for asset in range(16):
            if head >> (144 + asset) & 1:
                word = words[at]
                at += 1
                collaterals.append(
                    CollateralPosition(
                        asset, word & (2**128 - 1), (word >> 128) & 0xFFFF, (word >> 144) & 0xFF, (word >> 152) & 0xFF
                    )
                )
        delta_ones, options, at = _positions(words, at)
    except IndexError as error:
        raise BadInput(f"state of an account ends after {len(words)} words; read it again") from error
    if at != len(words):
        raise BadInput(f"state of an account has {len(words)} words, its head says {at}; read it again")
    return AccountState(signed(words[1], 256), head >> 160 & (2**64 - 1), tuple(collaterals), delta_ones, options)


def build_words(state: AccountState) -> tuple[int, ...]:
    """Encode an account: the inverse of `parse_words`."""
    head = (state.nonce & (2**64 - 1)) << 160
    body: list[int] = []
    for item in state.collaterals:
        head |= 1 << (144 + item.asset)
        body.append(item.amount | item.use_bps << 128 | item.decimals << 144 | item.linked << 152)
    for u in range(16):
        for slot, bit in zip(DELTA_ONE_SLOTS, HEAD_BITS, strict=True):
            held = state.delta_ones.get(instrument_id(u, slot))
            if held is not None:
                head |= 1 << (bit + u)
                body.append((held.lots & (2**64 - 1)) | (held.base & (2**192 - 1)) << 64)
        positions = state.options.get(u, ())
        head |= len(positions) << (8 * u)
        for start in range(0, len(positions), 4):
            word = 0
            for k, position in enumerate(positions[start : start + 4]):
                bits = position.slot | (1 << 8 if position.lots < 0 else 0) | abs(position.lots) << 9
                word |= bits << (64 * k)
            body.append(word)
    return (head, state.cash & (2**256 - 1), *body)
