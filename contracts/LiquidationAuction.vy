# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Liquidation auctions
@notice Sells a fraction of everything that an account below maintenance margin (MM) has to whoever bids first, into the
        bidder's own margin account. The price falls with time; the fraction is limited to what makes the rest healthy.
@dev Solvent phase (equity at mark > 0): price = equity * (1 - discount(t)). Insolvent phase (equity gone, or nobody bid
     until the discount ended): the bidder is paid, by the insurance fund and then by the lenders, what covers the
     negative equity plus a reward rising to MM. The phase that counts is decided at every bid by the equity of that
     moment: an account that recovers while the solvent clock runs is sold, not given away.

     An account's clock starts again only after the account has been above MM by the end buffer, so that hovering around
     MM, or topping up by one unit, resets nothing. Anybody may bid, the owner's other accounts included: they hold
     initial margin for what they take like everyone, and what the fund pays rises from zero profit, so that whoever
     accepts the least gets it.
@custom:kill Governance points MarginAccounts and InsuranceFund at another auction; this one can then move nothing.
@custom:trust governance: the settings, inside constant ranges. Nobody can choose a price, a bidder or an account.
"""

from contracts.interfaces import IInsuranceFund
from contracts.interfaces import ILiquidationAuction
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.modules import auction_states
from contracts.modules import auction_terms
from contracts.modules import constants as c
from contracts.modules import errors_auction as e
from contracts.modules import fixed_math
from ethereum.ercs import IERC20Detailed
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: ILiquidationAuction

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: auction_terms[ownable := ownable]
initializes: auction_states

exports: (
    # renouncing is left out: the settings must stay correctable
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    auction_terms.settings,
    auction_terms.set_settings,
)


# accepts any nonce of the account: see bid()
ANY_NONCE: constant(uint256) = max_value(uint256)


ACCOUNTS: public(immutable(address))
ENGINE: public(immutable(address))
FUND: public(immutable(address))

# wad per raw unit of the cash token
_CASH_SCALE: immutable(uint256)

# number of running auctions
_active_count: uint256


@deploy
def __init__(governance: address, accounts: address, engine: address, fund: address):
    """
    @param governance Owner: the timelock
    @param accounts MarginAccounts
    @param engine MarginEngine
    @param fund InsuranceFund
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    auction_terms.__init__()
    ownable._transfer_ownership(governance)
    ACCOUNTS = accounts
    ENGINE = engine
    FUND = fund
    cash_token: address = staticcall IMarginAccounts(accounts).cash_token()
    decimals: uint256 = convert(staticcall IERC20Detailed(cash_token).decimals(), uint256)
    assert decimals <= 18, e.CASH_DECIMALS
    _CASH_SCALE = 10 ** (18 - decimals)


# ------------------------------------------------------------------ start and end


@external
def start(account: uint256):
    """
    @notice Starts the auction of an account below MM. Anyone.
    @param account Account number
    """
    health: IMarginEngine.Assessment = self._assess(account)
    assert health.equity_mm < convert(health.mm, int256), e.HEALTHY
    phase: uint256 = auction_states.SOLVENT if health.equity_mark > 0 else auction_states.INSOLVENT
    self._start(account, phase, health.equity_mark, health.equity_mm, health.mm)


@external
def start_with(account: uint256, scenario: uint256):
    """
    @notice Starts the auction of an account that one scenario proves to be below MM; much cheaper than start(). Anyone.
    @dev The event carries what the proof shows: equity for MM in place of equity at mark, the bound in place of MM. An
         account whose equity is gone is found insolvent by its first bid.
    @param account Account number
    @param scenario As in IMarginEngine.assess_at
    """
    equity_mm: int256 = 0
    bound: uint256 = 0
    equity_mm, bound = staticcall IMarginEngine(ENGINE).assess_at(account, scenario)
    assert equity_mm < convert(bound, int256), e.HEALTHY
    self._start(account, auction_states.SOLVENT, equity_mm, equity_mm, bound)


@external
def end(account: uint256):
    """
    @notice Ends the auction of an account that is above MM by the end buffer again. Anyone.
    @param account Account number
    """
    assert auction_states._load(account).phase != auction_states.NO_PHASE, e.NO_AUCTION
    health: IMarginEngine.Assessment = self._assess(account)
    assert auction_terms._is_cured(health.equity_mm, health.mm), e.UNHEALTHY
    self._end(account, health)


@external
def turn_insolvent(account: uint256):
    """
    @notice Starts the insolvent phase when equity at mark is gone or the solvent clock has run out. Anyone.
    @param account Account number
    """
    state: auction_states.State = auction_states._load(account)
    assert state.phase != auction_states.NO_PHASE, e.NO_AUCTION
    assert state.phase == auction_states.SOLVENT, e.RUNNING
    health: IMarginEngine.Assessment = self._assess(account)
    assert not auction_terms._is_cured(health.equity_mm, health.mm), e.HEALTHY
    assert self._phase_now(state, health) == auction_states.INSOLVENT, e.SOLVENT
    self._turn_insolvent(account)


# ------------------------------------------------------------------ bid


@external
def bid(
    account: uint256,
    bidder_account: uint256,
    fraction_wad: uint256,
    max_price_wad: int256,
    min_health_wad: int256,
    expected_nonce: uint256,
) -> (uint256, int256):
    """
    @notice Takes a fraction of everything that the account has (cash or debt, collateral, positions)
    @dev A deposit by anybody changes the account's nonce, so a bid that insists on one can be delayed by
         dust. A bidder who is delayed passes 2^256-1, which accepts any nonce: max_price_wad and min_health_wad then
         protect it.
    @param account Account that is sold
    @param bidder_account Account that takes over; the caller is its owner or operator
    @param fraction_wad Wanted, (0, 1e18]; lowered to what makes the account healthy, raised to 1e18
           rather than leave dust
    @param max_price_wad Most the bidder pays for what it gets, wad (negative: least it must be paid)
    @param min_health_wad Least equity_im - im of the bidder's account afterwards, wad; below zero counts as zero
    @param expected_nonce The account's nonce as seen in the preview
    @return (fraction taken wad, price paid wad: negative when paid to the bidder)
    """
    accounts: IMarginAccounts = IMarginAccounts(ACCOUNTS)
    assert bidder_account != account, e.SELF_BID
    assert staticcall accounts.is_authorised(bidder_account, msg.sender), e.NOT_AUTHORISED
    quote: ILiquidationAuction.Preview = empty(ILiquidationAuction.Preview)
    health_before: int256 = 0
    quote, health_before = self._quote(account, fraction_wad)
    assert expected_nonce == quote.nonce or expected_nonce == ANY_NONCE, e.NONCE
    assert quote.price_wad <= max_price_wad, e.TOO_DEAR

    covered_wad: uint256 = 0
    lost_wad: uint256 = 0
    if quote.price_wad < 0:
        covered_wad, lost_wad = self._raise_money(convert(-quote.price_wad, uint256))
    extcall accounts.seize(account, bidder_account, quote.fraction_wad, quote.price_wad)

    taken: IMarginEngine.Assessment = self._assess(bidder_account)
    assert taken.equity_im - convert(taken.im, int256) >= max(min_health_wad, 0), e.BIDDER_HEALTH
    self._settle(account, bidder_account, quote, health_before, covered_wad, lost_wad)
    return quote.fraction_wad, quote.price_wad


@external
@view
def preview_bid(account: uint256, fraction_wad: uint256) -> ILiquidationAuction.Preview:
    """
    @notice Exactly what a bid for this fraction would do now; reverts with the reason a bid would give
    @param account Account that is sold
    @param fraction_wad Wanted, (0, 1e18]
    @return Phase that counts, fraction that would be taken, its price (wad, negative: paid to the bidder), discount,
            and the account's equity at mark, MM (wad) and nonce
    """
    return self._quote(account, fraction_wad)[0]


# ------------------------------------------------------------------ views


@external
@view
@reentrant
def auction_of(account: uint256) -> ILiquidationAuction.Auction:
    """
    @notice The account's auction: recorded phase, start of that phase (unix s; 0 without auction), number of its
            auctions so far
    @dev Reentrant: MarginAccounts may ask in the middle of a bid, while the auction it asks about still runs.
    """
    state: auction_states.State = auction_states._load(account)
    started_at: uint256 = state.insolvent_at if state.phase == auction_states.INSOLVENT else state.started_at
    return ILiquidationAuction.Auction(phase=state.phase, started_at=started_at, epoch=state.epoch)


@external
@view
@reentrant
def active_count() -> uint256:
    """
    @notice Number of running auctions. Reentrant as auction_of().
    """
    return self._active_count


# ------------------------------------------------------------------ internal: state


@internal
def _start(account: uint256, phase: uint256, equity_mark: int256, equity_mm: int256, mm: uint256):
    state: auction_states.State = auction_states._load(account)
    assert state.phase == auction_states.NO_PHASE, e.RUNNING
    state.phase = phase
    state.started_at = block.timestamp
    state.insolvent_at = block.timestamp if phase == auction_states.INSOLVENT else 0
    state.epoch += 1
    auction_states._store(account, state)
    self._active_count += 1
    log ILiquidationAuction.AuctionStarted(
        account=account,
        auction=state.epoch,
        starter=msg.sender,
        phase=phase,
        equity_mark=equity_mark,
        equity_mm=equity_mm,
        mm=mm,
    )


@internal
def _turn_insolvent(account: uint256):
    state: auction_states.State = auction_states._load(account)
    state.phase = auction_states.INSOLVENT
    state.insolvent_at = block.timestamp
    auction_states._store(account, state)
    log ILiquidationAuction.AuctionTurnedInsolvent(account=account, auction=state.epoch)


@internal
def _end(account: uint256, health: IMarginEngine.Assessment):
    epoch: uint256 = auction_states._load(account).epoch
    auction_states._store(
        account,
        auction_states.State(phase=auction_states.NO_PHASE, started_at=0, insolvent_at=0, epoch=epoch),
    )
    self._active_count -= 1
    log ILiquidationAuction.AuctionEnded(account=account, auction=epoch, equity_mm=health.equity_mm, mm=health.mm)


@internal
def _settle(
    account: uint256,
    bidder_account: uint256,
    quote: ILiquidationAuction.Preview,
    health_before: int256,
    covered_wad: uint256,
    lost_wad: uint256,
):
    """
    @notice What follows a bid for the account that was sold
    """
    left: IMarginEngine.Assessment = self._assess(account)
    # the requirement shrinks with the slice at least in proportion and the price is never negative for the account,
    # so only rounding of lots could lower its health; every bid is large enough to outweigh that, or it is refused
    assert left.equity_mm - convert(left.mm, int256) >= health_before, e.HEALTH_FELL
    log ILiquidationAuction.BidMade(
        account=account,
        auction=auction_states._load(account).epoch,
        bidder_account=bidder_account,
        fraction_wad=quote.fraction_wad,
        price_wad=quote.price_wad,
        covered_wad=covered_wad,
        lost_wad=lost_wad,
        equity_mm=left.equity_mm,
        mm=left.mm,
    )
    if auction_terms._is_cured(left.equity_mm, left.mm):
        self._end(account, left)
    elif quote.phase == auction_states.INSOLVENT and auction_states._load(account).phase == auction_states.SOLVENT:
        self._turn_insolvent(account)


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


# ------------------------------------------------------------------ internal: views


@internal
@view
def _assess(account: uint256) -> IMarginEngine.Assessment:
    """
    @notice The account now; a dead price proves nothing in either direction
    """
    health: IMarginEngine.Assessment = staticcall IMarginEngine(ENGINE).assess(account)
    assert health.flags & c.FLAG_PRICE_DEAD == 0, e.PRICE_DEAD
    return health


@internal
@view
def _phase_now(state: auction_states.State, health: IMarginEngine.Assessment) -> uint256:
    """
    @notice Phase by the equity of this moment, whatever was recorded
    """
    if health.equity_mark > 0 and block.timestamp < state.started_at + auction_terms._solvent_s():
        return auction_states.SOLVENT
    return auction_states.INSOLVENT


@internal
@view
def _quote(account: uint256, wanted_wad: uint256) -> (ILiquidationAuction.Preview, int256):
    """
    @return What a bid would do now, and the account's health (equity_mm - mm) before it
    """
    state: auction_states.State = auction_states._load(account)
    assert state.phase != auction_states.NO_PHASE, e.NO_AUCTION
    assert wanted_wad != 0 and wanted_wad <= c.WAD, e.FRACTION
    health: IMarginEngine.Assessment = self._assess(account)
    assert not auction_terms._is_cured(health.equity_mm, health.mm), e.HEALTHY
    quote: ILiquidationAuction.Preview = ILiquidationAuction.Preview(
        phase=self._phase_now(state, health),
        fraction_wad=0,
        price_wad=0,
        discount_bps=0,
        equity_mark=health.equity_mark,
        mm=health.mm,
        nonce=staticcall IMarginAccounts(ACCOUNTS).nonce_of(account),
    )
    amount_wad: uint256 = 0
    if quote.phase == auction_states.SOLVENT:
        discount_wad: uint256 = 0
        quote.fraction_wad, amount_wad, discount_wad = auction_terms._sale(
            wanted_wad,
            convert(health.equity_mark, uint256),
            health.equity_mm,
            health.mm,
            block.timestamp - state.started_at,
        )
        quote.price_wad = convert(amount_wad, int256)
        quote.discount_bps = discount_wad * c.BPS // c.WAD
    else:
        elapsed_s: uint256 = block.timestamp - state.insolvent_at if state.phase == auction_states.INSOLVENT else 0
        quote.fraction_wad, amount_wad = auction_terms._rescue(wanted_wad, health.equity_mark, health.mm, elapsed_s)
        quote.price_wad = -convert(amount_wad, int256)
    return quote, health.equity_mm - convert(health.mm, int256)
