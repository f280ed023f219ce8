# SPDX-License-Identifier: Apache-2.0
"""Margin calls: told at each level once, armed again after recovery, kept in the database, signed, delivered."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from keeper.assess import assess_all
from keeper.decide import Situation
from keeper.domain import AuctionState, Phase, Unknown
from keeper.errors import ConfigError
from keeper.logging import scrub
from keeper.observe.addresses import AddressBook, address_id, load_addresses
from keeper.observe.alerts import Alerts
from keeper.observe.delivery import ATTEMPTS, SIGNATURE, Delivery
from keeper.observe.margin_calls import MarginDesk
from keeper.observe.margin_levels import Call, Levels, Told, judge, level_of, look_ahead
from keeper.observe.margin_message import cash_needed, content, percent, sentence, usd
from keeper.observe.margin_store import MarginStore
from keeper.observe.metrics import Metrics
from keeper.settings_sections import MarginCalls
from keeper.store import Store, open_store
from keeper.store.models import AccountRow, MarginCallRow
from risk.onchain_words import AccountState, DeltaOnePosition, MarkWord, build_words
from tests.support.keeper_world import FUTURE, NOW, PERP, WAD, account, auction, market, snapshot
from tests.support.mailbox import Mailbox, mailbox

LEVELS = Levels()
OWNER = "0x" + "Ab" * 20
SECRET = "planted-hmac-secret"


def situation(cash_usd: int, running: AuctionState | None = None, **changes: Any) -> Situation:
    """Account 1 holds one perpetual of 2,000 USD: IM 400, MM 320 USD; its equity is its cash."""
    auctions = {} if running is None else {1: running}
    seen = snapshot({1: account(cash_usd, 1.0)}, auctions, **changes)
    return Situation(seen, assess_all(seen))


def judged(told: Told, cash_usd: int, running: AuctionState | None = None) -> tuple[Told, list[tuple[str, int]]]:
    made = situation(cash_usd, running)
    result = made.assessments[1]
    assert not isinstance(result, Unknown)
    after, calls = judge(told, result, running, None, LEVELS)
    return after, [(call.kind, call.level) for call in calls]


# health is cash - 320; 30 %, 15 %, 5 % of 320 are 96, 48, 16
@pytest.mark.parametrize(
    ("cash", "level"), [(600, 0), (416, 0), (415, 1), (368, 1), (367, 2), (336, 2), (335, 3), (320, 3), (319, 4)]
)
def test_levels_are_shares_of_maintenance_margin(cash: int, level: int) -> None:
    result = situation(cash).assessments[1]
    assert not isinstance(result, Unknown)
    assert level_of(result, LEVELS, 0) == level


def test_an_account_without_positions_is_fine_unless_it_owes() -> None:
    for cash, level in ((0, 0), (5, 0), (-5, 4)):
        seen = snapshot({1: account(cash)})
        result = assess_all(seen)[1]
        assert not isinstance(result, Unknown)
        assert level_of(result, LEVELS, 0) == level_of(result, LEVELS, 500) == level


def test_each_level_is_told_once_and_falling_through_several_tells_the_deepest() -> None:
    told, calls = judged(Told(), 600)
    assert calls == []
    told, calls = judged(told, 400)
    assert calls == [("warning", 1)]
    assert judged(told, 390) == (told, [])
    told, calls = judged(told, 330)
    assert calls == [("warning", 3)]
    told, calls = judged(told, 300)
    assert calls == [("liquidatable", 4)]
    assert judged(told, 290) == (told, [])


def test_a_level_is_armed_again_only_after_recovery_above_it_and_the_hysteresis() -> None:
    told = Told(level=1)
    assert judged(told, 417) == (told, [])  # above 30 %, not above 35 %
    assert judged(told, 431) == (told, [])
    told, calls = judged(told, 433)
    assert (told.level, calls) == (0, [("recovered", 0)])
    assert judged(told, 415)[1] == [("warning", 1)]


def test_a_partial_recovery_arms_the_levels_it_has_left() -> None:
    told, calls = judged(Told(level=3), 400)
    assert (told.level, calls) == (1, [])
    assert judged(told, 330)[1] == [("warning", 3)]


def test_the_start_and_the_end_of_a_liquidation_are_told_once() -> None:
    told, calls = judged(Told(level=4), 300, auction(Phase.SOLVENT))
    assert (told.in_auction, calls) == (True, [("liquidation_started", 4)])
    assert judged(told, 250, auction(Phase.INSOLVENT))[1] == []
    told, calls = judged(told, 600, auction(Phase.NONE))
    assert (told, calls) == (Told(), [("liquidation_ended", 0)])


def test_an_auction_that_cannot_be_read_changes_nothing() -> None:
    result = situation(600).assessments[1]
    assert not isinstance(result, Unknown)
    told = Told(level=0, in_auction=True)
    assert judge(told, result, Unknown("no answer", NOW), None, LEVELS) == (told, ())


def with_future(cash_usd: int, left_s: int) -> Situation:
    """A perpetual hedged by a short future that expires in so many seconds: no risk until its last day."""
    lots = 10**6
    held = {PERP: DeltaOnePosition(lots, -lots * 2_000 * WAD), FUTURE: DeltaOnePosition(-lots, lots * 2_000 * WAD)}
    words = build_words(AccountState(cash=cash_usd * WAD, nonce=1, delta_ones=held))
    marks = {PERP: MarkWord(0, 0), FUTURE: MarkWord(0, 0, NOW + left_s)}
    seen = snapshot({1: words}, market=replace(market(), marks={**market().marks, **marks}))
    return Situation(seen, assess_all(seen))


def ahead_of(made: Situation) -> tuple[Any, Any]:
    words, result = made.snapshot.accounts[1], made.assessments[1]
    assert not isinstance(words, Unknown) and not isinstance(result, Unknown)
    return result, look_ahead(made.snapshot, words, LEVELS)


def test_margin_to_come_is_told_before_contracts_enter_their_last_day() -> None:
    result, ahead = ahead_of(with_future(300, 30 * 3_600))
    assert result.im_health > 0 and ahead.im_health < 0 and ahead.cause == "expiry"
    told, calls = judge(Told(), result, None, ahead, LEVELS)
    assert [call.kind for call in calls] == ["margin_to_come"]
    assert judge(told, result, None, ahead, LEVELS) == (told, ())
    assert judge(told, result, None, None, LEVELS)[0].to_come is False


def test_a_far_expiry_and_an_account_that_can_bear_it_are_not_told() -> None:
    result, ahead = ahead_of(with_future(300, 72 * 3_600))
    assert ahead is None or ahead.im_health >= 0
    result, ahead = ahead_of(with_future(900, 30 * 3_600))
    assert ahead.im_health > 0
    assert judge(Told(), result, None, ahead, LEVELS)[1] == ()


def test_parameters_that_are_being_phased_in_are_margin_to_come() -> None:
    made = situation(450)
    words = made.snapshot.accounts[1]
    stored = dict(made.snapshot.parameter_words)  # type: ignore[arg-type]
    stored[1, 0] += 1_000  # lane 0, the scan range: 20 % becomes 30 %
    seen = replace(made.snapshot, parameter_words=stored)
    ahead = look_ahead(seen, words, LEVELS)  # type: ignore[arg-type]
    assert ahead is not None and (ahead.cause, ahead.im, ahead.im_health) == ("parameters", 600 * WAD, -150 * WAD)
    assert look_ahead(replace(seen, parameter_words=Unknown("x", NOW)), words, LEVELS) is None  # type: ignore[arg-type]


def test_the_cure_is_the_cash_that_restores_initial_margin() -> None:
    body = body_of(situation(330), Call("warning", 3))
    assert body["cash_to_restore_initial_margin_usd"] == "70.00"
    assert body_of(situation(400), Call("warning", 1))["cash_to_restore_initial_margin_usd"] == "0.00"
    cured = situation(400).assessments[1]
    assert not isinstance(cured, Unknown) and cured.im_health == 0


def test_the_cure_is_rounded_up_and_proved_on_the_account() -> None:
    from keeper.explain_account import ChainAccount

    made = situation(330)
    words, result = made.snapshot.accounts[1], made.assessments[1]
    assert not isinstance(words, Unknown) and not isinstance(result, Unknown)
    chain = ChainAccount(made.snapshot, market(), words)
    cash = cash_needed(chain, result, 10**15)
    assert cash == 70_010_000_000_000_000_000
    assert chain.moved({None: cash / WAD}).im >= 0.001


def body_of(made: Situation, call: Call) -> dict[str, Any]:
    body = content(made, 1, OWNER, call, LEVELS)
    assert body is not None
    return body


def test_the_body_has_what_the_owner_needs_and_a_sentence() -> None:
    body = body_of(situation(330), Call("warning", 3))
    assert body["health_percent"] == "3.12" and body["below_percent"] == "5"
    assert (body["initial_margin_usd"], body["maintenance_margin_usd"]) == ("400.00", "320.00")
    title, text = sentence(body)
    assert title == "Margin account 1: warning"
    assert text.startswith("Health is under 5 % of maintenance margin.")
    assert text.endswith("A deposit of 70.00 USD cash restores initial margin.")


@pytest.mark.parametrize(("wad", "text"), [(0, "0.00"), (-1, "-0.01"), (1_005 * 10**15, "1.00"), (-(10**18), "-1.00")])
def test_amounts_are_rounded_down(wad: int, text: str) -> None:
    assert usd(wad) == text


def test_a_share_without_margin_is_none() -> None:
    assert percent(5, 0) is None
    assert percent(-1, 3) == "-33.34"


# --- the desk, with a real database and a real server


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")
    with made.session() as session:
        session.add(AccountRow(chain_id=31337, account=1, owner=OWNER, opened_block=1, changed_block=1))
    yield made
    made.close()


class Time:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


def desk(store: Store, clock: Time, *urls: str, **settings: Any) -> tuple[MarginDesk, Metrics, Alerts]:
    given = MarginCalls(owners={OWNER: urls}, secret=SecretStr(SECRET), **settings)  # type: ignore[dict-item]
    metrics = Metrics("1.0", 31337)
    alerts = Alerts(metrics)
    delivery = Delivery(metrics, 5.0, SECRET, sleep=lambda _s: None)
    made = MarginDesk(given, load_addresses(given), MarginStore(store, 31337), delivery, alerts, metrics, clock)
    return made, metrics, alerts


def rows(store: Store) -> list[MarginCallRow]:
    with store.session() as session:
        return list(session.query(MarginCallRow).order_by(MarginCallRow.id))


def test_a_margin_call_arrives_signed_once_and_a_restart_does_not_repeat_it(store: Store, box: Mailbox) -> None:
    clock = Time()
    first, metrics, _ = desk(store, clock, box.url())
    assert first.consider(situation(400)) == 1
    assert first.consider(situation(399)) == 0
    assert first.deliver() == 1 and first.deliver() == 0
    second, _, _ = desk(store, clock, box.url())
    assert second.consider(situation(398)) == 0 and second.deliver() == 0
    (post,) = box.posts
    assert (post.body["kind"], post.body["account"], post.body["owner"]) == ("warning", 1, OWNER)
    assert post.body["id"] == f"31337-{rows(store)[0].id}" and "text" in post.body
    stamp, _, digest = post.headers[SIGNATURE].partition(",v1=")
    signed = f"{stamp.removeprefix('t=')}.".encode() + post.raw
    assert digest == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert abs(int(stamp.removeprefix("t=")) - time.time()) < 60
    assert metrics.messages_total.labels("margin_call", "sent")._value.get() == 1


def test_a_message_that_was_made_and_not_sent_survives_a_restart(store: Store, box: Mailbox) -> None:
    clock = Time()
    first, _, _ = desk(store, clock, box.url())
    first.consider(situation(400))
    second, _, _ = desk(store, clock, box.url())
    assert second.deliver() == 1
    assert [row.state for row in rows(store)] == ["sent"]


def test_two_processes_do_not_both_send(store: Store, box: Mailbox) -> None:
    clock = Time()
    one, _, _ = desk(store, clock, box.url())
    one.consider(situation(400))
    assert len(MarginStore(store, 31337).claim(int(clock()), int(clock()) + 300, 10)) == 1  # the other has it
    assert one.deliver() == 0
    clock.now += 301  # and died
    assert one.deliver() == 1


def test_a_server_that_is_down_gets_it_later(store: Store, box: Mailbox) -> None:
    clock = Time()
    made, metrics, _ = desk(store, clock, box.url())
    made.consider(situation(400))
    box.answers = [503] * ATTEMPTS
    made.deliver()
    (row,) = rows(store)
    assert (row.state, row.tries, row.next_at) == ("pending", 1, NOW + 30)
    assert row.error is not None and "answered 503" in row.error
    assert metrics.margin_calls_pending._value.get() == 1
    clock.now += 29
    assert made.deliver() == 0
    clock.now += 1
    assert made.deliver() == 1
    assert metrics.margin_calls_pending._value.get() == 0


@pytest.mark.parametrize(("status", "waited"), [(410, 0), (503, 86_400)])
def test_what_cannot_be_delivered_is_given_up_and_the_operator_told(
    store: Store, box: Mailbox, status: int, waited: int
) -> None:
    clock = Time()
    made, metrics, alerts = desk(store, clock, box.url())
    made.consider(situation(400))
    clock.now += waited
    box.answers = [status] * ATTEMPTS
    made.deliver()
    assert [row.state for row in rows(store)] == ["failed"]
    assert metrics.alerts_total.labels("margin_call_undelivered")._value.get() == 1
    assert alerts is not None and len(box.posts) == (1 if status == 410 else ATTEMPTS)


def test_one_owner_whose_server_is_down_does_not_cost_another_his_warning(store: Store, box: Mailbox) -> None:
    with mailbox() as gone:
        dead = gone.url()
    made, _, _ = desk(store, Time(), dead, box.url())
    made.consider(situation(400))
    made.deliver()
    assert len(box.posts) == 1
    assert sorted(row.state for row in rows(store)) == ["pending", "sent"]


def test_a_destination_gets_no_more_than_its_rate(store: Store, box: Mailbox) -> None:
    clock = Time()
    made, _, _ = desk(store, clock, box.url(), per_minute=2)
    for cash in (400, 350, 325, 300):
        made.consider(situation(cash))
    assert made.deliver() == 2
    clock.now += 61
    assert made.deliver() == 2
    assert [post.body["below_percent"] for post in box.posts] == ["30", "15", "5", "0"]


def test_an_address_that_was_taken_away_gets_nothing(store: Store, box: Mailbox) -> None:
    clock = Time()
    first, _, _ = desk(store, clock, box.url())
    first.consider(situation(400))
    second, _, _ = desk(store, clock, box.url(path="/other"))
    second.deliver()
    assert box.posts == [] and [row.state for row in rows(store)] == ["dropped"]


def test_an_unknown_account_is_not_judged(store: Store, box: Mailbox) -> None:
    made, _, _ = desk(store, Time(), box.url())
    seen = snapshot({1: Unknown("no answer", NOW)})
    assert made.consider(Situation(seen, assess_all(seen))) == 0


def test_the_cycle_waits_for_nobody(store: Store, box: Mailbox) -> None:
    box.hang_s = 1.0
    made, _, _ = desk(store, Time(), box.url())
    made.start()
    began = time.monotonic()
    for cash in (400, 350, 300):
        made.offer(situation(cash))
    assert time.monotonic() - began < 0.5
    box.wait(1)
    made.close()
    assert box.posts[-1].body["kind"] in {"warning", "liquidatable"}
    assert {row.state for row in rows(store)} == {"sent"}


def test_apprise_addresses_get_the_sentence(store: Store, box: Mailbox) -> None:
    made, _, _ = desk(store, Time(), box.url("json"))
    made.consider(situation(300))
    assert made.deliver() == 1
    body = box.posts[0].body
    assert (body["title"], body["type"]) == ("Margin account 1: liquidatable", "failure")
    assert "anybody may start its liquidation" in body["message"]


# --- addresses


def test_an_accounts_own_addresses_come_before_its_owners() -> None:
    book = AddressBook({1: ("a",)}, {OWNER.lower(): ("b",)})
    assert (book.of(1, OWNER), book.of(2, OWNER), book.of(3, "0x")) == (("a",), ("b",), ())
    assert book.find(address_id("b")) == "b" and book.find(address_id("c")) is None


def test_a_file_of_addresses_is_read_and_its_secrets_are_hidden(tmp_path: Path) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(
        f'[accounts]\n1 = ["https://a.example/planted-in-file"]\n[owners]\n"{OWNER}" = "json://b.example/x"\n'
    )
    book = load_addresses(MarginCalls(file=path, accounts={2: (SecretStr("https://c.example/x"),)}))
    assert book.accounts == {1: ("https://a.example/planted-in-file",), 2: ("https://c.example/x",)}
    assert book.owners == {OWNER.lower(): ("json://b.example/x",)}
    assert "planted" not in scrub("failed at /planted-in-file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[accounts\n", "is not TOML"),
        ("[account]\n1 = []\n", "cannot be used at 'account'"),
        ('[accounts]\nx = ["https://a.example"]\n', "cannot be used at 'accounts.x"),
        ('[owners]\n"0x12" = ["https://a.example"]\n', "which is no address"),
        ('[accounts]\n1 = ["nonsense://planted-secret"]\n', "cannot be used; give https://"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_and_no_secret(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_addresses(MarginCalls(file=path))
    assert said in str(caught.value) and "planted" not in str(caught.value)


def test_levels_that_do_not_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="must fall"):
        MarginCalls(levels_percent=(5, 15))  # type: ignore[arg-type]
