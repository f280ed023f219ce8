# SPDX-License-Identifier: Apache-2.0
"""Ask the contracts' own verifier, which prices with integers, what it says of a page.

Two ways to ask. Of a page that is not published yet, row by row with all inputs; of one in force, by its number, which
is exactly what a challenge would find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from keeper.actions import PublishPage
from keeper.domain import Block, ContractCall, OptionInfo, Unknown
from keeper.errors import KeeperError
from keeper.ports import Chain
from keeper.publish.rebuild import row_bytes

TABLE, VERIFIER = "RiskTable", "RowVerifier"
NOBODY = "0x" + "00" * 20
NO_SURFACE = (0,) * 7
HONEST_LANES = 1  # RowVerifier: a tolerance of one lane passes every honest row


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row that is not what its inputs give; ``lane`` is 16 * word + lane, 48 where nothing can be compared."""

    slot: int
    lane: int
    expected: int
    published: int

    def __str__(self) -> str:
        if self.lane == 48:
            return f"slot {self.slot}: its inputs cannot be priced"
        return f"slot {self.slot}, lane {self.lane}: {self.published} published, {self.expected} expected"


@dataclass(frozen=True, slots=True)
class Terms:
    """``RiskTable.terms``, field for field; amounts in raw units of the bond token."""

    verifier: str
    fund: str
    tolerance_lanes: int
    min_bond_raw: int
    slash_raw: int
    withdrawal_delay_s: int


def read_terms(chain: Chain, block: Block) -> Terms:
    """Terms of bonds and challenges at a block; raises as the chain does."""
    return Terms(*chain.call(ContractCall(TABLE, "terms"), block=block))


def wrong_rows_before(
    chain: Chain, block: Block, action: PublishPage, options: Mapping[int, OptionInfo]
) -> tuple[WrongRow, ...] | Unknown:
    """Rows of an unpublished page that the verifier in force finds wrong; none where the table names no verifier.

    Every listed option is judged, at a tolerance of one lane.
    """
    try:
        terms = read_terms(chain, block)
        if terms.verifier == NOBODY:
            return ()
        here = chain.encode(ContractCall(VERIFIER, "is_sane", (_row(action, None),)))[0]
    except KeeperError as error:
        return Unknown(str(error), block.timestamp)
    if here.lower() != terms.verifier.lower():
        why = f"RiskTable asks verifier {terms.verifier}, the manifest names {here}; bring the manifest up to date"
        return Unknown(why, block.timestamp)
    mine = [item for _, item in sorted(options.items()) if item.underlying == action.underlying]
    calls = [
        ContractCall(VERIFIER, "mismatch", (_row(action, item), row_bytes(action.rows, item.slot), HONEST_LANES))
        for item in mine
    ]
    return _wrong(chain.call_many(calls, block), [item.slot for item in mine], block)


def wrong_rows_in_force(
    chain: Chain, block: Block, claim: tuple[int, tuple[Any, ...], Sequence[Any], bytes], slots: Sequence[int]
) -> tuple[WrongRow, ...] | Unknown:
    """Rows of a page in force that a challenge would find wrong.

    Parameters
    ----------
    claim
        (underlying, header, surfaces, keccak of the rows) as published.
    """
    underlying, header, surfaces, hashed = claim
    calls = [ContractCall(TABLE, "check", (underlying, slot, header, surfaces, hashed)) for slot in slots]
    return _wrong(chain.call_many(calls, block), slots, block)


def _wrong(answers: Sequence[Any], slots: Sequence[int], block: Block) -> tuple[WrongRow, ...] | Unknown:
    found = []
    for slot, answer in zip(slots, answers, strict=True):
        if isinstance(answer, KeeperError):
            return Unknown(str(answer), block.timestamp)
        wrong, lane, expected, published = answer
        if wrong:
            found.append(WrongRow(slot, lane, expected, published))
    return tuple(found)


def _row(action: PublishPage, item: OptionInfo | None) -> tuple[Any, ...]:
    """``IRowVerifier.Row`` of a listed option, as RiskTable collects it; None: a slot without one."""
    header = action.header
    expiry, settled = 0, 0
    surface: Sequence[int] = NO_SURFACE
    if item is not None:
        expiry = item.expiry
        if expiry <= header.observed_at:
            settled = item.settlement_wad
        else:
            surface = next((found[1:] for found in action.surfaces if found[0] == expiry), NO_SURFACE)
    return (
        item is not None and item.is_call,
        0 if item is None else item.strike_wad,
        expiry,
        settled,
        header.observed_at,
        header.reference_price_wad,
        header.lane_unit_wad,
        header.step_e9,
        header.vol_up_bps,
        header.vol_down_bps,
        header.vol_power_bps,
        header.short_min_bps,
        *surface,
    )


def rows_hash(rows: bytes) -> bytes:
    """What a challenge names the rows by."""
    return bytes(keccak(rows))
