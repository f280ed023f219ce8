# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Booking of fills and settlement into cash
@notice Knows no risk: MarginAccounts checks margin after.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IPriceOracle
from contracts.modules import cash
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import positions

uses: heads
uses: positions
uses: cash

REGISTRY: immutable(IInstrumentRegistry)
ORACLE: immutable(IPriceOracle)


@deploy
def __init__(registry: address, oracle: address):
    REGISTRY = IInstrumentRegistry(registry)
    ORACLE = IPriceOracle(oracle)


# --- fills -----------------------------------------------------------------------------------------------------------


@internal
def _book_fill(fill: IMarginAccounts.Fill, is_open: bool):
    """
    @notice Moves lots, premium or base, and fees between buyer, seller and account 0
    @param is_open Whether the instrument takes new positions; else both sides must reduce
    @custom:invariant I-04, I-32
    """
    lots: int256 = convert(fill.lots, int256)
    buyer_lots: int256 = self._book_side(fill.buyer, fill.instrument, lots, fill.price_wad, fill.buyer_fee_wad)
    seller_lots: int256 = self._book_side(
        fill.seller, fill.instrument, -lots, fill.price_wad, fill.seller_fee_wad
    )
    if not is_open and not (positions._reduces(buyer_lots, lots) and positions._reduces(seller_lots, -lots)):
        err._fail(err.REDUCE_ONLY)
    positions._note_open(
        fill.instrument, positions._opened(buyer_lots, lots) + positions._opened(seller_lots, -lots)
    )
    cash._move(cash.PROTOCOL, convert(fill.buyer_fee_wad + fill.seller_fee_wad, int256))
    log IMarginAccounts.Filled(
        instrument=fill.instrument,
        buyer=fill.buyer,
        seller=fill.seller,
        lots=fill.lots,
        price_wad=fill.price_wad,
        buyer_lots=buyer_lots,
        seller_lots=seller_lots,
    )


@internal
def _book_side(
    account: uint256, instrument: uint256, lots: int256, price_wad: uint256, fee_wad: uint256
) -> int256:
    """
    @notice One side of a fill: signed lots at a price; returns the resulting lots. The caller notes the open lots
    @dev A premium is floored for both signs: the buyer pays the ceiling, the seller gets the floor.
    """
    slot: uint256 = instrument & 255
    resulting: int256 = 0
    # what the trade itself adds, lot x wad: the base of a perpetual or future, the premium of an option
    exact: int256 = -lots * convert(price_wad, int256)
    if slot < c.MAX_ROWS:
        resulting = positions._change_option(account, instrument >> 8, slot, lots)
    else:
        if slot == c.PERP_SLOT:
            exact += lots * (staticcall REGISTRY.mark(instrument))[1]
        resulting, exact = positions._trade_delta(account, instrument, lots, exact)
    cash._pay(account, exact, -convert(fee_wad, int256))
    heads._bump(account)
    return resulting


# --- perpetuals and futures ------------------------------------------------------------------------------------------


@internal
def _settle_delta(account: uint256, instrument: uint256) -> bool:
    """
    @notice Turns the profit or loss of a perpetual or future that the account has into cash: a settled one closes at
            the settlement price, exactly; one that lives pays what it has made at the oracle's price
    @dev For a future too that is the price without its basis, which a keeper sets: cash moves on oracle prices alone. What
         the basis is worth stays in equity. Were nothing paid before the expiry, a base could hide a debt from its interest
         and a credit from a loss that lenders share.
    @return False when there is no such price: then nothing has changed
    """
    price_wad: uint256 = 0
    carry: int256 = 0
    price_wad, carry = staticcall REGISTRY.mark(instrument)
    if instrument & 255 != c.PERP_SLOT:
        carry = 0
    lots: int256 = 0
    pnl_wad: int256 = 0
    cash_wad: int256 = 0
    if price_wad != 0:
        base: int256 = 0
        lots, base = positions._delta(account, instrument)
        positions._put_delta(account, instrument, 0, 0)
        positions._note_open(instrument, -abs(lots))
        pnl_wad, cash_wad = cash._pay(account, lots * (convert(price_wad, int256) - carry) + base, 0)
        lots = 0
    else:
        price_state: uint256 = 0
        updated_at: uint256 = 0
        price_wad, price_state, updated_at = staticcall ORACLE.price(0, instrument >> 8)
        if price_state != c.PRICE_FRESH:
            return False
        lots, pnl_wad = positions._realise(account, instrument, price_wad, carry)
        cash_wad = cash._move(account, pnl_wad)
    heads._bump(account)
    log IMarginAccounts.DeltaSettled(
        account=account, instrument=instrument, price_wad=price_wad, lots=lots, pnl_wad=pnl_wad, cash_wad=cash_wad
    )
    return True


@internal
@view
def _has(account: uint256, instrument: uint256) -> bool:
    return heads._heads[account] & heads._delta_bit(instrument) != 0


# --- options ---------------------------------------------------------------------------------------------------------


@internal
def _settle_expired(account: uint256, underlying: uint256):
    """
    @notice Turns what the account has of settled expiries of one underlying into cash
    """
    for kind: uint256 in range(3):
        instrument: uint256 = (underlying << 8) | (255 - kind)
        if self._has(account, instrument) and (staticcall REGISTRY.mark(instrument))[0] != 0:
            self._settle_delta(account, instrument)
    self._settle_options(account, underlying)


@internal
def _settle_options(account: uint256, underlying: uint256):
    """
    @notice Turns the account's options of settled expiries into cash; at most 128 steps
    """
    count: uint256 = heads._option_count(heads._heads[account], underlying)
    settled: uint256 = 0
    for step: uint256 in range(count, bound=128):
        # downwards: a removal moves only lanes that have been seen
        index: uint256 = count - 1 - step
        slot: uint256 = 0
        lots: int256 = 0
        slot, lots = positions._option_at(account, underlying, index)
        instrument: uint256 = (underlying << 8) | slot
        is_settled: bool = False
        intrinsic_wad: uint256 = 0
        is_settled, intrinsic_wad = self._intrinsic(instrument)
        if not is_settled:
            continue
        positions._put_option(account, underlying, index, slot, 0)
        positions._note_open(instrument, -abs(lots))
        value_wad: int256 = 0
        cash_wad: int256 = 0
        # floor for both signs: a long gets the floor, a short pays the ceiling
        value_wad, cash_wad = cash._pay(account, lots * convert(intrinsic_wad, int256), 0)
        settled += 1
        log IMarginAccounts.OptionSettled(
            account=account, instrument=instrument, lots=lots, value_wad=value_wad, cash_wad=cash_wad
        )
    if settled != 0:
        heads._bump(account)


@internal
@view
def _intrinsic(instrument: uint256) -> (bool, uint256):
    """
    @notice (settled, value per unit in wad at expiry)
    """
    expiry: uint256 = 0
    strike_wad: uint256 = 0
    is_call: bool = False
    expiry, strike_wad, is_call = staticcall REGISTRY.option_info(instrument)
    price_wad: uint256 = 0
    if block.timestamp >= expiry:
        price_wad = staticcall REGISTRY.settlement_price(instrument >> 8, expiry)
    if price_wad == 0:
        return False, 0
    if is_call:
        return True, price_wad - min(price_wad, strike_wad)
    return True, strike_wad - min(price_wad, strike_wad)
