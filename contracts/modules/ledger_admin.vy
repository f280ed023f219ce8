# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What governance sets in the ledger
@notice Collateral assets, their caps, the interest curve.
"""

from snekmate.auth import ownable

from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import errors_accounts as err

uses: ownable
uses: cash
uses: collateral


@external
def list_collateral(token: address, linked_plus_one: uint256, cap_raw: uint256):
    """
    @notice Lists the next collateral asset
    @dev Abuse: a worthless token with a kind feed borrows the lenders' cash. The cap bounds it.
    @param token ERC-20 with at most 18 decimals, not the cash token
    @param linked_plus_one Underlying whose price moves with the asset, plus 1; 0 if none
    @param cap_raw Most that may be deposited in all, raw, < 2^112
    """
    ownable._check_owner()
    # cover that arrives is measured against the cash book alone, so the cash token cannot be collateral as well
    if token == cash.TOKEN:
        err._fail(err.LISTED)
    collateral._list(token, linked_plus_one, cap_raw)


@external
def set_collateral_cap(asset: uint256, cap_raw: uint256):
    """
    @notice Sets the cap of an asset (raw); 0 stops deposits
    @dev Abuse: a lower cap raises everybody's use haircut in that asset at once.
    """
    ownable._check_owner()
    collateral._set_cap(asset, cap_raw)


@external
def set_rates(
    base_bps: uint256, slope_low_bps: uint256, slope_high_bps: uint256, kink_bps: uint256, reserve_bps: uint256
):
    """
    @notice Sets the interest curve: bps a year at no use, added up to the kink, added above it; the kink in bps of
            use; the part of interest that account 0 keeps, in bps
    @dev Abuse: bounds in rate_curve; at worst 370 % a year at full use.
    """
    ownable._check_owner()
    # the past keeps the old curve
    cash._accrue()
    cash._set_rates(base_bps, slope_low_bps, slope_high_bps, kink_bps, reserve_bps)
