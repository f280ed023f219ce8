# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title One account's auction as of now, and what a bid for it would do
"""

from contracts.interfaces import IInsuranceFund
from contracts.interfaces import ILiquidationAuction
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IPriceOracle
from contracts.modules import auction_math
from contracts.modules import auction_reward
from contracts.modules import auction_states
from contracts.modules import auction_terms
from contracts.modules import constants as c
from contracts.modules import errors_auction as e
from contracts.modules import fixed_math
from contracts.modules import settled_options
from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

uses: auction_states
uses: auction_terms
uses: auction_reward
initializes: settled_options


# what one call knows about the account that it is about; is_doubtful: something about it is in
# doubt, and with that it may be above MM
struct Case:
    state: auction_states.State
    health: IMarginEngine.Assessment
    is_doubtful: bool
    size_wad: uint256
    discount_wad: uint256


# accepts any nonce of the account: see LiquidationAuction.bid
ANY_NONCE: constant(uint256) = max_value(uint256)
# the right that bidding needs: it may bring debt and positions into the bidder's account
RIGHT_MANAGE: constant(uint256) = 4
# a mark of single legs is a price: none from dead data, nor from a page that says nothing about the present price
_MARK_FLAGS: constant(uint256) = c.FLAG_PRICE_DEAD | c.FLAG_TABLE_EXPIRED | c.FLAG_ROW_MISSING | c.FLAG_OFF_GRID


ACCOUNTS: public(immutable(address))
ENGINE: public(immutable(address))
FUND: public(immutable(address))

_CASH_TOKEN: immutable(address)
# wad per raw unit of the cash token
_CASH_SCALE: immutable(uint256)


@deploy
def __init__(accounts: address, engine: address, fund: address):
    ACCOUNTS = accounts
    ENGINE = engine
    FUND = fund
    settled_options.__init__(accounts, engine)
    _CASH_TOKEN = staticcall IMarginAccounts(accounts).cash_token()
    decimals: uint256 = convert(staticcall IERC20Detailed(_CASH_TOKEN).decimals(), uint256)
    assert decimals <= 18, e.CASH_DECIMALS
    _CASH_SCALE = 10 ** (18 - decimals)


@internal
@view
def _assess(account: uint256) -> IMarginEngine.Assessment:
    return staticcall IMarginEngine(ENGINE).assess(account)


@internal
def _booked(account: uint256) -> IMarginEngine.Assessment:
    """
    @notice The account's assessment when what has settled is booked
    """
    settled_options._book(account)
    return self._assess(account)


@internal
def _proof(account: uint256, scenario: uint256) -> (int256, uint256):
    """
    @notice IMarginEngine.assess_at when what has settled is booked
    """
    settled_options._book(account)
    return staticcall IMarginEngine(ENGINE).assess_at(account, scenario)


@internal
@view
def _is_cured(health: IMarginEngine.Assessment) -> bool:
    return auction_terms._is_cured(health.equity_mm, health.mm, health.doubt)


@internal
def _case(account: uint256) -> Case:
    """
    @notice The running auction of an account as of now
    """
    return self._judged(account, self._booked(account))


@internal
@view
def _preview(account: uint256, wanted_wad: uint256) -> ILiquidationAuction.Preview:
    """
    @notice What a bid would do now, of an account that a bid would find as it is
    """
    settled_options._check_booked(account)
    return self._quote(account, self._judged(account, self._assess(account)), wanted_wad)


@internal
@view
def _judged(account: uint256, health: IMarginEngine.Assessment) -> Case:
    """
    @notice The running auction of an account that was found like this now
    @custom:invariant I-61
    """
    state: auction_states.State = auction_states._load(account)
    assert state.phase != auction_states.NO_PHASE, e.NO_AUCTION
    is_doubtful: bool = health.doubt != 0 and (
        health.equity_mm + convert(health.doubt, int256) >= convert(health.mm, int256)
    )
    passed_s: uint256 = 0
    # time runs while the account is short by more than is in doubt, or nothing is
    if not is_doubtful and staticcall IPriceOracle(auction_reward.ORACLE).is_live():
        passed_s = min(block.timestamp - state.seen_at, auction_terms._settings.tick_s)
    state = auction_states._advanced(state, health.equity_mark, passed_s, auction_terms._solvent_s())
    return Case(
        state=state,
        health=health,
        is_doubtful=is_doubtful,
        size_wad=auction_math._size(health.equity_mark, health.equity_mm, health.mm),
        discount_wad=auction_terms._discount_wad(state.solvent_s),
    )


@internal
@view
def _quote(account: uint256, case: Case, wanted_wad: uint256) -> ILiquidationAuction.Preview:
    """
    @notice What a bid would do now
    @custom:invariant I-63
    """
    assert wanted_wad != 0 and wanted_wad <= c.WAD, e.FRACTION
    assert not self._is_cured(case.health), e.HEALTHY
    quote: ILiquidationAuction.Preview = ILiquidationAuction.Preview(
        phase=case.state.phase,
        fraction_wad=0,
        price_wad=0,
        discount_bps=0,
        equity_mark=case.health.equity_mark,
        mm=case.health.mm,
        nonce=staticcall IMarginAccounts(ACCOUNTS).nonce_of(account),
    )
    amount_wad: uint256 = 0
    if case.state.phase == auction_states.SOLVENT:
        quote.fraction_wad, amount_wad = auction_terms._sale(
            wanted_wad,
            convert(case.health.equity_mark, uint256),
            case.health.equity_mm,
            case.health.mm,
            case.size_wad,
            auction_reward._reserve_wad(),
            case.discount_wad,
        )
        quote.price_wad = convert(amount_wad, int256)
        quote.discount_bps = case.discount_wad * c.BPS // c.WAD
    else:
        quote.fraction_wad, amount_wad = auction_terms._rescue(
            wanted_wad, case.health.equity_mark, case.size_wad, case.state.insolvent_s
        )
        # a loss that old data may have made up is nobody's to pay: who believes otherwise takes the account for nothing
        if case.is_doubtful:
            amount_wad = 0
        quote.price_wad = -convert(amount_wad, int256)
    return quote


@internal
@view
def _priced(case: Case, legs: DynArray[ILiquidationAuction.Leg, 16]) -> DynArray[IMarginAccounts.Leg, 16]:
    """
    @notice The legs with their marks, which must be fresh: a bidder who may choose takes what an old mark misprices
    @custom:invariant I-68
    """
    assert case.health.doubt == 0 and case.health.flags & _MARK_FLAGS == 0, e.DOUBT
    priced: DynArray[IMarginAccounts.Leg, 16] = []
    for leg: ILiquidationAuction.Leg in legs:
        mark_wad: uint256 = 0
        low_wad: uint256 = 0
        high_wad: uint256 = 0
        mark_wad, low_wad, high_wad = staticcall IMarginEngine(ENGINE).price_band(leg.instrument)
        # no price, no row, or settled
        assert high_wad != 0, e.NO_MARK
        price_wad: uint256 = 0
        state: uint256 = 0
        updated_at: uint256 = 0
        price_wad, state, updated_at = staticcall IPriceOracle(auction_reward.ORACLE).price(
            auction_reward._UNDERLYING, leg.instrument >> 8
        )
        assert state == c.PRICE_FRESH, e.DOUBT
        priced.append(IMarginAccounts.Leg(instrument=leg.instrument, lots=leg.lots, price_wad=mark_wad))
    return priced


@internal
def _case_for(account: uint256, bidder_account: uint256, expected_nonce: uint256) -> Case:
    """
    @notice The account's case, for a bidder who may have it
    @dev In doubt an account may be worth less than it is sold for: to believe otherwise is for the owner of the bidder's
         account, not for an operator, whose own loss it may be.
    """
    accounts: IMarginAccounts = IMarginAccounts(ACCOUNTS)
    assert bidder_account != account, e.SELF_BID
    assert staticcall accounts.has_right(bidder_account, msg.sender, RIGHT_MANAGE), e.NOT_AUTHORISED
    assert expected_nonce == ANY_NONCE or expected_nonce == staticcall accounts.nonce_of(account), e.NONCE
    case: Case = self._case(account)
    if case.is_doubtful:
        assert staticcall accounts.owner_of(bidder_account) == msg.sender, e.NOT_AUTHORISED
    return case


@internal
def _check_taken(bidder_account: uint256, min_health_wad: int256):
    """
    @notice The bidder holds initial margin for what it took
    @custom:invariant I-58
    """
    taken: IMarginEngine.Assessment = self._booked(bidder_account)
    assert taken.equity_im - convert(taken.im, int256) >= max(min_health_wad, 0), e.BIDDER_HEALTH


@internal
@view
def _check_left(account: uint256, case: Case) -> IMarginEngine.Assessment:
    """
    @notice The account after a bid: its health has not fallen
    @dev The requirement shrinks with the slice at least in proportion and the price is never negative for the account,
         so only rounding of lots could lower its health; every bid is large enough to outweigh that, or it is refused.
    @custom:invariant I-57
    """
    left: IMarginEngine.Assessment = self._assess(account)
    before_wad: int256 = case.health.equity_mm - convert(case.health.mm, int256)
    assert left.equity_mm - convert(left.mm, int256) >= before_wad, e.HEALTH_FELL
    return left


@internal
@view
def _is_limited(shortfall_wad: uint256) -> bool:
    """
    @notice Whether a known shortfall exceeds what the insurance fund holds
    @custom:invariant I-66
    """
    return shortfall_wad > (staticcall IERC20(_CASH_TOKEN).balanceOf(FUND)) * _CASH_SCALE


@internal
def _raise_money(payout_wad: uint256) -> (uint256, uint256):
    """
    @notice Has the insurance fund, then the lenders, bear what a bidder is paid
    @return (covered by the fund, lost by lenders), wad, adding up to the payout
    """
    accounts: IMarginAccounts = IMarginAccounts(ACCOUNTS)
    # up: the last fraction of a raw unit stays in MarginAccounts
    sent_raw: uint256 = extcall IInsuranceFund(FUND).cover(fixed_math._div_up(payout_wad, _CASH_SCALE))
    covered_wad: uint256 = 0
    if sent_raw != 0:
        covered_wad = min(extcall accounts.receive_cover(sent_raw), payout_wad)
    lost_wad: uint256 = payout_wad - covered_wad
    if lost_wad != 0:
        extcall accounts.socialise_loss(lost_wad)
    return covered_wad, lost_wad
