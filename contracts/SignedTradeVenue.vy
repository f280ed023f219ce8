# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Trades from two signed orders
@notice Anybody who holds a buy and a sell order that cross may match them, wholly or in part. Orders are EIP-712 messages
        of an account's owner or operator, a key or an EIP-1271 contract. Margin is MarginAccounts' business.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.utils import eip712_domain_separator
from snekmate.utils import signature_checker

from contracts.interfaces import IMarginAccounts
from contracts.modules import constants as c
from contracts.modules import errors_venue as err
from contracts.modules import fixed_math

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: eip712_domain_separator

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

# EIP-5267
exports: eip712_domain_separator.eip712Domain


# prices in USD wad; max_fee_bps of the traded value; expires_at in unix s; salt tells equal orders apart
struct Order:
    account: uint256
    signer: address
    instrument: uint256
    is_buy: bool
    lots: uint256
    limit_price_wad: uint256
    max_fee_bps: uint256
    expires_at: uint256
    salt: uint256


event OrdersMatched:
    buy_hash: indexed(bytes32)
    sell_hash: indexed(bytes32)
    instrument: indexed(uint256)
    lots: uint256
    price_wad: uint256
    buy_filled_lots: uint256
    sell_filled_lots: uint256


event OrderCancelled:
    order_hash: indexed(bytes32)
    account: indexed(uint256)
    sender: indexed(address)


event FeeSet:
    fee_bps: uint256


ORDER_TYPE_HASH: public(constant(bytes32)) = keccak256(
    "Order(uint256 account,address signer,uint256 instrument,bool is_buy,uint256 lots,uint256 limit_price_wad,uint256 max_fee_bps,uint256 expires_at,uint256 salt)"
)
# far above any venue's fee, far below what would be theft
MAX_FEE_BPS: public(constant(uint256)) = 100

ACCOUNTS: public(immutable(IMarginAccounts))

# of the traded value, from each side
fee_bps: public(uint256)
# by order hash
filled_lots: public(HashMap[bytes32, uint256])
is_cancelled: public(HashMap[bytes32, bool])


@deploy
def __init__(governance: address, accounts: address):
    """
    @param governance Owner: sets the fee inside its bound
    @param accounts MarginAccounts, which must have allowed this venue
    """
    ownable.__init__()
    ownable_2step.__init__()
    eip712_domain_separator.__init__("Ballast", "1")
    ownable._transfer_ownership(governance)
    ACCOUNTS = IMarginAccounts(accounts)


@external
def set_fee(fee_bps: uint256):
    """
    @notice Sets the fee of each side, in bps of the traded value, at most 100
    @dev Abuse: bounded by each order's own max_fee_bps.
    """
    ownable._check_owner()
    assert fee_bps <= MAX_FEE_BPS, err.FEE_BOUND
    self.fee_bps = fee_bps
    log FeeSet(fee_bps=fee_bps)


@external
def match_orders(
    buy: Order,
    buy_signature: Bytes[65],
    sell: Order,
    sell_signature: Bytes[65],
    lots: uint256,
    price_wad: uint256,
):
    """
    @notice Trades `lots` between two signed orders at a price inside both limits; anybody may call
    @param lots 1e-6 units; at most what is left of either order
    @param price_wad USD wad per unit
    """
    assert buy.is_buy and not sell.is_buy, err.SIDES
    assert buy.instrument == sell.instrument, err.INSTRUMENT
    assert lots > 0, err.ZERO_LOTS
    assert price_wad <= buy.limit_price_wad and price_wad >= sell.limit_price_wad, err.PRICE
    fee_bps: uint256 = self.fee_bps
    buy_hash: bytes32 = self._use(buy, buy_signature, lots, fee_bps)
    sell_hash: bytes32 = self._use(sell, sell_signature, lots, fee_bps)
    # up: at most one wad above the rate that both orders accepted, for the protocol
    fee_wad: uint256 = fixed_math._mul_div_up(lots * price_wad, fee_bps, c.LOTS_PER_UNIT * c.BPS)
    extcall ACCOUNTS.apply_fill(
        IMarginAccounts.Fill(
            instrument=buy.instrument,
            buyer=buy.account,
            seller=sell.account,
            lots=lots,
            price_wad=price_wad,
            buyer_fee_wad=fee_wad,
            seller_fee_wad=fee_wad,
        )
    )
    log OrdersMatched(
        buy_hash=buy_hash,
        sell_hash=sell_hash,
        instrument=buy.instrument,
        lots=lots,
        price_wad=price_wad,
        buy_filled_lots=self.filled_lots[buy_hash],
        sell_filled_lots=self.filled_lots[sell_hash],
    )


@external
def cancel(order: Order):
    """
    @notice Stops an order for good; the account's owner or an operator
    """
    assert staticcall ACCOUNTS.is_authorised(order.account, msg.sender), err.SIGNER
    order_hash: bytes32 = self._hash(order)
    self.is_cancelled[order_hash] = True
    log OrderCancelled(order_hash=order_hash, account=order.account, sender=msg.sender)


@external
@view
def order_hash(order: Order) -> bytes32:
    """
    @notice EIP-712 hash that the signer signs
    """
    return self._hash(order)


@internal
def _use(order: Order, signature: Bytes[65], lots: uint256, fee_bps: uint256) -> bytes32:
    """
    @notice Checks one order and books `lots` as filled; returns its hash
    @dev Replay is stopped by the order's hash, never by the signature, which has more than one form.
    """
    order_hash: bytes32 = self._hash(order)
    assert block.timestamp <= order.expires_at, err.EXPIRED
    assert not self.is_cancelled[order_hash], err.CANCELLED
    assert fee_bps <= order.max_fee_bps, err.FEE
    filled: uint256 = self.filled_lots[order_hash] + lots
    assert filled <= order.lots, err.LOTS
    self.filled_lots[order_hash] = filled
    # a failed recovery gives zero, and account 0 or one that does not exist may have that as its owner
    assert order.signer != empty(address), err.SIGNER
    assert staticcall ACCOUNTS.is_authorised(order.account, order.signer), err.SIGNER
    assert signature_checker._is_valid_signature_now(order.signer, order_hash, signature), err.SIGNATURE
    return order_hash


@internal
@view
def _hash(order: Order) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(keccak256(abi_encode(ORDER_TYPE_HASH, order)))
