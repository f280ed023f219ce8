# SPDX-License-Identifier: Apache-2.0
"""What became of the transactions in the journal: at start, and again before each new one.

Nothing here makes a new transaction. A signed one is sent again as the very same bytes, so a second copy cannot exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from keeper.domain import Block, Receipt
from keeper.errors import NoFunds, NonceTooLow, Permanent, Reverted, Transient
from keeper.ports import Chain, Clock
from keeper.tx.journal import Intent, Journal, SignedTransaction, State

RECHECK_BLOCKS = 64  # two epochs of Ethereum: below them blocks are final
TOO_LOW_LIMIT = 3
TOO_LOW_PAUSE = 10
LONGEST_REASON = 200
Listener = Callable[[str, Intent], None]
log = structlog.get_logger()


def unheard(_event: str, _intent: Intent) -> None:
    """Nobody listens."""


class Reconciler:
    """Brings journal and chain together.

    Parameters
    ----------
    confirmations
        Blocks on top of a transaction's before its outcome is final.
    listener
        Told ``replaced`` (somebody else used a nonce) and ``deep_reorg`` (a final block left the chain).
    """

    def __init__(
        self, chain: Chain, journal: Journal, clock: Clock, confirmations: int, listener: Listener = unheard
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._clock = clock
        self._confirmations = confirmations
        self._listener = listener
        self._head: int | None = None
        self._seen: dict[int | None, Block] = {}
        self._too_low: Counter[int] = Counter()

    def refresh(self) -> None:
        """Look at the chain anew: between two calls each block is asked for once."""
        self._seen.clear()

    def _block(self, number: int | None = None) -> Block:
        """A block of the present look, None for the head."""
        if number not in self._seen:
            self._seen[number] = self._chain.block(number)
        return self._seen[number]

    def reopen(self) -> list[Intent]:
        """Open every ended intent again whose block has left the chain, up to ``RECHECK_BLOCKS`` below the head.

        A block that is still there vouches for all below it, so this asks for one block where nothing has changed, and
        for none once the newest transaction is deep enough.
        """
        newest = next(iter(self._journal.ended_from(None)), None)
        if newest is None or self._deep(newest, self._head):
            return []
        self._head = self._block().number
        if self._deep(newest, self._head):
            return []
        reopened = []
        for intent in self._journal.ended_from(self._head - RECHECK_BLOCKS):
            number = intent.block_number
            if number is None or number > self._head:
                continue  # a node that is behind proves nothing
            if self._block(number).hash == intent.block_hash:
                break
            said = f"block {number} left the chain after the transaction was {intent.state}; it is sent again"
            log.error("deep_reorg", intent=intent.id, block=number, depth=self._head - number, was=str(intent.state))
            reopened.append(self._journal.unmined(intent, self._clock.now(), said))
            self._listener("deep_reorg", reopened[-1])
        return reopened

    @staticmethod
    def _deep(intent: Intent, head: int | None) -> bool:
        return head is not None and (intent.block_number or 0) < head - RECHECK_BLOCKS

    def settle(self, intent: Intent) -> Intent:
        """Find out where one intent is, and send it again where the node has lost it.

        Raises
        ------
        Transient
            The node does not answer or does not take the transaction now; `Underpriced` where it wants higher fees,
            `NoFunds` where the signer cannot pay.
        """
        receipt = self._receipt(intent)
        if receipt is not None:
            self._too_low.pop(intent.id, None)
            if (intent.tx_hash, intent.block_hash) != (receipt.tx_hash, receipt.block_hash):
                intent = self._journal.mined(intent, receipt, self._clock.now(), self._why(intent, receipt))
            return self._close_if_deep(intent, receipt)
        if intent.state is State.MINED:
            if (intent.block_number or 0) > self._block().number:
                return intent  # a node that is behind has not seen the block yet
            intent = self._journal.unmined(intent, self._clock.now())
        return self._send_again(intent)

    def _receipt(self, intent: Intent) -> Receipt | None:
        """Receipt of whichever of the intent's transactions is in the chain's present blocks."""
        for transaction in reversed(self._journal.transactions(intent)):
            receipt = self._chain.receipt(transaction.hash)
            if receipt is not None and self._block(receipt.block_number).hash == receipt.block_hash:
                return receipt
        return None

    def _why(self, intent: Intent, receipt: Receipt) -> str:
        """Reason of a revert: the call once more as its block has left things; empty where that tells none."""
        if receipt.succeeded:
            return ""
        try:
            block = self._block(receipt.block_number)
            self._chain.simulate(intent.to, intent.data, intent.sender, block, intent.what)
        except Reverted as error:
            return error.reason[:LONGEST_REASON]
        except (Permanent, Transient):
            pass  # a node without the state of that block
        return ""

    def _close_if_deep(self, intent: Intent, receipt: Receipt) -> Intent:
        if self._block().number - receipt.block_number < self._confirmations:
            return intent
        now = self._clock.now()
        cancelled = any(t.cancels and t.hash == receipt.tx_hash for t in self._journal.transactions(intent))
        if cancelled:
            return self._journal.close(intent, State.CANCELLED, now, intent.error if intent.withdrawn else None)
        if receipt.succeeded:
            return self._journal.close(intent, State.FINAL, now)
        why = f" with '{intent.error}'" if intent.error else ""
        said = f"transaction 0x{receipt.tx_hash.hex()} was mined in block {receipt.block_number} and reverted{why}"
        return self._journal.close(intent, State.FAILED, now, said)

    def _send_again(self, intent: Intent) -> Intent:
        nonce = self._nonce(intent)
        if self._chain.nonce(intent.sender) > nonce:
            return self._close_if_replaced(intent, nonce)
        newest = self._journal.transactions(intent)[-1]
        if intent.state is State.SENT and self._chain.knows(newest.hash):
            return intent
        refusals = self._too_low[intent.id]
        if refusals >= TOO_LOW_LIMIT and refusals % TOO_LOW_PAUSE:
            self._too_low[intent.id] += 1
            raise Transient(
                f"nonce {nonce} of {intent.sender} was refused as used, and the endpoint for reading counts it as "
                f"unused; {intent} waits until they agree, check that TX_RPC_URL and RPC_URL are of one chain"
            )
        return self.broadcast(intent, newest)

    def _close_if_replaced(self, intent: Intent, nonce: int) -> Intent:
        """Somebody else's transaction has the nonce; believed only N blocks deep, a node may lag with receipts."""
        deep = self._block().number - self._confirmations
        if deep >= 0 and self._chain.nonce(intent.sender, deep) > nonce and self._receipt(intent) is None:
            said = f"nonce {nonce} was used by a transaction that is not the keeper's; keep its key for it alone"
            log.error("nonce_used_elsewhere", intent=intent.id, nonce=nonce, sender=intent.sender)
            intent = self._journal.close(intent, State.REPLACED, self._clock.now(), said)
            self._listener("replaced", intent)
        return intent

    def broadcast(self, intent: Intent, transaction: SignedTransaction) -> Intent:
        """Send a stored transaction and note how the node took it.

        Raises
        ------
        LeaseLost
            Another keeper may send now; it has these bytes in the journal, too.
        Transient
            It is not known whether the node has it; the same bytes go out again next time.
        Permanent
            The node refused it for good and has never had it; the intent is closed and its nonce is free.
        """
        self._journal.prove()
        try:
            self._chain.send_raw(transaction.raw)
        except Reverted:  # chains that mine at once report the revert here; the receipt decides
            pass
        except NonceTooLow:  # it, or another one of the intent, has just been mined
            self._too_low[intent.id] += 1
            return intent
        except NoFunds as error:
            raise NoFunds(
                f"{intent.sender} holds {self._chain.balance(intent.sender)} wei, {intent} may need "
                f"{transaction.worst_wei} wei; send it ether, it then goes out by itself"
            ) from error
        except Permanent as error:
            return self._refused(intent, transaction, error)
        self._too_low.pop(intent.id, None)
        return self._journal.sent(intent, transaction.hash, self._clock.now())

    def _refused(self, intent: Intent, transaction: SignedTransaction, error: Permanent) -> Intent:
        """The node will not have it: fall back on an earlier one, close only what no node has ever taken."""
        attempts = self._journal.transactions(intent)
        for each in (transaction, *reversed([t for t in attempts if t.hash != transaction.hash])):
            if self._chain.knows(each.hash):
                return self._journal.sent(intent, each.hash, self._clock.now())
        if all(each.sent_at is None for each in attempts):
            self._journal.close(intent, State.FAILED, self._clock.now(), str(error))
            raise error
        self._journal.note(intent, str(error), self._clock.now())
        raise Transient(
            f"{intent} was refused ({error}), though a node has had it before; 'ballast tx cancel {intent.id}' gives up"
        ) from error

    def _nonce(self, intent: Intent) -> int:
        if intent.nonce is None:
            raise Permanent(f"{intent} has no nonce yet; carry it out before settling it")
        return intent.nonce
