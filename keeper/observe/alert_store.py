# SPDX-License-Identifier: Apache-2.0
"""What alerts are remembered across restarts, and the thread that writes it down."""

from __future__ import annotations

import queue
import threading
from dataclasses import asdict

import structlog
from sqlalchemy import delete, select

from keeper.errors import KeeperError
from keeper.logging import scrub
from keeper.observe.alerts import Trouble
from keeper.store import Store
from keeper.store.models import AlertRow

KEPT_S = 30 * 86_400
MOST_WAITING = 1_000


class AlertStore:
    """Alerts of one chain in the database.

    The database may be the trouble, so writing is a thread's business and may fail: alerts go out all the same.
    """

    def __init__(self, store: Store, chain_id: int) -> None:
        self._store = store
        self._chain_id = chain_id
        self._waiting: queue.Queue[Trouble | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None

    def load(self) -> list[Trouble]:
        """Troubles that were known at the last write, newest last."""
        with self._store.session() as session:
            rows = session.scalars(
                select(AlertRow).where(AlertRow.chain_id == self._chain_id).order_by(AlertRow.last_at)
            )
            return [Trouble(**{name: getattr(row, name) for name in Trouble.__slots__}) for row in rows]

    def save(self, trouble: Trouble) -> None:
        """Write soon; returns at once. Without `start`, or with too many waiting, it is left out."""
        if self._thread is not None and not self._waiting.full():
            self._waiting.put_nowait(trouble)

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="alert store", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left, then stop."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (trouble := self._waiting.get()) is not None:
            try:
                self._write(trouble)
            except KeeperError as error:
                structlog.get_logger("alert").warning("not written down", error=str(error), alert=trouble.name)

    def _write(self, trouble: Trouble) -> None:
        values = {**asdict(trouble), "text": scrub(trouble.text)}
        with self._store.session() as session:
            session.merge(AlertRow(chain_id=self._chain_id, **values))
            session.execute(
                delete(AlertRow).where(AlertRow.chain_id == self._chain_id, AlertRow.last_at < trouble.last_at - KEPT_S)
            )
