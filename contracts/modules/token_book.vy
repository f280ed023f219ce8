# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title The book of cash tokens, and how fast they leave
@notice What came in less what went out, never balanceOf(self); and the net outflow of about the last day, signed, which
        a deposit lowers: a flash deposit that leaves again uses up nobody's allowance and makes none.
@custom:invariant I-02 Booked tokens <= tokens held
"""

from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math

event WithdrawalLimitSet:
    limit_bps: uint256


MASK_112: constant(uint256) = 2**112 - 1
MAX_OUTFLOW: constant(int256) = 2**111 - 1
DAY_S: constant(uint256) = 86_400
DAY_S_INT: constant(int256) = 86_400
MIN_LIMIT_BPS: constant(uint256) = 100

# booked raw (0..111) | net outflow raw, int112 (112..223) | when that was, unix s (224..255)
_book: uint256
# of the cash tokens that are here, net, within a day, while withdrawals are limited
withdrawal_limit_bps: public(uint256)


@deploy
def __init__():
    self.withdrawal_limit_bps = 1_000


@internal
def _set_limit(limit_bps: uint256):
    if limit_bps < MIN_LIMIT_BPS or limit_bps > c.BPS:
        err._fail(err.LIMIT_BOUND)
    self.withdrawal_limit_bps = limit_bps
    log WithdrawalLimitSet(limit_bps=limit_bps)


@internal
@view
def _booked() -> uint256:
    return self._book & MASK_112


@internal
@view
def _outflow() -> int256:
    """
    @notice Net outflow (raw) that still counts: it fades to nothing over a day from the last booking
    @dev Up: against who withdraws.
    """
    word: uint256 = self._book
    elapsed_s: uint256 = block.timestamp - (word >> 224)
    if elapsed_s >= DAY_S:
        return 0
    outflow: int256 = convert(convert(word << 32, bytes32), int256) >> 144
    return fixed_math._ceil_div(outflow * convert(DAY_S - elapsed_s, int256), DAY_S_INT)


@internal
def _in(amount_raw: uint256, flow_raw: uint256):
    """
    @notice Books tokens that have arrived; `flow_raw` of them are a deposit
    """
    booked_raw: uint256 = self._booked()
    if amount_raw > MASK_112 - booked_raw:
        err._fail(err.TOTALS)
    self._put(booked_raw + amount_raw, self._outflow() - convert(flow_raw, int256))


@internal
def _out(amount_raw: uint256):
    """
    @notice Books tokens that are about to leave
    """
    booked_raw: uint256 = self._booked()
    if amount_raw > booked_raw:
        err._fail(err.BOOK)
    self._put(unsafe_sub(booked_raw, amount_raw), self._outflow() + convert(amount_raw, int256))


@internal
def _put(booked_raw: uint256, outflow_raw: int256):
    outflow: int256 = max(min(outflow_raw, MAX_OUTFLOW), -MAX_OUTFLOW)
    flow: uint256 = convert(convert(outflow << 144, bytes32), uint256) >> 32
    self._book = booked_raw | flow | (block.timestamp << 224)


@internal
@view
def _check_limit():
    """
    @notice Refuses when more than the limit has left in net, of the tokens that are here less what came in within the day
    @dev Not of what is supplied: a debt to another account of one's own, on collateral that is here for one transaction,
         would be supply too.
    """
    outflow: int256 = self._outflow()
    # a flash deposit must not raise the limit by being here
    base_raw: int256 = max(convert(self._booked(), int256) + min(outflow, 0), 0)
    # < 2^112 and < 2^181 (scaled < 2^128 at an index < 2^112), times 10^4
    if outflow * 10_000 > base_raw * convert(self.withdrawal_limit_bps, int256):
        err._fail(err.LIMITED)
