# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Requirements from the sums over an account
@notice docs/margin-rule.md, the end of section 5 and section 7.
"""

from contracts.modules import constants as c

LANE: constant(uint256) = 2**16 - 1


# what the underlyings and the collateral come to
struct Sums:
    equity_wad: int256
    lost_wad: uint256
    value_wad: uint256
    im_wad: uint256
    mm_wad: uint256
    charges_wad: uint256
    added_wad: uint256
    scan_wad: uint256
    scan_max_wad: uint256
    # loss in the scenarios asked for
    loss_wad: uint256
    # the same for initial margin
    loss_im_wad: uint256
    # what initial margin takes on ahead of the expiries of the day
    ahead_scan_wad: uint256
    ahead_charge_wad: uint256


@internal
@pure
def _floored(sums: Sums, global_parameters: uint256) -> uint256:
    """
    @notice Market risk over several underlyings: the joint loss, but at least a share of all scans, and for a book that
            one underlying dominates, at least that one's scan less the others'.
    @custom:invariant I-16, I-22
    """
    share: uint256 = self._scaled(sums.scan_wad, global_parameters >> 48)
    twice: uint256 = unsafe_mul(2, sums.scan_max_wad)
    lead: uint256 = 0
    if twice > sums.scan_wad:
        lead = unsafe_sub(twice, sums.scan_wad)
    return max(sums.loss_wad, max(share, lead))


@internal
@pure
def _initial(sums: Sums, global_parameters: uint256) -> uint256:
    """
    @notice Initial margin but for the reserve, up.
    """
    scan_wad: uint256 = self._scaled(unsafe_add(sums.loss_im_wad, sums.ahead_scan_wad), global_parameters)
    charges_wad: uint256 = self._scaled(unsafe_add(sums.charges_wad, sums.ahead_charge_wad), global_parameters >> 32)
    return unsafe_add(unsafe_add(scan_wad, charges_wad), sums.added_wad)


@internal
@pure
def _scaled(amount_wad: uint256, lane: uint256) -> uint256:
    """
    @notice ceil(amount * bps / 1e4) with the bps in the lowest 16 bits of `lane`. The amount is below 2^239.
    """
    return unsafe_div(unsafe_add(unsafe_mul(amount_wad, lane & LANE), c.BPS - 1), c.BPS)
