# SPDX-License-Identifier: Apache-2.0
"""The rule on chain as a measure of risk: merging two accounts never costs more than its stated charges.

Artzner et al. (1999): monotone, translation invariant, positively homogeneous, sub-additive. Translation and
homogeneity are in ``test_rule_shape.py``. Where the rule departs by design, the departure is a formula here and its
bound is tested:

* liquidity charges are convex in size: two books in one pay ``2 c A B / depth`` more than apart;
* offsets that are new to the merged book pay the basis charge on half of what they offset;
* a page that one book alone reads widens the initial margin of the other once they are one;
* longs in their last day may hide a valley between two scan points once merged: a sixteenth of the scan range a lot;
* beyond the grid the tails of shorts lessen the net delta, and those that net out no longer do;
* the ramp of the last day is that of the merged account's next expiry, which is another where the books' own nets out;
* initial margin asks the scan of what stays after the expiries beside a joint loss that merging has made smaller;
* the dominance floor (docs/adr/0002) is not sub-additive where no joint scenario holds an underlying's own worst move.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.onchain import Assessment, ChainMarket, UnderlyingResult, assess
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    JointSet,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
    lane,
)
from tests.differential.engine_cases import NOW, WAD, make_case, random_account
from tests.property.merging import Books, brought_forward, by_underlying, ends_in_turn, extra
from tests.property.test_rule_shape import governed

BPS, DAY = 10_000, 86_400
NODES = (-15, -12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12, 15)
seeds = st.integers(0, 2**63)


def small(account: AccountState, like: Mapping[int, CollateralPosition]) -> AccountState:
    """Amounts that add up in their words, and assets that are the same asset in both accounts.

    Lots are whole multiples of 86,400: then the lots kept in a last day, ``lots * left / 86400``, add up too.
    """
    held = []
    for item in account.collaterals:
        same = like.get(item.asset, item)
        held.append(same._replace(amount=item.amount % 10**20))
    return replace(
        account,
        cash=account.cash % 2**100,
        collaterals=tuple(held),
        delta_ones={k: DeltaOnePosition(whole_days(h.lots), h.base % 2**180) for k, h in account.delta_ones.items()},
        options={u: tuple(o._replace(lots=whole_days(o.lots)) for o in items) for u, items in account.options.items()},
    )


def whole_days(lots: int) -> int:
    size = max(DAY, abs(lots) % 2**54 // DAY * DAY)
    return size if lots > 0 else -size


def merged(one: AccountState, other: AccountState) -> AccountState:
    """Both accounts in one: positions in the same instrument net."""
    delta_ones = dict(one.delta_ones)
    for key, held in other.delta_ones.items():
        old = delta_ones.get(key, DeltaOnePosition(0, 0))
        delta_ones[key] = DeltaOnePosition(old.lots + held.lots, old.base + held.base)
    options = {}
    for u in sorted({*one.options, *other.options}):
        lots: dict[int, int] = {}
        for item in (*one.options.get(u, ()), *other.options.get(u, ())):
            lots[item.slot] = lots.get(item.slot, 0) + item.lots
        kept = tuple(OptionPosition(slot, n) for slot, n in lots.items() if n)
        if kept:
            options[u] = kept
    tokens = {item.asset: item for item in one.collaterals}
    for item in other.collaterals:
        old_token = tokens.get(item.asset)
        tokens[item.asset] = item._replace(amount=item.amount + (old_token.amount if old_token else 0))
    return AccountState(
        one.cash + other.cash, 0, tuple(tokens[k] for k in sorted(tokens)),
        {k: held for k, held in delta_ones.items() if held.lots or held.base}, options,
    )  # fmt: skip


def books(seed: int) -> Books:
    market, first = make_case(seed)
    market = governed(market, seed)
    second = random_account(
        random.Random(f"other {seed}"), sorted(market.prices), sorted(market.collateral_prices), market
    )
    first = small(first, {})
    second = small(second, {item.asset: item for item in first.collaterals})
    return Books(market, (first, second), merged(first, second))


def dominance(found: Assessment) -> int:
    """The last term of section 5."""
    return 2 * max(found.scans) - sum(found.scans) if len(found.scans) > 1 else 0


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_charges_of_a_merged_book_exceed_the_sum_by_the_stated_terms_only(seed: int) -> None:
    """The parts as they are judged at the merged account's next expiry, and the terms of `merging.extra`."""
    drawn = books(seed)
    both = by_underlying(drawn.whole, drawn.market)
    next_s = turns(both)
    own = [by_underlying(account, drawn.market) for account in drawn.parts]
    within = [by_underlying(account, drawn.market, next_s) for account in drawn.parts]
    for u, item in both.items():
        apart = [found[u] for found in within if u in found]
        allowed = extra(drawn, u, item)
        assert item.charge <= sum(f.charge for f in apart) + allowed.charge + allowed.rounding
        assert item.scan <= sum(f.scan for f in apart) + 100
        for account, mine, found in zip(drawn.parts, own, within, strict=True):
            if u in next_s and ends_in_turn(account, drawn.market, u, next_s[u]):
                assert brought_forward(mine.get(u), found.get(u)) == (0, 0)


def turns(both: Mapping[int, UnderlyingResult]) -> dict[int, int]:
    """Seconds to the next expiry of the merged account, by underlying."""
    return {u: item.last_day.next_s for u, item in both.items() if item.last_day is not None}


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_market_risk_is_sub_additive_but_for_the_dominance_floor(seed: int) -> None:
    """With joint scenarios, without any, and with the offset floor; ``governed`` draws floors up to 50 %."""
    market, parts, whole = books(seed)
    one, other, both = (assess(build_words(account), market) for account in (*parts, whole))
    forward = sum(loss for loss, _ in ramps(Books(market, parts, whole)).values())
    room = 1_000 * (1 + len(both.scans)) + forward
    assert both.market_risk <= sum(one.scans) + sum(other.scans) + room
    if both.market_risk > one.market_risk + other.market_risk + room:
        assert both.market_risk == dominance(both)


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_health_of_a_merged_book_is_no_worse_than_apart(seed: int) -> None:
    """Both healths, collateral with its size haircut and every charge included."""
    market, parts, whole = books(seed)
    one, other, both = (assess(build_words(account), market) for account in (*parts, whole))
    results = [by_underlying(account, market) for account in (*parts, whole)]
    turned = ramps(Books(market, parts, whole))
    charge = charge_ahead = rounding = widened = uncovered = forward = 0
    for u, item in results[2].items():
        found = [r[u] for r in results[:2] if u in r]
        allowed = extra(Books(market, parts, whole), u, item)
        loss, more = turned.get(u, (0, 0))
        charge += allowed.charge + more
        charge_ahead += allowed.ahead + more
        widened -= -(allowed.charge + more + loss) * item.widen_bps // BPS
        widened += staler(item, found)
        forward += loss
        uncovered += min(item.ahead_scan, max(0, sum(p.scan for p in found) - item.scan))
        rounding += 20 * allowed.rounding
    rounding += 10_000 * (1 + len(both.scans) + len(whole.collaterals))
    collateral = size_terms(market, parts)
    gap = max(0, both.market_risk - one.market_risk - other.market_risk) if both.market_risk == dominance(both) else 0
    gap = max(gap, forward)
    word = market.global_word
    im_more = -(-lane(word, 0) * (gap + uncovered) // BPS) + -(-lane(word, 2) * charge_ahead // BPS) + widened
    mm_more = -(-lane(word, 1) * gap // BPS) + charge
    assert both.mm_health >= one.mm_health + other.mm_health - mm_more - collateral - rounding
    assert both.im_health >= one.im_health + other.im_health - im_more - collateral - rounding


def ramps(drawn: Books) -> dict[int, tuple[int, int]]:
    """What the ramp of the merged account's next expiry asks of the parts beside their own: ``(loss, charge)``."""
    next_s, found = turns(by_underlying(drawn.whole, drawn.market)), dict[int, tuple[int, int]]()
    for account in drawn.parts:
        own, within = (by_underlying(account, drawn.market, ends) for ends in (None, next_s))
        for u in next_s:
            loss, charge = brought_forward(own.get(u), within.get(u))
            old = found.get(u, (0, 0))
            found[u] = old[0] + loss, old[1] + charge
    return found


def staler(both: UnderlyingResult, parts: Sequence[UnderlyingResult]) -> int:
    """A page that only one of the books read widens the scan and the charges of the other too."""
    return sum(-((p.widen_bps - both.widen_bps) * (p.scan + p.charge) // BPS) for p in parts)


def size_terms(market: ChainMarket, parts: tuple[AccountState, AccountState]) -> int:
    """What the parabola of the size haircut takes more from a holding than from its two halves: ``2 s a b / unit``."""
    total, held = 0, {item.asset: item for item in parts[0].collaterals}
    for item in parts[1].collaterals:
        same = held.get(item.asset)
        if same is not None:
            word, price = market.collateral_words[item.asset], market.collateral_prices[item.asset].price
            a, b = (each.amount * price // 10**each.decimals for each in (same, item))
            unit = max(1, lane(word, 3)) * 10**22
            peak = unit * BPS // (2 * lane(word, 2)) if lane(word, 2) else 2**200
            total += -(-2 * lane(word, 2) * min(a, peak) * min(b, peak) // (unit * BPS))
    return total


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_delta_one_books_are_sub_additive_when_joint_scenarios_hold_each_own_move(seed: int) -> None:
    """The dominance floor adds nothing then: no exception is left."""
    market, parts, whole = books(seed)
    market = replace(market, joint=corners(market, seed))
    one, other, both = (assess(build_words(replace(account, options={})), market) for account in (*parts, whole))
    assert both.market_risk <= one.market_risk + other.market_risk + 1_000 * (1 + len(both.scans))


def corners(market: ChainMarket, seed: int) -> JointSet:
    """Every underlying's full move alone, both ways, and some random scenarios."""
    rng = random.Random(seed)
    words = [byte << (16 * u) for u in market.prices for byte in (127, 256 - 127)]
    return JointSet("", 3, market.timestamp + 9, (*words, *(rng.getrandbits(256) for _ in range(12))))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, more=st.integers(1, 10**24))
def test_more_collateral_never_hurts(seed: int, more: int) -> None:
    """Of an asset that follows no underlying; its use of the cap, which is other people's deposits, unchanged."""
    market, account = make_case(seed)
    market = governed(market, seed)
    for index, item in enumerate(account.collaterals):
        free = item._replace(linked=0, amount=item.amount % 2**100)
        held = list(account.collaterals)
        found = []
        for amount in (free.amount, free.amount + more):
            held[index] = free._replace(amount=amount)
            found.append(assess(build_words(replace(account, collaterals=tuple(held))), market))
        less, rich = found
        assert (rich.im, rich.mm, rich.market_risk) == (less.im, less.mm, less.market_risk)
        # a wad where the parabola has peaked
        assert rich.equity_im >= less.equity_im - 2 and rich.equity_mm >= less.equity_mm - 2


@settings(max_examples=60, deadline=None)
@given(seed=seeds, more=st.integers(1, 10**20))
def test_linked_collateral_costs_at_most_its_own_requirement(seed: int, more: int) -> None:
    """It brings its own price risk: as a second account that holds it alone, and merged."""
    market, account = make_case(seed)
    market, account = governed(market, seed), small(account, {})
    u = random.Random(seed).choice(sorted(market.prices))
    if not market.collateral_prices:
        return
    asset = min(market.collateral_prices)
    rest = replace(account, collaterals=tuple(c for c in account.collaterals if c.asset != asset))
    alone = AccountState(0, 0, (CollateralPosition(asset, more, 0, 18, 1 + u),))
    both = assess(build_words(merged(rest, alone)), market)
    without, with_it = (assess(build_words(item), market) for item in (rest, alone))
    assert both.equity_mm - without.equity_mm == with_it.equity_mm
    if both.market_risk != dominance(both):
        room = 1_000 * (1 + len(both.scans))
        assert both.market_risk <= without.market_risk + with_it.market_risk + room


def test_dominance_floor_is_the_exception_and_its_size() -> None:
    """A hedged pair, and a cheap call on its short side: 4.0 and nothing of market risk apart, 16.8 merged.

    Long 1 X, short 0.8 Y, both at 100, scan 20 %: scans 20 and 16, and both joint scenarios move X and Y together. The
    call takes the short's scan away, not the loss of any scenario, so the dominance floor rises, the joint loss does
    not.
    """
    market = pair_market(((-127, -127), (127, 127)))
    hedged = AccountState(0, 0, (), {255: held(1.0), 1 << 8 | 255: held(-0.8)})
    call = AccountState(0, 0, (), {}, {1: (OptionPosition(0, 800_000),)})
    one, other, both = (assess(build_words(item), market) for item in (hedged, call, merged(hedged, call)))
    assert [found.market_risk / WAD for found in (one, other, both)] == pytest.approx([4.0, 0.005, 16.795], abs=1e-6)
    assert both.market_risk == dominance(both)
    # a joint scenario with the worst move of X alone, and nothing is left of it
    market = pair_market(((-127, -127), (127, 127), (-127, 0)))
    one, other, both = (assess(build_words(item), market) for item in (hedged, call, merged(hedged, call)))
    assert both.market_risk <= one.market_risk + other.market_risk


def test_a_call_and_a_put_pay_for_the_valley_once_they_are_merged() -> None:
    """An hour before their expiry, struck at 100, time value 0.5 each: apart next to nothing, and the straddle 0.93.

    That is 23/24 of its value, less the slack of packing of both legs, in the value and in the scan; and
    less than a sixteenth of the scan range for both, 2 * 100 * 0.2 / 16.
    """
    legs = []
    for sign in (1, -1):
        values = [(x + (x * x + 1) ** 0.5) / 2 for x in (sign * n * 5 / 3 for n in NODES)]
        word = sum(round(100 * value) << 16 * k for k, value in enumerate(values))
        legs.append(b"".join((word | hour << 251).to_bytes(32, "big") for hour in (0, 0, 2)))
    market = pair_market(((0, 0),))
    market = replace(market, pages={1: replace(market.pages[1], rows=b"".join(legs))})
    call, put = (AccountState(0, 0, (), {}, {1: (OptionPosition(slot, DAY * 10),)}) for slot in (0, 1))
    drawn = Books(market, (call, put), merged(call, put))
    one, other, both = (by_underlying(account, market)[1] for account in (call, put, drawn.whole))
    units, allowed = DAY * 10 / 10**6, extra(drawn, 1, both)
    assert max(one.charge, other.charge) < 0.03 * units * WAD
    assert both.charge / WAD == pytest.approx(23 / 24 * units * (1 - 4 * 0.01 * 5 / 8), rel=1e-6)
    assert both.charge <= one.charge + other.charge + allowed.charge + allowed.rounding
    assert allowed.charge / WAD == pytest.approx(2.5 * 23 / 24 * units, rel=1e-6)


def held(units: float) -> DeltaOnePosition:
    """A perpetual bought at 100."""
    lots = round(units * 10**6)
    return DeltaOnePosition(lots, -lots * 100 * WAD)


def pair_market(moves: Sequence[tuple[int, int]]) -> ChainMarket:
    """Two underlyings at 100, scan 20 %, no charges; on the second a call struck at 104, whose time value is 0.5."""
    row = b"".join(
        sum(round(100 * (0.5 + max(0.0, n * 5 / 3 - 4.0))) << 16 * k for k, n in enumerate(NODES)).to_bytes(32, "big")
        for _ in range(3)
    )
    page = Page("", 1, NOW, NOW + 3_600, 100 * WAD, 10**16, 2_000 * 10**5 // 12, row)
    price, word = PriceWord(100 * WAD, 0, NOW, 0), 2_000 | 1 << 128
    words = tuple(sum((byte & 0xFF) << 16 * u for u, byte in enumerate(move)) for move in moves)
    return ChainMarket(
        NOW,
        {0: price, 1: price},
        {},
        {u << 8 | 255: MarkWord(0, 0) for u in (0, 1)},
        10_000 | 8_000 << 16 | 10_000 << 32,
        {0: word, 1: word},
        {},
        {1: page},
        JointSet("", 1, NOW + 9, words),
    )
