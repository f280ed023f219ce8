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
from contracts.modules import heads
from contracts.modules import positions

uses: heads
uses: positions
uses: cash


interface FundingOfOne:
    def funding(underlyings: uint256) -> DynArray[uint256, 1]: view


REGISTRY: immutable(IInstrumentRegistry)
ORACLE: immutable(IPriceOracle)


@deploy
def __init__(registry: address, oracle: address):
    REGISTRY = IInstrumentRegistry(registry)
    ORACLE = IPriceOracle(oracle)


@internal
@view
def _funding_index(underlying: uint256) -> int256:
    """
    @notice Cumulative funding of a perpetual now (wad per unit)
    @dev One at a time: a decoder of the whole array at each caller costs more code than the calls cost gas.
    """
    indices: DynArray[uint256, 1] = staticcall FundingOfOne(REGISTRY.address).funding(1 << underlying)
    return convert(convert(indices[0], bytes32), int256)


@internal
def _book_fill(fill: IMarginAccounts.Fill):
    """
    @notice Moves lots, premium or quote, and fees between buyer, seller and account 0
    """
    lots: int256 = convert(fill.lots, int256)
    buyer_lots: int256 = self._book_side(fill.buyer, fill.instrument, lots, fill.price_wad, fill.buyer_fee_wad)
    seller_lots: int256 = self._book_side(
        fill.seller, fill.instrument, -lots, fill.price_wad, fill.seller_fee_wad
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
    @notice One side of a fill: signed lots at a price; returns the resulting lots
    @dev A premium is floored for both signs: the buyer pays the ceiling, the seller gets the floor.
    """
    underlying: uint256 = instrument >> 8
    slot: uint256 = instrument & 255
    resulting: int256 = 0
    # what the trade itself adds, lot x wad: the quote of a perpetual, the premium of an option
    exact: int256 = -lots * convert(price_wad, int256)
    if slot == c.PERP_SLOT:
        resulting, exact = positions._change_perp(account, underlying, lots, exact, self._funding_index(underlying))
    else:
        resulting = positions._change_option(account, underlying, slot, lots)
    cash._pay(account, exact, -convert(fee_wad, int256))
    heads._bump(account)
    return resulting


@internal
def _settle_perp(account: uint256, underlying: uint256) -> bool:
    """
    @notice Turns the profit or loss of a perpetual that the account has into cash at the oracle's price
    @return False when the price is dead: then nothing has changed
    """
    price_wad: uint256 = 0
    price_state: uint256 = 0
    updated_at: uint256 = 0
    price_wad, price_state, updated_at = staticcall ORACLE.price(0, underlying)
    if price_state != c.PRICE_FRESH:
        return False
    pnl_wad: int256 = positions._realise_perp(account, underlying, price_wad, self._funding_index(underlying))
    cash_wad: int256 = cash._move(account, pnl_wad)
    heads._bump(account)
    log IMarginAccounts.PerpSettled(account=account, underlying=underlying, pnl_wad=pnl_wad, cash_wad=cash_wad)
    return True


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
