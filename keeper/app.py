# SPDX-License-Identifier: Apache-2.0
"""Wiring: from settings to a keeper that runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from keeper import __version__
from keeper.actions import RecordPrice
from keeper.chain.client import ChainClient
from keeper.chain.connect import rpc_of
from keeper.chain.contracts import Contracts
from keeper.chain.live import LiveReader
from keeper.cosign.wire import quorum_of
from keeper.cycle import Cycle
from keeper.deploy.manifest import Manifest, load_manifest
from keeper.domain import Snapshot, Unknown
from keeper.errors import ConfigError
from keeper.index.indexer import Indexer
from keeper.index.proposals import queued_proposals
from keeper.lease import Lease
from keeper.liquidate.hedge import HedgeHook
from keeper.observe.board import OF_LEADER, Instruments, standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.office import Office
from keeper.observe.rpc_watch import RpcInstruments
from keeper.observe.transactions import TransactionNews, announce_other_keys
from keeper.observe.upkeep import Upkeep
from keeper.outbox import SenderOutbox
from keeper.policies import check_roles, policy_of
from keeper.publish.approvals import living
from keeper.publish.calibration import PriceBook, collateral_specs, recalibrate
from keeper.publish.signing import Publisher
from keeper.publish.wire import watch_of
from keeper.recorder import Recorder
from keeper.reference import References, Source
from keeper.report import CycleReport
from keeper.sanity import PriceCheck, SanityPolicy
from keeper.settings import Settings
from keeper.situation import NativePrice
from keeper.store import Store, open_store
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import LocalSigner, load_signer


class SystemClock:
    """Implements `keeper.ports.Clock`."""

    def now(self) -> int:
        """Unix time in seconds."""
        return int(time.time())

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Connection:
    """A chain whose id and code have been checked against the manifest."""

    settings: Settings
    manifest: Manifest
    chain: ChainClient

    def collateral_names(self, snapshot: Snapshot) -> dict[int, str]:
        """Symbol of each collateral asset, by its number."""
        if isinstance(snapshot.collaterals, Unknown):
            return {}
        symbols = {address.lower(): symbol for symbol, address in self.manifest.tokens.items()}
        return {
            number: symbols[info.token.lower()]
            for number, info in snapshot.collaterals.items()
            if info.token.lower() in symbols
        }


def connect(settings: Settings) -> Connection:
    """Connect and check chain id, code and manifest before anything is believed.

    Raises
    ------
    ConfigError
        No endpoint or manifest, another chain, or an address without its code.
    Transient
        No endpoint answers.
    """
    manifest = load_manifest(settings.manifest_path)
    if manifest.chain_id != settings.expected_chain_id:
        raise ConfigError(
            f"manifest {settings.manifest_path} is of chain {manifest.chain_id}, settings expect "
            f"{settings.expected_chain_id}; give the manifest of this chain"
        )
    rpc = rpc_of(settings)
    rpc.check_chain(settings.expected_chain_id)
    multicall = settings.multicall or manifest.addresses.get("Multicall")
    chain = ChainClient(
        rpc,
        Contracts(manifest.deployed()),
        settings.expected_chain_id,
        multicall=multicall,
        batch=settings.multicall_batch,
    )
    chain.start()
    return Connection(settings, manifest, chain)


@dataclass(slots=True)
class Keeper:
    """Everything one keeper process holds."""

    connection: Connection
    store: Store
    clock: SystemClock
    metrics: Metrics
    health: HealthBoard
    indexer: Indexer
    cycle: Cycle
    office: Office
    upkeep: Upkeep
    lease: Lease | None = None
    book: PriceBook | None = None
    view: Snapshot | None = None
    references: References | None = None
    outbox: SenderOutbox | None = None
    busy: bool = False

    def turn(self) -> CycleReport | None:
        """Read new events and do one cycle; None while another instance holds the lease."""
        if self.lease is not None:
            held = self.lease.acquire()
            self.cycle.instruments.role(held is not None, self.clock.now())
            if held is None:
                return None
        return self.cycle.run()

    def look(self) -> None:
        """Read the market without accounts, append a bar to the price history when one has ended."""
        self.notice(self.connection.chain.snapshot(accounts=()))

    def notice(self, view: Snapshot) -> None:
        """Take the market of a snapshot for the present one."""
        self.view = view
        self.cycle.instruments.head(view)
        self.cycle.collateral_names = self.connection.collateral_names(view)
        if self.book is not None:
            self.book.observe(view)

    def calibrate(self) -> None:
        """Calibrate on everything known; where that fails, the previous target stays in force.

        Touches no chain client, so it may run beside the cycle.
        """
        if self.book is not None and self.view is not None:
            specs = collateral_specs(self.cycle.collateral_names, self.view)
            now = self.view.block.timestamp
            self.cycle.target = recalibrate(self.book.history, specs, self.cycle.target, now)

    @property
    def stands_by(self) -> bool:
        """Whether another instance may send; one that never sends stands for itself."""
        return self.lease is not None and self.lease.held is None

    def follow_up(self) -> None:
        """Bring open transactions forward between cycles, also while the book cannot be read."""
        if self.outbox is not None and self.lease is not None and self.lease.acquire() is not None:
            self.outbox.advance()

    def resync(self) -> None:
        """Compare the index with the contracts; one that differs is read again from the start, and an alert says so."""
        if self.stands_by:
            return
        found = self.indexer.resync(self.indexer.sync().block)
        if found.clean:
            return
        wrong = sorted({*found.invented, *found.missed})
        said = f"the index differs from the contracts in {len(wrong)} accounts ({', '.join(map(str, wrong[:10]))})"
        self.cycle.alerts.fire("index_mismatch", f"{said}; it is read again from the start", self.clock.now())
        self.indexer.rebuild()
        self.indexer.sync()

    def close(self) -> None:
        """End what runs beside the cycle, say what is left to say, give the lease back and close the database."""
        if self.references is not None:
            self.references.stop()
        if self.cycle.hedge is not None:
            self.cycle.hedge.stop()
        try:
            self.office.close()
            if self.lease is not None:
                self.lease.close()
        finally:
            self.store.close()


def build_keeper(connection: Connection, execute: bool) -> Keeper:
    """Wire a keeper.

    Parameters
    ----------
    execute
        Send, under a lease; else every action is rehearsed only.

    Raises
    ------
    ConfigError
        The settings ask for what they do not provide for.
    """
    settings, chain = connection.settings, connection.chain
    publisher = settings.publisher
    if (publisher.enabled or publisher.push_parameters) and settings.prices_dir is None:
        raise ConfigError("publishing needs price history to calibrate on; set prices_dir to a folder of price files")
    signer = load_signer(settings) if execute else _optional_signer(settings)
    if signer is not None and execute:
        check_roles(chain, settings, signer.address)
    store = open_store(settings.database_url.get_secret_value())
    clock = SystemClock()
    metrics = Metrics(__version__, chain.chain_id)
    health = HealthBoard(standing_limits(settings.cycle_interval_s), clock.now(), OF_LEADER)
    chain.rpc.watch(RpcInstruments(metrics))
    lease = Lease(store, chain.chain_id, settings.lease_s) if execute else None
    office = Office(settings, store, chain.chain_id, metrics, health, clock.now)
    cycle = _cycle(connection, store, Instruments(metrics, health), office, signer)
    outbox = None
    if execute and signer is not None:
        journal = Journal(store, chain.chain_id, signer.address, lease)
        announce_other_keys(journal, office.alerts, clock.now())
        news = TransactionNews(metrics, office.alerts, clock.now)
        sender = Sender(chain, journal, signer, clock, policy_from(settings), news)
        cycle.outbox = outbox = SenderOutbox(sender, journal, lease)
    start = settings.index.start_block if settings.index.start_block is not None else connection.manifest.start_block
    indexer = Indexer(chain, store, start_block=start, block_range=settings.index.block_range)
    book = None
    if settings.prices_dir is not None:
        book = PriceBook.open(settings.prices_dir, settings.observed_file, _symbols(chain))
    address = None if signer is None else signer.address
    least = settings.alerts.min_balance_ether
    upkeep = Upkeep(chain, store, clock, cycle.instruments, office.alerts, address, least)
    keeper = Keeper(
        connection, store, clock, metrics, health, indexer, cycle, office, upkeep, lease, book, outbox=outbox
    )
    cycle.live = LiveReader(chain, indexer, cycle.parity_policy, workers=settings.index.read_workers)
    cycle.seen = keeper.notice
    cycle.recorded = prices_recorded(store, chain.chain_id)
    _look_outside(keeper)
    return keeper


def prices_recorded(store: Store, chain_id: int) -> dict[tuple[int, int], int]:
    """When each fall-back price was last recorded, from the journal: a restart is no reason to pay for it again."""
    newest = Journal(store, chain_id, "").newest_epochs(RecordPrice.kind)
    parts = {subject: subject.split(":") for subject in newest}
    return {(int(kind), int(number)): newest[subject] for subject, (kind, number) in parts.items()}


def _look_outside(keeper: Keeper) -> None:
    """Start the comparison of prices and the hedging hook, where the settings have them."""
    settings, cycle = keeper.connection.settings, keeper.cycle
    sanity, hedge_url = settings.sanity, settings.liquidator.hedge_url
    if sanity.sources:
        sources = [Source(item.url.get_secret_value(), item.path, item.symbols) for item in sanity.sources]
        symbols = _symbols(keeper.connection.chain)
        keeper.references = References(sources, symbols, sanity.refresh_s, keeper.clock.now)
        limits = SanityPolicy(sanity.max_deviation_bps, sanity.max_age_s, sanity.required, sanity.agree)
        cycle.prices = PriceCheck(keeper.references, limits)
        keeper.references.refresh()
        keeper.references.start()
    if hedge_url is not None and cycle.policy.bids is not None:
        cycle.hedge = HedgeHook(hedge_url.get_secret_value())


def _cycle(
    connection: Connection, store: Store, instruments: Instruments, office: Office, signer: LocalSigner | None
) -> Cycle:
    """The loop's body, without the means to send."""
    settings, chain = connection.settings, connection.chain
    publisher = None
    if signer is not None:
        publisher = Publisher(signer, chain.chain_id, connection.manifest.addresses["RiskTable"])
    return Cycle(
        chain=chain,
        clock=SystemClock(),
        recorder=Recorder(store, chain.chain_id),
        instruments=instruments,
        alerts=office.alerts,
        quotes=NativePrice(settings.liquidator.native_symbol, settings.liquidator.native_usd),
        policy=policy_of(settings),
        sender=None if signer is None else signer.address,
        publisher=publisher,
        proposals=partial(queued_proposals, store, chain.chain_id),
        follower=None if office.desk is None else office.desk.offer,
        approvals=partial(living, store, chain.chain_id),
        watch=watch_of(settings, chain, store, None if signer is None else signer.address),
        quorum=quorum_of(settings, chain, store, publisher)
        if publisher is not None and settings.cosign.peers
        else None,
    )


def _optional_signer(settings: Settings) -> LocalSigner | None:
    """A dry run rehearses as the configured key where there is one."""
    given = (settings.private_key, settings.private_key_file, settings.eth_keystore, settings.eth_keystore_account)
    return load_signer(settings) if any(value is not None for value in given) else None


def _symbols(chain: ChainClient) -> tuple[str, ...]:
    """Underlyings of the chain, in order: each needs a price file."""
    view = chain.snapshot(accounts=())
    if isinstance(view.underlyings, Unknown):
        raise ConfigError(f"underlyings cannot be read ({view.underlyings.reason}); check the manifest")
    return tuple(info.symbol for _, info in sorted(view.underlyings.items()))
