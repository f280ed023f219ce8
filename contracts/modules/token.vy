# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title ERC-20 transfers that believe balances, not promises
@notice A token without a return value passes; one that returns false reverts. What counts is the change of this
        contract's balance.
"""

from ethereum.ercs import IERC20

from contracts.modules import errors_accounts as err


@internal
def _pull(token: address, sender: address, amount_raw: uint256) -> uint256:
    """
    @notice Takes `amount_raw` from `sender`; returns what arrived (less with a fee on transfer)
    @custom:invariant I-12
    """
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    if not extcall IERC20(token).transferFrom(sender, self, amount_raw, default_return_value=True):
        err._fail(err.REFUSED)
    held: uint256 = staticcall IERC20(token).balanceOf(self)
    # a balance may have fallen
    received: uint256 = held - min(held, before)
    if received == 0:
        err._fail(err.NOTHING_CAME)
    return received


@internal
def _push(token: address, receiver: address, amount_raw: uint256):
    """
    @notice Sends `amount_raw`; reverts when the token takes more from this contract than that
    """
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    if not extcall IERC20(token).transfer(receiver, amount_raw, default_return_value=True):
        err._fail(err.REFUSED)
    held: uint256 = staticcall IERC20(token).balanceOf(self)
    # no sum of balances: those of some tokens are near 2^256
    if before - min(held, before) > amount_raw:
        err._fail(err.SENT_MORE)
