# SPDX-License-Identifier: Apache-2.0
"""What a change of the margin rule's inputs would do to every account, before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.assess import Assessments
from keeper.domain import Snapshot, Unknown
from keeper.judged import Judged
from keeper.publish.words import COLLATERAL, GLOBAL, UNDERLYING
from risk.onchain import ChainMarket, assess_words
from risk.onchain_words import JointSet, Page
from risk.types import LANE_MAX

WAD = 10**18
MOST_EXACT = 256
FLOOR_SHIFT, IM_FLOOR_SHIFT = 3 * 16, 5 * 16
Changes = Sequence[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Impact:
    """Accounts that a change would put below maintenance margin, what they are worth, and those nobody can judge.

    ``equity_wad`` sums the positive mark equities of the newly liquidatable accounts, USD wad.
    """

    newly_liquidatable: tuple[int, ...]
    equity_wad: int
    cured: tuple[int, ...]
    unknown: tuple[int, ...]

    def refusal(self, max_accounts: int, max_equity_wad: int) -> str | None:
        """Why the change must not be sent, None when it may. An account nobody can judge counts as harmed."""
        harmed = len(self.newly_liquidatable) + len(self.unknown)
        if harmed > max_accounts:
            first = ", ".join(map(str, (*self.newly_liquidatable, *self.unknown)[:5]))
            return (
                f"{len(self.newly_liquidatable)} accounts would become liquidatable and {len(self.unknown)} cannot be "
                f"judged (limit {max_accounts}; first: {first}); look at 'ballast params waiting', then approve"
            )
        if self.equity_wad > max_equity_wad:
            return (
                f"accounts worth {self.equity_wad / WAD:,.2f} USD would become liquidatable "
                f"(limit {max_equity_wad / WAD:,.2f}); look at 'ballast params waiting', then approve"
            )
        return None


def with_changes(market: ChainMarket, changes: Changes) -> ChainMarket:
    """Market under new parameter words, all of them in force: what a ramp ends at; ``changes`` are (kind, id, word)."""
    under, over = dict(market.underlying_words), dict(market.collateral_words)
    global_word = market.global_word
    for kind, number, word in changes:
        if kind == GLOBAL:
            # the lane that the contract computes: no ramp, so initial margin has the floor of maintenance margin
            global_word = word | (word >> FLOOR_SHIFT & LANE_MAX) << IM_FLOOR_SHIFT
        elif kind == UNDERLYING:
            under[number] = word
        elif kind == COLLATERAL:
            over[number] = word
    return replace(market, global_word=global_word, underlying_words=under, collateral_words=over)


def with_page(market: ChainMarket, underlying: int, page: Page) -> ChainMarket:
    """Market under a new page of one underlying."""
    return replace(market, pages={**market.pages, underlying: page})


def with_joint(market: ChainMarket, joint: JointSet) -> ChainMarket:
    """Market under other joint scenarios."""
    return replace(market, joint=joint)


def measure(snapshot: Snapshot, before: Assessments, market: ChainMarket) -> Impact:
    """Recompute every account under ``market`` and compare with ``before``."""
    if isinstance(before, Judged):
        then = before.under(market)
        if then is not None:
            return _screened(before, then)
    newly, cured, unknown, equity = [], [], [], 0
    for account, words in sorted(snapshot.accounts.items()):
        now = before[account]
        if isinstance(words, Unknown) or isinstance(now, Unknown):
            unknown.append(account)
            continue
        then_found = assess_words(words, market)
        if now.mm_health >= 0 > then_found.mm_health:
            newly.append(account)
            equity += max(0, then_found.equity_mark)
        elif now.mm_health < 0 <= then_found.mm_health:
            cured.append(account)
    return Impact(tuple(newly), equity, tuple(cured), tuple(unknown))


def _screened(before: Judged, then: Judged) -> Impact:
    """The same for a large book: only accounts whose side of the line is open are judged by the twin, and their equity.

    Of more than `MOST_EXACT` newly liquidatable accounts the equity is that of the screen, rounded up by its bound:
    such a push is refused by any sensible limit, and a sum that is a hair too large refuses no other.
    """
    settled_before, settled_then = before.sound | before.below, then.sound | then.below
    settled = settled_before & settled_then
    newly = {*before.numbers[settled & before.sound & then.below].tolist()}
    cured = {*before.numbers[settled & before.below & then.sound].tolist()}
    unknown = {*before.unknown()}
    for account in before.numbers[~settled].tolist():
        now, later = before[account], then[account]
        if isinstance(now, Unknown) or isinstance(later, Unknown):
            unknown.add(account)
        elif now.mm_health >= 0 > later.mm_health:
            newly.add(account)
        elif now.mm_health < 0 <= later.mm_health:
            cured.add(account)
    return Impact(tuple(sorted(newly)), _equity_wad(then, sorted(newly)), tuple(sorted(cured)), tuple(sorted(unknown)))


def _equity_wad(then: Judged, accounts: Sequence[int]) -> int:
    """Sum of the positive mark equities, USD wad; never too small."""
    if len(accounts) > MOST_EXACT:
        return then.equity_above_wad(accounts)
    found = (then[account] for account in accounts)
    return sum(max(0, result.equity_mark) for result in found if not isinstance(result, Unknown))
