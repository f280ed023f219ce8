# SPDX-License-Identifier: Apache-2.0
"""Warns owners of margin accounts, in a thread of its own.

The cycle leaves its latest view of the book and goes on. Here the view is judged, what is to be told goes into the
database together with the fact that it has been told, and the messages there go out, each destination by itself.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import structlog

from keeper.decide import Situation
from keeper.domain import Unknown
from keeper.errors import KeeperError, Permanent, Transient
from keeper.logging import scrub
from keeper.observe.addresses import AddressBook, address_id
from keeper.observe.alerts import Alerts
from keeper.observe.delivery import Delivery, Message, RateLimit, host_of
from keeper.observe.margin_levels import RECOVERED, WARNING, Levels, Told, judge, look_ahead
from keeper.observe.margin_message import content, sentence
from keeper.observe.margin_store import DROPPED, FAILED, SENT, Letter, MarginStore
from keeper.observe.metrics import Metrics
from keeper.settings_sections import MarginCalls

WORKERS = 4
BATCH = 200
CLAIM_S = 300
LEAVE_S = 60  # of a claim must be left when a delivery begins: that is longer than one takes
POLL_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30, 1_800
FORGET_EVERY_S = 86_400


def levels_of(settings: MarginCalls) -> Levels:
    """The settings' levels in bps."""
    return Levels(
        tuple(int(share * 100) for share in settings.levels_percent),
        int(settings.hysteresis_percent * 100),
        settings.look_ahead_s,
    )


class MarginDesk:
    """Judges accounts and delivers what their owners are to know.

    Parameters
    ----------
    book
        Whom to warn.
    delivery
        Sends a message; called in threads of the desk only.
    clock
        Unix seconds.
    """

    def __init__(
        self,
        settings: MarginCalls,
        book: AddressBook,
        store: MarginStore,
        delivery: Delivery,
        alerts: Alerts,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._levels = levels_of(settings)
        self._book = book
        self._store = store
        self._delivery = delivery
        self._alerts = alerts
        self._metrics = metrics
        self._clock = clock
        self._limit = RateLimit(settings.per_minute)
        self._view: Situation | None = None
        self._change = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="margin calls")
        self._forgot_at = 0.0
        self._log = structlog.get_logger("margin_call")

    def offer(self, situation: Situation) -> None:
        """Leave the latest view of the book; returns at once. An older one that was not looked at yet is replaced."""
        with self._change:
            self._view = situation
            self._change.notify_all()

    def start(self) -> None:
        """Begin to judge and to deliver."""
        self._thread = threading.Thread(target=self._run, name="margin calls", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Judge the last view, try what is due once, then stop; what is left stays in the database."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            with self._change:
                self._change.wait_for(lambda: self._stopped or self._view is not None, POLL_S)
                view, self._view, stopped = self._view, None, self._stopped
            try:
                if view is not None:
                    self.consider(view)
                self.deliver()
            except KeeperError as error:
                self._log.warning("margin calls wait", error=str(error))
            except Exception:  # noqa: BLE001  (whatever it is, the next round tries again and the operator is told)
                self._metrics.unhandled_exceptions_total.inc()
                self._log.exception("margin calls: unexpected error")
                self._alerts.fire(
                    "margin_calls_failing", "margin calls cannot be made; the log has the error", self._clock(), "desk"
                )

    def consider(self, situation: Situation) -> int:
        """Judge every account that has an address; returns how many messages were made."""
        told = self._store.told()  # read anew: another instance may have led meanwhile
        owners = self._store.owners(None if self._book.owners else self._book.accounts)
        made = 0
        for account in situation.assessments:  # of a large book only those that are looked up are judged
            urls = self._book.of(account, owners.get(account, ""))
            if urls and not isinstance(situation.assessments[account], Unknown):
                made += self._judge(situation, account, owners.get(account, ""), urls, told.get(account, Told()))
        return made

    def _judge(self, situation: Situation, account: int, owner: str, urls: tuple[str, ...], before: Told) -> int:
        result, words = situation.assessments[account], situation.snapshot.accounts[account]
        if isinstance(result, Unknown) or isinstance(words, Unknown):
            return 0
        ahead = look_ahead(situation.snapshot, words, self._levels)
        told, calls = judge(before, result, situation.snapshot.auctions.get(account), ahead, self._levels)
        if told == before:
            return 0
        letters = []
        for call in calls:
            body = content(situation, account, owner, call, self._levels, situation.collateral_names)
            if body is not None:
                letters += [(call.kind, address_id(url), body) for url in urls]
                self._metrics.margin_calls_total.labels(call.kind).inc()
        self._store.keep(account, told, letters, int(self._clock()))
        return len(letters)

    def deliver(self) -> int:
        """Send what is due, each destination in order and beside the others; returns how many were sent."""
        now = int(self._clock())
        batches: dict[str, list[Letter]] = defaultdict(list)
        for letter in self._store.claim(now, now + CLAIM_S, BATCH):
            batches[letter.address].append(letter)
        sent = sum(self._pool.map(self._deliver_to, batches, batches.values(), repeat(now + CLAIM_S)))
        count, oldest = self._store.backlog()
        self._metrics.margin_calls_pending.set(count)
        self._metrics.margin_call_oldest_seconds.set(0 if oldest is None else max(0, now - oldest))
        if now - self._forgot_at >= FORGET_EVERY_S:
            self._forgot_at = now
            self._store.forget(now)
        return sent

    def _deliver_to(self, address: str, letters: list[Letter], claimed_until: int) -> int:
        url, sent = self._book.find(address), 0
        for place, letter in enumerate(letters):
            now = int(self._clock())
            if url is None:
                self._store.close_letter(letter.id, DROPPED, now, "its address is no longer configured")
                self._metrics.messages_total.labels("margin_call", "dropped").inc()
                continue
            wait = self._limit.take(address, now)
            if wait > 0 or now >= claimed_until - LEAVE_S:
                self._give_back(letters[place:], now + max(1, round(wait)))
                break
            if not self._send(url, letter, now):
                self._give_back(letters[place + 1 :], now + FIRST_PAUSE_S)
                break
            sent += 1
        return sent

    def _send(self, url: str, letter: Letter, now: int) -> bool:
        """Send one; False where the destination does not take messages now."""
        title, text = sentence(letter.content)
        data = {**letter.content, "id": f"{letter.content['chain_id']}-{letter.id}", "text": text}
        severity = "recovered" if data["kind"] == RECOVERED else "warning" if data["kind"] == WARNING else "critical"
        try:
            self._delivery.send(url, Message(title, text, severity, data), "margin_call")
        except (Transient, Permanent) as error:
            self._failed(url, letter, now, error)
            return isinstance(error, Permanent)
        self._store.close_letter(letter.id, SENT, int(self._clock()))
        self._log.info("sent", account=letter.account, kind=data["kind"], to=host_of(url), id=data["id"])
        return True

    def _failed(self, url: str, letter: Letter, now: int, error: KeeperError) -> None:
        said = scrub(str(error))
        if isinstance(error, Transient) and now - letter.created_at < self._settings.give_up_s:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**letter.tries)
            self._store.postpone(letter.id, now + pause, tried=True, error=said)
            return
        self._store.close_letter(letter.id, FAILED, now, said)
        text = f"margin call {letter.id} to the owner of account {letter.account} was given up: {said}"
        self._alerts.fire("margin_call_undelivered", text, now, f"{letter.account}:{host_of(url)}")

    def _give_back(self, letters: list[Letter], until: int) -> None:
        for letter in letters:
            self._store.postpone(letter.id, until, tried=False)
