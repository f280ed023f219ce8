# SPDX-License-Identifier: Apache-2.0
"""A ``RiskTable`` over the real oracle, registry and parameters: two underlyings, three options on the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from pyrevm import BlockEnv

from keeper.publish.tables import surface_slice
from risk.page import build_page
from risk.types import OptionSpec
from risk.units import unpack_underlying
from tests.support.margin_words import WAD, global_word, lanes
from tests.support.revm import Contract, deploy, new_evm

HOUR, DAY = 3_600, 86_400
NOW = 1_800_000_000
GOVERNANCE, GUARDIAN, ANYBODY, STRANGER = (f"0x{digit * 40}" for digit in "abcd")
FUND = "0x" + "f" * 40
ZERO = "0x" + "0" * 40
KEYS = {Account.from_key(bytes([k]) * 32).address: bytes([k]) * 32 for k in range(1, 21)}
# by address, as signatures are given
PUBLISHERS = sorted(KEYS, key=lambda a: int(a, 16))
A, B, C, D = PUBLISHERS[:4]
HEADER = f"({'uint256,' * 11}bytes32,bytes32)"
SURFACE = "(uint256,uint256,uint256,int256,int256,int256,int256,int256)"
EXPIRY = NOW + 30 * DAY
SURFACES = [(EXPIRY, WAD * 101 // 100, WAD * 99 // 100, WAD // 100, WAD // 10, -WAD // 2, 0, WAD // 10)]
# scan 24 %, volatility +50 % / -25 % with power 0.3, depth, short minimum 3 %, 1 % a day, band 5 %
WORD = lanes(2_400, 5_000, 2_500, 3_000, 0, 0, 0, 0, 100, 300, 100, 500)
STRIKES = (90, 100, 110)
LIMITS = (60, 600, DAY, 30 * DAY, 200, 5_000, 3_500)
BOND, PENALTY = 1_000, 601


@dataclass(frozen=True)
class Header:
    """A header that the table accepts as the first of the first underlying."""

    epoch: int = 1
    observed_at: int = NOW
    expires_at: int = NOW + HOUR
    reference: int = 100 * WAD
    unit: int = 10**15
    step: int = 20 * 10**6
    vol: int = 6_000
    vol_up: int = 5_000
    vol_down: int = 2_500
    vol_power: int = 3_000
    short_min: int = 300
    model: bytes = b"\x01" * 32
    data: bytes = b"\x02" * 32

    def tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (
            self.epoch, self.observed_at, self.expires_at, self.reference, self.unit, self.step, self.vol,
            self.vol_up, self.vol_down, self.vol_power, self.short_min, self.model, self.data,
        )  # fmt: skip

    def but(self, **changes: Any) -> Header:
        """The same with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Page:
    """Everything that is published of one underlying."""

    header: Header
    rows: bytes
    surfaces: tuple[tuple[int, ...], ...] = tuple(SURFACES)

    def content_hash(self) -> bytes:
        """What publishers sign, besides the underlying."""
        return content_hash(self.header, self.rows, self.surfaces)

    def but(self, slot: int, lane_bytes: bytes, at: int = 0) -> Page:
        """The same page with some bytes of one row replaced."""
        start = 96 * slot + at
        rows = self.rows[:start] + lane_bytes + self.rows[start + len(lane_bytes) :]
        return replace(self, rows=rows)


def content_hash(header: Header, rows: bytes, surfaces: Sequence[tuple[int, ...]] = tuple(SURFACES)) -> bytes:
    """What an epoch commits to."""
    return bytes(keccak(encode([HEADER, f"{SURFACE}[]", "bytes32"], [header.tuple(), list(surfaces), keccak(rows)])))


def sign(signer: str, table: str, kind: str, message: dict[str, Any], chain: int = 1) -> tuple[str, bytes]:
    """A publisher's EIP-712 signature of a ``Page`` or ``Joint``, as ``publish`` takes it."""
    fields = [{"name": "content_hash", "type": "bytes32"}]
    if kind == "Page":
        fields.insert(0, {"name": "underlying", "type": "uint256"})
    domain = {"name": "Ballast RiskTable", "version": "1", "chainId": chain, "verifyingContract": table}
    signed = Account.sign_typed_data(KEYS[signer], domain, {kind: fields}, message)
    return signer, bytes(signed.signature)


@dataclass
class TableWorld:
    """Live price 100 USD, scan range 24 %: a grid step of 2 %. Three publishers, a quorum of one."""

    evm: Any = field(default_factory=new_evm)
    feed: Contract = field(init=False)
    registry: Contract = field(init=False)
    parameters: Contract = field(init=False)
    oracle: Contract = field(init=False)
    token: Contract = field(init=False)
    table: Contract = field(init=False)
    now: int = NOW

    def __post_init__(self) -> None:
        self.wait(0)
        self.feed = deploy(self.evm, "contracts/testing/MockAggregator.vy", 8, 100 * 10**8)
        self.oracle = deploy(self.evm, "contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
        self.registry = deploy(self.evm, "contracts/InstrumentRegistry.vy", GOVERNANCE, self.oracle.address)
        self.parameters = deploy(self.evm, "contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN, self.oracle.address)
        self.token = deploy(self.evm, "contracts/testing/TestToken.vy", "Cash", "C", 6)
        self.table = self.new_table(self.token)
        self.parameters.call("set_bounds", 0, 0, lanes(*[65_535] * 5), 0, 0, caller=GOVERNANCE)
        self.parameters.call("set_bounds", 1, 0, lanes(*[65_535] * 12), 0, 0, caller=GOVERNANCE)
        self.parameters.call("initialise", 0, 0, global_word(), caller=GOVERNANCE)
        for u in range(2):
            self.list_underlying(u, WORD)
        for strike in STRIKES:
            self.list_option(strike)
        for publisher in (A, B, C):
            self.table.call("set_publisher", publisher, True, caller=GOVERNANCE)

    def new_table(self, token: Contract) -> Contract:
        """Another table over the same world."""
        return deploy(
            self.evm, "contracts/RiskTable.vy", GOVERNANCE, GUARDIAN, self.registry.address, self.oracle.address,
            self.parameters.address, token.address,
        )  # fmt: skip

    def list_underlying(self, u: int, word: int) -> None:
        """List the next underlying, priced by the feed."""
        self.registry.call("list_underlying", f"U{u}", True, caller=GOVERNANCE)
        self.parameters.call("initialise", 1, u, word, caller=GOVERNANCE)
        config = (self.feed.address, DAY, 2 * DAY, ZERO, 0, ZERO, 0, 0, 0)
        self.oracle.call("set_feed", 0, u, config, caller=GOVERNANCE)

    def list_option(self, strike: int, expiry: int = EXPIRY, is_call: bool = True) -> int:
        """List an option on the first underlying; its slot."""
        return int(self.registry.call("list_option", 0, expiry, strike * WAD, is_call, caller=GOVERNANCE))

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds
        self.evm.set_block_env(BlockEnv(number=1, timestamp=self.now))

    def fresh(self) -> None:
        """Let the feed say 100 USD again."""
        self.feed.call("set_answer", 100 * 10**8, self.now)

    # ------------------------------------------------------------------ publication

    def signatures(self, page: Page, signers: Sequence[str], underlying: int = 0) -> list[tuple[str, bytes]]:
        """Signatures of a page for this table, in the order given."""
        message = {"underlying": underlying, "content_hash": page.content_hash()}
        return [sign(signer, self.table.address, "Page", message) for signer in signers]

    def submit(self, page: Page, signatures: Sequence[tuple[str, bytes]], underlying: int = 0) -> None:
        """Publish with these signatures."""
        self.table.call(
            "publish", underlying, page.header.tuple(), page.surfaces, page.rows, list(signatures), caller=ANYBODY
        )

    def publish(
        self, header: Header, rows: bytes = bytes(288), underlying: int = 0, signers: Sequence[str] = (A,)
    ) -> Page:
        """Sign and publish a page of any rows."""
        page = Page(header, rows)
        self.submit(page, self.signatures(page, signers, underlying), underlying)
        return page

    def check(self, header: Header, rows: int = 3, underlying: int = 0, surfaces: Any = tuple(SURFACES)) -> None:
        """The same guards as a view."""
        self.table.call("check_publish", underlying, header.tuple(), surfaces, rows, static=True)

    def code(self, word: int) -> bytes:
        """Runtime code of the data contract that a table word points to."""
        return bytes(self.evm.get_code(f"0x{word % 2**160:040x}"))

    # ------------------------------------------------------------------ true pages and challenges

    def true_page(
        self,
        epoch: int = 1,
        surfaces: Sequence[tuple[int, ...]] = tuple(SURFACES),
        **changes: Any,
    ) -> Page:
        """The page that the keeper's model builds of the options listed now."""
        count = self.registry.call("row_count", 0)
        options = []
        for slot in range(count):
            expiry, strike, is_call = self.registry.call("option_info", slot)
            price = self.registry.call("settlement_price", 0, expiry)
            if expiry:
                options.append(OptionSpec(slot, expiry, strike / WAD, is_call, price / WAD if price else None))
        slices = [surface_slice(surface) for surface in surfaces]  # type: ignore[arg-type]
        packed = build_page(options, 100 * WAD, slices, self.now, unpack_underlying(WORD), count)
        header = Header(
            epoch=epoch, observed_at=self.now, expires_at=self.now + HOUR, unit=packed.lane_unit_wad
        ).but(**changes)  # fmt: skip
        return Page(header, packed.rows, tuple(surfaces))

    def put(self, page: Page, signers: Sequence[str] = (A,)) -> Page:
        """Publish a page signed by these."""
        self.submit(page, self.signatures(page, signers))
        return page

    def bond(self, publisher: str, amount: int = BOND) -> None:
        """Pay into a publisher's bond."""
        self.token.call("mint", ANYBODY, amount)
        self.token.call("approve", self.table.address, amount, caller=ANYBODY)
        self.table.call("deposit_bond", publisher, amount, caller=ANYBODY)

    def terms(self, **changes: Any) -> tuple[Any, ...]:
        """Terms in force with some fields changed."""
        names = ("verifier", "fund", "tolerance", "min_bond", "slash", "delay")
        values = dict(zip(names, self.table.call("terms"), strict=True)) | changes
        return tuple(values.values())

    def set_terms(self, **changes: Any) -> None:
        """Change the terms."""
        self.table.call("set_terms", self.terms(**changes), caller=GOVERNANCE)

    def open_challenges(self) -> None:
        """Wire the real verifier, the fund and a penalty; every publisher has a bond."""
        verifier = deploy(self.evm, "contracts/RowVerifier.vy")
        self.set_terms(verifier=verifier.address, fund=FUND, min_bond=BOND, slash=PENALTY)
        for publisher in (A, B, C):
            self.bond(publisher)

    def verdict(self, page: Page, slot: int) -> tuple[bool, int, int, int]:
        """What ``check`` says."""
        wrong, lane, expected, published = self.table.call("check", *self._claim(page, slot), static=True)
        return wrong, lane, expected, published

    def challenge(self, page: Page, slot: int, caller: str = STRANGER) -> None:
        """Challenge a row."""
        self.table.call("challenge", *self._claim(page, slot), caller=caller)

    def _claim(self, page: Page, slot: int) -> tuple[Any, ...]:
        return 0, slot, page.header.tuple(), page.surfaces, keccak(page.rows)
