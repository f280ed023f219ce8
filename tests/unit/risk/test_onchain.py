# SPDX-License-Identifier: Apache-2.0
"""The integer twin at the edges of the rule, by hand."""

from __future__ import annotations

from risk.onchain import ChainMarket, assess
from risk.onchain_words import AccountState, CollateralPosition, PriceWord, build_words
from risk.types import CollateralParameters, GlobalParameters
from risk.units import pack_collateral, pack_global

WAD = 10**18


def test_an_empty_holding_does_not_make_its_link_active() -> None:
    # docs/margin-rule.md, section 3: linked to a collateral asset held (amount > 0). The market has no underlying 3.
    held = CollateralPosition(0, 0, 0, 18, 4)
    market = ChainMarket(
        timestamp=0,
        prices={},
        collateral_prices={0: PriceWord(2_000 * WAD, 0, 0)},
        funding={},
        global_word=pack_global(GlobalParameters(10_000, 8_000, 10_000, 0)),
        underlying_words={},
        collateral_words={0: pack_collateral(CollateralParameters(1_000, 500, 0, 1, 0))},
    )
    found = assess(build_words(AccountState(5 * WAD, collaterals=(held,))), market)
    assert found.equity_im == 5 * WAD
    assert (found.im, found.scans) == (0, ())
