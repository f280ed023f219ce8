# SPDX-License-Identifier: Apache-2.0
"""A lister made true pages impossible, and the publishers of what came next paid for it.

Found by attack on the deployed system, before any deployment. A page names at most sixteen surfaces, and a row whose
expiry has none is wrong whatever is in it. Nothing bounded the expiries that were listed. Whoever held a lister's key
listed options on seventeen: the keeper refused to build a page (runbook, page_refused), the table aged and was
forgotten two days later, before governance's delay was over; and a page that a publisher did put out, with every row of
every surface right, fell to a challenge of the seventeenth, with the penalty from each signer and half of it for the
challenger. The registry now counts the expiries to come of an underlying's options and refuses the seventeenth; one
that passes, or whose last option is retired, makes room.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.margin_words import WAD
from tests.support.revm import Reverted
from tests.support.table_world import EXPIRY, GOVERNANCE, HOUR, SURFACES, A, TableWorld

LISTER = "0x" + "9" * 40
MOST = 16


def world_of_all_expiries() -> tuple[TableWorld, list[int]]:
    """As many expiries as a lister can list; a call at each, in slot order."""
    world = TableWorld()
    world.open_challenges()
    world.registry.call("set_role", 1, LISTER, True, caller=GOVERNANCE)
    expiries = [EXPIRY]
    for day in range(1, MOST + 1):
        expiry = EXPIRY // HOUR * HOUR + 24 * HOUR * day
        if len(expiries) == MOST:
            with pytest.raises(Reverted, match="registry: too many expiries"):
                world.registry.call("list_option", 0, expiry, 100 * WAD, True, caller=LISTER)
            break
        world.registry.call("list_option", 0, expiry, 100 * WAD, True, caller=LISTER)
        expiries.append(expiry)
    world.wait(60)
    world.fresh()
    return world, expiries


def test_a_page_can_name_every_expiry_that_is_listed() -> None:
    _, expiries = world_of_all_expiries()
    assert len(expiries) == MOST


def test_an_honest_publisher_keeps_its_bond() -> None:
    world, expiries = world_of_all_expiries()
    surfaces = [(expiry, *SURFACES[0][1:]) for expiry in expiries]
    page = world.true_page(surfaces=surfaces)
    page = world.put(replace(page, surfaces=tuple(surfaces[:MOST])))
    rows = len(page.rows) // 96
    assert [slot for slot in range(rows) if world.verdict(page, slot)[0]] == []
    assert world.table.call("bond", A)[0] == 1_000
