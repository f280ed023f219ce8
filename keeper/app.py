# SPDX-License-Identifier: Apache-2.0
"""Wiring: from settings to a keeper that runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from keeper import __version__
from keeper.chain.client import ChainClient
from keeper.chain.connect import rpc_of
from keeper.chain.contracts import Contracts
from keeper.cycle import Cycle, CycleReport
from keeper.decide import Policy
from keeper.deploy.manifest import Manifest, load_manifest
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import ConfigError
from keeper.index.indexer import Indexer
from keeper.index.proposals import queued_proposals
from keeper.lease import Lease
from keeper.liquidate.actions import NO_REWARD
from keeper.liquidate.hedge import HedgeHook
from keeper.liquidate.sizing import BidPolicy
from keeper.observe.board import OF_LEADER, Instruments, standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.office import Office
from keeper.observe.rpc_watch import RpcInstruments
from keeper.observe.transactions import TransactionNews, announce_other_keys
from keeper.observe.upkeep import Upkeep
from keeper.outbox import SenderOutbox
from keeper.ports import Chain
from keeper.publish.approvals import living
from keeper.publish.calibration import PriceBook, collateral_specs, recalibrate
from keeper.publish.check import PageGuard
from keeper.publish.parameters import PushPolicy
from keeper.publish.signing import Publisher
from keeper.publish.triggers import PagePolicy
from keeper.publish.wire import watch_of
from keeper.recorder import Recorder
from keeper.reference import References, Source
from keeper.sanity import PriceCheck, SanityPolicy
from keeper.settings import Settings
from keeper.situation import NativePrice
from keeper.store import Store, open_store
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import LocalSigner, load_signer

WAD = 10**18
RIGHT_MANAGE = 4  # of MarginAccounts: what bidding needs


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


def policy_of(settings: Settings) -> Policy:
    """What the settings allow."""
    liquidator, publisher = settings.liquidator, settings.publisher
    bids = None
    if liquidator.policy == "bid" and liquidator.bidder_account is not None:
        bids = BidPolicy(
            bidder_account=liquidator.bidder_account,
            min_profit_wad=int(liquidator.min_profit_usd * WAD),
            warehouse_bps=liquidator.warehouse_bps,
            max_fraction_wad=int(liquidator.max_fraction * WAD),
            min_im_health_wad=int(liquidator.min_im_health_usd * WAD),
            max_im_wad=_wad(liquidator.max_im_usd),
            max_gross_wad=_wad(liquidator.max_gross_usd),
            bids_per_cycle=liquidator.bids_per_cycle,
            any_nonce_after=liquidator.any_nonce_after,
        )
    pages = PagePolicy(
        drift_bps=publisher.drift_bps,
        vol_bps=publisher.vol_bps,
        heartbeat_s=publisher.heartbeat_s,
        validity_s=publisher.validity_s,
        drift_steps_bps=int(publisher.drift_steps * 10_000),
        ramp_s=publisher.ramp_s,
    )
    return Policy(
        liquidate=liquidator.policy != "none",
        bids=bids,
        reward_account=liquidator.bidder_account or NO_REWARD,
        pages=pages if publisher.enabled else None,
        push=push_policy(settings) if publisher.push_parameters else None,
        page_guard=PageGuard(publisher.max_page_newly_liquidatable_bps, publisher.max_page_newly_liquidatable),
        shadow=publisher.shadow,
    )


def _wad(usd: Decimal | None) -> int | None:
    return None if usd is None else int(usd * WAD)


def push_policy(settings: Settings) -> PushPolicy:
    """Guards of a parameter push."""
    publisher = settings.publisher
    return PushPolicy(
        deadband_bps=publisher.parameter_deadband_bps,
        heartbeat_s=publisher.parameter_heartbeat_s,
        max_newly_liquidatable=publisher.max_newly_liquidatable,
        max_newly_liquidatable_wad=int(publisher.max_newly_liquidatable_usd * WAD),
        require_approval=publisher.require_approval,
    )


def check_roles(chain: Chain, settings: Settings, address: str) -> None:
    """Make sure that the key may do what the settings ask of it.

    Raises
    ------
    ConfigError
        It lacks a role, or may not act for the bidder's account.
    """
    publisher, liquidator = settings.publisher, settings.liquidator
    sends = not publisher.shadow
    if sends and publisher.enabled and not chain.call(ContractCall("RiskTable", "is_publisher", (address,))):
        raise ConfigError(
            f"key {address} is no publisher of RiskTable; have governance call set_publisher, or use a publisher's key"
        )
    if sends and publisher.push_parameters and not chain.call(ContractCall("RiskParameters", "is_keeper", (address,))):
        raise ConfigError(
            f"key {address} has no keeper role on RiskParameters; have governance call set_keeper, or use its key"
        )
    if liquidator.policy == "bid":
        args = (liquidator.bidder_account, address, RIGHT_MANAGE)
        if not chain.call(ContractCall("MarginAccounts", "has_right", args)):
            raise ConfigError(
                f"key {address} may not bid for account {liquidator.bidder_account}; make it the owner or an operator "
                "with the right MANAGE, or correct liquidator.bidder_account"
            )
    elif liquidator.policy != "none" and liquidator.bidder_account is not None:
        owner = chain.call(ContractCall("MarginAccounts", "owner_of", (liquidator.bidder_account,)))
        if int(owner, 16) == 0:
            raise ConfigError(
                f"account {liquidator.bidder_account}, which is to get the rewards, does not exist; "
                "correct liquidator.bidder_account"
            )


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

    def turn(self) -> CycleReport | None:
        """Read new events and do one cycle; None while another instance holds the lease."""
        if self.lease is not None:
            held = self.lease.acquire(self.clock.now())
            self.cycle.instruments.role(held is not None, self.clock.now())
            if held is None:
                return None
        self.indexer.sync()
        return self.cycle.run()

    def look(self) -> None:
        """Read the market without accounts, append a bar to the price history when one has ended."""
        self.view = self.connection.chain.snapshot(accounts=())
        self.cycle.instruments.head(self.view)
        self.cycle.collateral_names = self.connection.collateral_names(self.view)
        if self.book is not None:
            self.book.observe(self.view)

    def calibrate(self) -> None:
        """Calibrate on everything known; where that fails, the previous target stays in force.

        Touches no chain client, so it may run beside the cycle.
        """
        if self.book is not None and self.view is not None:
            specs = collateral_specs(self.cycle.collateral_names, self.view)
            now = self.view.block.timestamp
            self.cycle.target = recalibrate(self.book.history, specs, self.cycle.target, now)

    def close(self) -> None:
        """End what runs beside the cycle, say what is left to say, give the lease back and close the database."""
        if self.references is not None:
            self.references.stop()
        if self.cycle.hedge is not None:
            self.cycle.hedge.stop()
        self.office.close()
        if self.lease is not None:
            self.lease.release(self.clock.now())
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
    if execute and signer is not None:
        journal = Journal(store, chain.chain_id, signer.address)
        announce_other_keys(journal, office.alerts, clock.now())
        news = TransactionNews(metrics, office.alerts, clock.now)
        sender = Sender(chain, journal, signer, clock, policy_from(settings), news)
        cycle.outbox = SenderOutbox(sender, journal, clock, lease)
    start = settings.index.start_block if settings.index.start_block is not None else connection.manifest.start_block
    indexer = Indexer(chain, store, start_block=start, block_range=settings.index.block_range)
    book = None
    if settings.prices_dir is not None:
        book = PriceBook.open(settings.prices_dir, settings.observed_file, _symbols(chain))
    address = None if signer is None else signer.address
    least = settings.alerts.min_balance_ether
    upkeep = Upkeep(chain, store, clock, cycle.instruments, office.alerts, address, least)
    keeper = Keeper(connection, store, clock, metrics, health, indexer, cycle, office, upkeep, lease, book)
    _look_outside(keeper)
    return keeper


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
