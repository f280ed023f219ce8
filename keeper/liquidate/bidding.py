# SPDX-License-Identifier: Apache-2.0
"""Which auctions to bid in this cycle, and what for: a fraction of everything or single legs, whichever earns more.

Each bid changes the bidder's own account, so bids are chosen one after the other, every next one by what the account
will hold after those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from keeper.assess import Assessments
from keeper.domain import AuctionSettings, Snapshot, Unknown
from keeper.liquidate.actions import Bid, BidLegs
from keeper.liquidate.clock import running
from keeper.liquidate.inventory import merge
from keeper.liquidate.legs import LegsOffer, Sale, bid_legs, plan_legs, size_wad
from keeper.liquidate.moves import moved, positions
from keeper.liquidate.sizing import WAD, Bidder, BidPolicy, Offer, Preview, best, bid, offers, shortcoming
from risk.onchain import Assessment, ChainMarket, price_band
from risk.onchain_words import AccountState, parse_words

MOST_VALUED = 32  # auctions of one cycle: each costs up to twenty assessments, a search for legs a thousand
MOST_SEARCHED = 8


@dataclass(frozen=True, slots=True)
class Auctions:
    """Everything that bids are decided on; fields as in `keeper.decide.Situation`."""

    snapshot: Snapshot
    assessments: Assessments
    previews: Mapping[int, Preview | Unknown]
    settings: AuctionSettings | Unknown
    mega_gas_wad: int | Unknown
    native_usd_wad: int | Unknown
    contested: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class NoBid:
    """An auction that is not bid in, and why."""

    account: int
    why: str


@dataclass(frozen=True, slots=True)
class Bids:
    """Bids in the order to send them; ``trouble`` is (name, text) of what keeps the keeper from bidding at all."""

    made: tuple[Bid | BidLegs, ...] = ()
    none: tuple[NoBid, ...] = ()
    trouble: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Lot:
    """An auction whose account can be valued."""

    account: int
    state: AccountState
    result: Assessment
    preview: Preview
    legs: bool = True

    @property
    def gain_wad(self) -> int:
        """The most it could earn: its discount, before gas and the risk taken on."""
        return self.preview.value_wad - self.preview.price_wad


def bids(auctions: Auctions, policy: BidPolicy) -> Bids:
    """Choose the bids of one cycle."""
    snapshot, market = auctions.snapshot, auctions.snapshot.market
    if isinstance(market, Unknown) or not running(snapshot):
        return Bids()
    own = snapshot.accounts.get(policy.bidder_account)
    if own is None or isinstance(own, Unknown):
        return Bids(trouble=("bidder_unreadable", f"account {policy.bidder_account} of the bidder cannot be read"))
    if isinstance(auctions.mega_gas_wad, Unknown):
        return Bids(trouble=("gas_price_unknown", f"no bid: {auctions.mega_gas_wad.reason}"))
    if isinstance(auctions.settings, Unknown):
        return Bids(trouble=("auction_settings_unknown", f"no bid: {auctions.settings.reason}"))
    found = [_lot(auctions, account, policy) for account, _ in running(snapshot)]
    lots = [item for item in found if isinstance(item, Lot)]
    none = [item for item in found if isinstance(item, NoBid)]
    gas_wad = auctions.mega_gas_wad * policy.gas_units // 10**6
    valued = in_turn(lots, MOST_VALUED, snapshot.block.number)
    searched = {lot.account for lot in in_turn(valued, MOST_SEARCHED, snapshot.block.number)}
    none += [
        NoBid(lot.account, f"its turn to be valued comes later, {len(lots)} auctions run")
        for lot in lots
        if lot not in valued
    ]
    lots = [replace(lot, legs=lot.account in searched) for lot in valued]
    made, without = _chosen(lots, parse_words(own), market, auctions, policy, gas_wad)
    return Bids(tuple(made), tuple(sorted([*none, *without], key=lambda item: item.account)))


def in_turn(lots: list[Lot], most: int, turn: int) -> list[Lot]:
    """So many auctions: half of them those with most to gain, half any others by turns.

    A cycle must end within a block or so whatever number of auctions somebody has brought about; and a few large ones
    that nobody can carry must not keep the others from being looked at.
    """
    if len(lots) <= most:
        return lots
    ranked = sorted(lots, key=lambda lot: (-lot.gain_wad, lot.account))
    first, rest = ranked[: most // 2], ranked[most // 2 :]
    begin = turn * (most - most // 2) % len(rest)
    return first + (rest[begin:] + rest[:begin])[: most - most // 2]


def _lot(auctions: Auctions, account: int, policy: BidPolicy) -> Lot | NoBid:
    preview, words = auctions.previews.get(account), auctions.snapshot.accounts[account]
    result = auctions.assessments.get(account)
    if account == policy.bidder_account:
        return NoBid(account, "it is the bidder's own")
    if preview is None:
        return NoBid(account, "its terms were not read")
    for read in (preview, words):
        if isinstance(read, Unknown):
            return NoBid(account, read.reason)
    if result is None or isinstance(result, Unknown):
        return NoBid(account, "it could not be assessed")
    if result.doubt:
        return NoBid(account, "what is in doubt has no value to bid by")
    return Lot(account, parse_words(words), result, preview)  # type: ignore[arg-type]


def _chosen(
    lots: list[Lot], own: AccountState, market: ChainMarket, auctions: Auctions, policy: BidPolicy, gas_wad: int
) -> tuple[list[Bid | BidLegs], list[NoBid]]:
    """Bid in the order of what each auction alone would earn, each valued again by what was taken before it."""
    bidder = Bidder.of(own, market)
    made: list[Bid | BidLegs] = []
    ranked, none = [], []
    for lot in lots:
        offer, why = _worth(lot, bidder, auctions.settings, policy, gas_wad)
        if offer is None:
            none.append(NoBid(lot.account, why))
        else:
            ranked.append((-offer.profit_wad, lot.account, lot))
    for _, account, lot in sorted(ranked, key=lambda item: item[:2]):
        if len(made) == policy.bids_per_cycle:
            break
        offer, why = _worth(lot, bidder, auctions.settings, policy, gas_wad)
        if offer is None:
            none.append(NoBid(account, f"after the bids before it, {why}"))
            continue
        made.append(_action(account, offer, policy, auctions, gas_wad))
        bidder = Bidder.of(_owned(bidder.state, lot, offer, market), market)
    return made, none


def _action(
    account: int, offer: Offer | LegsOffer, policy: BidPolicy, auctions: Auctions, gas_wad: int
) -> Bid | BidLegs:
    """The bid, with what its gas may come to cost before less than the least profit is left."""
    any_nonce = auctions.contested.get(account, 0) >= policy.any_nonce_after
    native_wad, budget_wei = auctions.native_usd_wad, None
    if not isinstance(native_wad, Unknown) and native_wad > 0:
        budget_wei = (offer.profit_wad + gas_wad - policy.min_profit_wad) * WAD // native_wad
    if isinstance(offer, Offer):
        return bid(account, offer, policy, any_nonce=any_nonce, gas_budget_wei=budget_wei)
    return bid_legs(account, offer, policy, any_nonce=any_nonce, gas_budget_wei=budget_wei)


def _worth(
    lot: Lot, bidder: Bidder, settings: AuctionSettings | Unknown, policy: BidPolicy, gas_wad: int
) -> tuple[Offer | LegsOffer | None, str]:
    """The better of a fraction and of legs, None with the reason where neither earns the minimum."""
    if isinstance(settings, Unknown):
        return None, settings.reason
    least_wad = -(-settings.min_slice_wad * WAD // max(1, size_wad(lot.result)))
    found = offers(lot.preview, lot.state, bidder, policy, gas_wad, least_wad)
    fraction = best(found, policy.min_profit_wad)
    legs = None
    if lot.legs and (
        fraction is None or fraction.preview.fraction_wad < lot.preview.fraction_wad or _overlap(lot, bidder)
    ):
        sale = Sale.of(lot.state, lot.result, bidder.market, lot.preview, settings)
        legs = None if sale is None else plan_legs(sale, bidder, policy, gas_wad)
    enough = policy.min_profit_wad if fraction is None else max(policy.min_profit_wad, fraction.profit_wad + 1)
    if legs is not None and legs.profit_wad >= enough:
        return legs, ""
    return fraction, "" if fraction is not None else shortcoming(found, policy)


def _overlap(lot: Lot, bidder: Bidder) -> bool:
    """Whether single legs may hedge the bidder where the whole would not: both have positions in an underlying."""
    theirs = positions(lot.state)
    return len(theirs) > 1 and bool({k >> 8 for k in theirs} & {k >> 8 for k in positions(bidder.state)})


def _owned(own: AccountState, lot: Lot, offer: Offer | LegsOffer, market: ChainMarket) -> AccountState:
    """The bidder's account after a bid."""
    if isinstance(offer, Offer):
        return merge(own, lot.state, offer.preview.fraction_wad, offer.preview.price_wad)
    for instrument, lots in offer.legs.items():
        own = moved(own, market, instrument, lots, price_band(market, instrument).mark)
    return replace(own, cash=own.cash + offer.reward_wad)
