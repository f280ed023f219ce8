# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Trades from two signed orders
@notice Anybody who holds a buy and a sell order that cross may match them, wholly or in part. Orders are EIP-712 messages
        of an account's owner, or of an operator with the right TRADE; a key or an EIP-1271 contract. Margin and the price
        band are MarginAccounts' business. docs/venues.md: how another venue plugs in.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.utils import eip712_domain_separator

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IMarginAccounts
from contracts.modules import constants as c
from contracts.modules import errors_venue as err
from contracts.modules import fixed_math
from contracts.modules import signatures

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


# serial: the instrument's listing (InstrumentRegistry), as a slot is used again after an option has ended; prices in USD
# wad; lots 1e-6 units, min_fill_lots the least that one match may trade unless less is left; max_fee_bps of the traded
# value; expires_at in unix s; nonce: any number below 2^256, orders that share one are cancelled together
struct Order:
    account: uint256
    signer: address
    instrument: uint256
    serial: uint256
    is_buy: bool
    lots: uint256
    min_fill_lots: uint256
    limit_price_wad: uint256
    max_fee_bps: uint256
    expires_at: uint256
    nonce: uint256


event OrdersMatched:
    buy_hash: indexed(bytes32)
    sell_hash: indexed(bytes32)
    instrument: indexed(uint256)
    lots: uint256
    price_wad: uint256
    buy_filled_lots: uint256
    sell_filled_lots: uint256


# the bits that are set from now on of word = nonce >> 8
event NoncesCancelled:
    account: indexed(uint256)
    word: indexed(uint256)
    bitmap: uint256
    sender: address


event FeeSet:
    fee_bps: uint256


ORDER_TYPE_HASH: public(constant(bytes32)) = keccak256(
    "Order(uint256 account,address signer,uint256 instrument,uint256 serial,bool is_buy,uint256 lots,uint256 min_fill_lots,uint256 limit_price_wad,uint256 max_fee_bps,uint256 expires_at,uint256 nonce)"
)
# far above any venue's fee, far below what would be theft
MAX_FEE_BPS: public(constant(uint256)) = 100

# a right of MarginAccounts' operators
RIGHT_TRADE: constant(uint256) = 1

ACCOUNTS: public(immutable(IMarginAccounts))
REGISTRY: public(immutable(IInstrumentRegistry))

# of the traded value, from each side
fee_bps: public(uint256)
# by order hash
filled_lots: public(HashMap[bytes32, uint256])
# account -> nonce >> 8 -> one bit a nonce
cancelled: public(HashMap[uint256, HashMap[uint256, uint256]])


@deploy
def __init__(governance: address, accounts: address, registry: address):
    """
    @param governance Owner: sets the fee inside its bound
    @param accounts MarginAccounts, which must have allowed this venue
    @param registry InstrumentRegistry: which listing a number means
    """
    ownable.__init__()
    ownable_2step.__init__()
    eip712_domain_separator.__init__("Ballast", "1")
    ownable._transfer_ownership(governance)
    ACCOUNTS = IMarginAccounts(accounts)
    REGISTRY = IInstrumentRegistry(registry)


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
    buy_signature: Bytes[1024],
    sell: Order,
    sell_signature: Bytes[1024],
    lots: uint256,
    price_wad: uint256,
):
    """
    @notice Trades `lots` between two signed orders at a price inside both limits; anybody may call
    @dev Abuse: whoever matches chooses the price between the two limits, so a limit must be a price that the signer
         accepts. A match that would leave either side below its margin reverts and fills nothing. Each
         contract that signs can burn up to 1,000,000 gas of whoever matches.
    @param buy_signature 64 or 65 bytes of a key, or up to 1,024 bytes that the signing contract accepts
    @param sell_signature As buy_signature
    @param lots 1e-6 units; at most what is left of either order
    @param price_wad USD wad per unit
    """
    assert buy.is_buy and not sell.is_buy, err.SIDES
    assert buy.instrument == sell.instrument and buy.serial == sell.serial, err.INSTRUMENT
    assert buy.serial == (staticcall REGISTRY.listing(buy.instrument))[0], err.SERIAL
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
def cancel_nonces(account: uint256, word: uint256, bitmap: uint256):
    """
    @notice Stops for good every order of an account whose nonce is one of these; its owner, or an operator with the right
            TRADE
    @param account Account number
    @param word nonce >> 8
    @param bitmap Bit nonce & 255 of each nonce to stop; 2^256-1 stops all 256 of them
    """
    assert staticcall ACCOUNTS.has_right(account, msg.sender, RIGHT_TRADE), err.SIGNER
    bits: uint256 = self.cancelled[account][word] | bitmap
    self.cancelled[account][word] = bits
    log NoncesCancelled(account=account, word=word, bitmap=bits, sender=msg.sender)


@external
@view
def order_hash(order: Order) -> bytes32:
    """
    @notice EIP-712 hash that the signer signs
    """
    return self._hash(order)


@internal
def _use(order: Order, signature: Bytes[1024], lots: uint256, fee_bps: uint256) -> bytes32:
    """
    @notice Checks one order and books `lots` as filled; returns its hash
    @dev Replay is stopped by the order's hash, never by the signature, which has more than one form.
    @custom:invariant I-77
    """
    order_hash: bytes32 = self._hash(order)
    assert block.timestamp <= order.expires_at, err.EXPIRED
    cancelled: uint256 = self.cancelled[order.account][order.nonce >> 8]
    assert (cancelled >> (order.nonce & 255)) & 1 == 0, err.CANCELLED
    assert fee_bps <= order.max_fee_bps, err.FEE
    filled: uint256 = self.filled_lots[order_hash] + lots
    assert filled <= order.lots, err.LOTS
    # many tiny matches would cost their signer a rounded-up fee and a settlement each
    assert lots >= order.min_fill_lots or filled == order.lots, err.MIN_FILL
    self.filled_lots[order_hash] = filled
    # a failed recovery gives zero, and account 0 or one that does not exist may have that as its owner
    assert order.signer != empty(address), err.SIGNER
    assert staticcall ACCOUNTS.has_right(order.account, order.signer, RIGHT_TRADE), err.SIGNER
    assert signatures._is_valid(order.signer, order_hash, signature), err.SIGNATURE
    return order_hash


@internal
@view
def _hash(order: Order) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(keccak256(abi_encode(ORDER_TYPE_HASH, order)))
