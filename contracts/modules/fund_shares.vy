# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Shares of the insurance fund, their announced exits and their consolidation
@notice A loss may leave so little that a share is worth next to nothing. Whoever deposits then gets many times the shares
        there were, and after some such losses, or a few dollars in slices of one, no deposit would fit a number. So when a
        cover leaves a share below a millionth of its first price, a million shares become one, as often as that takes: of
        every owner's and of those announced to leave. Nobody's part of the fund changes by more than rounding: an owner
        loses less than one new share, all of them together to the virtual shares about one raw unit of assets.
@dev The supply is consolidated at once. An owner's shares are when they next move; until then they are read as if they
     were, and Transfer events add up to them again when they move. Allowances and permits are numbers of shares, old or
     new: whoever gave one may want to give another after a consolidation.
"""

from contracts.interfaces import IInsuranceFund
from ethereum.ercs import IERC20
from snekmate.tokens import erc20

uses: erc20


# shares that may still leave, and from when (unix s)
struct Exit:
    shares: uint256
    opens_at: uint256


OLD_FOR_NEW: constant(uint256) = 10**6
# at the first price a raw unit of assets makes a million shares
_MOST_FOR_A_UNIT: constant(uint256) = 10**6 * OLD_FOR_NEW
# this many leave nothing of any number of shares
_ALL: constant(uint256) = 13


# consolidations so far
consolidations: public(uint256)

# how many of them an owner's shares and announcement have been through
_done: HashMap[address, uint256]

# as stored; a new announcement replaces the one before
_exits: HashMap[address, Exit]


@external
@view
@reentrant
def balanceOf(owner: address) -> uint256:
    """
    @notice As in ERC-20
    @dev Reentrant, like the other views of ERC-20: while tokens move, no shares have moved or all have.
    """
    return self._balance(owner)


@external
@view
def exits(owner: address) -> Exit:
    """
    @notice Shares that the owner announced to leave and that may still, and from when (unix s)
    """
    return self._exit(owner)


@internal
@view
def _balance(owner: address) -> uint256:
    return self._now(owner, erc20.balanceOf[owner])


@internal
@view
def _exit(owner: address) -> Exit:
    leaving: Exit = self._exits[owner]
    return Exit(shares=self._now(owner, leaving.shares), opens_at=leaving.opens_at)


@internal
@view
def _now(owner: address, shares: uint256) -> uint256:
    """
    @notice What shares that were stored with the owner's count have become
    """
    missed: uint256 = self.consolidations - self._done[owner]
    # down: what is less than a share is nobody's; so an announcement stays at most the balance, and balances the supply
    return 0 if missed >= _ALL else shares // OLD_FOR_NEW ** missed


@internal
def _update(owner: address):
    """
    @notice Stores what the owner's shares have become, before they move
    """
    if self._done[owner] == self.consolidations:
        return
    stored: uint256 = erc20.balanceOf[owner]
    shares: uint256 = self._balance(owner)
    self._exits[owner] = self._exit(owner)
    self._done[owner] = self.consolidations
    if shares != stored:
        erc20.balanceOf[owner] = shares
        log IERC20.Transfer(sender=owner, receiver=empty(address), value=stored - shares)


@internal
def _consolidate(assets: uint256):
    """
    @notice After a loss that left so many assets (raw units): as few consolidations as bring the shares back
    @custom:invariant I-75
    """
    shares: uint256 = erc20.totalSupply
    count: uint256 = 0
    for _: uint256 in range(_ALL):
        # shares < 1e12 * (assets + 1), by a quotient because of tokens of which there are nearly 2^256
        if shares // _MOST_FOR_A_UNIT <= assets:
            break
        shares //= OLD_FOR_NEW
        count += 1
    if count != 0:
        erc20.totalSupply = shares
        self.consolidations += count
        log IInsuranceFund.SharesConsolidated(consolidations=self.consolidations, total_supply=shares)
