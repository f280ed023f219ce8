# SPDX-License-Identifier: Apache-2.0
"""What no cycle needs and an operator wants to know: the key's balance and nonce, old intents, the insurance fund."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import func, select

from keeper.domain import ContractCall
from keeper.errors import KeeperError
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments
from keeper.ports import Chain, Clock
from keeper.store import Store
from keeper.store.models import CursorRow, IntentRow

SOURCE = "upkeep"
EVERY_S = 60.0
FUNDED, INTENT = "signer_funded", "oldest_intent"
INTENT_LIMIT_S = 900.0
UNRESOLVED = ("intent", "signed", "sent")
ETHER = Decimal(10**18)
SHARES_FINER = 6  # decimals that a share of the fund has beyond those of the cash token


class Upkeep:
    """A job that reads these now and then; it uses the chain client, so it runs in the cycle's thread.

    Parameters
    ----------
    sender
        Address of the key; None where there is none.
    min_balance_ether
        Below it the keeper counts as not ready, and the operator is told.
    """

    def __init__(
        self,
        chain: Chain,
        store: Store,
        clock: Clock,
        instruments: Instruments,
        alerts: Alerts,
        sender: str | None,
        min_balance_ether: Decimal,
    ) -> None:
        self._chain = chain
        self._store = store
        self._clock = clock
        self._metrics = instruments.metrics
        self._health = instruments.health
        self._alerts = alerts
        self._sender = sender
        self._least = min_balance_ether
        self._cash_unit: int | None = None

    def run(self) -> None:
        """Read everything once.

        Raises
        ------
        Transient, Permanent
            The node or the database did not answer; the last values stay, and the job counts as failed.
        """
        self._intents()
        if self._sender is not None:
            self._key(self._sender)
        self._fund()
        self._alerts.settle(SOURCE, self._clock.now())

    def _key(self, sender: str) -> None:
        balance = self._chain.balance(sender)
        self._metrics.account_balance.labels(sender).set(float(balance / ETHER))
        self._metrics.current_nonce.labels(sender).set(self._chain.nonce(sender))
        if balance >= self._least * ETHER:
            self._health.need(FUNDED, None)
            return
        text = f"key {sender} has {balance / ETHER:.4f} of the native token, less than {self._least}; send it some"
        self._health.need(FUNDED, text)
        self._alerts.fire("balance_low", text, self._clock.now(), sender, source=SOURCE)

    def _intents(self) -> None:
        """Age of the oldest action that is decided and not mined; blocks that are read and not yet projected."""
        chain_id, now = self._chain.chain_id, self._clock.now()
        with self._store.session() as session:
            oldest = session.scalar(
                select(func.min(IntentRow.created_at)).where(
                    IntentRow.chain_id == chain_id, IntentRow.state.in_(UNRESOLVED)
                )
            )
            cursor = session.scalar(select(CursorRow.number).where(CursorRow.chain_id == chain_id))
        self._health.open_work(INTENT, oldest, INTENT_LIMIT_S)
        self._metrics.oldest_intent_seconds.set(0 if oldest is None else max(0, now - oldest))
        if cursor is not None:
            self._metrics.block_checkpoint_lag.set(max(0, self._chain.block().number - cursor))

    def _fund(self) -> None:
        try:
            if self._cash_unit is None:
                decimals = self._chain.call(ContractCall("InsuranceFund", "decimals"))
                self._cash_unit = 10 ** (decimals - SHARES_FINER)
            assets = self._chain.call(ContractCall("InsuranceFund", "totalAssets"))
        except KeeperError:
            return  # it reverts while its tokens move; the last value stays
        self._metrics.insurance_fund_cash.set(assets / self._cash_unit)
