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
    AuctionState,
    Block,
    CollateralInfo,
    JointStatus,
    OptionInfo,
    PageStatus,
    ParameterBounds,
    ParameterStatus,
    Price,
    Snapshot,
    TableStatus,
    UnderlyingInfo,
)
from risk.onchain import ChainMarket
from risk.onchain_words import AccountState, PerpPosition, PriceWord, build_words
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
BLOCK = Block(100, b"\x01" * 32, b"\x02" * 32, NOW)

GLOBAL_LANES = GlobalParameters(10_000, 8_000, 10_000, 2_000)
ETH_LANES = UnderlyingParameters(2_000, 3_000, 2_000, 3_000, 0, 0, 0, 0, 10_000, 0)
WETH_LANES = CollateralParameters(1_000, 500, 0, 1_000, 0)
WORDS = {(0, 0): pack_global(GLOBAL_LANES), (1, ETH): pack_underlying(ETH_LANES), (2, 0): pack_collateral(WETH_LANES)}
ALL_MAX = pack_lanes([60_000] * 16)
BOUNDS = {
    0: ParameterBounds(pack_lanes([8_000, 5_000, 10_000, 500]), pack_lanes([20_000] * 3 + [10_000]),
                       pack_lanes([500] * 4), pack_lanes([200] * 4)),
    1: ParameterBounds(pack_lanes([100] + [0] * 7 + [1]), pack_lanes([9_000] * 3 + [10_000] * 5 + [60_000] * 2),
                       pack_lanes([500] * 10), pack_lanes([200] * 10)),
    2: ParameterBounds(pack_lanes([0, 0, 0, 1]), pack_lanes([10_000] * 2 + [10_000, 60_000, 10_000]),
                       pack_lanes([300] * 5), pack_lanes([100] * 5)),
}  # fmt: skip


def account(cash_usd: int, eth: float = 0.0, entry_usd: int = 2_000, nonce: int = 1) -> tuple[int, ...]:
    """Words of an account with cash and a perpetual bought at ``entry_usd``."""
    lots = round(eth * 10**6)
    perps = {ETH: PerpPosition(lots, -lots * entry_usd * WAD, 0)} if lots else {}
    return build_words(AccountState(cash=cash_usd * WAD, nonce=nonce, perps=perps))


def market(price_wad: int = PRICE, words: dict[tuple[int, int], int] | None = None, **changes: Any) -> ChainMarket:
    """Market of one underlying and one collateral asset linked to it."""
    used = words or WORDS
    base = ChainMarket(
        timestamp=NOW,
        prices={ETH: PriceWord(price_wad, 0, NOW - 60)},
        collateral_prices={0: PriceWord(price_wad, 0, NOW - 60)},
        funding={ETH: 0},
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
        prices={(0, ETH): Price(price_wad, 0, NOW - 60), (1, 0): Price(price_wad, 0, NOW - 60)},
        parameters=ParameterStatus(5, NOW - 86_400, NOW - 86_500, NOW + 86_400, 3_600, 3_600),
        parameter_words=dict(WORDS),
        parameter_bounds=BOUNDS,
        table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status()}),
        underlyings={ETH: UnderlyingInfo(ETH, "ETH", True, 2)},
        collaterals={0: CollateralInfo(0, "0x" + "22" * 20, 18, ETH, 10**24, 0)},
        options={
            0: OptionInfo(0, NOW + 30 * 86_400, 2_000 * WAD, True, 0),
            1: OptionInfo(1, NOW + 30 * 86_400, 1_800 * WAD, False, 0),
        },
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
