# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Asking the engine
@notice IMarginEngine.Assessment ends in a dynamic array, so its ABI form is one offset and then its fields in order.
        Reading that as a flat tuple leaves the array behind and saves its decoder twice.
"""


interface EngineHead:
    def holds_initial_margin(account: uint256) -> (bool, uint256): view
    # offset, equity mark, equity im, equity mm, im; what follows is left behind
    def assess(account: uint256) -> (uint256, int256, int256, int256, uint256): view
    def assess_state(
        words: DynArray[uint256, 128],
    ) -> (uint256, int256, int256, int256, uint256): view
    def price_band(instrument: uint256) -> (uint256, uint256, uint256): view


@internal
@view
def _holds(engine: address, account: uint256) -> (bool, uint256):
    """
    @notice (whether equity_im >= im, flags): what withdrawals and fills turn on, cheaper than _assess
    @custom:invariant I-21
    """
    return staticcall EngineHead(engine).holds_initial_margin(account)


@internal
@view
def _assess(engine: address, account: uint256) -> (int256, uint256):
    """
    @notice (health under initial margin = equity_im - im, im), wad
    """
    offset: uint256 = 0
    equity_mark: int256 = 0
    equity_im: int256 = 0
    equity_mm: int256 = 0
    im: uint256 = 0
    offset, equity_mark, equity_im, equity_mm, im = staticcall EngineHead(engine).assess(account)
    return equity_im - convert(im, int256), im


@internal
@view
def _assess_state(engine: address, words: DynArray[uint256, 128]) -> (int256, uint256):
    """
    @notice (health under initial margin, im) of a state as words, wad
    """
    offset: uint256 = 0
    equity_mark: int256 = 0
    equity_im: int256 = 0
    equity_mm: int256 = 0
    im: uint256 = 0
    offset, equity_mark, equity_im, equity_mm, im = staticcall EngineHead(engine).assess_state(words)
    return equity_im - convert(im, int256), im


@internal
@view
def _is_in_band(engine: address, instrument: uint256, price_wad: uint256) -> bool:
    """
    @notice Whether a fill at `price_wad` is inside the instrument's price band; never without a price or a row
    @custom:invariant I-28
    """
    mark_wad: uint256 = 0
    low_wad: uint256 = 0
    high_wad: uint256 = 0
    mark_wad, low_wad, high_wad = staticcall EngineHead(engine).price_band(instrument)
    return high_wad != 0 and price_wad >= low_wad and price_wad <= high_wad
