# SPDX-License-Identifier: Apache-2.0
"""A page with more rows than options let a later listing trade at no margin.

Found by review, before any deployment. A page needed at least as many rows as slots were listed. Rows of zeros for the
slots after them passed every guard, since they were nobody's rows: and the option that was listed there next had a row
at once, was worth nothing long or short, and could be sold without margin for whatever a buyer's account had. A page
now has exactly the rows of the slots in use, and an option has no row until a page that was observed after its listing.
"""

from __future__ import annotations

import pytest

from tests.support.revm import Reverted, deploy
from tests.support.table_world import GOVERNANCE, Header, TableWorld


def test_zero_rows_for_slots_to_come_are_refused() -> None:
    world = TableWorld()
    for rows in (4, 253):
        with pytest.raises(Reverted, match=r"^table: row count$"):
            world.publish(Header(), bytes(96 * rows))
    world.publish(Header())


def test_a_new_listing_has_no_row_until_the_next_page() -> None:
    world = TableWorld()
    world.wait(60)
    world.publish(Header(observed_at=world.now))
    slot = world.list_option(120)
    assert (slot, world.table.call("rows_of", 0)) == (3, 3)
    assert not world.table.call("has_row", slot)
    world.wait(60)
    world.publish(Header(epoch=2, observed_at=world.now), bytes(96 * 4))
    assert world.table.call("has_row", slot)


def test_neither_has_one_in_a_slot_used_again() -> None:
    # the same hole by another way: the row of the option that was there before is in the page already
    world = TableWorld()
    world.wait(60)
    world.publish(Header(observed_at=world.now))
    lots = deploy(world.evm, "contracts/testing/OpenLotsFixture.vy")
    world.registry.call("set_accounts", lots.address, caller=GOVERNANCE)
    world.registry.call("retire", 0, caller=GOVERNANCE)
    assert world.list_option(80) == 0
    assert world.table.call("rows_of", 0) == 3
    assert not world.table.call("has_row", 0)
