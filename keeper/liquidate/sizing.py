# SPDX-License-Identifier: Apache-2.0
"""How much of an account to bid for: the most profitable fraction that the inventory can carry.

    profit = fraction * equity - price - warehouse_bps * (rise of the bidder's initial margin) - gas

The warehouse term is what holding the risk until it is hedged should earn; a seized book that hedges the bidder's own
one raises no margin and so costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from keeper.domain import Phase, Unknown
from keeper.liquidate.actions import Bid
from keeper.liquidate.inventory import assess_merged, merge
from keeper.liquidate.moves import LOTS_PER_UNIT, positions
from risk.onchain import Assessment, ChainMarket, assess_words
from risk.onchain_words import AccountState, build_words

WAD = 10**18
BPS = 10_000
HALVINGS = 12  # of the search for the largest fraction that can be carried: to 0.03 % of the largest on offer


@dataclass(frozen=True, slots=True)
class Preview:
    """``LiquidationAuction.preview_bid`` at the block of the snapshot; amounts wad, price signed."""

    phase: Phase
    fraction_wad: int
    price_wad: int
    discount_bps: int
    equity_mark: int
    mm: int
    nonce: int

    @property
    def value_wad(self) -> int:
        """Mark value of what moves."""
        return self.fraction_wad * self.equity_mark // WAD

    def part(self, fraction_wad: int) -> Preview:
        """The same for a smaller fraction: prices are proportional to it, rounded against the bidder."""
        price_wad = -(-self.price_wad * fraction_wad // self.fraction_wad)
        return replace(self, fraction_wad=fraction_wad, price_wad=price_wad)


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What a bid must earn and what it may load on the bidder's account.

    ``min_profit_wad`` USD; ``warehouse_bps`` of the rise in initial margin; ``max_fraction_wad`` of an account in one
    bid; ``min_im_health_wad`` what the bidder's initial-margin health must be after; ``max_im_wad`` the most initial
    margin its account may come to need and ``max_gross_wad`` the most notional it may come to have in one underlying,
    USD (None: no limit); ``price_slack_bps`` of the seized value that the price may rise before the transaction is
    mined; ``gas_units`` of a bid; ``bids_per_cycle`` the most bids of one cycle; ``any_nonce_after`` how many bids in a
    row may be lost to a changed nonce before one accepts any.
    """

    bidder_account: int
    min_profit_wad: int
    warehouse_bps: int
    max_fraction_wad: int = WAD
    min_im_health_wad: int = 0
    max_im_wad: int | None = None
    max_gross_wad: int | None = None
    price_slack_bps: int = 50
    gas_units: int = 1_500_000
    bids_per_cycle: int = 8
    any_nonce_after: int = 2


@dataclass(frozen=True, slots=True)
class Bidder:
    """The bidder's account: its state, what it needs now, and the market it is judged in."""

    state: AccountState
    now: Assessment
    market: ChainMarket

    @classmethod
    def of(cls, state: AccountState, market: ChainMarket) -> Bidder:
        """Assess a state."""
        return cls(state, assess_words(build_words(state), market), market)

    def after(self, state: AccountState, policy: BidPolicy) -> Assessment | None:
        """Assessment of the account in another state, None when the policy does not let it be in that."""
        found = assess_merged(state, self.market, self.market.timestamp)
        if isinstance(found, Unknown) or found.im_health < policy.min_im_health_wad:
            return None
        if policy.max_im_wad is not None and found.im > max(policy.max_im_wad, self.now.im):
            return None
        if policy.max_gross_wad is not None:
            before = gross_wad(self.state, self.market)
            for u, gross in gross_wad(state, self.market).items():
                if gross > max(policy.max_gross_wad, before.get(u, 0)):
                    return None
        return found

    def warehouse_wad(self, after: Assessment, policy: BidPolicy) -> int:
        """What holding the additional risk should earn, USD wad."""
        return max(0, after.im - self.now.im) * policy.warehouse_bps // BPS


@dataclass(frozen=True, slots=True)
class Offer:
    """A fraction with what it would earn, USD wad."""

    preview: Preview
    profit_wad: int
    im_health_wad: int


def gross_wad(state: AccountState, market: ChainMarket) -> dict[int, int]:
    """Notional by underlying, USD wad: units of every position, whatever its sign, at the underlying's price."""
    found: dict[int, int] = {}
    for instrument, lots in positions(state).items():
        u = instrument >> 8
        found[u] = found.get(u, 0) + abs(lots) * market.prices[u].price // LOTS_PER_UNIT
    return found


def offers(
    preview: Preview, seized: AccountState, bidder: Bidder, policy: BidPolicy, gas_wad: int, least_wad: int
) -> tuple[Offer, ...]:
    """Offers that the bidder's account can carry: the whole preview and its parts, else the largest part that it can.

    Parameters
    ----------
    preview
        Of the largest fraction that the contract sells and the policy wants.
    gas_wad
        Cost of the transaction, USD wad.
    least_wad
        Smallest fraction that the contract takes a bid for.
    """

    def value(fraction_wad: int) -> Offer | None:
        part = preview if fraction_wad == preview.fraction_wad else preview.part(fraction_wad)
        after = bidder.after(merge(bidder.state, seized, fraction_wad, part.price_wad), policy)
        if after is None:
            return None
        profit = part.value_wad - part.price_wad - bidder.warehouse_wad(after, policy) - gas_wad
        return Offer(part, profit, after.im_health)

    halves = (preview.fraction_wad, *(preview.fraction_wad >> k for k in (1, 2, 3)))
    sizes = [size for size in halves if size == preview.fraction_wad or size >= least_wad]
    found = [offer for offer in map(value, sizes) if offer is not None]
    if not found or found[0].preview.fraction_wad != preview.fraction_wad:
        low = found[0].preview.fraction_wad if found else min(least_wad, preview.fraction_wad)
        between = largest(value, low, min([size for size in sizes if size > low], default=preview.fraction_wad))
        found += [between] if between is not None else []
    return tuple(found)


def largest(value: Callable[[int], Offer | None], low: int, high: int) -> Offer | None:
    """Offer of the largest fraction in ``low..high`` that has one, by bisection; None when ``low`` has none."""
    best_so_far = value(low)
    for _ in range(HALVINGS if best_so_far is not None else 0):
        middle = (low + high) // 2
        found = value(middle)
        if found is None:
            high = middle
        else:
            low, best_so_far = middle, found
    return best_so_far


def best(found: Sequence[Offer], min_profit_wad: int) -> Offer | None:
    """Offer with the greatest profit of at least the minimum; of equal ones the smaller fraction."""
    worth = [offer for offer in found if offer.profit_wad >= min_profit_wad]
    return max(worth, key=lambda offer: (offer.profit_wad, -offer.preview.fraction_wad), default=None)


def shortcoming(found: Sequence[Offer], policy: BidPolicy) -> str:
    """Why none of these offers is worth a bid, for a person.

    Parameters
    ----------
    found
        Offers that the bidder's account can carry, none of at least the minimum profit.
    """
    richest = best(found, min(offer.profit_wad for offer in found)) if found else None
    if richest is None:
        return (
            f"account {policy.bidder_account} of the bidder cannot carry any part of it and keep initial-margin health "
            f"of {policy.min_im_health_wad / WAD:,.2f} USD and its limits (liquidator.min_im_health_usd, max_im_usd, "
            "max_gross_usd)"
        )
    return (
        f"the best of {len(found)} sizes, {richest.preview.fraction_wad / WAD:.1%} of it, would earn "
        f"{richest.profit_wad / WAD:,.2f} USD after warehousing and gas; "
        f"liquidator.min_profit_usd is {policy.min_profit_wad / WAD:,.2f}"
    )


def bid(
    account: int, offer: Offer, policy: BidPolicy, *, any_nonce: bool = False, gas_budget_wei: int | None = None
) -> Bid:
    """The bid for an offer.

    ``max_price_wad`` never gives away more than the profit above the minimum: a price that rises further makes the
    bid revert instead of making a loss.
    """
    preview = offer.preview
    slack = min(
        abs(preview.value_wad) * policy.price_slack_bps // BPS, max(0, offer.profit_wad - policy.min_profit_wad)
    )
    return Bid(
        account=account,
        bidder_account=policy.bidder_account,
        fraction_wad=preview.fraction_wad,
        max_price_wad=preview.price_wad + slack,
        min_health_wad=policy.min_im_health_wad,
        expected_nonce=preview.nonce,
        any_nonce=any_nonce,
        gas_budget_wei=gas_budget_wei,
    )
