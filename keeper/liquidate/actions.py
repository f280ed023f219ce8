# SPDX-License-Identifier: Apache-2.0
"""The transactions of an auction; `keeper.actions.Action` describes what they have in common."""
# ruff: noqa: D102  (`Action` describes the three properties once for all)

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keeper.domain import ContractCall

ANY_NONCE = 2**256 - 1
NO_REWARD = 0  # account that stands for nobody: the caller forgoes the reward


@dataclass(frozen=True, slots=True)
class StartAuction:
    """Open the liquidation of ``account``; ``scenario`` is the proof, None for a full assessment on chain.

    ``auction_epoch`` is that of ``auction_of`` before the start; ``reward_account`` gets the caller's reward.
    """

    account: int
    auction_epoch: int
    scenario: int | None = None
    reward_account: int = NO_REWARD
    kind: ClassVar[str] = "start_auction"

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.auction_epoch

    @property
    def call(self) -> ContractCall:
        if self.scenario is None:
            return ContractCall("LiquidationAuction", "start", (self.account, self.reward_account))
        args = (self.account, self.scenario, self.reward_account)
        return ContractCall("LiquidationAuction", "start_with", args)


@dataclass(frozen=True, slots=True)
class _Taking:
    """What bids have in common.

    ``expected_nonce`` is that of the account as it was previewed; ``any_nonce`` bids on whatever it has become since,
    protected by the limits of price and health. ``gas_budget_wei`` is the most its gas may cost, None: no limit.
    """

    account: int
    bidder_account: int
    min_health_wad: int
    expected_nonce: int
    any_nonce: bool = False
    gas_budget_wei: int | None = None

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.expected_nonce

    @property
    def nonce(self) -> int:
        """What the contract is told."""
        return ANY_NONCE if self.any_nonce else self.expected_nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid(_Taking):
    """Take ``fraction_wad`` of ``account`` into ``bidder_account`` for at most ``max_price_wad``."""

    fraction_wad: int
    max_price_wad: int
    kind: ClassVar[str] = "bid"

    @property
    def call(self) -> ContractCall:
        args = (
            self.account,
            self.bidder_account,
            self.fraction_wad,
            self.max_price_wad,
            self.min_health_wad,
            self.nonce,
        )
        return ContractCall("LiquidationAuction", "bid", args)


@dataclass(frozen=True, slots=True, kw_only=True)
class BidLegs(_Taking):
    """Take ``legs`` (instrument, signed lots that leave the account) for a reward of at least ``min_reward_wad``."""

    legs: tuple[tuple[int, int], ...]
    min_reward_wad: int
    kind: ClassVar[str] = "bid_legs"

    @property
    def call(self) -> ContractCall:
        args = (
            self.account,
            self.bidder_account,
            self.legs,
            self.min_reward_wad,
            self.min_health_wad,
            self.nonce,
        )
        return ContractCall("LiquidationAuction", "bid_legs", args)


@dataclass(frozen=True, slots=True)
class EndAuction:
    """Close the auction of an account that is healthy again."""

    account: int
    auction_epoch: int
    kind: ClassVar[str] = "end_auction"

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.auction_epoch

    @property
    def call(self) -> ContractCall:
        return ContractCall("LiquidationAuction", "end", (self.account,))


@dataclass(frozen=True, slots=True)
class TickAuction:
    """Record time, phase and shortfall of a running auction; ``seen_at`` is when that was last done (unix s)."""

    account: int
    seen_at: int
    kind: ClassVar[str] = "tick_auction"

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.seen_at

    @property
    def call(self) -> ContractCall:
        return ContractCall("LiquidationAuction", "tick", (self.account,))
