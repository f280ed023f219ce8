# SPDX-License-Identifier: Apache-2.0
"""Observe: everything a decision needs, read at one block.

The snapshot holds the chain's state; this adds what only running auctions, bids and expiries need: the auction's
settings, the bids possible on each one, the price of gas, the oracle rounds that settle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from keeper.actions import ExecuteProposal
from keeper.assess import Assessments
from keeper.decide import NOT_READ, Policy, Situation
from keeper.domain import AuctionSettings, Block, ContractCall, Phase, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.index.proposals import QueuedProposal
from keeper.liquidate.clock import running
from keeper.liquidate.sizing import BidPolicy, Preview
from keeper.ports import Chain
from keeper.publish.queue import ParameterQueue, read_queue
from keeper.settlement import find_rounds
from risk.types import ParameterSet

WAD = 10**18
AUCTION = "LiquidationAuction"


class Quotes(Protocol):
    """Where the native token's price in USD comes from."""

    def native_usd_wad(self, snapshot: Snapshot) -> int | Unknown:
        """USD wad per native token at the block of the snapshot."""


class NativePrice:
    """The native token's price: the operator's fixed number, else the oracle's price of the underlying of that name.

    Parameters
    ----------
    symbol
        Name of the native token among the underlyings.
    fixed_usd
        Used in place of the oracle where the token is not listed.
    """

    def __init__(self, symbol: str, fixed_usd: Decimal | None = None) -> None:
        self._symbol = symbol
        self._fixed = fixed_usd

    def native_usd_wad(self, snapshot: Snapshot) -> int | Unknown:
        """USD wad per native token."""
        if self._fixed is not None:
            return int(self._fixed * WAD)
        now = snapshot.block.timestamp
        if isinstance(snapshot.underlyings, Unknown) or isinstance(snapshot.prices, Unknown):
            return Unknown("underlyings and prices could not be read", now)
        for number, info in snapshot.underlyings.items():
            price = snapshot.prices.get((0, number))
            if info.symbol == self._symbol and price is not None and not price.dead:
                return price.price_wad
        return Unknown(
            f"the native token {self._symbol} has no living oracle price; set liquidator.native_usd in the settings",
            now,
        )


def observe(
    chain: Chain,
    snapshot: Snapshot,
    assessments: Assessments,
    policy: Policy,
    quotes: Quotes,
    recorded: Mapping[tuple[int, int], int],
    target: ParameterSet | None,
    collateral_names: Mapping[int, str],
    queued: Sequence[QueuedProposal] = (),
    contested: Mapping[int, int] | None = None,
) -> Situation:
    """Complete a snapshot into a situation; nothing is asked of the chain that nothing needs.

    ``queued`` are proposals that events tell of; the chain says which of them may be executed. ``contested`` counts
    bids in a row that were lost to a changed nonce, by account.
    """
    queue = _queue(chain, snapshot, queued) if policy.push is not None else NOT_READ
    limits = _table_limits(chain, snapshot.block) if policy.pages is not None and target is not None else NOT_READ
    base = Situation(
        snapshot=snapshot,
        assessments=assessments,
        vol_steps_bps=limits if isinstance(limits, Unknown) else (limits[5], limits[6]),
        page_interval_s=0 if isinstance(limits, Unknown) else limits[0],
        rounds=find_rounds(chain, snapshot) if policy.settle else {},
        proposals=_executable(queue, snapshot.block.timestamp),
        queue=queue,
        recorded=recorded,
        contested=contested or {},
        target=target,
        collateral_names=collateral_names,
    )
    return _with_auctions(chain, base, policy, quotes)


def _with_auctions(chain: Chain, base: Situation, policy: Policy, quotes: Quotes) -> Situation:
    """Add what running auctions need; without any nothing is asked."""
    snapshot = base.snapshot
    accounts = [account for account, _ in running(snapshot)]
    if not policy.liquidate or not accounts:
        return base
    known = _with_terms(chain, base)
    if policy.bids is None:
        return known
    native_usd_wad = quotes.native_usd_wad(snapshot)
    return replace(
        known,
        native_usd_wad=native_usd_wad,
        previews=read_previews(chain, snapshot.block, accounts, policy.bids),
        mega_gas_wad=_mega_gas(chain, native_usd_wad, snapshot.block.timestamp),
    )


def _with_terms(chain: Chain, base: Situation) -> Situation:
    """Add the auctions' settings and what the contracts know of all of them."""
    block = base.snapshot.block
    calls = [
        ContractCall(AUCTION, "settings"),
        ContractCall("PriceOracle", "is_live"),
        ContractCall(AUCTION, "withdrawals_limited"),
        ContractCall(AUCTION, "shortfall_wad"),
    ]
    raw, live, limited, shortfall_wad = (
        Unknown(str(answer), block.timestamp) if isinstance(answer, KeeperError) else answer
        for answer in chain.call_many(calls, block)
    )
    settings = raw if isinstance(raw, Unknown) else AuctionSettings(*raw)
    return replace(base, auction=settings, live=live, limited=limited, shortfall_wad=shortfall_wad)


def _executable(queue: ParameterQueue | Unknown, now: int) -> tuple[ExecuteProposal, ...]:
    """Open proposals whose time has come, by the clock of the block."""
    if isinstance(queue, Unknown):
        return ()
    due = (item for item in queue.proposals if item.eta <= now <= item.until and not item.stale)
    return tuple(ExecuteProposal(item.id, item.changes) for item in due)


def _queue(chain: Chain, snapshot: Snapshot, queued: Sequence[QueuedProposal]) -> ParameterQueue | Unknown:
    """Limits in time, last changes and open proposals of the parameters."""
    words = snapshot.parameter_words
    return words if isinstance(words, Unknown) else read_queue(chain, snapshot.block, words, queued)


def _table_limits(chain: Chain, block: Block) -> tuple[int, ...] | Unknown:
    """``RiskTable.limits``: [0] s between two pages, [5] and [6] largest steps (bps) of a volatility up and down."""
    try:
        limits: tuple[int, ...] = chain.call(ContractCall("RiskTable", "limits"), block=block)
    except KeeperError as error:
        return Unknown(str(error), block.timestamp)
    return limits


def read_previews(
    chain: Chain, block: Block, accounts: Sequence[int], policy: BidPolicy
) -> dict[int, Preview | Unknown]:
    """What the largest bid on each auction would do at the block; the contract caps it itself."""
    found = preview_many(chain, block, [(account, policy.max_fraction_wad) for account in accounts])
    return dict(zip(accounts, found, strict=True))


def preview_many(chain: Chain, block: Block, bids: Sequence[tuple[int, int]]) -> list[Preview | Unknown]:
    """``preview_bid`` of many (account, fraction wad) at a block."""
    calls = [ContractCall(AUCTION, "preview_bid", pair) for pair in bids]
    return [
        Unknown(str(raw), block.timestamp) if isinstance(raw, KeeperError) else Preview(Phase(raw[0]), *raw[1:])
        for raw in (chain.call_many(calls, block) if calls else ())
    ]


def _mega_gas(chain: Chain, native_usd_wad: int | Unknown, now: int) -> int | Unknown:
    """Cost of a million units of gas, USD wad."""
    if isinstance(native_usd_wad, Unknown):
        return native_usd_wad
    try:
        fees = chain.fees()
    except KeeperError as error:
        return Unknown(str(error), now)
    return (fees.base_fee_wei + fees.priority_fee_wei) * 10**6 * native_usd_wad // WAD
