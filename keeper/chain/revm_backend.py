# SPDX-License-Identifier: Apache-2.0
"""An eth-tester backend on revm: the embedded chain of the demo and of most tests.

Everything eth-tester asks of its py-evm backend, two orders of magnitude faster on margin calls. Blocks, fees, nonces,
receipts and gas follow the same rules (tests run both side by side); what differs is listed in
:mod:`keeper.chain.revm_state`, and trie roots are plain hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account import Account as Keys
from eth_tester.exceptions import TransactionFailed, ValidationError
from eth_utils.address import to_canonical_address, to_checksum_address

from keeper.chain.revm_block import Executed, Transaction, decode_transaction
from keeper.chain.revm_chain import RevmChain
from keeper.chain.revm_state import Account, InvalidMessageError, Message, Outcome, calldata_floor

CHAIN_ID = 1337
GAS_LIMIT = 60_000_000
DEFAULT_PRIORITY_FEE_WEI = 10**9
_ERROR_SELECTOR = bytes.fromhex("08c379a0")


class CallReverted(TransactionFailed):
    """A reverted call: ``args[0]`` is the reason, ``data`` the raw revert data."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(reason)
        self.data = data


def revert_reason(outcome: Outcome) -> str:
    """Reason of a failed message as text: the string, the raw data in hex, or the exceptional halt."""
    if outcome.halt is not None:
        return outcome.halt
    if outcome.output[:4] == _ERROR_SELECTOR:
        try:
            return str(decode(["string"], outcome.output[4:])[0])
        except DecodingError:
            pass
    return "0x" + outcome.output.hex() if outcome.output else ""


class RevmBackend(RevmChain):
    """In-process chain on revm.

    Parameters
    ----------
    accounts
        How many funded accounts; account ``i`` has the private key ``i + 1``.
    chain_id, gas_limit
        Of the chain; gas limit of a block in gas.
    genesis_timestamp
        Unix seconds; now when None.
    """

    def __init__(
        self,
        accounts: int = 10,
        *,
        chain_id: int = CHAIN_ID,
        gas_limit: int = GAS_LIMIT,
        genesis_timestamp: int | None = None,
    ) -> None:
        self._keys = {_address_of(key.to_bytes(32, "big")): key for key in range(1, accounts + 1)}
        self._raw: dict[tuple[int, int], bytes] = {}
        super().__init__(tuple(self._keys), chain_id, gas_limit, genesis_timestamp)

    # ------------------------------------------------------------------ accounts

    def get_accounts(self) -> tuple[bytes, ...]:
        """Addresses that this chain signs for."""
        return tuple(self._keys)

    def add_account(self, private_key: bytes) -> None:
        """Sign for this key too; it starts without funds."""
        self._keys[_address_of(private_key)] = int.from_bytes(private_key, "big")

    # ------------------------------------------------------------------ state at a block

    def get_nonce(self, account: bytes, block_number: int | str = "latest") -> int:
        """Number of transactions sent."""
        with self._at(block_number):
            return self._state.account(account).nonce

    def get_balance(self, account: bytes, block_number: int | str = "latest") -> int:
        """Balance in wei."""
        with self._at(block_number):
            return self._state.account(account).balance

    def get_code(self, account: bytes, block_number: int | str = "latest") -> bytes:
        """Runtime code."""
        with self._at(block_number):
            return self._state.account(account).code

    def get_storage(self, account: bytes, slot: int, block_number: int | str = "latest") -> int:
        """A storage word."""
        with self._at(block_number):
            return self._state.slot(account, slot)

    def get_base_fee(self, block_number: int | str = "latest") -> int:
        """Base fee of a block in wei a gas."""
        return self._block(block_number).base_fee

    # ------------------------------------------------------------------ messages

    def _message(self, transaction: Mapping[str, Any], gas: int) -> Message:
        return Message(
            transaction["from"],
            transaction.get("to", b""),
            transaction.get("data", b""),
            transaction.get("value", 0),
            gas,
        )

    def _simulate(self, message: Message, which: int | str) -> Outcome:
        try:
            with self._at(which) as block:
                return self._state.execute(message, block.context())[0]
        except InvalidMessageError as error:
            raise ValidationError(str(error)) from error

    def call(self, transaction: Mapping[str, Any], block_number: int | str = "latest") -> bytes:
        """eth_call on the state after a block; raises CallReverted with the reason."""
        message = self._message(transaction, min(transaction.get("gas", self._gas_limit), self._gas_limit))
        outcome = self._simulate(message, block_number)
        if not outcome.success:
            raise CallReverted(revert_reason(outcome), outcome.output)
        return outcome.output

    def estimate_gas(self, transaction: Mapping[str, Any], block_number: int | str = "latest") -> int:
        """Least gas limit with which the message succeeds, by bisection; raises CallReverted with the reason."""
        high: int = min(transaction.get("gas", self._gas_limit), self._gas_limit)
        outcome = self._simulate(self._message(transaction, high), block_number)
        if not outcome.success:
            raise CallReverted(revert_reason(outcome), outcome.output)
        low = max(outcome.gas_used, calldata_floor(transaction.get("data", b""))) - 1
        # 64/63 of what was spent usually suffices; trying it first saves most of the bisection.
        for guess in (low + 1, (low + 1) * 64 // 63 + 3_000):
            if guess < high and self._simulate(self._message(transaction, guess), block_number).success:
                high = guess
                break
        while low + 1 < high:
            middle = (low + high) // 2
            if self._simulate(self._message(transaction, middle), block_number).success:
                high = middle
            else:
                low = middle
        return high

    # ------------------------------------------------------------------ transactions

    def send_raw_transaction(self, raw_transaction: bytes) -> bytes:
        """Check a signed transaction as a node would and execute it in the pending block."""
        raw = bytes(raw_transaction)
        tx = decode_transaction(raw)
        self._check(tx)
        self._execute(tx)
        self._raw[(tx.r, tx.s)] = raw
        return tx.hash

    def send_signed_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """Put back a transaction that eth-tester had held in its own pool."""
        return self.send_raw_transaction(self._raw[(transaction["r"], transaction["s"])])

    def send_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """Sign with one of the chain's own accounts and send."""
        key = self._keys.get(transaction["from"])
        if key is None:
            raise ValidationError(f"unknown account {to_checksum_address(transaction['from'])}")
        fields: dict[str, Any] = {
            "nonce": transaction.get("nonce", self._state.account(transaction["from"]).nonce),
            "gas": transaction["gas"],
            "to": to_checksum_address(transaction["to"]) if transaction.get("to") else b"",
            "value": transaction.get("value", 0),
            "data": transaction.get("data", b""),
            "chainId": self.chain_id,
        }
        if "gas_price" in transaction:
            fields["gasPrice"] = transaction["gas_price"]
        else:
            tip = transaction.get("max_priority_fee_per_gas", DEFAULT_PRIORITY_FEE_WEI)
            fields["maxPriorityFeePerGas"] = tip
            fields["maxFeePerGas"] = transaction.get("max_fee_per_gas", tip + 2 * self._pending.base_fee)
        signed = Keys.sign_transaction(fields, key.to_bytes(32, "big"))
        return self.send_raw_transaction(bytes(signed.raw_transaction))

    def _check(self, tx: Transaction) -> None:
        account, block = self._state.account(tx.sender), self._pending
        cost = tx.gas * tx.max_fee + tx.value
        problems = (
            (any(item.tx.hash == tx.hash for item in block.txs), "already known"),
            (
                tx.chain_id not in (None, self.chain_id),
                f"invalid chain id for signer: have {tx.chain_id} want {self.chain_id}",
            ),
            (tx.nonce < account.nonce, f"nonce too low: next nonce {account.nonce}, tx nonce {tx.nonce}"),
            (tx.nonce > account.nonce, f"nonce too high: next nonce {account.nonce}, tx nonce {tx.nonce}"),
            (tx.priority_fee > tx.max_fee, "max priority fee per gas higher than max fee per gas"),
            (tx.max_fee < block.base_fee, f"max fee per gas less than block base fee: {tx.max_fee} < {block.base_fee}"),
            (tx.gas > self._gas_limit - block.gas_used, "exceeds block gas limit"),
            (cost > account.balance, f"insufficient funds for gas * price + value: have {account.balance} want {cost}"),
        )
        for wrong, text in problems:
            if wrong:
                raise ValidationError(text)

    def _execute(self, tx: Transaction) -> None:
        block = self._pending
        price = tx.effective_price(block.base_fee)
        message = Message(tx.sender, tx.to, tx.data, tx.value, tx.gas, price)
        try:
            outcome, diff = self._state.execute(message, block.context())
        except InvalidMessageError as error:
            raise ValidationError(str(error)) from error
        before = self._state.account(tx.sender)
        after = diff.accounts.get(tx.sender, (before, before))[1]
        charged = Account(tx.nonce + 1, after.balance - outcome.gas_used * price, after.code)
        diff.accounts[tx.sender] = (before, charged)
        self._state.apply(diff)
        block.txs.append(Executed(tx, outcome, diff, block.gas_used + outcome.gas_used))
        self._tx_place[tx.hash] = (block.number, len(block.txs) - 1)


def _address_of(private_key: bytes) -> bytes:
    return to_canonical_address(Keys.from_key(private_key).address)
