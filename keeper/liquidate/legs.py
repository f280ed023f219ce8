# SPDX-License-Identifier: Apache-2.0
"""Which single positions of an account in auction are worth taking: those that hedge the bidder, or that it can carry.

Legs move at their marks; the account pays ``relief * equity * discount / size`` for them (``auction_math``), where size
is maintenance margin plus the haircuts of collateral and relief is by how much all legs together lower it. So a leg
pays for the risk that it takes off the account, and costs what it adds to the bidder's own margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from keeper.domain import AuctionSettings, Phase
from keeper.liquidate.actions import BidLegs
from keeper.liquidate.moves import moved, positions
from keeper.liquidate.sizing import BPS, Bidder, BidPolicy, Preview
from risk.errors import RiskError
from risk.onchain import Assessment, ChainMarket, assess_words, price_band
from risk.onchain_words import AccountState, build_words

MAX_LEGS = 16
LOOKED_AT = 24  # positions with the greatest notional; each costs two assessments
SCALINGS = 12
Legs = dict[int, int]  # signed lots that leave the account, by instrument


@dataclass(frozen=True, slots=True)
class LegsOffer:
    """Legs with the reward and what taking them would earn, USD wad."""

    legs: Legs
    reward_wad: int
    profit_wad: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Sale:
    """An account in its solvent phase, judged by fresh data."""

    state: AccountState
    now: Assessment
    market: ChainMarket
    preview: Preview
    settings: AuctionSettings

    @classmethod
    def of(
        cls, state: AccountState, now: Assessment, market: ChainMarket, preview: Preview, settings: AuctionSettings
    ) -> Sale | None:
        """The sale, None where the contract sells no single legs: insolvent, or by data that are not fresh."""
        if preview.phase != Phase.SOLVENT or now.doubt or now.flags or now.equity_mark <= 0:
            return None
        return cls(state, now, market, preview, settings)

    @property
    def size_wad(self) -> int:
        """What the account takes in all, wad."""
        return size_wad(self.now)

    def left(self, legs: Legs) -> tuple[AccountState, Assessment] | None:
        """The account without the legs; None where the contract would refuse them."""
        state = self.state
        for instrument, lots in legs.items():
            state = moved(state, self.market, instrument, -lots, price_band(self.market, instrument).mark)
        found = assess_words(build_words(state), self.market)
        relief = self.size_wad - size_wad(found)
        cured = found.equity_mm >= _buffered(found.mm, self.settings.end_buffer_bps)
        if (
            found.equity_mm > _buffered(found.mm, self.settings.target_buffer_bps)
            or found.mm_health < self.now.mm_health
            or relief <= 0
            or (relief < self.settings.min_slice_wad and not cured)
        ):
            return None
        return state, found

    def reward_wad(self, left: Assessment) -> int:
        """Cash that the bidder is paid, wad, down; the discount is known to a bps, rounded down."""
        gain = self.now.equity_mark * self.preview.discount_bps // BPS
        return (self.size_wad - size_wad(left)) * gain // self.size_wad


def size_wad(result: Assessment) -> int:
    """Maintenance margin and the haircuts of collateral, wad."""
    return result.mm + max(0, result.equity_mark - result.equity_mm)


def _buffered(mm: int, buffer_bps: int) -> int:
    return -(-mm * (BPS + buffer_bps) // BPS)


def plan_legs(sale: Sale, bidder: Bidder, policy: BidPolicy, gas_wad: int) -> LegsOffer | None:
    """The most profitable legs found, None where no leg can be taken.

    Greedy: single positions in the order of what each alone would earn, each kept while it raises the profit; one that
    takes more than the contract sells, or more than the bidder can carry, is scaled down.
    """
    chosen: LegsOffer | None = None
    for _, instrument, lots in _ranked(sale, bidder, policy, gas_wad):
        if chosen is not None and len(chosen.legs) == MAX_LEGS:
            break
        before = {} if chosen is None else chosen.legs
        found = _fitting(sale, bidder, policy, gas_wad, before, instrument, lots)
        if found is not None and (chosen is None or found.profit_wad > chosen.profit_wad):
            chosen = found
    return chosen


def _ranked(sale: Sale, bidder: Bidder, policy: BidPolicy, gas_wad: int) -> list[tuple[int, int, int]]:
    """(less profit, instrument, lots) of positions with a mark, the best first; those that fit no way are left out."""
    held = {k: lots for k, lots in positions(sale.state).items() if _has_mark(sale.market, k)}
    by_notional = sorted(held, key=lambda k: -abs(held[k]) * sale.market.prices[k >> 8].price)
    found = []
    for instrument in by_notional[:LOOKED_AT]:
        offer = _fitting(sale, bidder, policy, gas_wad, {}, instrument, held[instrument])
        if offer is not None:
            found.append((-offer.profit_wad, instrument, held[instrument]))
    return sorted(found)


def _has_mark(market: ChainMarket, instrument: int) -> bool:
    try:
        return price_band(market, instrument).high != 0
    except (KeyError, RiskError):
        return False


def _fitting(
    sale: Sale, bidder: Bidder, policy: BidPolicy, gas_wad: int, legs: Legs, instrument: int, lots: int
) -> LegsOffer | None:
    """The legs with as much of one more as fits, by bisection."""
    whole = value(sale, bidder, policy, gas_wad, {**legs, instrument: lots})
    if whole is not None:
        return whole
    sign, low, high, found = (1 if lots > 0 else -1), 0, abs(lots), None
    for _ in range(SCALINGS):
        middle = (low + high) // 2
        if middle == low:
            break
        offer = value(sale, bidder, policy, gas_wad, {**legs, instrument: sign * middle})
        if offer is None:
            high = middle
        else:
            low, found = middle, offer
    return found


def value(sale: Sale, bidder: Bidder, policy: BidPolicy, gas_wad: int, legs: Legs) -> LegsOffer | None:
    """What taking exactly these legs would earn; None where the contract or the bidder's limits refuse them."""
    left = sale.left(legs)
    if left is None:
        return None
    reward = sale.reward_wad(left[1])
    state = bidder.state
    for instrument, lots in legs.items():
        state = moved(state, bidder.market, instrument, lots, price_band(bidder.market, instrument).mark)
    after = bidder.after(replace(state, cash=state.cash + reward), policy)
    if after is None:
        return None
    profit = reward - bidder.warehouse_wad(after, policy) - gas_wad
    return LegsOffer(dict(legs), reward, profit, sale.preview.nonce)


def bid_legs(
    account: int, offer: LegsOffer, policy: BidPolicy, *, any_nonce: bool = False, gas_budget_wei: int | None = None
) -> BidLegs:
    """The bid for an offer; the least reward gives away at most the profit above the minimum."""
    slack = min(offer.reward_wad * policy.price_slack_bps // BPS, max(0, offer.profit_wad - policy.min_profit_wad))
    return BidLegs(
        account=account,
        bidder_account=policy.bidder_account,
        legs=tuple(sorted(offer.legs.items())),
        min_reward_wad=offer.reward_wad - slack,
        min_health_wad=policy.min_im_health_wad,
        expected_nonce=offer.nonce,
        any_nonce=any_nonce,
        gas_budget_wei=gas_budget_wei,
    )
