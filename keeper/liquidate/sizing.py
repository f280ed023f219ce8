# SPDX-License-Identifier: Apache-2.0
"""How much of an account to bid for: the most profitable fraction that the inventory can carry.

    profit = fraction * equity - price - warehouse_bps * (rise of the bidder's initial margin) - gas

The warehouse term is what holding the risk until it is hedged should earn; a seized book that hedges the bidder's own
one raises no margin and so costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.domain import Phase, Unknown
from keeper.liquidate.actions import Bid
from keeper.liquidate.inventory import assess_merged, merge
from risk.onchain import ChainMarket, assess_words
from risk.onchain_words import parse_words

WAD = 10**18
BPS = 10_000


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


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What a bid must earn and what it may load on the bidder's account.

    ``min_profit_wad`` USD; ``warehouse_bps`` of the rise in initial margin; ``max_fraction_wad`` of an account in one
    bid; ``min_im_health_wad`` what the bidder's initial-margin health must be after; ``price_slack_bps`` of the seized
    value that the price may rise before the transaction is mined; ``gas_units`` of a bid.
    """

    bidder_account: int
    min_profit_wad: int
    warehouse_bps: int
    max_fraction_wad: int = WAD
    min_im_health_wad: int = 0
    price_slack_bps: int = 50
    gas_units: int = 1_500_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A fraction with what it would earn, USD wad."""

    preview: Preview
    profit_wad: int
    im_health_wad: int


def fractions(largest_wad: int) -> tuple[int, ...]:
    """Fractions that are looked at: the largest and its half, quarter and eighth."""
    return tuple(largest_wad >> k for k in range(4))


def offers(
    previews: Sequence[Preview],
    account: tuple[int, ...],
    bidder: tuple[int, ...],
    market: ChainMarket,
    policy: BidPolicy,
    gas_wad: int,
) -> tuple[Offer, ...]:
    """Value every preview; those the bidder's account cannot carry are left out.

    Parameters
    ----------
    account, bidder
        State words of the account in auction and of the bidder's.
    gas_wad
        Cost of the transaction, USD wad.
    """
    before, seized, own = assess_words(bidder, market), parse_words(account), parse_words(bidder)
    result = []
    for preview in previews:
        after = assess_merged(merge(own, seized, preview.fraction_wad, preview.price_wad), market, market.timestamp)
        if isinstance(after, Unknown) or after.im_health < policy.min_im_health_wad:
            continue
        warehouse = max(0, after.im - before.im) * policy.warehouse_bps // BPS
        profit = preview.value_wad - preview.price_wad - warehouse - gas_wad
        result.append(Offer(preview, profit, after.im_health))
    return tuple(result)


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
            f"of {policy.min_im_health_wad / WAD:,.2f} USD (liquidator.min_im_health_usd)"
        )
    return (
        f"the best of {len(found)} sizes, {richest.preview.fraction_wad / WAD:.1%} of it, would earn "
        f"{richest.profit_wad / WAD:,.2f} USD after warehousing and gas; "
        f"liquidator.min_profit_usd is {policy.min_profit_wad / WAD:,.2f}"
    )


def bid(account: int, offer: Offer, policy: BidPolicy) -> Bid:
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
    )
