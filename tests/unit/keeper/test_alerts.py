# SPDX-License-Identifier: Apache-2.0
"""Alerts to the operator: told once, told again after the window, called off once; delivered to a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from keeper.errors import ConfigError, Permanent, Transient
from keeper.observe.alert_store import AlertStore
from keeper.observe.alerts import Alerts, Trouble
from keeper.observe.delivery import ATTEMPTS, Delivery, Message, RateLimit, check_address, host_of
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.outlet import Outlet, digest
from keeper.observe.watch import HealthCollector, Watch
from keeper.settings import load_settings
from keeper.settings_sections import Alerting
from keeper.store import open_store
from tests.support.mailbox import Mailbox, mailbox


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as made:
        yield made


def collected(**more: object) -> tuple[Alerts, list[Message], list[Trouble]]:
    sent: list[Message] = []
    saved: list[Trouble] = []
    return Alerts(Metrics("1.0", 5), 100, send=sent.append, save=saved.append, **more), sent, saved  # type: ignore[arg-type]


def test_a_trouble_that_lasts_is_called_off_once() -> None:
    alerts, sent, _ = collected()
    for turn in range(3):
        alerts.fire("page_refused", "no surface", 1_000 + turn, source="cycle")
        alerts.settle("cycle", 1_000 + turn)
    assert [m.severity for m in sent] == ["warning"]
    assert [t.name for t in alerts.active()] == ["page_refused"]
    for turn in range(3):
        alerts.settle("cycle", 1_010 + turn)
    assert [m.severity for m in sent] == ["warning", "recovered"]
    assert sent[1].body == "over after 10 s: no surface"
    assert alerts.active() == ()


def test_a_source_calls_off_its_own_troubles_only() -> None:
    alerts, sent, _ = collected()
    alerts.fire("page_refused", "no surface", 1_000, source="cycle")
    alerts.settle("watch", 1_001)
    assert len(sent) == 1 and len(alerts.active()) == 1


def test_an_event_is_never_called_off() -> None:
    alerts, sent, _ = collected()
    alerts.fire("action_bid", "reverted", 1_000)
    alerts.settle("event", 1_001)
    alerts.settle("cycle", 1_001)
    assert len(sent) == 1 and alerts.active() == ()


def test_what_flaps_is_told_once_a_window_and_its_ends_are_not_told_either() -> None:
    alerts, sent, _ = collected()
    for turn in range(0, 90, 2):
        alerts.fire("unhealthy", "head block", 1_000 + turn, "head", source="watch")
        alerts.settle("watch", 1_000 + turn)
        alerts.settle("watch", 1_001 + turn)
    assert [m.severity for m in sent] == ["critical", "recovered"]
    alerts.fire("unhealthy", "head block", 1_100, "head", source="watch")
    assert [m.severity for m in sent] == ["critical", "recovered", "critical"]


@pytest.mark.parametrize(("least", "told"), [("info", 3), ("warning", 2), ("critical", 1)])
def test_what_is_not_severe_enough_is_not_sent(least: str, told: int) -> None:
    alerts, sent, _ = collected(min_severity=least)
    for severity in ("info", "warning", "critical"):
        assert alerts.fire("x", severity, 1_000, severity=severity)
    assert len(sent) == told


def test_a_restart_neither_repeats_an_alert_nor_forgets_to_call_it_off(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")
    memory = AlertStore(store, 5)
    memory.start()
    first = Alerts(Metrics("1.0", 5), 100, save=memory.save)
    assert first.fire("page_refused", "no surface", 1_000, source="cycle")
    first.fire("action_bid", "reverted", 1_000)
    memory.close()
    sent: list[Message] = []
    later = AlertStore(store, 5)
    later.start()
    second = Alerts(Metrics("1.0", 5), 100, send=sent.append, save=later.save, known=later.load())
    assert not second.fire("page_refused", "no surface", 1_050, source="cycle")
    assert not second.fire("action_bid", "reverted", 1_050)
    second.settle("cycle", 1_060)
    assert [t.name for t in second.active()] == ["page_refused"]
    second.settle("cycle", 1_070)
    later.close()
    assert [m.severity for m in sent] == ["recovered"]
    assert {t.name: t.recovered_at for t in AlertStore(store, 5).load()} == {"page_refused": 1_070, "action_bid": None}
    assert AlertStore(store, 6).load() == []
    store.close()


def test_a_broken_database_does_not_stop_an_alert(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alerts")
    memory = AlertStore(store, 5)
    memory.start()
    sent: list[Message] = []
    assert Alerts(Metrics("1.0", 5), send=sent.append, save=memory.save).fire("x", "text", 1_000)
    memory.close()
    assert len(sent) == 1
    store.close()


def test_the_watch_says_what_health_says_and_when_it_is_over() -> None:
    now = [1_000.0]
    health = HealthBoard({"cycle": 60}, 1_000)
    alerts, sent, _ = collected()
    watch = Watch(health, alerts, lambda: now[0], every_s=0.01)
    health.halt("liquidation", "has an alert of its own")
    watch.start()
    now[0] = 1_061
    wait_for(lambda: bool(sent))
    health.stamp("cycle", 1_061)
    wait_for(lambda: len(sent) == 2)
    watch.close()
    assert [(m.title, m.severity) for m in sent] == [
        ("Ballast: unhealthy", "critical"),
        ("Ballast: unhealthy is over", "recovered"),
    ]
    assert sent[0].body == "cycle: not once in 61 s, limit 60 s"


def test_ages_are_metrics_of_the_moment_they_are_asked_for() -> None:
    metrics, health, now = Metrics("1.0", 5), HealthBoard({"cycle": 60}, 1_000), [1_010.0]
    metrics.registry.register(HealthCollector(health, lambda: now[0]))
    health.stamp("cycle", 1_000)
    assert b'ballast_keeper_health_age_seconds{check="cycle"} 10.0' in metrics.render()
    assert b"ballast_keeper_healthy 1.0" in metrics.render()
    now[0] = 1_070
    text = metrics.render()
    assert b'ballast_keeper_health_age_seconds{check="cycle"} 70.0' in text
    assert b'ballast_keeper_health_failed{check="cycle"} 1.0' in text
    assert b"ballast_keeper_healthy 0.0" in text and b"ballast_keeper_ready 0.0" in text


def wait_for(done: object, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def count(metrics: Metrics, result: str) -> float:
    return metrics.messages_total.labels("alert", result)._value.get()


def test_an_alert_arrives_at_a_real_server(box: Mailbox) -> None:
    metrics = Metrics("1.0", 5)
    outlet = Outlet(box.url("json"), Delivery(metrics), RateLimit(20))
    Alerts(metrics, send=outlet.put).fire("halted_liquidation", "2 accounts differ", 1_000)
    assert outlet.close(10)
    (post,) = box.posts
    assert (post.body["title"], post.body["message"]) == ("Ballast: halted_liquidation", "2 accounts differ")
    assert post.body["type"] == "failure"
    assert (count(metrics, "sent"), count(metrics, "failed")) == (1, 0)


def test_a_server_that_fails_is_tried_again(box: Mailbox) -> None:
    metrics = Metrics("1.0", 5)
    box.answers = [503] * (ATTEMPTS - 1)
    Delivery(metrics, sleep=lambda _s: None).send(box.url("json"), Message("t", "b", "info"), "alert")
    assert len(box.posts) == ATTEMPTS
    assert (count(metrics, "retried"), count(metrics, "sent"), count(metrics, "failed")) == (ATTEMPTS - 1, 1, 0)


def test_a_server_that_stays_down_is_counted_and_its_messages_are_kept(box: Mailbox) -> None:
    metrics = Metrics("1.0", 5)
    box.answers = [500] * ATTEMPTS
    outlet = Outlet(box.url("json"), Delivery(metrics, sleep=lambda _s: None), RateLimit(20))
    outlet.put(Message("t", "b", "info"))
    box.wait(ATTEMPTS)
    assert not outlet.close(0.2)
    assert (count(metrics, "sent"), count(metrics, "failed")) == (0, 1)


def test_one_address_that_hangs_holds_up_neither_the_others_nor_the_caller(box: Mailbox) -> None:
    with mailbox() as slow:
        slow.hang_s = 1.5
        metrics = Metrics("1.0", 5)
        outlets = [Outlet(b.url("json"), Delivery(metrics), RateLimit(20)) for b in (slow, box)]
        alerts = Alerts(metrics, send=lambda m: [o.put(m) for o in outlets])  # type: ignore[func-returns-value]
        began = time.monotonic()
        alerts.fire("x", "text", 1_000)
        assert time.monotonic() - began < 0.2
        box.wait(1, 1.4)
        assert slow.posts == []
        assert all(outlet.close(5) for outlet in outlets)


def test_many_at_once_become_one_message_and_the_limit_holds(box: Mailbox) -> None:
    gate = threading.Event()
    limit = RateLimit(2)
    outlet = Outlet(box.url("json"), Delivery(Metrics("1.0", 5)), limit)
    box.hang_s = 0.3
    outlet.put(Message("first", "text", "info"))
    gate.wait(0.1)
    for number in range(30):
        outlet.put(Message(f"n{number}", "text", "critical" if number == 7 else "warning"))
    first, second = box.wait(2)
    assert first.body["title"] == "first"
    assert second.body["title"] == "30 messages of the keeper" and second.body["type"] == "failure"
    outlet.put(Message("too many this minute", "text", "info"))
    assert not outlet.close(0.5)
    assert len(box.posts) == 2


def test_a_limit_counts_by_destination_and_minute() -> None:
    limit = RateLimit(2)
    assert [limit.take("a", 0), limit.take("a", 10), limit.take("a", 20), limit.take("b", 20)] == [0, 0, 40, 0]
    assert limit.take("a", 60) == 0


def test_a_digest_is_as_severe_as_the_worst() -> None:
    made = digest([Message("a", "x", "recovered"), Message("b", "y", "critical"), Message("c", "z", "info")])
    assert made.severity == "critical" and made.body.splitlines() == ["- a: x", "- b: y", "- c: z"]


def test_nobody_there_is_transient_and_names_no_secret(box: Mailbox) -> None:
    port = box.port
    send = Delivery(Metrics("1.0", 5), 2.0, sleep=lambda _s: None).send
    with mailbox() as gone:
        url = gone.url("http", "/planted-secret-path")
    with pytest.raises(Transient, match=r"http://127\.0\.0\.1 did not answer") as caught:
        send(url, Message("t", "b", "info", {"a": 1}), "margin_call")
    assert "planted" not in str(caught.value)
    box.answers = [404]
    with pytest.raises(Permanent, match="refused with 404"):
        send(f"http://127.0.0.1:{port}/planted", Message("t", "b", "info", {"a": 1}), "margin_call")
    assert len(box.posts) == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/services/T/B/X", "https://hooks.example"),
        ("json://127.0.0.1:9/x", "json://127.0.0.1"),
        ("tgram://12345:token/-1", "tgram://"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_said(url: str, shown: str) -> None:
    assert host_of(url) == shown


def test_an_address_that_cannot_be_used_is_refused_at_the_start_without_naming_it() -> None:
    check_address("json://127.0.0.1:9/x", "alerts", webhooks=False)
    check_address("https://a.example/x", "margin_calls")
    for url in ("nonsense://planted-secret", "https://a.example/planted-secret"):
        with pytest.raises(ConfigError, match="alerts holds an address that cannot be used") as caught:
            check_address(url, "alerts", webhooks=False)
        assert "planted" not in str(caught.value)


def test_the_names_everybody_knows_become_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slack = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
    discord = f"https://discord.com/api/webhooks/123456789012345678/{'a' * 68}"
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", f"123456789:{'A' * 35}")
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "-100123")
    (tmp_path / "discord").write_text(discord + "\n")
    monkeypatch.setenv("DISCORD_WEBHOOK_URL_FILE", str(tmp_path / "discord"))
    monkeypatch.setenv("BALLAST_ALERTS__URLS", "json://a.example/x,json://b.example/y")
    found = load_settings(chain_id=5).alerts.destinations
    assert found[:4] == ("json://a.example/x", "json://b.example/y", slack, discord)
    assert found[4].startswith("tgram://123456789:AAA") and found[4].endswith("/-100123")
    for url in found:
        check_address(url, "alerts", webhooks=False)


def test_a_bot_without_a_chat_is_refused() -> None:
    with pytest.raises(ValueError, match="needed together"):
        Alerting(telegram_bot_token=SecretStr("x"))
