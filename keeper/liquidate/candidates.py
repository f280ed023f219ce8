# SPDX-License-Identifier: Apache-2.0
"""Which accounts can be put up for auction, and the cheapest proof for each."""

from __future__ import annotations

from collections.abc import Iterable

from keeper.assess import Assessments, worst_first
from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from keeper.liquidate.actions import NO_REWARD, StartAuction
from risk.onchain import ChainMarket, assess_at

SCAN_POINTS = range(64, 64 + 27)
PROTOCOL_ACCOUNT = 0


def witness(words: tuple[int, ...], market: ChainMarket, worst_joint: int) -> int | None:
    """Scenario that alone proves the account below maintenance margin, None when no single one does.

    The proof costs the contract one scenario instead of all of them. The offset floor or the dominance rule can make
    an account liquidatable though no scenario does, and old data that leave a doubt prove nothing; then only the full
    assessment will do.
    """
    scenarios: Iterable[int] = (worst_joint,) if worst_joint < SCAN_POINTS.start else SCAN_POINTS
    best: tuple[int, int] | None = None
    for scenario in scenarios:
        try:
            equity, bound = assess_at(words, market, scenario)
        except ValueError:  # not judged by this kind of scenario, or in doubt
            return None
        if equity < bound and (best is None or bound > best[0]):
            best = (bound, scenario)
    return None if best is None else best[1]


def starts(
    snapshot: Snapshot, assessments: Assessments, limit: int, reward_account: int = NO_REWARD
) -> tuple[StartAuction, ...]:
    """Auctions to start, worst account first, at most ``limit`` in one cycle; the reward goes to ``reward_account``."""
    market = snapshot.market
    if isinstance(market, Unknown):
        return ()
    found: list[StartAuction] = []
    for account in worst_first(assessments):
        words, auction = snapshot.accounts[account], snapshot.auctions.get(account)
        if account == PROTOCOL_ACCOUNT or isinstance(words, Unknown) or not _idle(auction):
            continue
        result = assessments[account]
        scenario = None if isinstance(result, Unknown) else witness(words, market, result.worst_joint)
        epoch = auction.epoch if isinstance(auction, AuctionState) else 0
        found.append(StartAuction(account, epoch, scenario, reward_account))
        if len(found) == limit:
            break
    return tuple(found)


def _idle(auction: AuctionState | Unknown | None) -> bool:
    """No auction is known to run; one that could not be read is not taken for idle."""
    return auction is None or (isinstance(auction, AuctionState) and auction.phase == Phase.NONE)
