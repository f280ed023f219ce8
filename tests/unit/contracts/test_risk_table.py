# SPDX-License-Identifier: Apache-2.0
"""Pages: what is stored, what is read back, and every guard with its reason."""

from __future__ import annotations

import pytest

from tests.support.margin_words import WAD, lanes
from tests.support.revm import Reverted, deploy
from tests.support.table_world import (
    ANYBODY,
    DAY,
    EXPIRY,
    GOVERNANCE,
    GUARDIAN,
    HOUR,
    LIMITS,
    NOW,
    STRANGER,
    SURFACES,
    WORD,
    Header,
    Page,
    TableWorld,
    content_hash,
)

FIRST = Header()
ROWS = bytes(range(256)) + bytes(32)


@pytest.fixture
def world() -> TableWorld:
    return TableWorld()


def refused(reason: str) -> pytest.RaisesExc[Reverted]:
    return pytest.raises(Reverted, match=f"^table: {reason}$")


# ------------------------------------------------------------------ what is stored


def test_before_the_first_epoch_there_is_nothing(world: TableWorld) -> None:
    assert list(world.table.call("read", 0b11)) == [0, 0, 0, 0, 0]
    assert world.table.call("page_info", 0) == (0, 0, bytes(32), 0)
    assert world.table.call("rows_of", 0) == 0


def test_a_page_is_code_behind_a_stop_byte(world: TableWorld) -> None:
    world.check(FIRST)
    world.publish(FIRST, ROWS)
    joint, first, second = world.table.call("read", 1)
    assert joint == 0
    assert world.code(first)[: 1 + len(ROWS)] == b"\0" + ROWS
    assert first >> 160 == 1 | NOW << 32 | (NOW + HOUR) << 64
    assert second == 100 * WAD | 10**15 << 112 | 20 * 10**6 << 208
    assert world.table.call("rows_of", 0) == 3
    assert world.table.call("page_info", 0) == (first, second, content_hash(FIRST, ROWS), 6_000)


def test_the_content_hash_commits_to_everything(world: TableWorld) -> None:
    world.publish(FIRST, ROWS)
    assert content_hash(FIRST, ROWS) != content_hash(FIRST, ROWS[:-1] + b"\1")
    assert content_hash(FIRST, ROWS) != content_hash(FIRST.but(vol=6_001), ROWS)


def test_underlyings_have_their_own_epochs(world: TableWorld) -> None:
    world.publish(FIRST)
    world.publish(FIRST.but(vol=100), b"", underlying=1)
    world.wait(60)
    world.publish(FIRST.but(epoch=2, observed_at=NOW + 60))
    words = world.table.call("read", 0b11)
    assert [word >> 160 & 0xFFFFFFFF for word in words[1::2]] == [2, 1]
    assert list(world.table.call("read", 0b10)) == [0, *words[3:]]
    assert world.table.call("rows_of", 1) == 0


# ------------------------------------------------------------------ guards


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (FIRST.but(epoch=0), "epoch"),
        (FIRST.but(epoch=2), "epoch"),
        (FIRST.but(observed_at=NOW + 1), "observed in future"),
        (FIRST.but(observed_at=0), "observed not newer"),
        (FIRST.but(observed_at=NOW - 601), "observed too old"),
        (FIRST.but(expires_at=NOW), "expired"),
        (FIRST.but(expires_at=NOW + DAY + 1), "life too long"),
        (FIRST.but(reference=0), "reference price"),
        (FIRST.but(reference=2**90), "reference price"),
        (FIRST.but(reference=102 * WAD + 1), "reference price"),
        (FIRST.but(reference=98 * WAD - 1), "reference price"),
        (FIRST.but(unit=0), "lane unit"),
        (FIRST.but(unit=100 * WAD // 256 + 1), "lane unit"),
        (FIRST.but(step=0), "grid step"),
        (FIRST.but(step=20 * 10**6 + 1), "grid step"),
        (FIRST.but(vol_up=5_001), "shocks"),
        (FIRST.but(vol_up=2_500, vol_down=5_000), "shocks"),
        (FIRST.but(vol_down=2_499), "shocks"),
        (FIRST.but(vol_power=0), "shocks"),
        (FIRST.but(short_min=299), "shocks"),
        (FIRST.but(vol=0), "vol"),
        (FIRST.but(vol=100_001), "vol"),
    ],
)
def test_headers_that_are_refused(world: TableWorld, header: Header, reason: str) -> None:
    with refused(reason):
        world.publish(header)
    with refused(reason):
        world.check(header)


@pytest.mark.parametrize(
    "header",
    [
        FIRST.but(observed_at=NOW - 600),
        FIRST.but(expires_at=NOW + 1),
        FIRST.but(expires_at=NOW + DAY),
        FIRST.but(reference=102 * WAD),
        FIRST.but(reference=98 * WAD),
        FIRST.but(unit=1),
        FIRST.but(unit=100 * WAD // 256),
        FIRST.but(vol=100_000),
    ],
)
def test_headers_at_the_limit_are_taken(world: TableWorld, header: Header) -> None:
    world.check(header)
    world.publish(header)


def test_a_row_for_every_slot_and_not_one_more(world: TableWorld) -> None:
    with refused("row length"):
        world.publish(FIRST, bytes(289))
    for rows in (2, 4):
        with refused("row count"):
            world.publish(FIRST, bytes(96 * rows))
        with refused("row count"):
            world.check(FIRST, rows=rows)
    world.check(FIRST, rows=3)


@pytest.mark.parametrize(
    ("surfaces", "reason"),
    [
        ([EXPIRY, EXPIRY], "surface order"),
        ([EXPIRY, EXPIRY - 1], "surface order"),
        ([0], "surface order"),
        ([NOW + HOUR - 1], "outlives an expiry"),
        ([NOW - DAY, NOW, NOW + HOUR - 1, EXPIRY], "outlives an expiry"),
        ([NOW + 1], "outlives an expiry"),
        ([], None),
        ([NOW - DAY, NOW, NOW + HOUR, EXPIRY], None),
    ],
)
def test_a_page_ends_at_the_first_expiry_ahead(world: TableWorld, surfaces: list[int], reason: str | None) -> None:
    page = Page(FIRST, bytes(288), tuple((expiry, *SURFACES[0][1:]) for expiry in surfaces))
    if reason is None:
        world.check(FIRST, surfaces=page.surfaces)
        world.put(page)
        return
    with refused(reason):
        world.check(FIRST, surfaces=page.surfaces)
    with refused(reason):
        world.put(page)


def test_only_listed_underlyings(world: TableWorld) -> None:
    for u in (2, 16, 2**255):
        with refused("unknown underlying"):
            world.publish(FIRST, underlying=u)


@pytest.mark.parametrize("age", [DAY + 1, 2 * DAY + 1])
def test_a_late_or_dead_price_is_no_reference(world: TableWorld, age: int) -> None:
    world.wait(age)
    late = FIRST.but(observed_at=world.now, expires_at=world.now + HOUR)
    with refused("price not fresh"):
        world.check(late)
    world.fresh()
    world.check(late)


def test_the_grid_step_is_a_twelfth_of_the_scan_range(world: TableWorld) -> None:
    # 17 % / 12 = 1.41666...%, cut to 1e-9
    world.list_underlying(2, WORD - 2_400 + 1_700)
    world.check(FIRST.but(step=14_166_666), rows=0, underlying=2)
    with refused("grid step"):
        world.check(FIRST.but(step=14_166_667), rows=0, underlying=2)


# ------------------------------------------------------------------ against the epoch before


def test_the_parameters_are_those_stored_now(world: TableWorld) -> None:
    # a page made before a push of the parameters is refused after it
    word = WORD + lanes(0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    world.list_underlying(2, word)
    with refused("shocks"):
        world.check(FIRST, rows=0, underlying=2)
    world.check(FIRST.but(short_min=301), rows=0, underlying=2)


def test_epochs_follow_each_other(world: TableWorld) -> None:
    world.publish(FIRST)
    with refused("epoch"):
        world.publish(FIRST)
    second = FIRST.but(epoch=2, observed_at=NOW + 59)
    world.wait(59)
    with refused("too soon"):
        world.publish(second)
    world.wait(1)
    with refused("observed not newer"):
        world.publish(second.but(observed_at=NOW))
    world.publish(second)
    assert world.table.call("read", 1)[1] >> 160 & 0xFFFFFFFF == 2


@pytest.mark.parametrize(("vol", "taken"), [(9_000, True), (9_001, False), (3_900, True), (3_899, False)])
def test_volatility_moves_by_steps(world: TableWorld, vol: int, taken: bool) -> None:
    # +50 % and -35 % of 6,000
    world.publish(FIRST)
    world.wait(60)
    header = FIRST.but(epoch=2, observed_at=world.now, vol=vol)
    if taken:
        world.publish(header)
        return
    with refused("vol step"):
        world.publish(header)
    with refused("vol step"):
        world.check(header)


def test_a_refused_epoch_leaves_the_living_one(world: TableWorld) -> None:
    world.publish(FIRST, ROWS)
    before = world.table.call("read", 1)
    world.wait(60)
    with refused("reference price"):
        world.publish(FIRST.but(epoch=2, observed_at=world.now, reference=110 * WAD))
    assert world.table.call("read", 1) == before


# ------------------------------------------------------------------ rows of instruments


def test_only_options_listed_before_the_observation_have_a_row(world: TableWorld) -> None:
    assert not world.table.call("has_row", 0)
    world.publish(FIRST)
    # observed in the block of the listing: the publisher may not have seen it
    assert not world.table.call("has_row", 0)
    world.wait(60)
    world.publish(FIRST.but(epoch=2, observed_at=world.now))
    assert [world.table.call("has_row", slot) for slot in (0, 2, 3, 253, 255, 256, 16 << 8, 2**255)] == [
        True, True, *[False] * 6,
    ]  # fmt: skip
    world.fresh()
    assert world.list_option(120) == 3
    assert not world.table.call("has_row", 3)
    world.wait(60)
    with refused("row count"):
        world.publish(FIRST.but(epoch=3, observed_at=world.now))
    world.publish(FIRST.but(epoch=3, observed_at=world.now), bytes(96 * 4))
    assert world.table.call("has_row", 3)


def test_a_slot_used_again_has_no_row_until_the_next_page(world: TableWorld) -> None:
    lots = deploy(world.evm, "contracts/testing/OpenLotsFixture.vy")
    world.registry.call("set_accounts", lots.address, caller=GOVERNANCE)
    world.wait(1)
    world.publish(FIRST.but(observed_at=world.now))
    assert world.table.call("has_row", 1)
    world.registry.call("retire", 1, caller=GOVERNANCE)
    assert not world.table.call("has_row", 1)
    world.wait(59)
    world.fresh()
    assert world.list_option(95) == 1
    assert not world.table.call("has_row", 1)
    world.wait(1)
    world.publish(FIRST.but(epoch=2, observed_at=world.now))
    assert world.table.call("has_row", 1)


# ------------------------------------------------------------------ roles


def test_governance_changes_hands_in_two_steps_and_cannot_be_renounced(world: TableWorld) -> None:
    world.table.call("transfer_ownership", STRANGER, caller=GOVERNANCE)
    assert world.table.call("owner") == GOVERNANCE
    world.table.call("accept_ownership", caller=STRANGER)
    assert world.table.call("owner") == STRANGER
    assert "renounce_ownership" not in world.table.functions
    with pytest.raises(Reverted, match="ownable: caller is not the owner"):
        world.table.call("set_guardian", ANYBODY, caller=GOVERNANCE)


def test_the_table_needs_a_governance(world: TableWorld) -> None:
    nobody = "0x" + "0" * 40
    with pytest.raises(RuntimeError, match=b"table: no governance".hex()):
        deploy(world.evm, "contracts/RiskTable.vy", *[nobody] * 6)


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        (0, 0, DAY),
        (1, 60, DAY),
        (2, HOUR, 7 * DAY),
        (3, HOUR, 90 * DAY),
        (4, 1, 1_000),
        (5, 1, 20_000),
        (6, 1, 7_500),
    ],
)
def test_limits_have_limits(world: TableWorld, field: int, low: int, high: int) -> None:
    assert world.table.call("limits") == LIMITS

    def limits(value: int) -> tuple[int, ...]:
        return (*LIMITS[:field], value, *LIMITS[field + 1 :])

    for value in (low, high):
        world.table.call("set_limits", limits(value), caller=GOVERNANCE)
        assert world.table.call("limits") == limits(value)
    for value in (low - 1, high + 1):
        if value >= 0:
            with refused("limits"):
                world.table.call("set_limits", limits(value), caller=GOVERNANCE)


def test_only_governance_sets_limits(world: TableWorld) -> None:
    for who in (ANYBODY, GUARDIAN):
        with pytest.raises(Reverted, match="ownable: caller is not the owner"):
            world.table.call("set_limits", LIMITS, caller=who)
