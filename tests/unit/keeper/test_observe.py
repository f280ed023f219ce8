# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from http.client import HTTPConnection

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keeper.errors import ConfigError
from keeper.observe.alerts import Alerts
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.server import ObserveServer, answer, observe_routes


def board() -> HealthBoard:
    return HealthBoard({"cycle": 60, "head_block": 120}, started_at=1_000)


def test_a_young_process_is_healthy_but_not_ready() -> None:
    health = board()
    assert health.report(1_030).ok
    assert not health.ready(1_030)


def test_a_check_that_never_happens_fails_when_the_process_is_old_enough() -> None:
    health = board()
    assert health.report(1_060).ok
    assert [c.name for c in health.report(1_061).checks if not c.ok] == ["cycle"]


def test_health_is_the_age_of_what_really_happened() -> None:
    health = board()
    health.stamp("cycle", 1_100)
    health.stamp("head_block", 1_100)
    assert health.ready(1_160)
    assert not health.report(1_161).ok
    assert health.report(1_161).as_dict()["checks"]["cycle"] == {"age_s": 61, "limit_s": 60, "ok": False}  # type: ignore[index]


def test_open_work_is_judged_while_it_is_open() -> None:
    health = board()
    health.open_work("intent", 1_000, 30)
    assert not health.report(1_031).ok
    health.open_work("intent", None, 30)
    assert health.report(1_031).ok


def test_a_halted_part_is_unhealthy() -> None:
    health = board()
    health.halt("liquidation", "parity")
    assert not health.report(1_001).ok
    assert health.halts() == {"liquidation": "parity"}


def test_the_body_says_what_failed_how_old_it_is_and_the_limit() -> None:
    health = board()
    health.stamp("cycle", 1_000)
    health.stamp("head_block", 1_090)
    health.halt("liquidation", "parity")
    assert health.report(1_100).as_dict()["failed"] == [
        "cycle: 100 s old, limit 60 s",
        "liquidation is halted: parity",
    ]
    assert board().report(1_061).as_dict()["failed"] == ["cycle: not once in 61 s, limit 60 s"]
    assert board().readiness(1_001).as_dict()["failed"] == ["cycle: not yet", "head_block: not yet"]


def test_a_job_that_starts_later_does_not_keep_the_keeper_from_being_ready() -> None:
    health = board()
    for name in ("cycle", "head_block"):
        health.stamp(name, 1_000)
    health.expect("job:resync", 4_000, 1_000, awaited=False)
    assert health.ready(1_001)
    health.expect("job:calibrate", 4_000, 1_000)
    assert health.readiness(1_001).as_dict()["failed"] == ["job:calibrate: not yet"]
    assert "job:resync: not once in 4001 s, limit 4000 s" in health.report(5_001).as_dict()["failed"]


def test_a_condition_is_of_readiness_only() -> None:
    health = board()
    for name in ("cycle", "head_block"):
        health.stamp(name, 1_000)
    health.need("signer_funded", "0.01 ETH of 0.05")
    assert health.report(1_001).ok
    assert health.readiness(1_001).as_dict()["failed"] == ["signer_funded: 0.01 ETH of 0.05"]
    health.need("signer_funded", None)
    assert health.ready(1_001)


def test_a_check_added_later_counts_from_then() -> None:
    health = board()
    health.expect("job:calibrate", 100, 1_050)
    assert "job:calibrate" not in [c.name for c in health.report(1_150).checks if not c.ok]
    assert "job:calibrate: not once in 101 s, limit 100 s" in health.report(1_151).as_dict()["failed"]  # type: ignore[operator]


def test_a_standby_is_judged_by_what_a_standby_does() -> None:
    health = HealthBoard({"cycle": 60, "head_block": 120}, 1_000, of_leader=("cycle",))
    health.stamp("head_block", 1_290)
    health.open_work("intent", 1_000, 30)
    health.serve_as("standby", 1_200)
    assert health.ready(1_300)
    health.serve_as("leader", 1_300)
    assert health.report(1_360).ok and not health.ready(1_360)
    assert not health.report(1_361).ok
    health.stamp("cycle", 1_361)
    assert health.ready(1_361)
    health.serve_as("leader", 1_362)  # no change: the stamp stays
    assert health.ready(1_362)


@pytest.mark.parametrize(
    ("path", "early", "late"), [("/health", 200, 503), ("/ready", 503, 503), ("/metrics", 200, 200)]
)
def test_routes_answer_by_age(path: str, early: int, late: int) -> None:
    metrics = Metrics("1.0", 5)
    assert answer(path, metrics, board(), 1_001)[0] == early
    assert answer(path, metrics, board(), 9_999)[0] == late


def test_metrics_carry_the_prefix_and_two_keepers_do_not_share_them() -> None:
    first, second = Metrics("1.0", 5), Metrics("1.0", 5)
    first.cycles_total.labels("ok").inc()
    assert b'ballast_keeper_cycles_total{result="ok"} 1.0' in first.render()
    assert b'cycles_total{result="ok"}' not in second.render()
    names = {line.split(b"{")[0].split()[0] for line in first.render().splitlines() if not line.startswith(b"#")}
    assert all(name.startswith(b"ballast_keeper_") for name in names)


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def serving(now: float, port: int = 0) -> ObserveServer:
    return ObserveServer("127.0.0.1", port, observe_routes(Metrics("1.0", 5), board(), lambda: now))


def test_the_server_answers_over_http_and_frees_its_port() -> None:
    server = serving(1_001.0)
    server.start()
    try:
        assert get(server.port, "/health")[0] == 200
        assert json.loads(get(server.port, "/health")[1])["ok"] is True
        assert get(server.port, "/ready?verbose")[0] == 503
        assert b"ballast_keeper_build_info" in get(server.port, "/metrics")[1]
        assert get(server.port, "/admin") == (404, b"routes: /health /metrics /ready\n")
    finally:
        server.stop()
    again = serving(0.0, server.port)
    again.stop()


def test_it_answers_while_another_request_hangs() -> None:
    hang = threading.Event()
    slow = Route("/slow", lambda _request: PlainTextResponse(str(hang.wait(10))))
    server = ObserveServer("127.0.0.1", 0, [slow, *observe_routes(Metrics("1.0", 5), board(), lambda: 1_001.0)])
    server.start()
    waiting = threading.Thread(target=get, args=(server.port, "/slow"))
    waiting.start()
    try:
        assert get(server.port, "/health")[0] == 200
        assert waiting.is_alive()
    finally:
        hang.set()
        waiting.join()
        server.stop()


def test_a_port_in_use_is_a_configuration_error() -> None:
    server = serving(0.0)
    try:
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
            serving(0.0, server.port)
    finally:
        server.stop()


def test_an_alert_is_not_repeated_while_nothing_changes() -> None:
    metrics = Metrics("1.0", 5)
    alerts = Alerts(metrics, repeat_s=100)
    assert alerts.fire("push_refused", "2 accounts", 1_000)
    assert not alerts.fire("push_refused", "2 accounts", 1_099)
    assert alerts.fire("push_refused", "3 accounts", 1_099)
    assert alerts.fire("push_refused", "3 accounts", 1_199)
    assert metrics.alerts_total.labels("push_refused")._value.get() == 4


def test_the_same_trouble_in_other_numbers_is_a_repetition() -> None:
    alerts = Alerts(Metrics("1.0", 5), repeat_s=100)
    assert alerts.fire("push_refused", "2 accounts", 1_000, "impact")
    assert not alerts.fire("push_refused", "3 accounts", 1_099, "impact")
    assert alerts.fire("push_refused", "7 words wait", 1_099, "approval")
    assert not alerts.fire("push_refused", "8 words wait", 1_100, "approval")
    assert alerts.fire("push_refused", "4 accounts", 1_100, "impact")


def test_two_troubles_of_one_name_do_not_make_each_other_new() -> None:
    alerts = Alerts(Metrics("1.0", 5), repeat_s=100)
    said = [alerts.fire("page_refused", text, 1_000 + turn) for turn in range(3) for text in ("ETH", "BTC")]
    assert said == [True, True, False, False, False, False]
