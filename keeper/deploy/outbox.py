# SPDX-License-Identifier: Apache-2.0
"""Getting one transaction mined exactly once, whatever happens to the process in between.

The signed transaction's hash is in the manifest before it is sent. While its nonce is unused it is signed and sent
again with that nonce; once the nonce is used, its receipt, or the effect on chain, tells what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from rlp import codec
from web3.types import TxParams

from keeper.chain.failures import classify
from keeper.chain.rpc import Rpc
from keeper.deploy.config import Network
from keeper.deploy.manifest import Attempt, Manifest, ManifestFile, StepRecord
from keeper.domain import Receipt
from keeper.errors import NonceTooLow, Permanent, Reverted, Transient
from keeper.ports import Signer
from keeper.tx.fees import FeeCaps, Fees, first_offer, raised_offer

WEI_PER_GWEI = 10**9
GAS_MARGIN_PERCENT = 20
PATIENCE = 5
rlp_encode: Callable[[Any], bytes] = codec.encode  # rlp ships no types


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for a transaction, in seconds."""

    timeout_s: float = 300.0
    poll_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Message:
    """What a step sends; ``happened`` reads its effect back, given the address a creation would have."""

    what: str
    to: str | None
    data: bytes
    happened: Callable[[str | None], bool]


def create_address(sender: str, nonce: int) -> str:
    """Address of the contract that ``sender`` creates with ``nonce``.

    Examples
    --------
    >>> create_address("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", 0)
    '0xF2E246BB76DF876Cef8b38ae84130F4F55De395b'
    """
    return str(to_checksum_address(keccak(rlp_encode([bytes.fromhex(sender[2:]), nonce]))[12:]))


class Outbox:
    """Sends the transactions of a deployment, strictly one after the other.

    Parameters
    ----------
    network
        Chain id, confirmations and fee caps.
    rpc, signer, file
        Node, key and manifest.
    waiting
        Patience.

    Attributes
    ----------
    progress
        Told ``intent`` (recorded, not sent) and ``sent``.
    """

    def __init__(
        self,
        network: Network,
        rpc: Rpc,
        signer: Signer,
        file: ManifestFile,
        waiting: Waiting,
    ) -> None:
        self.network = network
        self.rpc = rpc
        self.signer = signer
        self.file = file
        self.waiting = waiting
        self.progress: Callable[[str], None] = lambda _stage: None
        self.caps = FeeCaps(
            int(network.max_fee_gwei * WEI_PER_GWEI), int(network.max_priority_fee_gwei * WEI_PER_GWEI), Decimal(2)
        )

    def deliver(self, manifest: Manifest, record: StepRecord, message: Message) -> Receipt:
        """Receipt of the step's transaction: of one recorded earlier, or of a new one."""
        found = self._mined(record)
        if found is not None:
            return found
        live = [item for item in record.attempts if not item.void]
        me = self.signer.address
        if live and self.rpc.nonce(me) > live[-1].nonce:
            found = self._settled(record, message)
            if found is not None:
                return found
            for item in live:  # the nonce went to something else: these can never run
                item.void = True
            live = []
        attempt = self._again(live[-1]) if live else self._fresh(message)
        raw, tx_hash = self._sign(attempt, message)
        if tx_hash not in {item.tx_hash for item in record.attempts}:
            attempt.tx_hash = tx_hash
            record.attempts.append(attempt)
        self.file.save(manifest)
        self.progress("intent")
        with suppress(NonceTooLow):  # mined already, or the nonce went to another transaction: waiting tells
            self.rpc.send_raw(raw)
        self.progress("sent")
        return self._wait(record, message)

    def _settled(self, record: StepRecord, message: Message) -> Receipt | None:
        """What became of a used nonce; a node that lags behind itself gets a few moments to find the receipt."""
        for _ in range(PATIENCE):
            found = self._mined(record)
            if found is not None:
                return found
            time.sleep(self.waiting.poll_s)
        last = record.attempts[-1]
        if not message.happened(last.address):
            return None
        head, tx_hash = self.rpc.block(), bytes.fromhex(last.tx_hash[2:])
        return Receipt(tx_hash, head.number, head.hash, True, 0, 0, ())

    def _fresh(self, message: Message) -> Attempt:
        me = self.signer.address
        nonce = self.rpc.nonce(me)
        waiting = self._pending_nonce() - nonce
        if waiting > 0:
            raise Transient(
                f"deployer {me} has {waiting} transactions waiting at the node; run again when they are mined"
            )
        fees = first_offer(self.rpc.fees(), self.caps)
        gas = self._gas(message)
        address = create_address(me, nonce) if message.to is None else None
        return Attempt(
            tx_hash="", nonce=nonce, gas=gas, max_fee_wei=fees.max_fee_wei, priority_fee_wei=fees.priority_fee_wei,
            address=address,
        )  # fmt: skip

    def _gas(self, message: Message) -> int:
        fields: dict[str, Any] = {"from": self.signer.address, "data": "0x" + message.data.hex()}
        if message.to is not None:
            fields["to"] = message.to
        try:
            needed = self.rpc.web3.eth.estimate_gas(cast("TxParams", fields))
        except Exception as error:
            found = classify(error, f"estimate of step '{message.what}'")
            if isinstance(found, Reverted):
                raise Permanent(
                    f"step '{message.what}' would revert with '{found.reason}'; correct the configuration and run again"
                ) from error
            raise found from error
        return needed * (100 + GAS_MARGIN_PERCENT) // 100

    def _pending_nonce(self) -> int:
        me = to_checksum_address(self.signer.address)
        try:
            return self.rpc.web3.eth.get_transaction_count(me, "pending")
        except Exception as error:
            raise classify(error, f"pending transactions of {me}") from error

    def _again(self, last: Attempt) -> Attempt:
        """The same nonce: as it was, or with higher fees once its own no longer reach the base fee."""
        quote = self.rpc.fees()
        if last.max_fee_wei > quote.base_fee_wei:
            return last
        raised = raised_offer(Fees(last.max_fee_wei, last.priority_fee_wei), quote, self.caps)
        if raised is None:
            raise Transient(f"transaction {last.tx_hash} cannot be raised under network.max_fee_gwei; wait or raise it")
        update = {"max_fee_wei": raised.max_fee_wei, "priority_fee_wei": raised.priority_fee_wei, "tx_hash": ""}
        return last.model_copy(update=update)

    def _sign(self, attempt: Attempt, message: Message) -> tuple[bytes, str]:
        fields: dict[str, Any] = {
            "type": 2, "chainId": self.network.chain_id, "nonce": attempt.nonce, "gas": attempt.gas,
            "maxFeePerGas": attempt.max_fee_wei, "maxPriorityFeePerGas": attempt.priority_fee_wei, "value": 0,
            "data": message.data, "to": message.to or b"",
        }  # fmt: skip
        raw, tx_hash = self.signer.sign(fields)
        return raw, "0x" + tx_hash.hex()

    def _mined(self, record: StepRecord) -> Receipt | None:
        for item in record.attempts:
            receipt = None if item.void else self.rpc.receipt(bytes.fromhex(item.tx_hash[2:]))
            if receipt is not None:
                return receipt
        return None

    def _wait(self, record: StepRecord, message: Message) -> Receipt:
        deadline = time.monotonic() + self.waiting.timeout_s
        while True:
            receipt = self._mined(record)
            confirmed = receipt is not None and self._confirmed(receipt)
            if receipt is not None and confirmed:
                return receipt
            if time.monotonic() > deadline:
                raise Transient(
                    f"step '{message.what}' (transaction {record.attempts[-1].tx_hash}) is not confirmed after "
                    f"{self.waiting.timeout_s:.0f} s; run the same command again, it goes on there"
                )
            time.sleep(self.waiting.poll_s)

    def _confirmed(self, receipt: Receipt) -> bool:
        return self.rpc.block().number >= receipt.block_number + self.network.confirmations - 1
