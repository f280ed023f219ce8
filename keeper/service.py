# SPDX-License-Identifier: Apache-2.0
"""The daemon: jobs on a schedule, one at a time each, ended cleanly by SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from keeper.errors import ConfigError, Halt, KeeperError
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics

FAST, SLOW = "default", "slow"
EVENTS = {
    EVENT_JOB_EXECUTED: "executed",
    EVENT_JOB_ERROR: "error",
    EVENT_JOB_MISSED: "missed",
    EVENT_JOB_MAX_INSTANCES: "overlap",
}
LEFT_OUT = {"overlap": "the one before still runs", "missed": "it came too late: the machine or the node is slow"}


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands; times in unix seconds, ``counts`` are scheduler events of this process by name.

    ``next_at`` is None once the service has stopped, ``last_at`` while the job has never run.
    """

    name: str
    interval_s: float
    next_at: float | None
    last_at: float | None
    last_event: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Job:
    """Something done again and again.

    ``interval_s`` between starts; ``grace_s`` how late a start may still be worth while; a start that comes while the
    last one runs is skipped and counted as overlap. ``slow`` jobs have a thread of their own and must not touch the
    chain client. ``first_s`` is the time until the first start.
    """

    name: str
    run: Callable[[], object]
    interval_s: float
    grace_s: int
    slow: bool = False
    first_s: float = 0.0

    @property
    def limit_s(self) -> float:
        """Greatest healthy age of the last success: two starts may be missed."""
        return max(60.0, 3 * self.interval_s + self.grace_s) + self.first_s


class Service:
    """Runs jobs until it is told to stop, or an error says that going on could do harm.

    Parameters
    ----------
    jobs
        Those that are not slow run in one thread: they share the chain client and never run at the same time.
    metrics
        Every scheduler event of every job is counted.
    health
        Judges the age of each job's last success, so that one that hangs or always fails is seen.
    clock
        Unix seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        metrics: Metrics,
        health: HealthBoard | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._stop = threading.Event()
        self._fatal: BaseException | None = None
        self._log = structlog.get_logger("service")
        scheduler: Any = BackgroundScheduler  # the library has no types
        pool: Any = ThreadPoolExecutor
        self._scheduler = scheduler(executors={FAST: pool(1), SLOW: pool(1)}, timezone="UTC", daemon=True)
        self._scheduler.add_listener(self._on_event, sum(EVENTS))
        for job in jobs:
            self._scheduler.add_job(
                self._guarded(job),
                "interval",
                seconds=job.interval_s,
                id=job.name,
                executor=SLOW if job.slow else FAST,
                name=job.name,
                misfire_grace_time=job.grace_s,
                coalesce=True,
                max_instances=1,
            )
            if health is not None:
                health.expect(f"job:{job.name}", job.limit_s, clock(), awaited=job.first_s == 0)
        self._first = {job.name: job.first_s for job in jobs}
        self._jobs = tuple(jobs)
        self._seen: dict[str, tuple[str, float]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        """Run until a signal or a fatal error; the job in progress is finished first.

        Raises
        ------
        Halt, ConfigError
            The error that stopped the service.
        """
        with self._signals():
            self._scheduler.start()
            for name, first_s in self._first.items():
                self.trigger(name, first_s)
            self._stop.wait()
            self._log.info("stopping", waiting_for="the job in progress")
            self._scheduler.shutdown(wait=True)
        if self._fatal is not None:
            raise self._fatal

    def trigger(self, name: str, after_s: float = 0.0) -> None:
        """Start a job after so many seconds instead of at its next turn; nothing before `run` and after its end."""
        if self._scheduler.running:
            with suppress(JobLookupError):
                self._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=after_s))

    def stop(self) -> None:
        """Ask for the end; returns at once."""
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """Ask for the end for a reason, which `run` raises."""
        self._fatal = self._fatal or error
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    def status(self) -> tuple[JobStatus, ...]:
        """Where each job stands; may be asked from any thread."""
        return tuple(self._status(job) for job in self._jobs)

    def _status(self, job: Job) -> JobStatus:
        planned = None if self._stop.is_set() else self._scheduler.get_job(job.name)
        moment = getattr(planned, "next_run_time", None)  # a job that waits for the scheduler to start has none
        event, at = self._seen.get(job.name, (None, None))
        return JobStatus(
            name=job.name,
            interval_s=job.interval_s,
            next_at=None if moment is None else moment.timestamp(),
            last_at=at,
            last_event=event,
            counts={name: self._counts[job.name, name] for name in EVENTS.values()},
        )

    def _guarded(self, job: Job) -> Callable[[], None]:
        """Errors a retry may cure are logged and the next start tries again; all others stop the service."""

        def run() -> None:
            if self._stop.is_set():
                return
            began = time.monotonic()
            try:
                job.run()
            except (Halt, ConfigError) as error:
                self._log.error(str(error), job=job.name, error=type(error).__name__, exc_info=True)
                self.fail(error)
                raise
            except KeeperError as error:
                self._log.warning(str(error), job=job.name, error=type(error).__name__, exc_info=True)
                raise
            except Exception:
                self._metrics.unhandled_exceptions_total.inc()
                self._log.exception("unexpected error; BALLAST_DEBUG=1 shows where it comes from", job=job.name)
                raise
            except BaseException as error:  # an exit or an interrupt inside a job: nobody else would hear of it
                self._metrics.unhandled_exceptions_total.inc()
                self._log.critical("a job ended the process", job=job.name, error=type(error).__name__, exc_info=True)
                self.fail(error)
                raise
            self._done(job, time.monotonic() - began)

        return run

    def _done(self, job: Job, duration_s: float) -> None:
        now = self._clock()
        self._metrics.job_last_success_at.labels(job.name).set(now)
        self._metrics.job_seconds.labels(job.name).set(duration_s)
        if self._health is not None:
            self._health.stamp(f"job:{job.name}", now)

    def _on_event(self, event: JobEvent) -> None:
        name = EVENTS[event.code]
        self._metrics.jobs_total.labels(event.job_id, name).inc()
        self._counts[event.job_id, name] += 1
        before, _ = self._seen.get(event.job_id, (None, None))
        if name in LEFT_OUT and name != before:  # told once, not at each start while it lasts
            self._log.warning("a start was left out", job=event.job_id, why=LEFT_OUT[name])
        self._seen[event.job_id] = (name, time.time())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the service; a second one ends the process as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers; whoever runs us elsewhere calls stop()
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            self._log.info("signal", number=number)
            for each, old in previous.items():
                signal.signal(each, old)
            self._stop.set()

        previous = {each: signal.signal(each, handle) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, old in previous.items():
                signal.signal(each, old)
