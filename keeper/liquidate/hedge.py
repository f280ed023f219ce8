# SPDX-License-Identifier: Apache-2.0
"""The hedging hook: tells an address of the operator's what the bidder's account holds, whenever that has changed.

The whole inventory goes out each time, not the change: whoever hedges compares it with its own book, so a message that
is lost, repeated or late does no harm.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx
import structlog

from keeper.assess import Assessments
from keeper.bounded_http import bounded_client
from keeper.domain import Snapshot, Unknown
from keeper.explain_account import instrument_name
from keeper.liquidate.moves import DELTA_ONE_SLOTS, positions
from risk.errors import RiskError
from risk.onchain import ChainMarket, price_band
from risk.onchain_words import parse_words

TIMEOUT_S = 5.0
MAX_BYTES = 1 << 16  # of an answer that is not read
RETRY_S = 5.0


def inventory(snapshot: Snapshot, assessments: Assessments, account: int) -> dict[str, Any] | None:
    """What an account holds, as JSON: lots are 1e-6 units, amounts wad, integers beyond 53 bits as text.

    Returns
    -------
    dict
        ``chain_id, block, account, nonce, cash_wad, im_health_wad, positions, linear_lots``; each position has
        ``instrument, name, lots, mark_wad``; ``linear_lots`` are perpetuals and futures of each underlying added up.
        None where the account cannot be read.
    """
    words, result, market = snapshot.accounts.get(account), assessments.get(account), snapshot.market
    if words is None or isinstance(words, Unknown) or isinstance(market, Unknown):
        return None
    state = parse_words(words)
    linear: dict[str, int] = {}
    rows = []
    for instrument, lots in sorted(positions(state).items()):
        if instrument & 255 in DELTA_ONE_SLOTS:
            symbol = snapshot.symbol(instrument >> 8)
            linear[symbol] = linear.get(symbol, 0) + lots
        rows.append(
            {
                "instrument": instrument,
                "name": instrument_name(snapshot, instrument),
                "lots": lots,
                "mark_wad": _mark(market, instrument),
            }
        )
    return {
        "chain_id": snapshot.chain_id,
        "block": snapshot.block.number,
        "account": account,
        "nonce": str(state.nonce),
        "cash_wad": str(state.cash),
        "im_health_wad": None if result is None or isinstance(result, Unknown) else str(result.im_health),
        "positions": rows,
        "linear_lots": linear,
    }


def _mark(market: ChainMarket, instrument: int) -> str | None:
    try:
        return str(price_band(market, instrument).mark)
    except (KeyError, RiskError):
        return None


class HedgeHook:
    """Posts the inventory to ``url`` in a thread of its own; a newer one replaces one that could not be delivered."""

    def __init__(self, url: str) -> None:
        self._client = bounded_client(TIMEOUT_S, MAX_BYTES)
        self._url = url
        self._offered: str | None = None
        self._waiting: dict[str, Any] | None = None
        self._news = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="hedge-hook", daemon=True)
        self._thread.start()

    def offer(self, snapshot: Snapshot, assessments: Assessments, account: int) -> None:
        """Deliver the account's inventory when its nonce is not the one offered last; returns at once."""
        body = inventory(snapshot, assessments, account)
        if body is None:
            return
        with self._news:
            if body["nonce"] != self._offered:
                self._offered, self._waiting = body["nonce"], body
                self._news.notify()

    def stop(self) -> None:
        """End the thread; what could not be delivered is offered again by the next process."""
        with self._news:
            self._stopped = True
            self._news.notify()
        self._thread.join(2 * TIMEOUT_S)
        self._client.close()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting is not None or self._stopped)
                if self._stopped:
                    return
                message = self._waiting
            if message is not None and self._deliver(message):
                with self._news:
                    if self._waiting is message:
                        self._waiting = None
            else:
                with self._news:
                    self._news.wait_for(lambda: self._stopped, RETRY_S)

    def _deliver(self, message: dict[str, Any]) -> bool:
        log = structlog.get_logger("hedge")
        try:
            self._client.post(self._url, json=message).raise_for_status()
        except httpx.HTTPError as error:  # its text holds the address, which may hold a key
            log.warning("the hedging hook did not take it; it will be tried again", error=type(error).__name__)
            return False
        log.info("inventory delivered", account=message["account"], nonce=message["nonce"])
        return True
