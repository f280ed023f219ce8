# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What a trade in a perpetual or future makes cash of
@notice A trade that closes lots pays out their share of the base, so that a base never holds more than the lots that are
        left have made: else one lot could hide any debt from its interest, and any credit from a shared loss.
"""


@internal
@pure
def _closed(held: int256, balance: int256, lots: int256, base: int256) -> int256:
    """
    @notice The part of `balance + base` that becomes cash, lot x wad; the rest stays the base, so nothing is lost by rounding
    @dev |lots| < 2^56 and a base is at most 2^191, so no product leaves 247 bits.
    @param held Lots before
    @param balance Base before
    @param lots Lots traded, signed
    @param base What the trade adds
    """
    if held == 0 or (held > 0) == (lots > 0):
        return 0
    if abs(lots) <= abs(held):
        # the old base by the lots that leave, and all of what they were traded at
        return balance * abs(lots) // abs(held) + base
    # all of the old base, and the trade's by the lots that closed it
    return balance + base * abs(held) // abs(lots)
