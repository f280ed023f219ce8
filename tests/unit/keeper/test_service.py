# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import structlog

from keeper.errors import ConfigError, Halt, Transient
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.service import Job, Service
from tests.support.shared import ROOT


def count(metrics: Metrics, job: str, event: str) -> float:
    return metrics.jobs_total.labels(job, event)._value.get()


def run_until(service: Service, done: Callable[[], bool], timeout_s: float = 10.0) -> BaseException | None:
    """Run a service in a thread until something holds, then stop it; returns what it raised."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            service.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline and thread.is_alive():
        time.sleep(0.01)
    service.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    return raised[0] if raised else None


def test_a_job_starts_at_once_and_again_after_its_interval() -> None:
    metrics, runs = Metrics("t", 1), []
    service = Service([Job("cycle", lambda: runs.append(1), 0.05, 1)], metrics)
    assert run_until(service, lambda: len(runs) >= 3) is None
    assert count(metrics, "cycle", "executed") >= 2


def test_a_passing_error_is_counted_and_the_job_goes_on() -> None:
    metrics, runs = Metrics("t", 1), []

    def job() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Transient("the node did not answer")

    assert run_until(Service([Job("cycle", job, 0.05, 1)], metrics), lambda: len(runs) >= 3) is None
    assert count(metrics, "cycle", "error") == 1


def test_an_unexpected_error_is_counted_and_does_not_end_the_service() -> None:
    metrics, runs = Metrics("t", 1), []

    def job() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ZeroDivisionError

    assert run_until(Service([Job("cycle", job, 0.05, 1)], metrics), lambda: len(runs) >= 2) is None
    assert metrics.unhandled_exceptions_total._value.get() == 1


@pytest.mark.parametrize("fatal", [Halt("lease lost"), ConfigError("no role")])
def test_a_fatal_error_stops_the_service_and_is_raised(fatal: Exception) -> None:
    def job() -> None:
        raise fatal

    service = Service([Job("cycle", job, 0.05, 1)], Metrics("t", 1))
    assert run_until(service, lambda: False, timeout_s=5) is fatal
    assert service.stopping


def test_a_start_that_comes_while_the_job_runs_is_an_overlap_not_a_second_run() -> None:
    metrics, running, peak = Metrics("t", 1), [0], [0]

    def job() -> None:
        running[0] += 1
        peak[0] = max(peak[0], running[0])
        time.sleep(0.4)
        running[0] -= 1

    service = Service([Job("cycle", job, 0.1, 1)], metrics)
    with structlog.testing.capture_logs() as logs:
        assert run_until(service, lambda: count(metrics, "cycle", "overlap") >= 2) is None
    assert peak[0] == 1
    told = [line for line in logs if line["event"] == "a start was left out"]
    assert 1 <= len(told) < count(metrics, "cycle", "overlap") and told[0]["why"] == "the one before still runs"


def test_jobs_of_later_are_not_waited_for_to_be_ready() -> None:
    health = HealthBoard({}, time.time())
    jobs = [Job("cycle", lambda: None, 60, 1), Job("resync", lambda: None, 3_600, 1, first_s=3_600)]
    service = Service(jobs, Metrics("t", 1), health)
    assert not health.ready(time.time())
    assert run_until(service, lambda: health.ready(time.time())) is None
    assert health.ready(time.time())


def test_the_job_in_progress_is_finished_before_the_end() -> None:
    begun, finished = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        time.sleep(0.3)
        finished.set()

    run_until(Service([Job("cycle", job, 60, 1)], Metrics("t", 1)), begun.is_set)
    assert finished.is_set()


def test_a_slow_job_does_not_hold_up_the_cycle() -> None:
    cycles: list[int] = []
    release = threading.Event()
    jobs = [
        Job("calibrate", lambda: release.wait(5), 60, 1, slow=True),
        Job("cycle", lambda: cycles.append(1), 0.05, 1),
    ]
    service = Service(jobs, Metrics("t", 1))

    def done() -> bool:
        if len(cycles) >= 3:
            release.set()
        return release.is_set()

    assert run_until(service, done) is None
    assert len(cycles) >= 3


def test_a_job_that_exits_or_is_interrupted_ends_the_service_and_is_counted() -> None:
    for error in (SystemExit(0), KeyboardInterrupt()):
        metrics = Metrics("t", 1)

        def job(error: BaseException = error) -> None:
            raise error

        assert run_until(Service([Job("cycle", job, 0.05, 1)], metrics), lambda: False, timeout_s=5) is error
        assert metrics.unhandled_exceptions_total._value.get() == 1


def test_the_age_of_each_jobs_last_success_is_judged() -> None:
    clock = [1_000.0]
    health, metrics = HealthBoard({}, 1_000.0), Metrics("t", 1)
    good: list[int] = []
    release = threading.Event()

    def fails() -> None:
        raise Transient("the node did not answer")

    jobs = [
        Job("good", lambda: good.append(1), 0.05, 1),
        Job("fails", fails, 0.05, 1),
        Job("hangs", lambda: release.wait(10), 0.05, 1, slow=True),
    ]
    service = Service(jobs, metrics, health, lambda: clock[0])
    assert health.report(1_000.0).ok

    def late() -> bool:
        clock[0] = 1_100.0
        return len(good) >= 2 and metrics.job_last_success_at.labels("good")._value.get() == 1_100.0

    def stopped() -> bool:
        if late():
            failed = [check.name for check in health.report(1_100.0).checks if not check.ok]
            seen.append(failed)
            release.set()
            return True
        return False

    seen: list[list[str]] = []
    run_until(service, stopped)
    assert seen[0] == ["job:fails", "job:hangs"]


def test_a_job_may_wait_before_its_first_start_and_be_started_early() -> None:
    runs: list[int] = []
    service = Service([Job("resync", lambda: runs.append(1), 60, 1, first_s=60)], Metrics("t", 1))
    service.trigger("resync")  # before it runs: nothing
    began = time.monotonic()

    def done() -> bool:
        if time.monotonic() - began > 0.5 and not runs:
            waited.append(True)
            service.trigger("nothing of this name")
            service.trigger("resync")
        return bool(runs)

    waited: list[bool] = []
    assert run_until(service, done) is None
    assert waited


SCRIPT = """
import sys, time
from keeper.observe.metrics import Metrics
from keeper.service import Job, Service
def job():
    print("begun", flush=True); time.sleep(0.5); print("finished", flush=True)
Service([Job("cycle", job, 60, 1)], Metrics("t", 1)).run()
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_job_and_ends_cleanly(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = ""
        while line != "begun\n":
            line = process.stdout.readline()
            assert line, "the service ended before its job began"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert [text for text in rest.splitlines() if "[" not in text] == ["finished", "ended"]
    assert process.returncode == 0
