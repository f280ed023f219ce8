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
from contracts.modules import fixed_math
from contracts.modules import heads
from contracts.modules import positions

uses: heads
uses: positions
uses: cash

LOTS_PER_UNIT_INT: constant(int256) = 10**6

REGISTRY: immutable(IInstrumentRegistry)
ORACLE: immutable(IPriceOracle)


@deploy
def __init__(registry: address, oracle: address):
    REGISTRY = IInstrumentRegistry(registry)
    ORACLE = IPriceOracle(oracle)


@internal
@view
def _funding_index(underlying: uint256) -> int256:
    indices: DynArray[uint256, 16] = staticcall REGISTRY.funding(1 << underlying)
    return convert(convert(indices[0], bytes32), int256)


@internal
def _book_fill(fill: IMarginAccounts.Fill, indices: cash.Indices):
    """
    @notice Moves lots, premium or quote, and fees between buyer, seller and account 0
    """
    underlying: uint256 = fill.instrument >> 8
    slot: uint256 = fill.instrument & 255
    lots: int256 = convert(fill.lots, int256)
    notional: uint256 = fill.lots * fill.price_wad
    buyer_wad: int256 = -convert(fill.buyer_fee_wad, int256)
    seller_wad: int256 = -convert(fill.seller_fee_wad, int256)
    protocol_wad: int256 = convert(fill.buyer_fee_wad + fill.seller_fee_wad, int256)
    buyer_lots: int256 = 0
    seller_lots: int256 = 0
    realised_wad: int256 = 0
    dust: int256 = 0
    if slot == c.PERP_SLOT:
        funding_index: int256 = self._funding_index(underlying)
        quote: int256 = convert(notional, int256)
        remainder: int256 = 0
        buyer_lots, realised_wad, remainder = positions._change_perp(
            fill.buyer, underlying, lots, -quote, funding_index
        )
        buyer_wad += realised_wad
        dust = remainder
        seller_lots, realised_wad, remainder = positions._change_perp(
            fill.seller, underlying, -lots, quote, funding_index
        )
        seller_wad += realised_wad
        dust += remainder
    else:
        # the buyer pays the ceiling, the seller gets the floor, the protocol keeps the wad between
        paid_wad: int256 = convert(fixed_math._div_up(notional, c.LOTS_PER_UNIT), int256)
        got_wad: int256 = convert(notional // c.LOTS_PER_UNIT, int256)
        buyer_wad -= paid_wad
        seller_wad += got_wad
        protocol_wad += paid_wad - got_wad
        buyer_lots = positions._change_option(fill.buyer, underlying, slot, lots)
        seller_lots = positions._change_option(fill.seller, underlying, slot, -lots)
    cash._move(fill.buyer, buyer_wad, indices)
    cash._move(fill.seller, seller_wad, indices)
    cash._move(cash.PROTOCOL, protocol_wad, indices)
    cash._add_dust(dust, indices)
    heads._bump(fill.buyer)
    heads._bump(fill.seller)
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
def _settle_perps(account: uint256, bitmap: uint256, indices: cash.Indices) -> uint256:
    """
    @notice Turns the profit or loss of perpetuals into cash at the oracle's price; returns how many were settled
    @dev Where the price is dead the perpetual is left as it is.
    @param bitmap Underlyings; each must be a perpetual that the account has
    """
    prices: DynArray[uint256, 32] = staticcall ORACLE.read(bitmap, 0)
    fundings: DynArray[uint256, 16] = staticcall REGISTRY.funding(bitmap)
    n: uint256 = 0
    settled: uint256 = 0
    for underlying: uint256 in range(16):
        if (bitmap >> underlying) & 1 == 0:
            continue
        if (prices[n] >> 128) & 255 == c.PRICE_FRESH:
            pnl_wad: int256 = positions._realise_perp(
                account,
                underlying,
                prices[n] & (2**128 - 1),
                convert(convert(fundings[n], bytes32), int256),
            )
            cash_wad: int256 = cash._move(account, pnl_wad, indices)
            settled += 1
            log IMarginAccounts.PerpSettled(
                account=account, underlying=underlying, pnl_wad=pnl_wad, cash_wad=cash_wad
            )
        n += 1
    if settled != 0:
        heads._bump(account)
    return settled


@internal
def _settle_options(account: uint256, underlying: uint256, indices: cash.Indices):
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
        exact: int256 = lots * convert(intrinsic_wad, int256)
        # floor for both signs: a long gets the floor, a short pays the ceiling; the rest is dust
        value_wad: int256 = fixed_math._floor_div(exact, LOTS_PER_UNIT_INT)
        positions._put_option(account, underlying, index, slot, 0)
        cash_wad: int256 = cash._move(account, value_wad, indices)
        cash._add_dust(exact - value_wad * LOTS_PER_UNIT_INT, indices)
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
