# SPDX-License-Identifier: Apache-2.0
"""No push may clip one of two fields that mean something together.

On 10 March 2026 a lending market's risk agent pushed a price-cap ratio, which a step limit on chain clipped,
together with the time the ratio was observed, which nothing limited. Each passed alone; together they cut the cap by
2.85 % and about $26M of positions were liquidated. Here a field outside its step refuses everything that came with it.
"""

from __future__ import annotations

from typing import Any

import boa
import pytest

from tests.unit.contracts.test_parameters import (
    COLLATERAL_WORD,
    GLOBAL_WORD,
    HOUR,
    UNDERLYING_WORD,
    deployment,
    lane,
    now,
    params,
    propose,
    push,
    refuse,
    refuse_proposal,
    with_lane,
)

__all__ = ["deployment", "params"]


def test_a_value_too_far_is_refused_with_its_partner(params: Any) -> None:
    # both haircuts loosen: MM by its largest step (100), IM by one more than its own (250)
    both = with_lane(with_lane(COLLATERAL_WORD, 0, 949), 1, 700)
    refuse_proposal(params, "params: step down too large", [(2, 2, both)])
    # both tighten: IM by its largest step (500), MM by one more than its own (300)
    both = with_lane(with_lane(COLLATERAL_WORD, 0, 1_700), 1, 1_101)
    refuse(params, "params: step up too large", [(2, 2, both)])
    assert (lane(params.word(2, 2), 0), lane(params.word(2, 2), 1)) == (1_200, 800)


def test_one_bad_word_refuses_the_batch(params: Any) -> None:
    good = (0, 0, with_lane(GLOBAL_WORD, 0, 12_100))
    bad = (1, 0, with_lane(UNDERLYING_WORD, 0, 1_801))
    for batch in ([good, bad], [bad, good]):
        refuse(params, "params: step up too large", batch)
    push(params, [good])


def test_a_fresh_value_with_an_old_time(params: Any) -> None:
    week = 7 * 86_400
    boa.env.time_travel(seconds=week)
    changes = [(0, 0, with_lane(GLOBAL_WORD, 0, 12_100))]
    refuse(params, "params: observed too old", changes, observed_at=now() - week)
    refuse_proposal(params, "params: observed too old", changes, observed_at=now() - week)


def test_each_field_legal_alone_but_not_together(params: Any) -> None:
    # +300 on the MM haircut is a legal step, and so is -250 on the IM haircut; together IM would be below MM
    mm_up = with_lane(COLLATERAL_WORD, 1, 1_100)
    im_down = with_lane(COLLATERAL_WORD, 0, 950)
    both = with_lane(mm_up, 0, 950)
    for legal in (mm_up, im_down):
        params.check_propose(1, now(), now() + 60, [(2, 2, legal)])
    refuse_proposal(params, "params: haircuts", [(2, 2, both)])


def test_the_pair_cannot_be_set_in_two_halves(params: Any) -> None:
    push(params, [(2, 2, with_lane(COLLATERAL_WORD, 1, 1_100))])
    boa.env.time_travel(seconds=HOUR)
    half = (2, 2, with_lane(params.word(2, 2), 0, 1_099))
    refuse_proposal(params, "params: haircuts", [half], nonce=2)


def test_two_halves_announced_together(params: Any) -> None:
    """Each proposal is consistent with today's word; the second would not be with the first one's."""
    mm_up = [(2, 2, with_lane(COLLATERAL_WORD, 1, 1_100))]
    im_down = [(2, 2, with_lane(COLLATERAL_WORD, 0, 950))]
    first, second = propose(params, mm_up), propose(params, im_down, nonce=2)
    boa.env.time_travel(seconds=14 * HOUR)
    params.execute(first, mm_up)
    with boa.reverts("params: stale proposal"):
        params.execute(second, im_down)
    assert (lane(params.word(2, 2), 0), lane(params.word(2, 2), 1)) == (1_200, 1_100)


def test_scan_range_and_volatility_of_one_run(params: Any) -> None:
    # + 1 % of volatility is a legal step from 4 % to 5 %, and so it is from 5 % to 6 %, but not beside a scan of 15 %
    push(params, [(1, 0, with_lane(UNDERLYING_WORD, 10, 500))])
    boa.env.time_travel(seconds=HOUR)
    alone = with_lane(UNDERLYING_WORD, 10, 501)
    refuse(params, "params: scan below volatility", [(1, 0, alone)], nonce=2)
    push(params, [(1, 0, with_lane(alone, 0, 1_503))], nonce=2)
    boa.env.time_travel(seconds=HOUR)
    refuse_proposal(params, "params: scan below volatility", [(1, 0, with_lane(alone, 0, 1_502))], nonce=3)


@pytest.mark.parametrize("nonce", [1, 3])
def test_a_push_is_never_replayed_or_skipped(params: Any, nonce: int) -> None:
    push(params, [])
    boa.env.time_travel(seconds=120)
    refuse(params, "params: nonce", [], nonce=nonce)
    refuse_proposal(params, "params: nonce", [], nonce=nonce)
