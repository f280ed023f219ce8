# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Settable answers of engine, table and auction
@notice Stands in for MarginEngine, RiskTable and LiquidationAuction of a MarginAccounts under test, so that every branch of
        its gates can be reached. Says "healthy", "any price", "has a row" and "no auction" unless told otherwise. Tests only.
"""

from contracts.interfaces import ILiquidationAuction
from contracts.interfaces import IMarginEngine


struct Answer:
    is_set: bool
    equity_im: int256
    im: uint256
    flags: uint256


struct Band:
    is_set: bool
    mark_wad: uint256
    low_wad: uint256
    high_wad: uint256


withdrawals_limited: public(bool)
# by instrument
_bands: HashMap[uint256, Band]
_has_no_row: HashMap[uint256, bool]
# by account
_phases: HashMap[uint256, uint256]
# by account: the state now; and the state before, whose words carry no account
_after: HashMap[uint256, Answer]
_before: Answer


@external
def set_row(instrument: uint256, has_row: bool):
    self._has_no_row[instrument] = not has_row


@external
def set_band(instrument: uint256, mark_wad: uint256, low_wad: uint256, high_wad: uint256):
    self._bands[instrument] = Band(is_set=True, mark_wad=mark_wad, low_wad=low_wad, high_wad=high_wad)


@external
def set_limited(is_limited: bool):
    self.withdrawals_limited = is_limited


@external
def set_phase(account: uint256, phase: uint256):
    self._phases[account] = phase


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
def has_row(instrument: uint256) -> bool:
    return not self._has_no_row[instrument]


@external
@view
def price_band(instrument: uint256) -> (uint256, uint256, uint256):
    band: Band = self._bands[instrument]
    if not band.is_set:
        return 0, 0, 2**90 - 1
    return band.mark_wad, band.low_wad, band.high_wad


@external
@view
def auction_of(account: uint256) -> ILiquidationAuction.Auction:
    auction: ILiquidationAuction.Auction = empty(ILiquidationAuction.Auction)
    auction.phase = self._phases[account]
    return auction


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
        doubt=0,
        scans=[1, 2, 3],
    )
