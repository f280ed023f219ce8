# SPDX-License-Identifier: Apache-2.0
"""What no cycle needs and an operator wants to know: the key's balance and nonce, old intents, the insurance fund."""

from __future__ import annotations

from decimal import Decimal

from prometheus_client import Counter
from sqlalchemy import func, select

from keeper.domain import ContractCall
from keeper.errors import KeeperError
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments
from keeper.ports import Chain, Clock
from keeper.store import Store
from keeper.store.models import CursorRow, IntentRow, TransactionRow

SOURCE = "upkeep"
EVERY_S = 60.0
FUNDED, INTENT = "signer_funded", "oldest_intent"
INTENT_LIMIT_S = 900.0
UNRESOLVED = ("intent", "signed", "sent")
UNENDED = (*UNRESOLVED, "mined")
GWEI = 10**9
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
        self._counted: dict[tuple[str, ...], int] = {}

    def run(self) -> None:
        """Read everything once.

        Raises
        ------
        Transient, Permanent
            The node or the database did not answer; the last values stay, and the job counts as failed.
        """
        self._intents()
        self._journal()
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

    def _journal(self) -> None:
        """What became of transactions, counted from the journal: another process, or the one before, made some."""
        ours = IntentRow.chain_id == self._chain.chain_id
        ended = (
            select(IntentRow.kind, IntentRow.state, func.count())
            .where(ours, IntentRow.state.not_in(UNENDED))
            .group_by(IntentRow.kind, IntentRow.state)
        )
        signed = select(TransactionRow).join(IntentRow, TransactionRow.intent_id == IntentRow.id).where(ours)
        paid = signed.where(TransactionRow.cancels.is_(False))
        slots = paid.with_only_columns(TransactionRow.sender, TransactionRow.nonce).distinct().subquery()
        with self._store.session() as session:
            counts = {(kind, state): number for kind, state, number in session.execute(ended)}
            made = session.scalar(select(func.count()).select_from(paid.subquery())) or 0
            nonces = session.scalar(select(func.count()).select_from(slots)) or 0
            last = session.scalars(signed.order_by(TransactionRow.id.desc()).limit(1)).first()
        for (kind, state), number in counts.items():
            self._raise_to(self._metrics.intents_total.labels(kind, state), ("tx", kind, state), number)
        self._raise_to(self._metrics.tx_gas_bumps_total, ("bumps",), made - nonces)
        if last is not None:
            self._metrics.tx_fee_gwei.set(last.max_fee_wei / GWEI)

    def _raise_to(self, counter: Counter, name: tuple[str, ...], number: int) -> None:
        """Bring a counter to a number that only grows."""
        more = number - self._counted.get(name, 0)
        if more > 0:
            counter.inc(more)
            self._counted[name] = number

    def _fund(self) -> None:
        try:
            if self._cash_unit is None:
                decimals = self._chain.call(ContractCall("InsuranceFund", "decimals"))
                self._cash_unit = 10 ** (decimals - SHARES_FINER)
            assets = self._chain.call(ContractCall("InsuranceFund", "totalAssets"))
        except KeeperError:
            return  # it reverts while its tokens move; the last value stays
        self._metrics.insurance_fund_cash.set(assets / self._cash_unit)
