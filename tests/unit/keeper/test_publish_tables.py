# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.actions import PublishPage
from keeper.domain import JointStatus, Price, Snapshot, TableStatus, UnderlyingInfo, Unknown
from keeper.errors import Halt
from keeper.publish.readback import verify
from keeper.publish.tables import (
    atm_vol_bps,
    joint_words,
    plan_joint,
    plan_pages,
    surface_slice,
    surface_tuple,
    within_step,
)
from keeper.publish.triggers import PagePolicy, page_trigger
from keeper.publish.words import UNDERLYING
from risk.onchain_words import JointSet, Page
from risk.pricing import black76
from risk.pricing.svi import slices_from_smile
from risk.types import SmileModel, UnderlyingParameters
from risk.units import pack_underlying
from tests.support.keeper_world import (
    ETH,
    ETH_LANES,
    NOW,
    PRICE,
    WAD,
    WORDS,
    joint,
    listed_option,
    market,
    page_status,
    snapshot,
    target,
)

POLICY = PagePolicy(drift_bps=500, vol_bps=1_000, heartbeat_s=6 * 3600, validity_s=86_400)
STEPS = (5_000, 3_500)
FRESH = Price(PRICE, 0, NOW - 60, 0)


def trigger(price_usd: float = 2_000, vol: int = 6_000, now: int = NOW, **page: object) -> str | None:
    return page_trigger(page_status(**page), Price(int(price_usd * WAD), 0, now, 0), vol, now, POLICY)


def test_a_fresh_page_is_left_alone() -> None:
    assert trigger() is None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"address": None}, "there is no page"),
        ({"rows": 1}, "the page has 1 rows, 2 options are listed"),
        ({"observed_at": NOW - 20_000, "expires_at": NOW + 6_000}, "the page expires in 6000 s"),
        ({"observed_at": NOW - 6 * 3600}, "the page is 21600 s old"),
    ],
)
def test_a_page_that_is_missing_short_or_old_is_replaced(case: dict[str, object], words: str) -> None:
    assert trigger(**case) == words


def test_no_page_at_all_is_a_trigger() -> None:
    assert page_trigger(None, FRESH, 6_000, NOW, POLICY) == "there is no page"


def test_the_price_triggers_at_two_grid_steps() -> None:
    # one step is 1.6666 %: two are 66.66 USD on 2,000
    assert trigger(2_066) is None
    assert trigger(2_067) == "the price moved 2.0 grid steps"
    assert trigger(1_933) == "the price moved 2.0 grid steps"


def test_the_price_triggers_at_a_share_of_the_reference_when_that_is_nearer() -> None:
    near = replace(POLICY, drift_bps=100)
    assert page_trigger(page_status(), Price(2_021 * WAD, 0, NOW, 0), 6_000, NOW, near) == (
        "the price moved 105 bps from the reference"
    )
    assert page_trigger(page_status(), Price(2_020 * WAD, 0, NOW, 0), 6_000, NOW, near) is None


def test_the_volatility_triggers_beyond_its_share() -> None:
    assert trigger(vol=6_600) is None
    assert trigger(vol=6_601) == "the at-the-money volatility moved from 6000 to 6601 bps"


def test_a_flat_surface_has_its_volatility_at_the_money() -> None:
    assert atm_vol_bps(SmileModel(0.6, 0.6, 2.0, -0.2, 0.9)) == 6_000


def test_a_surface_survives_the_way_to_the_chain_and_back() -> None:
    (item,) = slices_from_smile(SmileModel(0.8, 0.5, 3.0, -0.3, 1.0), [NOW + 86_400 * 30], NOW)
    raw = surface_tuple(item)
    assert surface_tuple(surface_slice(raw)) == raw
    assert abs(raw[3] / WAD - item.svi.a) < 1e-15


def test_a_volatility_beyond_one_step_is_walked_to() -> None:
    smile = SmileModel(1.8, 1.8, 2.0, -0.2, 0.9)
    assert atm_vol_bps(within_step(smile, 6_000, STEPS)) == 8_999  # 6,000 + 50 %, one inside
    assert atm_vol_bps(within_step(SmileModel(0.1, 0.1, 2.0, -0.2, 0.9), 6_000, STEPS)) == 3_901
    assert within_step(smile, 0, STEPS) == smile
    assert within_step(smile, 12_001, STEPS) == smile


def build() -> PublishPage:
    view = snapshot(table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(rows=1)}))
    (plan,) = plan_pages(view, target(), POLICY, STEPS)
    assert plan.action is not None
    return plan.action


def test_a_page_is_built_at_the_oracle_price_with_the_chains_parameters() -> None:
    page = build()
    assert page.header.epoch == 4
    assert page.header.reference_price_wad == PRICE
    assert page.header.observed_at == NOW
    assert page.header.step_e9 == 16_666_666  # a twelfth of 20 %
    assert page.header.atm_vol_bps == 6_000
    assert len(page.rows) == 2 * 96
    assert [surface[0] for surface in page.surfaces] == [NOW + 30 * 86_400]


def test_the_number_of_a_revoked_epoch_is_not_used_again() -> None:
    back = TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(epoch=2, last_epoch=3, expires_at=NOW - 1)})
    (plan,) = plan_pages(snapshot(table=back), target(), POLICY, STEPS)
    assert plan.action is not None and plan.action.header.epoch == 4


def test_the_row_of_an_option_holds_its_black_scholes_value() -> None:
    page = build()
    lane = int.from_bytes(page.rows[32:64], "big") >> (16 * 7) & 0xFFFF
    value = lane * page.header.lane_unit_wad / WAD
    # at the money forward, 60 % for 30 days: S * (2*N(sigma*sqrt(T)/2) - 1) = 2,000 * 0.0685417
    assert value == pytest.approx(137.08, abs=0.05)
    assert value == pytest.approx(float(black76.price(2_000.0, 2_000.0, 0.6, 30 / 365, 1.0, True)), abs=0.05)


def test_a_page_is_not_built_while_the_contract_takes_no_new_one() -> None:
    def due(age_s: int, address: bool = True) -> bool:
        page = replace(page_status(rows=1), observed_at=NOW - age_s)
        page = page if address else replace(page, address=None)
        view = snapshot(table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page}))
        return any(plan.action is not None for plan in plan_pages(view, target(), POLICY, STEPS, 60))

    assert [due(0), due(59), due(60), due(61)] == [False, False, True, True]
    assert due(59, address=False)  # the first page waits for nothing


@pytest.mark.parametrize("price", [Price(PRICE, 2, 1, 10_000), Price(PRICE, 1, NOW - 7_200, 500)])
def test_a_price_that_is_not_fresh_publishes_nothing(price: Price) -> None:
    short = TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(rows=1)})
    (plan,) = plan_pages(snapshot(table=short, prices={(0, ETH): price}), target(), POLICY, STEPS)
    assert plan.action is None and plan.refused is None


def test_a_page_says_the_stored_shocks_it_was_made_with() -> None:
    header = build().header
    shocks = (header.vol_up_bps, header.vol_down_bps, header.vol_power_bps, header.short_min_bps)
    assert shocks == (3_000, 2_000, 3_000, 0)


def test_a_page_ends_at_the_first_expiry_ahead() -> None:
    options = {
        0: listed_option(0, 0.25, 2_000, True),
        1: listed_option(1, 30, 1_800, False),
        2: listed_option(2, -0.5, 1_500, True),
    }
    view = snapshot(options=options, table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(rows_wanted=3)}))
    (plan,) = plan_pages(view, target(), POLICY, STEPS)
    assert plan.action is not None
    assert plan.action.header.expires_at == NOW + 21_600
    assert [surface[0] for surface in plan.action.surfaces] == [NOW + 21_600, NOW + 30 * 86_400]
    # the last has expired and nobody has settled it: intrinsic value, 500 at the reference price
    row = Page("", 1, 0, 1, 1, 1, 1, plan.action.rows).row(2)
    assert row is not None
    assert row.lanes[1][7] * plan.action.header.lane_unit_wad == pytest.approx(500 * WAD, rel=1e-4)
    assert row.lanes[0][0] < row.lanes[0][14]


def test_a_page_that_ends_at_an_expiry_is_not_replaced_by_one_that_lives_no_longer() -> None:
    short = page_status(observed_at=NOW - 3_500, expires_at=NOW + 100)
    assert page_trigger(short, FRESH, 6_000, NOW, POLICY) == "the page expires in 100 s"
    assert page_trigger(short, FRESH, 6_000, NOW, POLICY, expiries=[NOW + 100]) is None
    assert page_trigger(short, FRESH, 6_000, NOW, POLICY, expiries=[NOW + 101]) == "the page expires in 100 s"
    # past it, the next expiry is the one ahead
    late = NOW + 100
    assert page_trigger(short, FRESH, 6_000, late, POLICY, expiries=[NOW + 9_000]) == "the page expires in 0 s"


HOURS = [3_600 * k for k in range(32)]
TODAY = NOW - NOW % 3_600


@pytest.mark.parametrize(
    ("observed", "now", "told"),
    [
        # thirty hours ahead to the hour, wherever in the hour the page was made
        (-HOURS[30], -HOURS[25], True),
        (-HOURS[30] + 3_599, -HOURS[24], True),
        (-HOURS[30] - 1, -HOURS[25], False),
        # an hour before the last day begins, and not before
        (-HOURS[31], -HOURS[25] - 1, True),
        (-HOURS[31], -HOURS[25], False),
        (-HOURS[31], -HOURS[3], False),
    ],
)
def test_the_last_day_of_an_option_begins_with_a_page_that_tells_its_hour(observed: int, now: int, told: bool) -> None:
    expiry = TODAY + 40 * 3_600
    page = page_status(observed_at=expiry + observed, expires_at=expiry)
    lazy = replace(POLICY, heartbeat_s=7 * 86_400)
    # another expiry, days later, is nobody's business yet
    found = page_trigger(page, FRESH, 6_000, expiry + now, lazy, expiries=[expiry, expiry + 90_000 * 3])
    said = f"the page does not tell the hour of the expiry at {expiry}, {-now} s ahead"
    assert found == (None if told else said)


def test_every_expiry_of_the_day_has_its_hour_on_the_page() -> None:
    first, second = TODAY + HOURS[20], TODAY + HOURS[24]
    page = page_status(observed_at=second - HOURS[31], expires_at=first)
    lazy = replace(POLICY, heartbeat_s=7 * 86_400)
    found = page_trigger(page, FRESH, 6_000, TODAY, lazy, expiries=[first, second])
    assert found == f"the page does not tell the hour of the expiry at {second}, {second - TODAY} s ahead"


def test_the_page_of_the_last_day_tells_the_hour() -> None:
    """As planned: the old page does not tell it, the new one does and is left alone."""
    expiry = TODAY + HOURS[25] - 3_600
    options = {0: replace(listed_option(0, 1, 2_000, True), expiry=expiry)}
    old = page_status(observed_at=expiry - HOURS[31], expires_at=expiry, rows=1, rows_wanted=1)
    options[0] = replace(options[0], listed_at=old.observed_at - 1)
    lazy = replace(POLICY, heartbeat_s=7 * 86_400)
    view = snapshot(options=options, table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: old}))
    (plan,) = plan_pages(view, target(), lazy, STEPS)
    assert plan.trigger is not None
    assert plan.trigger.startswith("the page does not tell the hour of the expiry at")
    assert plan.action is not None
    header = plan.action.header
    page = Page("", 1, header.observed_at, header.expires_at, 1, 1, 1, plan.action.rows)
    row = page.row(0)
    assert row is not None
    assert page.expiry(row) == expiry
    new = page_status(observed_at=header.observed_at, expires_at=header.expires_at, rows=1, rows_wanted=1)
    assert page_trigger(new, FRESH, 6_000, NOW, lazy, expiries=[expiry]) is None


def test_more_expiries_than_surfaces_are_refused() -> None:
    for count, refused in ((16, False), (17, True)):
        options = {k: listed_option(k, k + 1, 2_000, True) for k in range(count)}
        table = TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(rows_wanted=count)})
        (plan,) = plan_pages(snapshot(options=options, table=table), target(), POLICY, STEPS)
        assert (plan.refused is not None and "17 expiries" in plan.refused) == refused


def test_an_option_newer_than_the_page_makes_a_new_one() -> None:
    """It has a number below the row count, since its slot is used again, but no row of its own."""
    for listed_at, words in ((NOW - 61, None), (NOW - 60, "1 options were listed since the page was made (slots [1])")):
        options = {
            0: listed_option(0, 30, 2_000, True),
            1: replace(listed_option(1, 30, 1_800, False), listed_at=listed_at),
        }
        (plan,) = plan_pages(snapshot(options=options), target(), POLICY, STEPS)
        assert plan.trigger == words


def test_a_settlement_makes_a_page_with_its_payoff() -> None:
    options = {0: listed_option(0, -1, 1_500, True), 1: listed_option(1, 30, 1_800, False)}
    table = TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status()})
    first = plan_pages(snapshot(options=options, table=TableStatus(table.joint, {})), target(), POLICY, STEPS)[0].action
    assert first is not None
    open_page = snapshot(options=options, table=table, market=market(pages={ETH: living_page(first, first.rows)}))
    assert (
        plan_pages(open_page, target(), POLICY, STEPS)[0].trigger is None
    )  # not settled: intrinsic value at each node
    settled = {**options, 0: listed_option(0, -1, 1_500, True, settled_usd=1_950)}
    (plan,) = plan_pages(replace(open_page, options=settled), target(), POLICY, STEPS)
    assert plan.trigger == "1 options were settled since the page was made (slots [0])"
    assert plan.action is not None
    after = replace(open_page, options=settled, market=market(pages={ETH: living_page(plan.action, plan.action.rows)}))
    assert plan_pages(after, target(), POLICY, STEPS)[0].trigger is None
    row = Page("", 1, 0, 1, 1, 1, 1, plan.action.rows).row(0)
    assert row is not None and row.lanes[2][14] * plan.action.header.lane_unit_wad == pytest.approx(450 * WAD, rel=1e-4)


def test_a_missing_surface_is_refused_by_name() -> None:
    (plan,) = plan_pages(snapshot(), target(surfaces={}), POLICY, STEPS)
    assert plan.refused == "the calibration has no volatility surface for ETH; add it"


def test_a_push_of_the_scan_range_replaces_the_page() -> None:
    # 20 % to 30 % over steps made for 20 %: the ends of the scan lie at 18 steps, beyond the grid's 15.
    view = snapshot()
    assert not isinstance(view.parameter_words, Unknown)
    (plan,) = plan_pages(view, target(), POLICY, STEPS)
    assert plan.action is None
    word = view.parameter_words[UNDERLYING, ETH]
    pushed = {**view.parameter_words, (UNDERLYING, ETH): word - 2_000 + 3_000}
    (plan,) = plan_pages(replace(view, parameter_words=pushed), target(), POLICY, STEPS)
    assert plan.trigger == "the page has grid step 16666666e-9, the scan range asks for 25000000e-9"
    assert plan.action is not None and plan.action.header.step_e9 == 25_000_000
    (plan,) = plan_pages(replace(view, parameter_words=Unknown("lost", 1)), target(), POLICY, STEPS)
    assert plan.trigger is None


# volatility +30 % -> +36 %, short minimum 0 -> 1 %, half of it in force; the scan range goes from 20 % to 24 %
PUSHED = replace(ETH_LANES, scan_bps=2_400, vol_up_bps=3_600, short_min_bps=100)
HALF_WAY = replace(ETH_LANES, scan_bps=2_200, vol_up_bps=3_300, short_min_bps=50, widen_bps=910)


def ramping(ends_at: int, in_force: UnderlyingParameters = HALF_WAY, age_s: int = 60, **changes: object) -> Snapshot:
    """A push to ``PUSHED`` on its way, over a page that has the new steps already."""
    page = page_status(observed_at=NOW - age_s, step_e9=20_000_000)
    seen: dict[str, Any] = {
        "parameter_words": {**WORDS, (UNDERLYING, ETH): pack_underlying(PUSHED)},
        "market": market(underlying_words={ETH: pack_underlying(in_force)}),
        "ramp_ends": {ETH: ends_at},
        "table": TableStatus(JointStatus(None, 0, 0, 0), {ETH: page}),
    }
    return snapshot(**(seen | changes))


def test_a_page_says_the_shocks_in_force_over_the_steps_of_the_stored_scan_range() -> None:
    (plan,) = plan_pages(ramping(NOW + 10_800, age_s=3_600), target(), POLICY, STEPS)
    assert plan.action is not None
    header = plan.action.header
    assert (header.vol_up_bps, header.vol_down_bps, header.vol_power_bps) == (3_300, 2_000, 3_000)
    assert (header.short_min_bps, header.step_e9) == (50, 20_000_000)
    # its rows were priced with them: half a percent of 2,000 USD a unit, rounded up to a lane
    lane = int.from_bytes(plan.action.rows[:2], "big")
    assert 0 <= lane * header.lane_unit_wad - 10 * WAD < header.lane_unit_wad


@pytest.mark.parametrize(
    ("ends_in_s", "age_s", "words"),
    [
        (10_800, 3_599, None),
        (10_800, 3_600, "the shocks are on their way to their targets, and the page is 3600 s old"),
        (1, 3_599, None),
        (0, 1, "the shocks have reached their targets since the page was made"),
        (-7_200, 7_201, "the shocks have reached their targets since the page was made"),
        # made when they had
        (0, 0, None),
        (-7_200, 7_200, None),
    ],
)
def test_a_ramp_takes_a_page_an_hour_and_one_at_its_end(ends_in_s: int, age_s: int, words: str | None) -> None:
    in_force = HALF_WAY if ends_in_s > 0 else PUSHED
    (plan,) = plan_pages(ramping(NOW + ends_in_s, in_force, age_s), target(), POLICY, STEPS)
    assert plan.trigger == words
    every_ten_minutes = replace(POLICY, ramp_s=600)
    (plan,) = plan_pages(ramping(NOW + ends_in_s, in_force, age_s), target(), every_ten_minutes, STEPS)
    assert (plan.trigger is None) == (words is None and ends_in_s <= 0)


def test_lanes_that_no_page_says_make_none_while_they_ramp() -> None:
    charges = replace(PUSHED, scan_bps=2_200, delta_charge_bps=3)
    (plan,) = plan_pages(ramping(NOW + 10_800, charges, 7_200), target(), POLICY, STEPS)
    assert plan.trigger is None


@pytest.mark.parametrize("part", ["ramp_ends", "market", "parameter_words"])
def test_what_is_in_force_cannot_be_guessed(part: str) -> None:
    view = ramping(NOW + 10_800, age_s=6 * 3_600, **{part: Unknown("lost", 1)})
    (plan,) = plan_pages(view, target(), POLICY, STEPS)
    assert plan.trigger == "the page is 21600 s old"
    assert (plan.action is None) == (part != "ramp_ends")


def test_an_unread_table_plans_nothing() -> None:
    assert plan_pages(snapshot(table=Unknown("lost", 1)), target(), POLICY, STEPS) == ()


def test_joint_scenarios_are_packed_by_the_chains_numbers() -> None:
    wanted = target(joint=joint([[-127, 64]], [[127, -1]]), joint_underlyings=("BTC", "ETH"))
    infos = {0: UnderlyingInfo(0, "ETH", True, 0), 1: UnderlyingInfo(1, "BTC", True, 0)}
    (word,) = joint_words(wanted, infos)
    # ETH is underlying 0: price byte 64, vol byte -1 = 0xff; BTC is 1: price byte -127 = 0x81, vol byte 127
    assert word == 0x7F81_FF40


def test_joint_scenarios_are_published_once() -> None:
    wanted = target(joint=joint([[-127]], [[127]]), joint_underlyings=("ETH",))
    view = snapshot()
    found = plan_joint(view, wanted, POLICY)
    assert found is not None and found[0].joint_epoch == 1 and found[1] == "there are no joint scenarios"
    words = joint_words(wanted, view.underlyings)  # type: ignore[arg-type]
    living = JointSet("0x" + "33" * 20, 1, NOW + 86_400, words)
    after = snapshot(
        market=market(joint=living),
        table=TableStatus(JointStatus(living.address, 1, 1, NOW + 86_400), {ETH: page_status()}),
    )
    assert plan_joint(after, wanted, POLICY) is None
    other = target(joint=joint([[-100]], [[127]]), joint_underlyings=("ETH",))
    found = plan_joint(after, other, POLICY)
    assert found is not None and found[1] == "the calibration chose other joint scenarios"


def living_page(action: PublishPage, rows: bytes) -> Page:
    header = action.header
    return Page("0x" + "44" * 20, header.epoch, header.observed_at, header.expires_at,
                header.reference_price_wad, header.lane_unit_wad, header.step_e9, rows)  # fmt: skip


def test_read_back_accepts_what_was_sent_and_halts_on_a_changed_row() -> None:
    action = build()
    good = snapshot(market=market(pages={ETH: living_page(action, action.rows)}))
    verify(good, action)
    bad_rows = action.rows[:-1] + bytes([action.rows[-1] ^ 1])
    bad = snapshot(market=market(pages={ETH: living_page(action, bad_rows)}))
    with pytest.raises(Halt, match="epoch 4: rows on chain differ from what was sent"):
        verify(bad, action)
    with pytest.raises(Halt, match="cannot be read back"):
        verify(snapshot(), action)
