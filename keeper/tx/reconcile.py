# SPDX-License-Identifier: Apache-2.0
"""What became of the transactions in the journal: at start, and again before each new one.

Nothing here makes a new transaction. A signed one is sent again as the very same bytes, so a second copy cannot exist.
"""

from __future__ import annotations

from keeper.domain import Receipt
from keeper.errors import NonceTooLow, Permanent, Reverted, Transient
from keeper.ports import Chain, Clock
from keeper.tx.journal import Intent, Journal, SignedTransaction, State


class Reconciler:
    """Brings journal and chain together.

    Parameters
    ----------
    confirmations
        Blocks on top of a transaction's before its outcome is final.
    """

    def __init__(self, chain: Chain, journal: Journal, clock: Clock, confirmations: int) -> None:
        self._chain = chain
        self._journal = journal
        self._clock = clock
        self._confirmations = confirmations

    def settle_all(self) -> list[Intent]:
        """Settle every open intent that has a nonce, in the order of the nonces.

        A transaction that cannot be sent holds up the later ones, because they would wait for its nonce.

        Returns
        -------
        list
            The intents as they are now.
        """
        return [self.settle(intent) for intent in self._journal.open_intents() if intent.nonce is not None]

    def settle(self, intent: Intent) -> Intent:
        """Find out where one intent is, and send it again where the node has lost it.

        Raises
        ------
        Transient
            The node does not answer or does not take the transaction now.
        NoFunds
            The signer cannot pay for it.
        """
        receipt = self._receipt(intent)
        if receipt is not None:
            if (intent.tx_hash, intent.block_hash) != (receipt.tx_hash, receipt.block_hash):
                intent = self._journal.mined(intent, receipt, self._clock.now())
            return self._close_if_deep(intent, receipt)
        if intent.state is State.MINED:
            intent = self._journal.unmined(intent, self._clock.now())
        return self._send_again(intent)

    def _receipt(self, intent: Intent) -> Receipt | None:
        """Receipt of whichever of the intent's transactions is in the chain's present blocks."""
        for transaction in reversed(self._journal.transactions(intent)):
            receipt = self._chain.receipt(transaction.hash)
            if receipt is not None and self._chain.block(receipt.block_number).hash == receipt.block_hash:
                return receipt
        return None

    def _close_if_deep(self, intent: Intent, receipt: Receipt) -> Intent:
        if self._chain.block().number - receipt.block_number < self._confirmations:
            return intent
        now = self._clock.now()
        cancelled = any(t.cancels and t.hash == receipt.tx_hash for t in self._journal.transactions(intent))
        if cancelled:
            return self._journal.close(intent, State.CANCELLED, now)
        if receipt.succeeded:
            return self._journal.close(intent, State.FINAL, now)
        said = f"transaction 0x{receipt.tx_hash.hex()} was mined in block {receipt.block_number} and reverted"
        return self._journal.close(intent, State.FAILED, now, said)

    def _send_again(self, intent: Intent) -> Intent:
        nonce = self._nonce(intent)
        if self._chain.nonce(intent.sender) > nonce:
            return self._close_if_replaced(intent, nonce)
        newest = self._journal.transactions(intent)[-1]
        if intent.state is State.SENT and self._chain.knows(newest.hash):
            return intent
        return self.broadcast(intent, newest)

    def _close_if_replaced(self, intent: Intent, nonce: int) -> Intent:
        """Somebody else's transaction has the nonce; believed only N blocks deep, a node may lag with receipts."""
        deep = self._chain.block().number - self._confirmations
        if deep >= 0 and self._chain.nonce(intent.sender, deep) > nonce and self._receipt(intent) is None:
            said = f"nonce {nonce} was used by a transaction that is not the keeper's; keep its key for it alone"
            return self._journal.close(intent, State.REPLACED, self._clock.now(), said)
        return intent

    def broadcast(self, intent: Intent, transaction: SignedTransaction) -> Intent:
        """Send a stored transaction and note how the node took it.

        Raises
        ------
        Transient
            It is not known whether the node has it; the same bytes go out again next time.
        Permanent
            The node refused it for good; the intent is closed and its nonce is free.
        """
        try:
            self._chain.send_raw(transaction.raw)
        except Reverted:  # chains that mine at once report the revert here; the receipt decides
            pass
        except NonceTooLow:  # it, or another one of the intent, has just been mined
            return intent
        except Permanent as error:
            return self._refused(intent, transaction, error)
        return self._journal.sent(intent, transaction.hash, self._clock.now())

    def _refused(self, intent: Intent, transaction: SignedTransaction, error: Permanent) -> Intent:
        if self._chain.knows(transaction.hash):
            return self._journal.sent(intent, transaction.hash, self._clock.now())
        if len(self._journal.transactions(intent)) == 1 and intent.state is State.SIGNED:
            self._journal.close(intent, State.FAILED, self._clock.now(), str(error))
            raise error
        raise Transient(
            f"{intent}: a replacement was refused ({error}); the earlier transaction still waits"
        ) from error

    def _nonce(self, intent: Intent) -> int:
        if intent.nonce is None:
            raise Permanent(f"{intent} has no nonce yet; carry it out before settling it")
        return intent.nonce
