# SPDX-License-Identifier: Apache-2.0
"""The keeper as it is in production, with the chain's own time and a database of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from keeper.assess import ParityPolicy
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.rpc import Rpc
from keeper.cycle import Cycle
from keeper.decide import Policy
from keeper.domain import Snapshot
from keeper.index.indexer import Indexer
from keeper.index.proposals import queued_proposals
from keeper.liquidate.sizing import BidPolicy
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.outbox import SenderOutbox
from keeper.publish.calibration import PriceBook, collateral_specs, recalibrate
from keeper.publish.parameters import PushPolicy
from keeper.publish.signing import Publisher
from keeper.publish.triggers import PagePolicy
from keeper.recorder import Recorder
from keeper.report import CycleReport
from keeper.settings_sections import WEI_PER_ETHER, WEI_PER_GWEI
from keeper.situation import NativePrice
from keeper.store import Store
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, SendPolicy
from keeper.tx.signer import LocalSigner
from risk.config import CalibrationConfig
from risk.types import ParameterSet

WAD = 10**18


@dataclass(slots=True)
class ChainClock:
    """Implements `keeper.ports.Clock` with the time of the head block: the demonstration lives in chain time."""

    rpc: Rpc

    def now(self) -> int:
        """Unix time of the head."""
        return self.rpc.block().timestamp

    def sleep(self, seconds: float) -> None:
        """Chain time passes by transactions and by the hours played, never by waiting."""


def policies(bidder_account: int) -> Policy:
    """What the demonstration's operator allows: everything, with the guards of a careful one."""
    return Policy(
        liquidate=True,
        reward_account=bidder_account,
        bids=BidPolicy(bidder_account=bidder_account, min_profit_wad=5 * WAD, warehouse_bps=50),
        pages=PagePolicy(drift_bps=400, vol_bps=1_000, heartbeat_s=12 * 3_600, validity_s=24 * 3_600),
        push=PushPolicy(
            deadband_bps=200,
            heartbeat_s=24 * 3_600,
            max_newly_liquidatable=2,
            max_newly_liquidatable_wad=500_000 * WAD,
        ),
        starts_per_cycle=32,
    )


class Daemon:
    """One keeper over one deployment: calibrates, publishes, pushes, liquidates."""

    def __init__(
        self,
        rpc: Rpc,
        deployed: Iterable[Deployed],
        multicall: str | None,
        store: Store,
        signer: LocalSigner,
        book: PriceBook,
    ) -> None:
        chain_id = rpc.chain_id()
        self.chain = ChainClient(rpc, Contracts(deployed), chain_id, multicall=multicall)
        self.chain.start()
        self.clock = ChainClock(rpc)
        self.book = book
        self.metrics = Metrics("demo", chain_id)
        journal = Journal(store, chain_id, signer.address)
        policy = SendPolicy(
            fees=FeeCaps(500 * WEI_PER_GWEI, 5 * WEI_PER_GWEI),
            per_transaction_wei=WEI_PER_ETHER,
            per_day_wei=1_000 * WEI_PER_ETHER,
            confirmations=1,
        )
        self.sender = Sender(self.chain, journal, signer, self.clock, policy)
        self.cycle = Cycle(
            chain=self.chain,
            clock=self.clock,
            recorder=Recorder(store, chain_id),
            instruments=Instruments(self.metrics, HealthBoard({}, self.clock.now())),
            alerts=Alerts(self.metrics),
            quotes=NativePrice("ETH"),
            policy=policies(0),
            parity_policy=ParityPolicy(sample=16),
            outbox=SenderOutbox(self.sender, journal, None),
            sender=signer.address,
            proposals=partial(queued_proposals, store, chain_id),
            publisher=Publisher(signer, chain_id, self.chain.contracts.addresses["RiskTable"]),
        )
        self.index = Indexer(self.chain, store, start_block=0)

    def use(self, target: ParameterSet, collateral_names: Mapping[int, str]) -> None:
        """Publish and push from this parameter set from now on."""
        self.cycle.target = target
        self.cycle.collateral_names = collateral_names

    def bid_with(self, account: int) -> None:
        """Bid into this account."""
        self.cycle.policy = policies(account)

    def recalibrate(self, snapshot: Snapshot, config: CalibrationConfig) -> None:
        """Calibrate on the past and on the prices that the chain has shown since."""
        specs = collateral_specs(self.cycle.collateral_names, snapshot)
        now = snapshot.block.timestamp
        self.cycle.target = recalibrate(self.book.history, specs, self.cycle.target, now, config)

    def turn(self) -> CycleReport:
        """One turn of the keeper's loop, with the events up to the head."""
        self.index.sync()
        return self.cycle.run()
