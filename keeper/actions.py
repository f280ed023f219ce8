# SPDX-License-Identifier: Apache-2.0
"""What the keeper may do, one frozen class for each kind of transaction.

Each action has a ``kind``, a ``subject`` and an ``epoch``. Together with the chain they are the unique key of the
journal: the same action is never sent twice, and a later one differs in its epoch.
"""
# ruff: noqa: D102  (`Action` describes the three properties once for all)

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from keeper.domain import ContractCall


@runtime_checkable
class Action(Protocol):
    """What the journal and the sender need to know of an action."""

    kind: ClassVar[str]

    @property
    def subject(self) -> str:
        """What it acts on, for example an account."""

    @property
    def epoch(self) -> int:
        """Version of the subject's state that it acts on."""

    @property
    def call(self) -> ContractCall:
        """The transaction."""


@dataclass(frozen=True, slots=True)
class StartAuction:
    """Open the liquidation of ``account``; ``scenario`` is the proof, None for a full assessment on chain.

    ``auction_epoch`` is that of ``auction_of`` before the start.
    """

    account: int
    auction_epoch: int
    scenario: int | None = None
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
            return ContractCall("LiquidationAuction", "start", (self.account,))
        return ContractCall("LiquidationAuction", "start_with", (self.account, self.scenario))


@dataclass(frozen=True, slots=True)
class Bid:
    """Take ``fraction_wad`` of ``account`` into ``bidder_account``; ``expected_nonce`` is that of the preview."""

    account: int
    bidder_account: int
    fraction_wad: int
    max_price_wad: int
    min_health_wad: int
    expected_nonce: int
    kind: ClassVar[str] = "bid"

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.expected_nonce

    @property
    def call(self) -> ContractCall:
        args = (
            self.account,
            self.bidder_account,
            self.fraction_wad,
            self.max_price_wad,
            self.min_health_wad,
            self.expected_nonce,
        )
        return ContractCall("LiquidationAuction", "bid", args)


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
class TurnInsolvent:
    """Move a solvent auction whose equity is gone, or whose time is up, to the insolvent phase."""

    account: int
    auction_epoch: int
    kind: ClassVar[str] = "turn_insolvent"

    @property
    def subject(self) -> str:
        return str(self.account)

    @property
    def epoch(self) -> int:
        return self.auction_epoch

    @property
    def call(self) -> ContractCall:
        return ContractCall("LiquidationAuction", "turn_insolvent", (self.account,))


@dataclass(frozen=True, slots=True)
class PageHeader:
    """``IRiskTable.Header``, field for field."""

    epoch: int
    observed_at: int
    expires_at: int
    reference_price_wad: int
    lane_unit_wad: int
    step_e9: int
    atm_vol_bps: int
    model_hash: bytes
    data_hash: bytes

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """Return the fields in the order of the ABI."""
        return (
            self.epoch,
            self.observed_at,
            self.expires_at,
            self.reference_price_wad,
            self.lane_unit_wad,
            self.step_e9,
            self.atm_vol_bps,
            self.model_hash,
            self.data_hash,
        )


@dataclass(frozen=True, slots=True)
class PublishPage:
    """Publish the rows of one underlying; ``surfaces`` are tuples in the order of ``IRiskTable.Surface``."""

    underlying: int
    header: PageHeader
    surfaces: tuple[tuple[int, ...], ...]
    rows: bytes
    kind: ClassVar[str] = "publish_page"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return self.header.epoch

    @property
    def call(self) -> ContractCall:
        args = (self.underlying, self.header.as_tuple(), self.surfaces, self.rows)
        return ContractCall("RiskTable", "publish", args)


@dataclass(frozen=True, slots=True)
class PublishJoint:
    """Publish the joint scenarios, 32 bytes each."""

    joint_epoch: int
    observed_at: int
    expires_at: int
    model_hash: bytes
    data_hash: bytes
    scenarios: bytes
    kind: ClassVar[str] = "publish_joint"

    @property
    def subject(self) -> str:
        return "joint"

    @property
    def epoch(self) -> int:
        return self.joint_epoch

    @property
    def call(self) -> ContractCall:
        args = (self.joint_epoch, self.observed_at, self.expires_at, self.model_hash, self.data_hash, self.scenarios)
        return ContractCall("RiskTable", "publish_joint", args)


@dataclass(frozen=True, slots=True)
class PushParameters:
    """Push a batch of parameter words; ``changes`` are (kind, id, word)."""

    nonce: int
    observed_at: int
    expires_at: int
    model_hash: bytes
    data_hash: bytes
    changes: tuple[tuple[int, int, int], ...]
    kind: ClassVar[str] = "push_parameters"

    @property
    def subject(self) -> str:
        return "parameters"

    @property
    def epoch(self) -> int:
        return self.nonce

    @property
    def call(self) -> ContractCall:
        args = (self.nonce, self.observed_at, self.expires_at, self.model_hash, self.data_hash, self.changes)
        return ContractCall("RiskParameters", "push", args)


@dataclass(frozen=True, slots=True)
class SettlePerp:
    """Turn the profit of an account's perpetual into cash; ``account_nonce`` is the account's now."""

    account: int
    underlying: int
    account_nonce: int
    kind: ClassVar[str] = "settle_perp"

    @property
    def subject(self) -> str:
        return f"{self.account}:{self.underlying}"

    @property
    def epoch(self) -> int:
        return self.account_nonce

    @property
    def call(self) -> ContractCall:
        return ContractCall("MarginAccounts", "settle_perp", (self.account, self.underlying))


@dataclass(frozen=True, slots=True)
class SettleOptions:
    """Turn an account's expired options of one underlying into cash."""

    account: int
    underlying: int
    account_nonce: int
    kind: ClassVar[str] = "settle_options"

    @property
    def subject(self) -> str:
        return f"{self.account}:{self.underlying}"

    @property
    def epoch(self) -> int:
        return self.account_nonce

    @property
    def call(self) -> ContractCall:
        return ContractCall("MarginAccounts", "settle_options", (self.account, self.underlying))


@dataclass(frozen=True, slots=True)
class SettleExpiry:
    """Fix the settlement price of an expiry with the oracle round that was current at it."""

    underlying: int
    expiry: int
    round_id: int
    kind: ClassVar[str] = "settle_expiry"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return self.expiry

    @property
    def call(self) -> ContractCall:
        return ContractCall("InstrumentRegistry", "settle_expiry", (self.underlying, self.expiry, self.round_id))


@dataclass(frozen=True, slots=True)
class SetFundingRate:
    """Set the funding rate of a perpetual, USD wad per unit and second; ``decided_at`` in unix seconds."""

    underlying: int
    rate_wad_per_s: int
    decided_at: int
    kind: ClassVar[str] = "set_funding_rate"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return self.decided_at

    @property
    def call(self) -> ContractCall:
        return ContractCall("InstrumentRegistry", "set_funding_rate", (self.underlying, self.rate_wad_per_s))


@dataclass(frozen=True, slots=True)
class RecordPrice:
    """Record the present good price as the fall-back of a feed (oracle kind 0 underlying, 1 collateral)."""

    oracle_kind: int
    id: int
    updated_at: int
    kind: ClassVar[str] = "record_price"

    @property
    def subject(self) -> str:
        return f"{self.oracle_kind}:{self.id}"

    @property
    def epoch(self) -> int:
        return self.updated_at

    @property
    def call(self) -> ContractCall:
        return ContractCall("PriceOracle", "record", (self.oracle_kind, self.id))
