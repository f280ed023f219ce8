# SPDX-License-Identifier: Apache-2.0
"""The page's only door to the keeper: what the last turn saw and did, and what stands around it.

The cycle hands over one immutable view after each turn, by a single assignment; everything else is worked out by the
thread that serves the page, when somebody looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from keeper import __version__
from keeper.app import Keeper
from keeper.chain.endpoint import EndpointState
from keeper.chain.rpc import Rpc
from keeper.decide import Situation
from keeper.domain import AuctionState, Block, Phase, Snapshot, Unknown
from keeper.judged import Judged
from keeper.logging import scrub
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.page.database import ReadOnlyDatabase
from keeper.report import CycleReport
from keeper.service import JobStatus
from risk.onchain import Assessment, ChainMarket

WAD = 10**18
STATES = ("unknown", "liquidatable", "in doubt", "in auction", "below initial", "healthy")
UNKNOWN, LIQUIDATABLE, IN_DOUBT, IN_AUCTION, BELOW_INITIAL, HEALTHY = range(len(STATES))
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class View:
    """One finished turn; ``number`` counts the turns of this process, ``at`` is the unix time (s) of its end."""

    number: int
    at: float
    situation: Situation
    report: CycleReport

    @property
    def snapshot(self) -> Snapshot:
        """What the turn read."""
        return self.situation.snapshot

    @property
    def block(self) -> Block:
        """The block all of it is of."""
        return self.situation.snapshot.block

    def assessment(self, account: int) -> Assessment | Unknown | None:
        """Of one account; None where it is not in the view."""
        return self.situation.assessments.get(account)

    def auction(self, account: int) -> AuctionState | Unknown | None:
        """Of one account."""
        return self.snapshot.auctions.get(account)

    def words(self, account: int) -> tuple[int, ...] | Unknown | None:
        """State words of one account."""
        return self.snapshot.accounts.get(account)

    @property
    def market(self) -> ChainMarket | Unknown:
        """What the twin reads beside an account."""
        return self.snapshot.market

    def only(self, account: int) -> Snapshot:
        """The snapshot with one account, for what explains it."""
        words = self.snapshot.accounts[account]
        auction = self.snapshot.auctions.get(account)
        auctions = {} if auction is None else {account: auction}
        return replace(self.snapshot, accounts={account: words}, auctions=auctions)


@dataclass(frozen=True, slots=True)
class Columns:
    """All accounts as columns, one entry an account, amounts in USD; NaN where the account is unknown.

    ``state`` is an index of `STATES`.
    """

    number: Integers
    state: Integers
    equity: Floats
    im: Floats
    mm: Floats
    mm_health: Floats
    im_health: Floats
    doubt: Floats
    cover: Floats

    def __len__(self) -> int:
        return len(self.number)


def columns(view: View) -> Columns:
    """Columns of a view; ``cover`` is maintenance equity over maintenance margin, infinite without a requirement."""
    found = view.situation.assessments
    number = np.fromiter(found, dtype=np.int64, count=len(found))
    results = found.rough() if isinstance(found, Judged) else found.values()
    known = [None if isinstance(item, Unknown) else item for item in results]
    table = np.array([_amounts(item) for item in known], dtype=np.float64).reshape(-1, 6) / WAD
    equity, equity_im, equity_mm, im, mm, doubt = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = np.where(mm > 0, equity_mm / mm, np.where(equity_mm < 0, -np.inf, np.inf))
    cover[np.isnan(mm)] = np.nan
    auctions = view.snapshot.auctions
    state = [_state(item, auctions.get(account)) for account, item in zip(found, known, strict=True)]
    return Columns(
        number=number,
        state=np.array(state, dtype=np.int64),
        equity=equity,
        im=im,
        mm=mm,
        mm_health=equity_mm - mm,
        im_health=equity_im - im,
        doubt=doubt,
        cover=cover,
    )


def _amounts(item: Assessment | None) -> tuple[float, ...]:
    if item is None:
        return (np.nan,) * 6
    return (item.equity_mark, item.equity_im, item.equity_mm, item.im, item.mm, item.doubt)


def _state(item: Assessment | None, auction: AuctionState | Unknown | None) -> int:
    if item is None:
        return UNKNOWN
    if isinstance(auction, AuctionState) and auction.phase != Phase.NONE:
        return IN_AUCTION
    if item.liquidatable:
        return LIQUIDATABLE
    if item.mm_health < 0:
        return IN_DOUBT
    return BELOW_INITIAL if item.im_health < 0 else HEALTHY


class Feed:
    """Holds the latest view. The cycle's thread writes it, those of the page read it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._view: View | None = None
        self._columns: tuple[int, Columns] | None = None
        self._lock = threading.Lock()  # between readers; the writer never takes it

    def turned(self, situation: Situation, report: CycleReport) -> None:
        """Take what a turn saw and did."""
        number = 1 if self._view is None else self._view.number + 1
        self._view = View(number, self._clock(), situation, report)

    @property
    def view(self) -> View | None:
        """The latest view; None before the first turn."""
        return self._view

    def columns(self, view: View) -> Columns:
        """Columns of a view, worked out once."""
        with self._lock:
            if self._columns is None or self._columns[0] != view.number:
                self._columns = (view.number, columns(view))
            return self._columns[1]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An RPC endpoint by host and port: the rest of its URL is often a key.

    ``trouble`` says why it is not asked or not believed, empty where it is; ``head_at`` is the unix time (s) of the
    newest block it told of.
    """

    host: str
    use: str
    head: int | None
    head_at: int | None
    failures: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that the page shows, as functions that any thread may call.

    ``sends`` is false in a dry run; ``shadow``: what would be published is only recorded.
    """

    chain_id: int
    network: str
    sends: bool
    interval_s: float
    clock: Callable[[], float]
    feed: Feed
    health: HealthBoard
    metrics: Metrics
    database: ReadOnlyDatabase
    names: Callable[[], Mapping[int, str]]
    jobs: Callable[[], Sequence[JobStatus]]
    endpoints: Callable[[], Sequence[Endpoint]]
    shadow: bool = False
    version: str = __version__


def source_of(keeper: Keeper, sends: bool, jobs: Callable[[], Sequence[JobStatus]]) -> Source:
    """Tie a feed to a keeper's cycle and collect what the page reads."""
    settings = keeper.connection.settings
    feed = Feed(keeper.clock.now)
    keeper.cycle.show = feed.turned
    return Source(
        chain_id=keeper.connection.chain.chain_id,
        network=settings.network,
        sends=sends,
        interval_s=settings.cycle_interval_s,
        clock=keeper.clock.now,
        feed=feed,
        health=keeper.health,
        metrics=keeper.metrics,
        database=ReadOnlyDatabase(settings.database_url.get_secret_value()),
        names=lambda: keeper.cycle.collateral_names,
        jobs=jobs,
        endpoints=lambda: endpoints(keeper.connection.chain.rpc),
        shadow=settings.publisher.shadow,
    )


def endpoints(rpc: Rpc) -> tuple[Endpoint, ...]:
    """What the pools know of each endpoint."""
    readers, *senders = rpc.pools
    found = [_endpoint(state, "read" if senders else "read, send") for state in readers.states]
    return (*found, *(_endpoint(state, "send") for pool in senders for state in pool.states))


def _endpoint(state: EndpointState, use: str) -> Endpoint:
    trouble = state.stale
    if state.wrong_chain is not None:
        trouble = f"it is on chain {state.wrong_chain}"
    elif state.failures and state.rest_why:
        trouble = state.rest_why
    head = state.head
    return Endpoint(
        host=state.name,
        use=use,
        head=None if head is None else head.number,
        head_at=None if head is None else head.timestamp,
        failures=state.failures,
        trouble=scrub(trouble),
    )
