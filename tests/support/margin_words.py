# SPDX-License-Identifier: Apache-2.0
"""A ``MarginEngine`` over settable inputs for the unit tests, and words of docs/margin-rule.md written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyrevm import BlockEnv

from tests.support.revm import Contract, deploy, new_evm

NOW = 1_800_000_000
WAD = 10**18
UNIT = 10**6  # lots of one whole unit
ACCOUNT = 5
# price words: state, and how late
DEAD = 2 << 128 | 10_000 << 200
DAY = 86_400
NODES = (-15, -12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12, 15)


class Assessed(NamedTuple):
    """What ``assess`` returns, by name."""

    equity_mark: int
    equity_im: int
    equity_mm: int
    im: int
    mm: int
    market_risk: int
    charges: int
    worst_joint: int
    flags: int
    doubt: int
    scans: tuple[int, ...]


class DeltaOne(NamedTuple):
    """A perpetual or future: signed lots, base in lot x wad."""

    lots: int
    base: int = 0


def lanes(*values: int) -> int:
    """Sixteen-bit lanes from the lowest bits."""
    return sum(value << (16 * k) for k, value in enumerate(values))


def late(bps: int) -> int:
    """What a price word needs to be late."""
    return 1 << 128 | bps << 200


def mark_word(settled: int = 0, carry: int = 0) -> int:
    """Settlement price and carry of a perpetual or future."""
    return settled | (carry % 2**128) << 128


def underlying_word(
    scan: int = 2_400,
    delta: int = 0,
    option: int = 0,
    basis: int = 0,
    drift: int = 0,
    depth: int = 100,
    band: int = 0,
    widen: int = 0,
) -> int:
    """Parameter word of an underlying, bps; depth x 10,000 USD."""
    return lanes(scan, 0, 0, 0, delta, option, basis, drift, depth, 0, 0, band, widen)


def global_word(
    im: int = 10_000, mm: int = 10_000, charge: int = 10_000, floor: int = 0, reserve: int = 0, im_floor: int = 0
) -> int:
    """Global parameter word, bps; reserve in USD."""
    return lanes(im, mm, charge, floor, reserve, im_floor)


def holding(amount: int, decimals: int = 18, linked: int | None = None, use: int = 0) -> int:
    """State word of one collateral asset."""
    return amount | use << 128 | decimals << 144 | (0 if linked is None else linked + 1) << 152


def option_words(options: Iterable[tuple[int, int]]) -> list[int]:
    """Words of (slot, signed lots) pairs, four to a word."""
    packed = [slot | (256 if lots < 0 else 0) | abs(lots) << 9 for slot, lots in options]
    return [
        sum(lane << (64 * k) for k, lane in enumerate(packed[i : i + 4])) for i in range(0, len(packed), 4)
    ]  # fmt: skip


def words(
    cash: int = 0,
    collateral: Mapping[int, int] | None = None,
    perps: Mapping[int, DeltaOne] | None = None,
    options: Mapping[int, Sequence[tuple[int, int]]] | None = None,
    first: Mapping[int, DeltaOne] | None = None,
    second: Mapping[int, DeltaOne] | None = None,
) -> list[int]:
    """State words of an account; ``first`` and ``second`` are the futures of slots 254 and 253."""
    collateral, options = collateral or {}, options or {}
    delta_ones = (perps or {}, first or {}, second or {})
    head = sum(len(items) << (8 * u) for u, items in options.items())
    head |= sum(1 << (144 + c) for c in collateral)
    for shift, held in zip((128, 224, 240), delta_ones, strict=True):
        head |= sum(1 << (shift + u) for u in held)
    result = [head, cash % 2**256, *(collateral[c] for c in sorted(collateral))]
    for u in range(16):
        held_here = [held[u] for held in delta_ones if u in held]
        result += [one.lots % 2**64 | (one.base % 2**192) << 64 for one in held_here]
        result += option_words(options.get(u, ()))
    return result


def row(value: Callable[[int, int], int], short_minimum: int = 0, abs_delta: int = 0, tail: int = 0) -> bytes:
    """A row with ``value(volatility state, node offset)`` in lane units."""
    headers = (short_minimum, abs_delta, tail)
    return b"".join(
        (lanes(*(value(v, k) for k in NODES)) | headers[v] << 240).to_bytes(32, "big") for v in range(3)
    )  # fmt: skip


@dataclass
class EngineWorld:
    """The engine and its inputs. Prices start at 100 USD, parameters without charges and haircuts."""

    evm: Any = field(default_factory=new_evm)
    engine: Contract = field(init=False)
    lens: Contract = field(init=False)
    inputs: Contract = field(init=False)
    table: Contract = field(init=False)

    def __post_init__(self) -> None:
        self.at(NOW)
        self.inputs = deploy(self.evm, "contracts/testing/EngineFixture.vy")
        self.table = deploy(self.evm, "contracts/testing/TableFixture.vy")
        source = self.inputs.address
        self.engine = deploy(
            self.evm, "contracts/MarginEngine.vy", source, source, source, source, self.table.address
        )  # fmt: skip
        self.lens = deploy(self.evm, "contracts/MarginLens.vy", source, source, self.engine.address)
        self.parameters(0, 0, global_word())
        for i in range(16):
            self.price(0, i, 100 * WAD)
            self.price(1, i, 100 * WAD)
            self.parameters(1, i, underlying_word())

    def at(self, timestamp: int) -> None:
        """Set the clock."""
        self.evm.set_block_env(BlockEnv(number=1, timestamp=timestamp))

    def price(self, kind: int, number: int, word: int) -> None:
        """Price word of an underlying (kind 0) or collateral asset (1)."""
        self.inputs.call("set_price", kind, number, word)

    def parameters(self, kind: int, number: int, word: int) -> None:
        """Parameter word: kind 0 global, 1 underlying, 2 collateral."""
        self.inputs.call("set_word", kind, number, word)

    def mark(self, instrument: int, word: int) -> None:
        """Settlement price and carry of a perpetual or future, by its id."""
        self.inputs.call("set_mark", (instrument >> 8) + 16 * (255 - (instrument & 255)), word)

    def page(
        self,
        u: int,
        rows: Sequence[bytes],
        reference: int = 100 * WAD,
        unit: int = 10**15,
        observed_at: int = NOW,
        expires_at: int = NOW + DAY,
    ) -> None:
        """Publish rows; the grid step is that of a scan range of 24 %: 2 % of the reference."""
        address = int(self.table.call("store", b"".join(rows)), 16)
        word = address | observed_at << 192 | expires_at << 224
        self.table.call("set_page", u, word, reference | unit << 112 | (20 * 10**6) << 208)

    def joint(self, scenarios: Sequence[Mapping[int, tuple[int, int]]], expires_at: int = NOW + 1) -> None:
        """Store scenarios, each underlying -> (price byte, volatility byte)."""
        data = b"".join(
            sum((p % 256 | w % 256 << 8) << (16 * u) for u, (p, w) in scenario.items()).to_bytes(32, "big")
            for scenario in scenarios
        )
        address = int(self.table.call("store", data), 16)
        self.table.call("set_joint", address | len(scenarios) << 192 | expires_at << 200)

    def set(self, state: Sequence[int]) -> None:
        """Give the account these words."""
        self.inputs.call("set_state", ACCOUNT, list(state))

    def assess(self, state: Sequence[int]) -> Assessed:
        """``assess`` of an account with these words."""
        self.set(state)
        return Assessed(*self.engine.call("assess", ACCOUNT, static=True))

    def assess_at(self, scenario: int) -> tuple[int, int]:
        """``assess_at`` of the account as it is."""
        equity, bound = self.engine.call("assess_at", ACCOUNT, scenario, static=True)
        return equity, bound

    def losses(self) -> list[int]:
        """What the account as it is loses at the 27 points of the scan, at scales of 1: 9 * v + n."""
        charges = Assessed(*self.engine.call("assess", ACCOUNT, static=True)).charges
        return [self.assess_at(64 + point)[1] - charges for point in range(27)]

    def after(self, cash: int, *deltas: tuple[int, int, int], collaterals: Sequence[tuple[int, int]] = ()) -> Assessed:
        """``assess_after`` of the account as it is: (instrument, lots, price) and (asset, amount)."""
        got = self.lens.call("assess_after", ACCOUNT, cash, list(deltas), list(collaterals), static=True)
        return Assessed(*got)

    def band(self, instrument: int) -> tuple[int, int, int]:
        """``price_band``: mark, low, high."""
        mark, low, high = self.engine.call("price_band", instrument, static=True)
        return mark, low, high
