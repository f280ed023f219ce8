# SPDX-License-Identifier: Apache-2.0
"""Frozen values of the keeper: what was seen on the chain and what is to be done about it.

Amounts are the chain's integers. A value that could not be read is :class:`Unknown`, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from risk.onchain import ChainMarket

T = TypeVar("T")
FRESH, DEAD = 0, 2  # states of a price
PEG_FLOOR_WAD = 98 * 10**16
HALF_BPS_WAD = 5 * 10**13


@dataclass(frozen=True, slots=True)
class Block:
    """A block that reads are pinned to; ``timestamp`` in unix seconds."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int

    def __str__(self) -> str:
        return f"{self.number} (0x{self.hash.hex()[:8]})"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be read; ``since`` is the unix time (s) of the first failed read."""

    reason: str
    since: int


def known(value: T | Unknown) -> T | None:
    """Return the value, or None where it is unknown."""
    return None if isinstance(value, Unknown) else value


class Phase(IntEnum):
    """Phase of an auction, as ``LiquidationAuction`` counts them."""

    NONE = 0
    SOLVENT = 1
    INSOLVENT = 2


@dataclass(frozen=True, slots=True)
class AuctionState:
    """``LiquidationAuction.auction_of``; ``epoch`` counts the auctions of the account.

    ``seen_at`` is the unix time (s) of the last record; ``solvent_s`` and ``insolvent_s`` the time counted by then.
    """

    phase: Phase
    seen_at: int
    solvent_s: int
    insolvent_s: int
    epoch: int


@dataclass(frozen=True, slots=True)
class AuctionSettings:
    """``LiquidationAuction.settings``, field for field: shares in bps, times in seconds, the least slice in USD wad."""

    start_bps: int
    fast_bps: int
    slow_bps: int
    fast_s: int
    slow_s: int
    insolvent_s: int
    target_buffer_bps: int
    end_buffer_bps: int
    min_slice_wad: int
    tick_s: int
    reward_gas: int


@dataclass(frozen=True, slots=True)
class Price:
    """One word of ``PriceOracle.read``; ``price_wad`` in USD wad per unit, ``updated_at`` in unix seconds.

    ``state`` is 0 fresh, 1 late, 2 dead; ``late_bps`` rises from 0 to 10,000 between fresh and dead.
    """

    price_wad: int
    state: int
    updated_at: int
    late_bps: int

    @property
    def fresh(self) -> bool:
        """Whether the oracle takes this price for the present one."""
        return self.state == FRESH

    @property
    def dead(self) -> bool:
        """Whether the oracle has given this price up (it is then the last one recorded)."""
        return self.state == DEAD


@dataclass(frozen=True, slots=True)
class Peg:
    """Price of the cash token, USD wad, and what ``RiskParameters`` last took in of it (``stored_bps`` of im_scale)."""

    price_wad: int
    state: int
    updated_at: int
    stored_bps: int

    @property
    def due_bps(self) -> int:
        """What ``RiskParameters.sync_peg`` would store now: twice the distance below 0.98 USD, rounded up."""
        if self.state == DEAD:
            return self.stored_bps
        return -(-max(0, PEG_FLOOR_WAD - self.price_wad) // HALF_BPS_WAD)


@dataclass(frozen=True, slots=True)
class ParameterStatus:
    """``RiskParameters.status`` with the oldest observation ``guards`` lets a push carry; times in unix seconds."""

    nonce: int
    pushed_at: int
    observed_at: int
    valid_until: int
    min_interval_s: int
    max_age_s: int


@dataclass(frozen=True, slots=True)
class PageStatus:
    """``RiskTable.page_info`` of one underlying, unpacked, and the rows its page has and should have.

    ``last_epoch`` is the last number used: above ``epoch`` after a revocation.
    """

    underlying: int
    address: str | None
    epoch: int
    observed_at: int
    expires_at: int
    reference_price_wad: int
    lane_unit_wad: int
    step_e9: int
    content_hash: bytes
    atm_vol_bps: int
    rows: int
    rows_wanted: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class JointStatus:
    """The joint word of ``RiskTable.read``, unpacked."""

    address: str | None
    epoch: int
    count: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Which epochs are live: the joint scenarios and a page for each underlying."""

    joint: JointStatus
    pages: Mapping[int, PageStatus]


@dataclass(frozen=True, slots=True)
class UnderlyingInfo:
    """``InstrumentRegistry.underlying_info``."""

    id: int
    symbol: str
    has_perp: bool
    option_slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """``InstrumentRegistry.instrument_info`` of a listed instrument; times in unix seconds.

    ``expiry`` is 0 for a perpetual that is not being delisted, ``settlement_wad`` 0 until the expiry is settled;
    ``serial`` tells the instruments of one slot apart.
    """

    instrument: int
    expiry: int
    settlement_wad: int
    serial: int
    listed_at: int

    @property
    def underlying(self) -> int:
        """Underlying of the instrument."""
        return self.instrument >> 8

    @property
    def slot(self) -> int:
        """Slot of the instrument in its underlying: of an option the row of the page."""
        return self.instrument & 255


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionInfo(Listing):
    """A listed option; ``strike_wad`` in USD wad per unit."""

    strike_wad: int
    is_call: bool


@dataclass(frozen=True, slots=True)
class CollateralInfo:
    """``MarginAccounts.collateral_info``; ``linked`` is the underlying it follows, or None."""

    id: int
    token: str
    decimals: int
    linked: int | None
    cap_raw: int
    total_raw: int


@dataclass(frozen=True, slots=True)
class ParameterBounds:
    """``RiskParameters.bounds`` of one kind: packed like the words."""

    low: int
    high: int
    step_up: int
    step_down: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one cycle decides on, read at one block.

    ``accounts`` maps an account to its state words (``docs/margin-rule.md``, section 2). ``prices`` is keyed by
    (kind, id) with kind 0 underlying and 1 collateral; ``parameter_words`` and ``parameter_bounds`` by the kinds of
    ``RiskParameters`` (0 global, 1 underlying, 2 collateral). ``market`` holds the same numbers as the integer twin
    wants them. ``parameter_words`` are the stored words, which ramps lead to; those in force now are in ``market``, and
    ``ramp_ends`` says when the last ramp of an underlying's word ends (unix s; 0: it has never ramped).
    ``delta_ones`` are the listed perpetuals and futures, by instrument.
    """

    chain_id: int
    block: Block
    market: ChainMarket | Unknown
    accounts: Mapping[int, tuple[int, ...] | Unknown]
    auctions: Mapping[int, AuctionState | Unknown]
    prices: Mapping[tuple[int, int], Price] | Unknown
    parameters: ParameterStatus | Unknown
    parameter_words: Mapping[tuple[int, int], int] | Unknown
    parameter_bounds: Mapping[int, ParameterBounds] | Unknown
    ramp_ends: Mapping[int, int] | Unknown
    table: TableStatus | Unknown
    underlyings: Mapping[int, UnderlyingInfo] | Unknown
    collaterals: Mapping[int, CollateralInfo] | Unknown
    options: Mapping[int, OptionInfo] | Unknown
    delta_ones: Mapping[int, Listing] | Unknown
    peg: Peg | Unknown
    addresses: Mapping[str, str]

    def symbol(self, underlying: int) -> str:
        """What people call an underlying."""
        known = None if isinstance(self.underlyings, Unknown) else self.underlyings.get(underlying)
        return f"underlying {underlying}" if known is None else known.symbol


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A function of a contract named as in the deployment manifest, with positional arguments."""

    contract: str
    function: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.contract}.{self.function}"


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """Fees of the chain now, in wei per gas."""

    base_fee_wei: int
    priority_fee_wei: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a mined transaction; ``succeeded`` is the receipt's status."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: int
    logs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log; ``contract`` is the manifest's name of the emitter."""

    block_number: int
    block_hash: bytes
    log_index: int
    tx_hash: bytes
    contract: str
    name: str
    args: Mapping[str, Any]
