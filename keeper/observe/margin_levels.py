# SPDX-License-Identifier: Apache-2.0
"""What the owner of a margin account is told, and when: a pure function of the account and of what was told before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from risk.errors import RiskError
from risk.onchain import Assessment, ChainMarket, assess_words

BPS = 10_000
LIQUIDATABLE, STARTED, ENDED = "liquidatable", "liquidation_started", "liquidation_ended"
WARNING, RECOVERED, TO_COME = "warning", "recovered", "margin_to_come"


@dataclass(frozen=True, slots=True)
class Levels:
    """Shares of maintenance margin, bps, greatest first; ``hysteresis_bps`` above a level lets it warn again."""

    shares_bps: tuple[int, ...] = (3_000, 1_500, 500)
    hysteresis_bps: int = 500
    look_ahead_s: int = 86_400

    @property
    def deepest(self) -> int:
        """Number of the level that means: below maintenance margin."""
        return len(self.shares_bps) + 1


@dataclass(frozen=True, slots=True)
class Told:
    """What an owner has been told: the deepest level, an auction that runs, margin to come."""

    level: int = 0
    in_auction: bool = False
    to_come: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """An account's margin to come if prices stay; health and margin USD wad."""

    cause: str
    at: int
    im_health: int
    mm_health: int
    im: int


@dataclass(frozen=True, slots=True)
class Call:
    """One message about an account."""

    kind: str
    level: int
    ahead: Ahead | None = None


def judge(
    told: Told, result: Assessment, auction: AuctionState | Unknown | None, ahead: Ahead | None, levels: Levels
) -> tuple[Told, tuple[Call, ...]]:
    """What to tell now, and what has been told then.

    An auction whose state could not be read changes nothing.
    """
    calls: list[Call] = []
    running = told.in_auction
    if not isinstance(auction, Unknown):
        running = auction is not None and auction.phase != Phase.NONE
    depth, held = level_of(result, levels, 0), level_of(result, levels, levels.hysteresis_bps)
    level = depth if depth > told.level else min(told.level, held)
    if running != told.in_auction:
        calls.append(Call(STARTED if running else ENDED, level))
    if level > told.level and not running:
        calls.append(Call(LIQUIDATABLE if level == levels.deepest else WARNING, level))
    elif told.level and not level and not running and not told.in_auction:
        calls.append(Call(RECOVERED, 0))
    to_come = _to_come(told, result, ahead, levels)
    if to_come and not told.to_come and not running:
        calls.append(Call(TO_COME, level, ahead))
    return Told(level, running, to_come), tuple(calls)


def level_of(result: Assessment, levels: Levels, above_bps: int) -> int:
    """How many levels the account's health is below, each raised by ``above_bps`` of maintenance margin."""
    if result.mm_health < 0 or result.mm_health * BPS < above_bps * result.mm:
        return levels.deepest
    return sum(result.mm_health * BPS < (share + above_bps) * result.mm for share in levels.shares_bps)


def _to_come(told: Told, result: Assessment, ahead: Ahead | None, levels: Levels) -> bool:
    """Whether margin to come would take the account below initial margin; it warns again after it would not by far."""
    if ahead is None:
        return False
    if ahead.im_health < 0:
        return told.to_come or result.im_health >= 0
    return told.to_come and ahead.im_health * BPS < levels.hysteresis_bps * ahead.im


def look_ahead(snapshot: Snapshot, words: Sequence[int], levels: Levels) -> Ahead | None:
    """The worst margin of the next hours if prices stay: contracts in their last day, parameters being phased in.

    None where nothing comes, or it cannot be judged.
    """
    market = snapshot.market
    if isinstance(market, Unknown) or not levels.look_ahead_s:
        return None
    later = [("parameters", market.timestamp, _phased_in(snapshot, market))]
    quarter = levels.look_ahead_s // 4
    later += [("expiry", market.timestamp + k * quarter, _later(market, k * quarter)) for k in range(1, 5) if quarter]
    found = []
    try:
        now = assess_words(words, market)
        for cause, at, changed in later:
            then = assess_words(words, changed)
            if then.im_health < now.im_health:
                found.append(Ahead(cause, at, then.im_health, then.mm_health, then.im))
    except (RiskError, KeyError):
        return None
    return min(found, key=lambda ahead: ahead.im_health, default=None)


def _later(market: ChainMarket, seconds: int) -> ChainMarket:
    """The market after a time in which only contracts age: pages and joint scenarios are taken to be published anew."""
    pages = {
        u: replace(page, observed_at=page.observed_at + seconds, expires_at=page.expires_at + seconds)
        for u, page in market.pages.items()
    }
    joint = market.joint
    if joint is not None:
        joint = replace(joint, expires_at=joint.expires_at + seconds)
    return replace(market, timestamp=market.timestamp + seconds, pages=pages, joint=joint)


def _phased_in(snapshot: Snapshot, market: ChainMarket) -> ChainMarket:
    """The market under the words that ramps lead to."""
    stored = snapshot.parameter_words
    if isinstance(stored, Unknown):
        return market
    return replace(
        market,
        underlying_words={u: stored.get((1, u), word) for u, word in market.underlying_words.items()},
        collateral_words={c: stored.get((2, c), word) for c, word in market.collateral_words.items()},
    )
