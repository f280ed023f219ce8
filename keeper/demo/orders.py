# SPDX-License-Identifier: Apache-2.0
"""Signed orders of ``SignedTradeVenue`` (EIP-712)."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

ORDER_TYPE = {
    "Order": [
        {"name": "account", "type": "uint256"},
        {"name": "signer", "type": "address"},
        {"name": "instrument", "type": "uint256"},
        {"name": "serial", "type": "uint256"},
        {"name": "is_buy", "type": "bool"},
        {"name": "lots", "type": "uint256"},
        {"name": "min_fill_lots", "type": "uint256"},
        {"name": "limit_price_wad", "type": "uint256"},
        {"name": "max_fee_bps", "type": "uint256"},
        {"name": "expires_at", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
    ]
}


@dataclass(frozen=True, slots=True)
class Order:
    """Field for field the venue's struct: lots of 1e-6 units, price in USD wad per unit, unix seconds.

    ``serial`` names the listing that the slot had when the order was signed; orders of one ``nonce`` fall together.
    """

    account: int
    signer: str
    instrument: int
    serial: int
    is_buy: bool
    lots: int
    min_fill_lots: int
    limit_price_wad: int
    max_fee_bps: int
    expires_at: int
    nonce: int

    def as_tuple(self) -> tuple[int | str | bool, ...]:
        """Values in ABI order."""
        return astuple(self)


def sign_order(order: Order, signer: LocalAccount, venue: str, chain_id: int) -> bytes:
    """Signature (65 bytes) of an order for one venue on one chain."""
    domain = {"name": "Ballast", "version": "1", "chainId": chain_id, "verifyingContract": venue}
    message = {name: getattr(order, name) for name in (field["name"] for field in ORDER_TYPE["Order"])}
    return bytes(signer.sign_message(encode_typed_data(domain, ORDER_TYPE, message)).signature)
