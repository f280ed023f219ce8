# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from http.client import HTTPConnection

import pytest

from keeper.errors import ConfigError
from keeper.observe.alerts import Alerts
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.server import ObserveServer, answer


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


@pytest.mark.parametrize(
    ("path", "early", "late"), [("/health", 200, 503), ("/ready", 503, 503), ("/metrics", 200, 200)]
)
def test_routes_answer_by_age(path: str, early: int, late: int) -> None:
    metrics = Metrics("1.0", 5)
    assert answer(path, metrics, board(), 1_001)[0] == early
    assert answer(path, metrics, board(), 9_999)[0] == late


def test_an_unknown_route_is_404() -> None:
    assert answer("/admin", Metrics("1.0", 5), board(), 0)[0] == 404


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


def test_the_server_answers_over_http_and_frees_its_port() -> None:
    server = ObserveServer("127.0.0.1", 0, Metrics("1.0", 5), board(), lambda: 1_001.0)
    server.start()
    try:
        assert get(server.port, "/health")[0] == 200
        assert json.loads(get(server.port, "/health")[1])["ok"] is True
        assert get(server.port, "/ready?verbose")[0] == 503
    finally:
        server.stop()
    again = ObserveServer("127.0.0.1", server.port, Metrics("1.0", 5), board(), lambda: 0.0)
    again.stop()


def test_a_port_in_use_is_a_configuration_error() -> None:
    server = ObserveServer("127.0.0.1", 0, Metrics("1.0", 5), board(), lambda: 0.0)
    try:
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
            ObserveServer("127.0.0.1", server.port, Metrics("1.0", 5), board(), lambda: 0.0)
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
