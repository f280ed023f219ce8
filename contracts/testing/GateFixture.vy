# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Settable answers of engine and table
@notice Stands in for MarginEngine and RiskTable of a MarginAccounts under test, so that every branch of its margin gate can
        be reached. Says "healthy" unless told otherwise. Tests only.
"""

from contracts.interfaces import IMarginEngine


struct Answer:
    is_set: bool
    equity_im: int256
    im: uint256
    flags: uint256


rows: uint256
# by account: the state now; and the state before, whose words carry no account
_after: HashMap[uint256, Answer]
_before: Answer


@deploy
def __init__():
    self.rows = 255


@external
def set_rows(rows: uint256):
    self.rows = rows


@external
def set_after(account: uint256, equity_im: int256, im: uint256, flags: uint256):
    self._after[account] = Answer(is_set=True, equity_im=equity_im, im=im, flags=flags)


@external
def set_before(equity_im: int256, im: uint256):
    self._before = Answer(is_set=True, equity_im=equity_im, im=im, flags=0)


@external
@view
def assess(account: uint256) -> IMarginEngine.Assessment:
    return self._assessment(self._after[account])


@external
@view
def holds_initial_margin(account: uint256) -> (bool, uint256):
    result: IMarginEngine.Assessment = self._assessment(self._after[account])
    return result.equity_im >= convert(result.im, int256), result.flags


@external
@view
def assess_state(words: DynArray[uint256, 128]) -> IMarginEngine.Assessment:
    return self._assessment(self._before)


@external
@view
def rows_of(underlying: uint256) -> uint256:
    return self.rows


@internal
@view
def _assessment(answer: Answer) -> IMarginEngine.Assessment:
    given: Answer = answer
    if not given.is_set:
        given.equity_im = 10**40
    return IMarginEngine.Assessment(
        equity_mark=given.equity_im,
        equity_im=given.equity_im,
        equity_mm=given.equity_im,
        im=given.im,
        mm=given.im,
        market_risk=given.im,
        charges=0,
        worst_joint=255,
        flags=given.flags,
        scans=[1, 2, 3],
    )
