# SPDX-License-Identifier: Apache-2.0
"""The people's side of a local deployment: mint, deposit, trade through the venue, withdraw, move prices.

Everything goes through transactions and the contracts of the manifest, on the embedded chain or on a local node alike.
Only for chains whose tokens and feeds are the test ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import ContractLogicError

from keeper.artifacts import load
from keeper.demo.orders import Order, sign_order
from keeper.domain import Block
from keeper.errors import Permanent
from risk.onchain import Assessment

WAD = 10**18
LOTS_PER_UNIT = 10**6
RIGHT_MANAGE = 4  # of MarginAccounts: what bidding into an account needs
RIGHT_S = 365 * 86_400
GAS_LIMIT = 8_000_000
FUNDING_WEI = 10**18
MAX_UINT = 2**256 - 1


def person_key(name: str) -> LocalAccount:
    """A key made from a name: the same on every run, worth nothing anywhere else."""
    signer: LocalAccount = Account.from_key(keccak(text=f"ballast demonstration: {name}"))
    return signer


class Sender:
    """Signs, sends and waits: one nonce counter a key; a revert is an error with the contract's reason."""

    def __init__(self, web3: Web3) -> None:
        self.web3 = web3
        self.chain_id = web3.eth.chain_id
        self._nonces: dict[str, int] = {}

    def send(self, signer: LocalAccount, call: Any, gas: int = GAS_LIMIT) -> Any:
        """Send a bound contract function; returns the receipt.

        Raises
        ------
        Permanent
            When the contract refuses, with its reason.
        """
        return self._send(signer, {"to": call.address, "data": call._encode_transaction_data()}, gas, call.fn_name)

    def transfer(self, signer: LocalAccount, to: str, wei: int) -> Any:
        """Send ether."""
        return self._send(signer, {"to": to, "value": wei}, 21_000, "transfer")

    def _send(self, signer: LocalAccount, fields: dict[str, Any], gas: int, what: str) -> Any:
        address = signer.address
        nonce = self._nonces.setdefault(address, self.web3.eth.get_transaction_count(address))
        base = self.web3.eth.get_block("latest").get("baseFeePerGas", 10**9)
        signed = signer.sign_transaction(
            {
                "chainId": self.chain_id,
                "nonce": nonce,
                "gas": gas,
                "maxFeePerGas": 2 * base + 10**9,
                "maxPriorityFeePerGas": 10**9,
                "value": 0,
                **fields,
            }
        )
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(signed.raw_transaction))
        self._nonces[address] = nonce + 1
        if receipt["status"] != 1:
            raise Permanent(f"{what} was refused: {self._reason(address, fields, receipt)}; look at the transaction")
        return receipt

    def _reason(self, sender: str, fields: dict[str, Any], receipt: Any) -> str:
        try:
            self.web3.eth.call({"from": sender, **fields}, receipt["blockNumber"] - 1)  # type: ignore[typeddict-item]
        except ContractLogicError as error:
            return str(error.message)
        return "no reason given"


class World:
    """Contracts of a manifest as web3 objects, and what a person does with them.

    Parameters
    ----------
    web3 : connected client.
    addresses : contract name to address, as in the manifest.
    tokens : token symbol to address; ``USDC`` is cash.
    feeds : (kind, id) to aggregator address; kind 0 underlying, 1 collateral.
    operator : key that may mint test tokens, set test prices and has ether.
    """

    def __init__(
        self,
        web3: Web3,
        addresses: Mapping[str, str],
        tokens: Mapping[str, str],
        feeds: Mapping[tuple[int, int], str],
        operator: LocalAccount,
    ) -> None:
        self.web3 = web3
        self.operator = operator
        self.sender = Sender(web3)
        self.addresses = dict(addresses)
        self.tokens = dict(tokens)
        self.feeds = dict(feeds)
        self._order_nonces = itertools.count(1)
        self._erc20 = {symbol: self._contract("TestToken", address) for symbol, address in tokens.items()}
        self._decimals: dict[str, int] = {}
        self.accounts = self.contract("MarginAccounts")
        self.engine = self.contract("MarginEngine")
        self.registry = self.contract("InstrumentRegistry")
        self.venue = self.contract("SignedTradeVenue")

    def contract(self, name: str) -> Contract:
        """Contract of the manifest."""
        return self._contract(name, self.addresses[name])

    def _contract(self, artifact: str, address: str) -> Contract:
        contract: Contract = self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=load(artifact).abi)
        return contract

    # --- ERC-20 reads (the `Tokens` port of `keeper.demo.checks`) ---

    def balance_of(self, token: str, holder: str, block: Block) -> int:
        """Raw balance at a block."""
        contract = self._contract("TestToken", token)
        return int(contract.functions.balanceOf(holder).call(block_identifier=block.number))

    def decimals(self, token: str) -> int:
        """Decimals of a token."""
        if token not in self._decimals:
            self._decimals[token] = int(self._contract("TestToken", token).functions.decimals().call())
        return self._decimals[token]

    # --- people ---

    def open_account(self, owner: LocalAccount) -> int:
        """Fund a key with ether for gas and open an account for it; returns its number."""
        self.sender.transfer(self.operator, owner.address, FUNDING_WEI)
        receipt = self.sender.send(owner, self.accounts.functions.open_account(owner.address))
        return int(self.accounts.events.AccountOpened().process_receipt(receipt)[0]["args"]["account"])

    def raw_amount(self, symbol: str, usd: float, price: float) -> int:
        """Raw token units worth ``usd``."""
        return int(usd / price * 10 ** self.decimals(self.tokens[symbol]))

    def deposit(self, owner: LocalAccount, account: int, symbol: str, amount_raw: int) -> None:
        """Mint test tokens to the owner and deposit them."""
        token = self._erc20[symbol]
        self.sender.send(self.operator, token.functions.mint(owner.address, amount_raw))
        self.sender.send(owner, token.functions.approve(self.accounts.address, amount_raw))
        self.sender.send(owner, self.accounts.functions.deposit(account, token.address, amount_raw))

    def withdraw(self, owner: LocalAccount, account: int, symbol: str, amount_raw: int) -> None:
        """Withdraw to the owner."""
        token = self.tokens[symbol]
        self.sender.send(owner, self.accounts.functions.withdraw(account, token, amount_raw, owner.address))

    def assess(self, account: int) -> Assessment:
        """What the engine says now."""
        raw = self.engine.functions.assess(account).call()
        values: tuple[Any, ...] = (*raw[:-1], tuple(raw[-1]))
        return Assessment._make(values)

    def let_bid(self, owner: LocalAccount, account: int, operator: str) -> None:
        """Let a key bid into an account for a year."""
        until = self.web3.eth.get_block("latest")["timestamp"] + RIGHT_S
        call = self.accounts.functions.set_operator(account, operator, RIGHT_MANAGE, until)
        self.sender.send(owner, call)

    def mark(self, instrument: int) -> int:
        """USD wad per unit at the middle of the band in which the instrument may be traded; 0 without a price."""
        return int(self.engine.functions.price_band(instrument).call()[0])

    def trade(
        self,
        buyer: tuple[int, LocalAccount],
        seller: tuple[int, LocalAccount],
        instrument: int,
        lots: int,
        price_wad: int,
    ) -> None:
        """Both sign an order, anybody submits the match."""
        expires_at = self.web3.eth.get_block("latest")["timestamp"] + 3_600
        serial = self.registry.functions.serial_of(instrument).call()
        legs: list[Any] = []
        for (account, owner), is_buy in ((buyer, True), (seller, False)):
            order = Order(
                account=account,
                signer=owner.address,
                instrument=instrument,
                serial=serial,
                is_buy=is_buy,
                lots=lots,
                min_fill_lots=lots,
                limit_price_wad=price_wad,
                max_fee_bps=0,
                expires_at=expires_at,
                nonce=next(self._order_nonces),
            )
            legs += [order.as_tuple(), sign_order(order, owner, self.venue.address, self.sender.chain_id)]
        self.sender.send(self.operator, self.venue.functions.match_orders(*legs, lots, price_wad))

    # --- prices ---

    def set_price(self, kind: int, id_: int, usd: float) -> None:
        """Write a round to a test aggregator (8 decimals, as Chainlink's USD feeds)."""
        feed = self._contract("MockAggregator", self.feeds[(kind, id_)])
        self.sender.send(self.operator, feed.functions.set_answer(round(usd * 10**8)))
