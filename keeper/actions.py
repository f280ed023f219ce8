# SPDX-License-Identifier: Apache-2.0
"""What the keeper may do, one frozen class for each kind of transaction; auctions are in `keeper.liquidate.actions`.

Each action has a ``kind``, a ``subject`` and an ``epoch``. Together with the chain they are the unique key of the
journal: the same action is never sent twice, and a later one differs in its epoch.
"""
# ruff: noqa: D102  (`Action` describes the three properties once for all)

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from eth_utils.crypto import keccak

from keeper.domain import ContractCall

Change = tuple[int, int, int]  # kind, id, word
Signature = tuple[str, bytes]  # publisher, signature


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
class PageHeader:
    """``IRiskTable.Header``, field for field."""

    epoch: int
    observed_at: int
    expires_at: int
    reference_price_wad: int
    lane_unit_wad: int
    step_e9: int
    atm_vol_bps: int
    vol_up_bps: int
    vol_down_bps: int
    vol_power_bps: int
    short_min_bps: int
    model_hash: bytes
    data_hash: bytes

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """Return the fields in the order of the ABI."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class PublishPage:
    """Publish the rows of one underlying; ``surfaces`` are tuples in the order of ``IRiskTable.Surface``.

    ``signatures`` are (address, signature) of registered publishers, ascending by address.
    """

    underlying: int
    header: PageHeader
    surfaces: tuple[tuple[int, ...], ...]
    rows: bytes
    signatures: tuple[Signature, ...] = ()
    kind: ClassVar[str] = "publish_page"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return self.header.epoch

    @property
    def call(self) -> ContractCall:
        args = (self.underlying, self.header.as_tuple(), self.surfaces, self.rows, self.signatures)
        return ContractCall("RiskTable", "publish", args)


@dataclass(frozen=True, slots=True)
class PublishJoint:
    """Publish the joint scenarios, 32 bytes each; ``signatures`` as of a page."""

    joint_epoch: int
    observed_at: int
    expires_at: int
    model_hash: bytes
    data_hash: bytes
    scenarios: bytes
    signatures: tuple[Signature, ...] = ()
    kind: ClassVar[str] = "publish_joint"

    @property
    def subject(self) -> str:
        return "joint"

    @property
    def epoch(self) -> int:
        return self.joint_epoch

    @property
    def call(self) -> ContractCall:
        head = (self.joint_epoch, self.observed_at, self.expires_at, self.model_hash, self.data_hash)
        return ContractCall("RiskTable", "publish_joint", (*head, self.scenarios, self.signatures))


@dataclass(frozen=True, slots=True)
class ChallengeRow:
    """Have the chain recompute a row of an epoch in force that is wrong: the epoch is revoked, its signers lose bond.

    ``header`` and ``surfaces`` as published; ``reward_raw`` is what the challenger may expect of the bonds, in raw
    units of the bond token.
    """

    underlying: int
    slot: int
    header: tuple[Any, ...]
    surfaces: tuple[tuple[int, ...], ...]
    rows_hash: bytes
    reward_raw: int
    kind: ClassVar[str] = "challenge_row"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return int(self.header[0])

    @property
    def call(self) -> ContractCall:
        args = (self.underlying, self.slot, self.header, self.surfaces, self.rows_hash)
        return ContractCall("RiskTable", "challenge", args)


@dataclass(frozen=True, slots=True)
class ParameterBatch:
    """A batch of parameter words; ``changes`` are (kind, id, word). Pushes and proposals share their nonces."""

    nonce: int
    observed_at: int
    expires_at: int
    model_hash: bytes
    data_hash: bytes
    changes: tuple[Change, ...]
    kind: ClassVar[str]
    noun: ClassVar[str]

    @property
    def subject(self) -> str:
        return "parameters"

    @property
    def epoch(self) -> int:
        return self.nonce

    def __str__(self) -> str:
        """Return what people call it: ``push 7``, ``proposal 8``."""
        return f"{self.noun} {self.nonce}"

    def _call(self, function: str) -> ContractCall:
        args = (self.nonce, self.observed_at, self.expires_at, self.model_hash, self.data_hash, self.changes)
        return ContractCall("RiskParameters", function, args)


@dataclass(frozen=True, slots=True)
class PushParameters(ParameterBatch):
    """Tighten the words of a batch."""

    kind: ClassVar[str] = "push_parameters"
    noun: ClassVar[str] = "push"

    @property
    def call(self) -> ContractCall:
        return self._call("push")


@dataclass(frozen=True, slots=True)
class ProposeParameters(ParameterBatch):
    """Announce a batch that may loosen."""

    kind: ClassVar[str] = "propose_parameters"
    noun: ClassVar[str] = "proposal"

    @property
    def call(self) -> ContractCall:
        return self._call("propose")


@dataclass(frozen=True, slots=True)
class ExecuteProposal:
    """Put an announced batch into force; ``changes`` as they were proposed."""

    id: int
    changes: tuple[Change, ...]
    kind: ClassVar[str] = "execute_proposal"

    @property
    def subject(self) -> str:
        return "parameters"

    @property
    def epoch(self) -> int:
        return self.id

    @property
    def call(self) -> ContractCall:
        return ContractCall("RiskParameters", "execute", (self.id, self.changes))


@dataclass(frozen=True, slots=True)
class SyncPeg:
    """Have the parameters take the price of the cash token in; ``due_bps`` is what they will store."""

    due_bps: int
    updated_at: int
    kind: ClassVar[str] = "sync_peg"

    @property
    def subject(self) -> str:
        return str(self.due_bps)

    @property
    def epoch(self) -> int:
        return self.updated_at

    @property
    def call(self) -> ContractCall:
        return ContractCall("RiskParameters", "sync_peg")


@dataclass(frozen=True, slots=True)
class SettleMany:
    """Turn what accounts hold of settled instruments of one underlying into cash.

    ``holders`` are (account, its nonce now). Nonces only rise, so their sum tells two settlements of the same accounts
    apart; the subject names the accounts by a digest.
    """

    underlying: int
    holders: tuple[tuple[int, int], ...]
    kind: ClassVar[str] = "settle_many"

    @property
    def accounts(self) -> tuple[int, ...]:
        """Accounts that are settled."""
        return tuple(account for account, _ in self.holders)

    @property
    def subject(self) -> str:
        digest = keccak(text=",".join(map(str, self.accounts)))[:8].hex()
        return f"{self.underlying}:{len(self.holders)}:{digest}"

    @property
    def epoch(self) -> int:
        return sum(nonce for _, nonce in self.holders)

    @property
    def call(self) -> ContractCall:
        return ContractCall("MarginAccounts", "settle_many", (self.accounts, self.underlying))


@dataclass(frozen=True, slots=True)
class SettleExpiry:
    """Fix the settlement price of an expiry with the oracle round that was current at it, and the one after it."""

    underlying: int
    expiry: int
    round_id: int
    next_round_id: int
    kind: ClassVar[str] = "settle_expiry"

    @property
    def subject(self) -> str:
        return str(self.underlying)

    @property
    def epoch(self) -> int:
        return self.expiry

    @property
    def call(self) -> ContractCall:
        args = (self.underlying, self.expiry, self.round_id, self.next_round_id)
        return ContractCall("InstrumentRegistry", "settle_expiry", args)


@dataclass(frozen=True, slots=True)
class RetireInstrument:
    """Free the slot of a settled instrument that nobody holds; ``serial`` is that of its listing."""

    instrument: int
    serial: int
    kind: ClassVar[str] = "retire"

    @property
    def subject(self) -> str:
        return str(self.instrument)

    @property
    def epoch(self) -> int:
        return self.serial

    @property
    def call(self) -> ContractCall:
        return ContractCall("InstrumentRegistry", "retire", (self.instrument,))


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


@dataclass(frozen=True, slots=True)
class FillNonce:
    """An empty transaction to ourselves with a free nonce, so that those with higher nonces can be mined."""

    address: str
    nonce: int
    kind: ClassVar[str] = "fill_nonce"

    @property
    def subject(self) -> str:
        return self.address

    @property
    def epoch(self) -> int:
        return self.nonce

    @property
    def call(self) -> ContractCall:
        return ContractCall("self", "fill_nonce", (self.nonce,))
