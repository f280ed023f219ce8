# SPDX-License-Identifier: Apache-2.0
"""From the words of the contracts (``docs/margin-rule.md``, section 3) to the keeper's values and the twin's market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from web3 import Web3

from keeper.domain import JointStatus, Listing, OptionInfo, PageStatus, Price, TableStatus
from risk.onchain import ChainMarket
from risk.onchain_words import DELTA_ONE_SLOTS, JointSet, MarkWord, Page, PriceWord, instrument_id

ADDRESS_MASK = 2**160 - 1
OPTION = 3  # kind of InstrumentRegistry.instrument_info
DELTA_ONE_BITS = (0, 16, 32)  # where the bitmaps of `DELTA_ONE_SLOTS` begin in the argument of marks()


def _expect(words: Sequence[int], count: int, what: str) -> None:
    if len(words) != count:
        raise ValueError(f"{what} has {len(words)} words, {count} expected")


def _address(word: int) -> str | None:
    value = word & ADDRESS_MASK
    return Web3.to_checksum_address(f"0x{value:040x}") if value else None


def split_prices(words: Sequence[int], underlyings: int, collaterals: int) -> dict[tuple[int, int], Price]:
    """Words of ``PriceOracle.read`` for the lowest ids of both kinds, by (oracle kind, id)."""
    _expect(words, underlyings + collaterals, "PriceOracle.read")
    keys = [(0, u) for u in range(underlyings)] + [(1, c) for c in range(collaterals)]
    return {key: Price(*PriceWord.from_word(word)) for key, word in zip(keys, words, strict=True)}


def split_words(words: Sequence[int], underlyings: int, collaterals: int) -> dict[tuple[int, int], int]:
    """Words of ``RiskParameters.words`` by (kind, id): 0 global, 1 underlying, 2 collateral."""
    _expect(words, 1 + underlyings + collaterals, "RiskParameters.words")
    keys = [(0, 0)] + [(1, u) for u in range(underlyings)] + [(2, c) for c in range(collaterals)]
    return dict(zip(keys, words, strict=True))


def delta_one_ids(underlyings: int) -> list[int]:
    """Every perpetual and future that the lowest underlyings can have, in the order of ``InstrumentRegistry.marks``."""
    return [instrument_id(u, slot) for u in range(underlyings) for slot in DELTA_ONE_SLOTS]


def marks_bitmap(underlyings: int) -> int:
    """Argument of ``InstrumentRegistry.marks`` for all of them."""
    return sum(((1 << underlyings) - 1) << bit for bit in DELTA_ONE_BITS)


def blob_addresses(table: Sequence[int]) -> list[str]:
    """Addresses of the data contracts that ``RiskTable.read`` names."""
    found = [_address(word) for word in (table[0], *table[1::2])]
    return [address for address in found if address is not None]


def build_market(
    timestamp: int,
    prices: Mapping[tuple[int, int], Price],
    marks: Sequence[int],
    words: Sequence[int],
    table: Sequence[int],
    blobs: Mapping[str, bytes],
    underlyings: int,
    collaterals: int,
) -> ChainMarket:
    """Put the twin's market together from raw words of all underlyings and collateral assets.

    Raises
    ------
    ValueError
        A list of words has the wrong length, or a blob is too short.
    """
    instruments = delta_one_ids(underlyings)
    _expect(marks, len(instruments), "InstrumentRegistry.marks")
    _expect(table, 1 + 2 * underlyings, "RiskTable.read")
    by_key = split_words(words, underlyings, collaterals)
    pages: dict[int, Page] = {}
    for u in range(underlyings):
        address = _address(table[1 + 2 * u])
        page = Page.from_words(table[1 + 2 * u], table[2 + 2 * u], blobs[address]) if address else None
        if page is not None:
            pages[u] = page
    joint_address = _address(table[0])
    twin_prices = {key: PriceWord(p.price_wad, p.state, p.updated_at, p.late_bps) for key, p in prices.items()}
    return ChainMarket(
        timestamp=timestamp,
        prices={u: twin_prices[0, u] for u in range(underlyings)},
        collateral_prices={c: twin_prices[1, c] for c in range(collaterals)},
        marks={k: MarkWord.from_word(word) for k, word in zip(instruments, marks, strict=True)},
        global_word=by_key[0, 0],
        underlying_words={u: by_key[1, u] for u in range(underlyings)},
        collateral_words={c: by_key[2, c] for c in range(collaterals)},
        pages=pages,
        joint=JointSet.from_word(table[0], blobs[joint_address]) if joint_address else None,
    )


def listing(instrument: int, info: Sequence[Any]) -> Listing | None:
    """Unpack ``InstrumentRegistry.instrument_info``; None where the slot is free."""
    kind, expiry, strike_wad, is_call, serial, listed_at, _, settlement_wad = info
    if kind == 0:
        return None
    common = {
        "instrument": instrument,
        "expiry": expiry,
        "settlement_wad": settlement_wad,
        "serial": serial,
        "listed_at": listed_at,
    }
    return OptionInfo(**common, strike_wad=strike_wad, is_call=is_call) if kind == OPTION else Listing(**common)


def page_status(underlying: int, info: Sequence[Any], rows: int, rows_wanted: int, last_epoch: int) -> PageStatus:
    """Unpack ``RiskTable.page_info``."""
    first, second, content_hash, atm_vol_bps = info
    return PageStatus(
        underlying=underlying,
        address=_address(first),
        epoch=first >> 160 & 0xFFFFFFFF,
        observed_at=first >> 192 & 0xFFFFFFFF,
        expires_at=first >> 224,
        reference_price_wad=second & (2**112 - 1),
        lane_unit_wad=second >> 112 & (2**96 - 1),
        step_e9=second >> 208,
        content_hash=content_hash,
        atm_vol_bps=atm_vol_bps,
        rows=rows,
        rows_wanted=rows_wanted,
        last_epoch=last_epoch,
    )


def table_status(table: Sequence[int], pages: Mapping[int, PageStatus]) -> TableStatus:
    """Unpack the joint word of ``RiskTable.read`` and put the pages beside it."""
    word = table[0]
    joint = JointStatus(_address(word), word >> 160 & 0xFFFFFFFF, word >> 192 & 0xFF, word >> 200 & 0xFFFFFFFF)
    return TableStatus(joint, pages)
