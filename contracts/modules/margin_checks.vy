# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title When an account must hold initial margin
@notice At once, or in a batch at its end, once for each account that gave something away.
@custom:invariant I-71
"""

from contracts.modules import cash
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import margin_gate
from contracts.modules import wiring

uses: wiring
uses: heads
uses: cash

# Whatever the health, an account with risk may not take value out while a price or the table it needs is dead, or says
# nothing about the present price: beyond its last node a row is a guess.
BLOCKING_FLAGS: constant(uint256) = (
    c.FLAG_PRICE_DEAD | c.FLAG_TABLE_EXPIRED | c.FLAG_ROW_MISSING | c.FLAG_OFF_GRID
)
MAX_DEFERRED: constant(uint256) = 8

_is_deferring: transient(bool)
_deferred_count: transient(uint256)
_deferred: transient(uint256[8])


@internal
def _begin():
    """
    @notice From here checks wait for _finish
    """
    self._not_in_batch()
    self._is_deferring = True


@internal
def _finish():
    """
    @notice Makes the checks that waited; the engine may read the accounts again
    """
    self._is_deferring = False
    count: uint256 = self._deferred_count
    self._deferred_count = 0
    for i: uint256 in range(count, bound=MAX_DEFERRED):
        self._check(self._deferred[i])


@internal
@view
def _not_in_batch():
    if self._is_deferring:
        err._fail(err.IN_BATCH)


@internal
def _require(account: uint256):
    """
    @notice The account, which has given something away, must hold initial margin: now, or at the end of the batch
    @custom:invariant I-25
    """
    if not self._is_deferring:
        self._check(account)
        return
    count: uint256 = self._deferred_count
    for i: uint256 in range(count, bound=MAX_DEFERRED):
        if self._deferred[i] == account:
            return
    if count == MAX_DEFERRED:
        err._fail(err.BATCH_FULL)
    self._deferred[count] = account
    self._deferred_count = count + 1


@internal
@view
def _check(account: uint256):
    # without positions or debt there is nothing to secure: no dead feed keeps such an account's owner from leaving
    if heads._heads[account] & heads.POSITION_MASK == 0 and cash._of(account) >= 0:
        return
    holds: bool = False
    flags: uint256 = 0
    holds, flags = margin_gate._holds(wiring.engine.address, account)
    if flags & BLOCKING_FLAGS != 0:
        err._fail(err.NO_DATA)
    if not holds:
        err._fail(err.BELOW_IM)


@internal
@view
def _check_fill(account: uint256, before: DynArray[uint256, 128]):
    """
    @dev Initial margin after; else (or while new risk is paused or data is dead) the requirement must not have risen,
         health must not have fallen, and equity at most with the requirement, below zero not at all: what a reduction
         frees must not pay a friend. The state before is assessed only when that is asked.
    @custom:invariant I-26, I-27, I-70
    """
    holds: bool = False
    flags: uint256 = 0
    holds, flags = margin_gate._holds(wiring.engine.address, account)
    if holds and flags & BLOCKING_FLAGS == 0 and not wiring._is_paused(wiring.PAUSE_RISK):
        return
    health: int256 = 0
    im: uint256 = 0
    health, im = margin_gate._assess(wiring.engine.address, account)
    health_before: int256 = 0
    im_before: uint256 = 0
    health_before, im_before = margin_gate._assess_state(wiring.engine.address, before)
    if im > im_before or health < health_before:
        err._fail(err.BELOW_IM)
    equity_before: int256 = health_before + convert(im_before, int256)
    # amounts of money: far below 2^127 each, and a fill may revert
    kept: int256 = equity_before * convert(im, int256) // convert(max(im_before, 1), int256)
    if health + convert(im, int256) < min(equity_before, kept):
        err._fail(err.BELOW_IM)
