# SPDX-License-Identifier: Apache-2.0
"""A small world for tests of the keeper's pure core: one ETH market, a few accounts, round numbers.

Parameters are chosen so that expectations can be worked out by hand: scan range 20 %, no charges, scales 1 and 0.8, so
a perpetual of 1 ETH at 2,000 USD needs IM 400 and MM 320 USD.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from keeper.domain import (
    AuctionSettings,
    AuctionState,
    Block,
    CollateralInfo,
    JointStatus,
    Listing,
    OptionInfo,
    PageStatus,
    ParameterBounds,
    ParameterStatus,
    Peg,
    Phase,
    Price,
    Snapshot,
    TableStatus,
    UnderlyingInfo,
)
from risk.onchain import ChainMarket
from risk.onchain_words import (
    DELTA_ONE_SLOTS,
    AccountState,
    DeltaOnePosition,
    MarkWord,
    PriceWord,
    build_words,
    instrument_id,
)
from risk.types import (
    CollateralParameters,
    GlobalParameters,
    JointScenarios,
    ParameterSet,
    Provenance,
    SmileModel,
    UnderlyingParameters,
)
from risk.units import pack_collateral, pack_global, pack_lanes, pack_underlying

WAD = 10**18
NOW = 1_700_000_000
ETH = 0
PRICE = 2_000 * WAD
SETTINGS = AuctionSettings(100, 2_000, 10_000, 900, 2_700, 3_600, 1_500, 1_000, 100 * WAD, 900, 600_000)
BLOCK = Block(100, b"\x01" * 32, b"\x02" * 32, NOW)

PERP, FUTURE = 255, 254  # instruments of underlying 0

GLOBAL_LANES = GlobalParameters(10_000, 8_000, 10_000, 2_000, 0)
ETH_LANES = UnderlyingParameters(2_000, 3_000, 2_000, 3_000, 0, 0, 0, 0, 10_000, 0, 300, 500)
WETH_LANES = CollateralParameters(1_000, 500, 0, 1_000, 0)
WORDS = {(0, 0): pack_global(GLOBAL_LANES), (1, ETH): pack_underlying(ETH_LANES), (2, 0): pack_collateral(WETH_LANES)}
ALL_MAX = pack_lanes([60_000] * 16)
BOUNDS = {
    0: ParameterBounds(pack_lanes([8_000, 5_000, 10_000, 500]), pack_lanes([20_000] * 3 + [10_000, 100]),
                       pack_lanes([500] * 4 + [10]), pack_lanes([200] * 4 + [10])),
    1: ParameterBounds(pack_lanes([100] + [0] * 7 + [1]), pack_lanes([9_000] * 3 + [10_000] * 5 + [60_000] * 4),
                       pack_lanes([500] * 12), pack_lanes([200] * 12)),
    2: ParameterBounds(pack_lanes([0, 0, 0, 1]), pack_lanes([10_000] * 2 + [10_000, 60_000, 10_000]),
                       pack_lanes([300] * 5), pack_lanes([100] * 5)),
}  # fmt: skip


def account(cash_usd: int, eth: float = 0.0, entry_usd: int = 2_000, nonce: int = 1) -> tuple[int, ...]:
    """Words of an account with cash and a perpetual bought at ``entry_usd``."""
    lots = round(eth * 10**6)
    held = {PERP: DeltaOnePosition(lots, -lots * entry_usd * WAD)} if lots else {}
    return build_words(AccountState(cash=cash_usd * WAD, nonce=nonce, delta_ones=held))


def auction(phase: Phase, age_s: int = 600, counted_s: int = 0, epoch: int = 1) -> AuctionState:
    """An auction last recorded ``age_s`` ago, with so much counted in its phase by then."""
    solvent_s, insolvent_s = (counted_s, 0) if phase == Phase.SOLVENT else (0, counted_s)
    return AuctionState(phase, NOW - age_s, solvent_s, insolvent_s, epoch)


def listed_option(instrument: int, days: float, strike_usd: int, is_call: bool, settled_usd: int = 0) -> OptionInfo:
    """An option that expires in so many days."""
    return OptionInfo(
        instrument=instrument,
        expiry=NOW + int(days * 86_400),
        settlement_wad=settled_usd * WAD,
        serial=instrument + 1,
        listed_at=NOW - 86_400,
        strike_wad=strike_usd * WAD,
        is_call=is_call,
    )


def market(price_wad: int = PRICE, words: dict[tuple[int, int], int] | None = None, **changes: Any) -> ChainMarket:
    """Market of one underlying and one collateral asset linked to it."""
    used = words or WORDS
    base = ChainMarket(
        timestamp=NOW,
        prices={ETH: PriceWord(price_wad, 0, NOW - 60, 0)},
        collateral_prices={0: PriceWord(price_wad, 0, NOW - 60, 0)},
        marks={instrument_id(ETH, slot): MarkWord(0, 0) for slot in DELTA_ONE_SLOTS},
        global_word=used[0, 0],
        underlying_words={ETH: used[1, ETH]},
        collateral_words={0: used[2, 0]},
    )
    return replace(base, **changes)


def page_status(**changes: Any) -> PageStatus:
    """A page published a minute ago at the present price, scan 20 %: step 1.6667 %."""
    base = PageStatus(
        underlying=ETH,
        address="0x" + "11" * 20,
        epoch=3,
        observed_at=NOW - 60,
        expires_at=NOW - 60 + 86_400,
        reference_price_wad=PRICE,
        lane_unit_wad=10**16,
        step_e9=2_000 * 10**5 // 12,
        content_hash=b"\x00" * 32,
        atm_vol_bps=6_000,
        rows=2,
        rows_wanted=2,
        last_epoch=3,
    )
    return replace(base, **changes)


def snapshot(
    accounts: dict[int, Any] | None = None,
    auctions: dict[int, AuctionState] | None = None,
    price_wad: int = PRICE,
    **changes: Any,
) -> Snapshot:
    """Snapshot of this world; every field may be replaced."""
    base = Snapshot(
        chain_id=31337,
        block=BLOCK,
        market=market(price_wad),
        accounts=accounts or {},
        auctions=auctions or {},
        prices={(0, ETH): Price(price_wad, 0, NOW - 60, 0), (1, 0): Price(price_wad, 0, NOW - 60, 0)},
        parameters=ParameterStatus(5, NOW - 86_400, NOW - 86_500, NOW + 86_400, 3_600, 3_600),
        parameter_words=dict(WORDS),
        parameter_bounds=BOUNDS,
        ramp_ends={ETH: 0},
        table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status()}),
        underlyings={ETH: UnderlyingInfo(ETH, "ETH", True, 2)},
        collaterals={0: CollateralInfo(0, "0x" + "22" * 20, 18, ETH, 10**24, 0)},
        options={0: listed_option(0, 30, 2_000, True), 1: listed_option(1, 30, 1_800, False)},
        delta_ones={PERP: Listing(instrument=PERP, expiry=0, settlement_wad=0, serial=9, listed_at=NOW - 86_400)},
        peg=Peg(WAD, 0, NOW - 60, 0),
        addresses={},
    )
    return replace(base, **changes)


def target(**changes: Any) -> ParameterSet:
    """What a calibration might want: exactly what is on chain, observed ten seconds ago."""
    base = ParameterSet(
        global_parameters=GLOBAL_LANES,
        underlyings={"ETH": ETH_LANES},
        collaterals={"WETH": WETH_LANES},
        surfaces={"ETH": SmileModel(0.6, 0.6, 2.0, -0.2, 0.9)},
        joint=None,
        joint_underlyings=(),
        certificate=None,
        provenance=Provenance("test", "0x" + "aa" * 32, "0x" + "bb" * 32, 1, NOW - 10, NOW - 10**6, NOW - 10, 100, {}),
    )
    return replace(base, **changes)


def joint(prices: list[list[int]], vols: list[list[int]]) -> JointScenarios:
    """Joint scenarios from lists of bytes."""
    return JointScenarios(np.array(prices, dtype=np.int8), np.array(vols, dtype=np.int8))
