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
     negative equity plus a reward rising to the account's size. The phase that counts is decided at every bid by the
     equity of that moment: an account that recovers while the solvent clock runs is sold, not given away.

     Old data: an auction starts only when the account is below MM by more than dead prices and pages leave in doubt
     (`doubt` of the margin rule: a move of the underlying by its scan range, a doubling of a collateral's price; an
     account that only a greater move would have saved is started). While the account is in doubt, or the chain's
     sequencer is down, a running auction's clock stands still. Doubt does not block bid(), but pays nobody for taking an
     insolvent account; bid_legs() needs fresh data. A clock counts only watched time: see auction_states, and tick().

     An account's clock starts again only after the account has been above MM by the end buffer, so that hovering around
     MM, or topping up by one unit, resets nothing. Anybody may bid, the owner's other accounts included: they hold initial
     margin for what they take like everyone, and what the fund pays rises from zero profit, so that whoever accepts the
     least gets it. What has settled is booked before an account is judged here: see settled_options.
@custom:kill Governance points MarginAccounts and InsuranceFund at another auction; this one can then move nothing.
@custom:trust governance: the settings, inside constant ranges. Nobody can choose a price, a bidder or an account.
"""

from contracts.interfaces import ILiquidationAuction
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.modules import auction_case
from contracts.modules import auction_math
from contracts.modules import auction_reward
from contracts.modules import auction_states
from contracts.modules import auction_terms
from contracts.modules import errors_auction as e
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: ILiquidationAuction

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: auction_terms[ownable := ownable]
initializes: auction_states
initializes: auction_reward
initializes: auction_case[
    auction_states := auction_states, auction_terms := auction_terms, auction_reward := auction_reward
]

exports: (
    # renouncing is left out: the settings must stay correctable
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    auction_terms.settings,
    auction_terms.set_settings,
    auction_case.ACCOUNTS,
    auction_case.ENGINE,
    auction_case.FUND,
    auction_reward.PARAMETERS,
    auction_reward.ORACLE,
    auction_reward.GAS_UNDERLYING,
)


@deploy
def __init__(
    governance: address,
    accounts: address,
    engine: address,
    fund: address,
    parameters: address,
    oracle: address,
    gas_underlying: uint256,
):
    """
    @param governance Owner: the timelock
    @param accounts MarginAccounts
    @param engine MarginEngine
    @param fund InsuranceFund
    @param parameters RiskParameters: the reserve for the caller of a start
    @param oracle PriceOracle
    @param gas_underlying Underlying whose price is that of the coin that pays for gas; 255 = none
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    auction_terms.__init__()
    auction_reward.__init__(parameters, oracle, gas_underlying)
    auction_case.__init__(accounts, engine, fund)
    ownable._transfer_ownership(governance)


# ------------------------------------------------------------------ start, tick and end


@external
def start(account: uint256, reward_account: uint256):
    """
    @notice Starts the auction of an account below MM. Anyone.
    @param account Account number
    @param reward_account Margin account that gets the caller's reward, cash from the account's reserve; 0 = nobody
    @custom:invariant I-56, I-73
    """
    health: IMarginEngine.Assessment = auction_case._booked(account)
    assert health.equity_mm < convert(health.mm, int256), e.HEALTHY
    # what old data leaves in doubt is not held against anybody
    assert health.equity_mm + convert(health.doubt, int256) < convert(health.mm, int256), e.DOUBT
    phase: uint256 = auction_states.SOLVENT if health.equity_mark > 0 else auction_states.INSOLVENT
    self._start(account, reward_account, phase, health.equity_mark, health.equity_mm, health.mm)


@external
def start_with(account: uint256, scenario: uint256, reward_account: uint256):
    """
    @notice Starts the auction of an account that one scenario proves to be below MM; much cheaper than start(). Anyone.
    @dev The event carries what the proof shows: equity for MM in place of equity at mark, the bound in place of MM. An
         account whose equity is gone is found insolvent by its first bid or tick.
    @param account Account number
    @param scenario As in IMarginEngine.assess_at
    @param reward_account As in start()
    """
    equity_mm: int256 = 0
    bound: uint256 = 0
    equity_mm, bound = auction_case._proof(account, scenario)
    assert equity_mm < convert(bound, int256), e.HEALTHY
    self._start(account, reward_account, auction_states.SOLVENT, equity_mm, equity_mm, bound)


@external
def tick(account: uint256):
    """
    @notice Records the time that has passed, the phase and the shortfall; ends a cured auction. Anyone.
    @dev Without bids somebody has to call this every tick_s, or the clock falls behind. Calls that are closer together
         than that count no more.
    @param account Account number
    """
    case: auction_case.Case = auction_case._case(account)
    if auction_case._is_cured(case.health):
        self._end(account, case.state.epoch, case.health)
    else:
        self._record(account, case.state, case.health.equity_mark)


@external
def end(account: uint256):
    """
    @notice Ends the auction of an account that is above MM by the end buffer again. Anyone.
    @param account Account number
    """
    case: auction_case.Case = auction_case._case(account)
    assert auction_case._is_cured(case.health), e.UNHEALTHY
    self._end(account, case.state.epoch, case.health)


# ------------------------------------------------------------------ bids


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
    @param bidder_account Account that takes over; the caller is its owner or, out of doubt, an operator with MANAGE
    @param fraction_wad Wanted, (0, 1e18]; lowered to what makes the account healthy, raised to 1e18
           rather than leave dust
    @param max_price_wad Most the bidder pays for what it gets, wad (negative: least it must be paid)
    @param min_health_wad Least equity_im - im of the bidder's account afterwards, wad; below zero counts as zero
    @param expected_nonce The account's nonce as seen in the preview
    @return (fraction taken wad, price paid wad: negative when paid to the bidder)
    """
    case: auction_case.Case = auction_case._case_for(account, bidder_account, expected_nonce)
    quote: ILiquidationAuction.Preview = auction_case._quote(account, case, fraction_wad)
    assert quote.price_wad <= max_price_wad, e.TOO_DEAR
    covered_wad: uint256 = 0
    lost_wad: uint256 = 0
    if quote.price_wad < 0:
        covered_wad, lost_wad = auction_case._raise_money(convert(-quote.price_wad, uint256))
    extcall IMarginAccounts(auction_case.ACCOUNTS).seize(account, bidder_account, quote.fraction_wad, quote.price_wad)

    auction_case._check_taken(bidder_account, min_health_wad)
    left: IMarginEngine.Assessment = auction_case._check_left(account, case)
    log ILiquidationAuction.BidMade(
        account=account,
        auction=case.state.epoch,
        bidder_account=bidder_account,
        fraction_wad=quote.fraction_wad,
        price_wad=quote.price_wad,
        covered_wad=covered_wad,
        lost_wad=lost_wad,
        equity_mm=left.equity_mm,
        mm=left.mm,
    )
    self._settle(account, case, left)
    return quote.fraction_wad, quote.price_wad


@external
def bid_legs(
    account: uint256,
    bidder_account: uint256,
    legs: DynArray[ILiquidationAuction.Leg, 16],
    min_reward_wad: uint256,
    min_health_wad: int256,
    expected_nonce: uint256,
) -> uint256:
    """
    @notice Takes chosen positions of an account with equity at their marks, for a reward that is for each unit of
            relief what a bid for everything would earn. At most what makes the account healthy.
    @dev Only with fresh prices and living pages: marks are prices here. A leg that worsens the rest earns nothing, as relief is
         measured over all legs together.
    @param account Account that is relieved
    @param bidder_account Account that takes over; the caller is its owner or, out of doubt, an operator with MANAGE
    @param legs Instruments and the signed lots (1e-6 units) that leave the account; each towards zero
    @param min_reward_wad Least reward, wad
    @param min_health_wad Least equity_im - im of the bidder's account afterwards, wad; below zero counts as zero
    @param expected_nonce The account's nonce, or 2^256-1
    @return Reward in cash, wad
    """
    case: auction_case.Case = auction_case._case_for(account, bidder_account, expected_nonce)
    assert not auction_case._is_cured(case.health), e.HEALTHY
    assert case.state.phase == auction_states.SOLVENT, e.INSOLVENT
    extcall IMarginAccounts(auction_case.ACCOUNTS).seize_legs(
        account, bidder_account, auction_case._priced(case, legs)
    )
    relieved: IMarginEngine.Assessment = auction_case._assess(account)
    size_wad: uint256 = auction_math._size(relieved.equity_mark, relieved.equity_mm, relieved.mm)
    assert size_wad < case.size_wad, e.NO_RELIEF
    reward_wad: uint256 = auction_math._legs_reward_wad(
        case.size_wad - size_wad, case.size_wad, convert(case.health.equity_mark, uint256), case.discount_wad
    )
    assert reward_wad >= min_reward_wad, e.TOO_DEAR
    if reward_wad != 0:
        extcall IMarginAccounts(auction_case.ACCOUNTS).pay_reward(account, bidder_account, reward_wad)

    auction_case._check_taken(bidder_account, min_health_wad)
    left: IMarginEngine.Assessment = auction_case._check_left(account, case)
    auction_terms._check_legs(case.size_wad - size_wad, left.equity_mm, left.mm)
    log ILiquidationAuction.LegsTaken(
        account=account,
        auction=case.state.epoch,
        bidder_account=bidder_account,
        relief_wad=case.size_wad - size_wad,
        reward_wad=reward_wad,
        equity_mm=left.equity_mm,
        mm=left.mm,
    )
    self._settle(account, case, left)
    return reward_wad


# ------------------------------------------------------------------ views


@external
@view
def preview_bid(account: uint256, fraction_wad: uint256) -> ILiquidationAuction.Preview:
    """
    @notice What a bid for this fraction would take now and its exact price; reverts with the reason that a bid would give,
            except for what concerns the bidder's account or the fund's transfer. A bid books settled options first, a
            view cannot: while there are any this reverts, see MarginAccounts.settle_many.
    @param account Account that is sold
    @param fraction_wad Wanted, (0, 1e18]
    @return Phase that counts, fraction that would be taken, its price (wad, negative: paid to the bidder), discount,
            and the account's equity at mark, MM (wad) and nonce
    """
    return auction_case._preview(account, fraction_wad)


@external
@view
@reentrant
def auction_of(account: uint256) -> ILiquidationAuction.Auction:
    """
    @notice The account's auction as last recorded: phase, when (unix s), time counted in either phase (s), number of
            its auctions so far
    @dev Reentrant: MarginAccounts may ask in the middle of a bid, while the auction it asks about still runs.
    """
    state: auction_states.State = auction_states._load(account)
    return ILiquidationAuction.Auction(
        phase=state.phase,
        seen_at=state.seen_at,
        solvent_s=state.solvent_s,
        insolvent_s=state.insolvent_s,
        epoch=state.epoch,
    )


@external
@view
@reentrant
def active_count() -> uint256:
    """
    @notice Number of running auctions. Reentrant as auction_of().
    """
    return auction_states._active_count


@external
@view
@reentrant
def shortfall_wad() -> uint256:
    """
    @notice What the accounts in the insolvent phase lacked when last recorded, wad. Reentrant as auction_of().
    """
    return auction_states._shortfall_wad


@external
@view
@reentrant
def withdrawals_limited() -> bool:
    """
    @notice Whether the known shortfall exceeds the insurance fund, so that lenders may be about to bear a loss
    @dev Reentrant: MarginAccounts asks in the middle of a withdrawal, when no record here is half written.
    """
    known_wad: uint256 = auction_states._shortfall_wad
    if known_wad == 0:
        return False
    return auction_case._is_limited(known_wad)


# ------------------------------------------------------------------ internal: state


@internal
def _start(
    account: uint256, reward_account: uint256, phase: uint256, equity_wad: int256, equity_mm: int256, mm: uint256
):
    state: auction_states.State = auction_states._load(account)
    assert state.phase == auction_states.NO_PHASE, e.RUNNING
    state = auction_states.State(
        phase=phase, seen_at=block.timestamp, solvent_s=0, insolvent_s=0, epoch=state.epoch + 1
    )
    auction_states._store(account, state, equity_wad)
    auction_states._active_count += 1
    reward_wad: uint256 = 0
    if reward_account != 0 and reward_account != account:
        reward_wad = auction_reward._reward_wad(
            auction_reward._reserve_wad(), auction_terms._settings.reward_gas, equity_wad
        )
        if reward_wad != 0:
            extcall IMarginAccounts(auction_case.ACCOUNTS).pay_reward(account, reward_account, reward_wad)
    log ILiquidationAuction.AuctionStarted(
        account=account,
        auction=state.epoch,
        starter=msg.sender,
        phase=phase,
        equity_mark=equity_wad,
        equity_mm=equity_mm,
        mm=mm,
        reward_wad=reward_wad,
    )


@internal
def _record(account: uint256, state: auction_states.State, equity_mark: int256):
    """
    @notice Stores a state that goes on, and says so when its phase is another than before
    """
    if state.phase != auction_states._load(account).phase:
        log ILiquidationAuction.AuctionPhaseChanged(account=account, auction=state.epoch, phase=state.phase)
    auction_states._store(account, state, equity_mark)


@internal
def _end(account: uint256, epoch: uint256, health: IMarginEngine.Assessment):
    auction_states._store(
        account,
        auction_states.State(phase=auction_states.NO_PHASE, seen_at=0, solvent_s=0, insolvent_s=0, epoch=epoch),
        0,
    )
    auction_states._active_count -= 1
    log ILiquidationAuction.AuctionEnded(account=account, auction=epoch, equity_mm=health.equity_mm, mm=health.mm)


@internal
def _settle(account: uint256, case: auction_case.Case, left: IMarginEngine.Assessment):
    """
    @notice Records what follows a bid for the account that was sold
    """
    if auction_case._is_cured(left):
        self._end(account, case.state.epoch, left)
    else:
        self._record(account, case.state, left.equity_mark)


