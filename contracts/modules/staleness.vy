# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title How old data widens initial margin
@notice docs/margin-rule.md, section 4: a page is late by its age or by how far the price has left its reference, and after
        that dead. Times are 32-bit seconds and distances at most 1500e9, so no product here leaves 256 bits.
"""

from contracts.modules import constants as c

# distances from the reference price in 1e-9 of a grid step: where a page begins to be late, and where it is dead
NEAR_E9: constant(uint256) = 3 * 10**9
FAR_E9: constant(uint256) = 6 * 10**9
# what a page says counts against an account's liquidation for a day after its expiry
DOUBT_AFTER_S: constant(uint256) = 86_400
TIME: constant(uint256) = 2**32 - 1


@internal
@view
def _late_page(page_1: uint256, away_e9: uint256) -> (uint256, bool):
    """
    @notice (how late a page is in bps, up; whether it is dead).
    @param page_1 observed at (192..223) | expires at (224..255)
    @param away_e9 Distance of the live price from the page's reference price, in 1e-9 of a grid step
    """
    late_bps: uint256 = 0
    if away_e9 > NEAR_E9:
        late_bps = c.BPS
        if away_e9 < FAR_E9:
            late_bps = unsafe_div(
                unsafe_add(unsafe_mul(unsafe_sub(away_e9, NEAR_E9), c.BPS), NEAR_E9 - 1), NEAR_E9
            )
    observed_at: uint256 = (page_1 >> 192) & TIME
    expires_at: uint256 = page_1 >> 224
    if block.timestamp >= expires_at:
        late_bps = c.BPS
    elif unsafe_mul(2, block.timestamp) > unsafe_add(observed_at, expires_at):
        # past the middle of its life, which therefore is not nothing
        life_s: uint256 = unsafe_sub(expires_at, observed_at)
        over_s: uint256 = unsafe_sub(unsafe_mul(2, block.timestamp), unsafe_add(observed_at, expires_at))
        late_bps = max(
            late_bps, unsafe_div(unsafe_add(unsafe_mul(over_s, c.BPS), unsafe_sub(life_s, 1)), life_s)
        )
    return late_bps, block.timestamp > expires_at or away_e9 > FAR_E9


@internal
@view
def _is_doubtful(page_1: uint256) -> bool:
    """
    @notice Whether a page is so old that the account may stand much better than it says.
    """
    return block.timestamp > unsafe_add(page_1 >> 224, DOUBT_AFTER_S)
