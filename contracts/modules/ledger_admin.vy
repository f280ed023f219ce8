# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What governance sets in the ledger
@notice Collateral assets, their caps, the interest curve, the withdrawal limit.
"""

from snekmate.auth import ownable

from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import errors_accounts as err
from contracts.modules import token_book
from contracts.modules import wiring

uses: ownable
uses: wiring
uses: token_book
uses: cash
uses: collateral


@external
def list_collateral(token: address, linked_plus_one: uint256, cap_raw: uint256, hard_cap_raw: uint256):
    """
    @notice Lists the next collateral asset with a cap inside its hard cap; nothing here says how large
    @dev Abuse: a worthless token with a kind feed borrows the lenders' cash. The caps bound it.
    @param token ERC-20 with at most 18 decimals, not the cash token
    @param linked_plus_one Underlying whose price moves with the asset, plus 1; 0 if none
    @param cap_raw Most that may be deposited in all, raw; a steward raises it from here
    @param hard_cap_raw Most that a steward may raise the cap to, raw, < 2^112
    """
    ownable._check_owner()
    # cover that arrives is measured against the cash book alone, so the cash token cannot be collateral as well
    if token == cash.TOKEN:
        err._fail(err.LISTED)
    collateral._list(token, linked_plus_one, cap_raw, hard_cap_raw)


@external
def set_collateral_cap(asset: uint256, cap_raw: uint256):
    """
    @notice Sets the cap of an asset (raw) inside its hard cap; 0 stops deposits. Governance, or a steward: lower at any
            time, higher by half at most and a day after the last raise
    @dev Abuse: a lower cap raises everybody's use haircut in that asset at once, in initial margin only: nobody is
         liquidated by it, and no deposit is lost. A higher one lets more of the asset in, up to the hard cap.
    """
    is_owner: bool = msg.sender == ownable.owner
    if not is_owner and msg.sender != wiring.steward:
        err._fail(err.NOT_AUTHORISED)
    collateral._set_cap(asset, cap_raw, not is_owner)


@external
def set_collateral_hard_cap(asset: uint256, hard_cap_raw: uint256):
    """
    @notice Sets what a cap may be raised to (raw, < 2^112); a cap above it comes down with it
    @dev Abuse: as list_collateral's: the most that can be borrowed against the asset.
    """
    ownable._check_owner()
    collateral._set_hard_cap(asset, hard_cap_raw)


@external
def set_withdrawal_limit(limit_bps: uint256):
    """
    @notice Sets how much of the cash tokens that are here may leave in net within a day while the auction knows of losses
            that the insurance fund cannot bear: 100..10,000 bps
    @dev Abuse: the lowest keeps most lenders in for months while such a loss is known; 10,000 lets the first ones out
         without their share of it.
    """
    ownable._check_owner()
    token_book._set_limit(limit_bps)


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
