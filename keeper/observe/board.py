# SPDX-License-Identifier: Apache-2.0
"""One place where a cycle reports to: turns what happened into metrics and health stamps."""

from __future__ import annotations

from collections.abc import Mapping

from keeper.assess import Parity, least_share_of, liquidatable, unknown_of, worst_of
from keeper.decide import Situation
from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from keeper.observe.health import LEADER, STANDBY, HealthBoard
from keeper.observe.metrics import UNKNOWN, Metrics
from keeper.publish.triggers import drift_steps
from keeper.sanity import Look
from risk.market.history import utc

WAD = 10**18
CYCLE, HEAD, ACCOUNTS, PRICES, DATABASE = "cycle", "head_block", "accounts", "prices", "database"
OF_LEADER = (CYCLE, ACCOUNTS, PRICES)  # a standby does no cycles


def standing_limits(cycle_interval_s: float) -> dict[str, float]:
    """Greatest healthy ages, in seconds, for a loop of this interval."""
    few = max(60.0, 5 * cycle_interval_s)
    return {CYCLE: few, HEAD: max(120.0, few), ACCOUNTS: few, PRICES: 2 * 86_400.0, DATABASE: few}


class Instruments:
    """Metrics and health of one keeper."""

    def __init__(self, metrics: Metrics, health: HealthBoard) -> None:
        self.metrics = metrics
        self.health = health

    def head(self, snapshot: Snapshot) -> None:
        """A block was read, whether or not accounts were."""
        self.metrics.block_number.set(snapshot.block.number)
        self.health.stamp(HEAD, snapshot.block.timestamp)

    def role(self, leads: bool, now: float) -> None:
        """The database said who may send; this instance leads or stands by."""
        self.metrics.lease_held.set(1 if leads else 0)
        if not leads:
            self.metrics.stand_by()
        self.health.serve_as(LEADER if leads else STANDBY, now)
        self.health.stamp(DATABASE, now)

    def cycle(self, result: str, duration_s: float, now: float) -> None:
        """A turn ended."""
        self.metrics.cycles_total.labels(result).inc()
        self.metrics.last_cycle_at.labels(result).set(now)
        self.metrics.cycle_seconds.observe(duration_s)
        self.health.stamp(CYCLE, now)
        self.health.stamp(DATABASE, now)  # the cycle's row is written

    def failed(self, now: float) -> None:
        """A turn broke off; the health stamp of the last good one stays and grows old."""
        self.metrics.cycles_total.labels("error").inc()
        self.metrics.last_cycle_at.labels("error").set(now)

    def action(self, kind: str, result: str) -> None:
        """An action had an outcome."""
        self.metrics.actions_total.labels(kind, result).inc()

    def parity(self, parity: Parity) -> None:
        """Accounts were compared with the engine."""
        self.metrics.parity_checks_total.inc(len(parity.checked))
        self.metrics.parity_mismatches_total.inc(len(parity.mismatches))
        self.metrics.model_parity_error.set(len(parity.mismatches))

    def sanity(self, look: Look) -> None:
        """Oracle prices were compared with sources outside the chain."""
        self.metrics.prices_trusted.set(1 if look.trusted else 0)
        for symbol, bps in look.bps.items():
            self.metrics.price_deviation_bps.labels(symbol).set(bps)

    def halt(self, part: str, why: str) -> None:
        """A part was stopped."""
        self.metrics.halted.labels(part).set(1)
        self.health.halt(part, why)

    def halts(self, parts: Mapping[str, int]) -> None:
        """Parts that are stopped according to the database, since when (unix s): after a restart, after a resume."""
        before = self.health.halts()
        for part, since in parts.items():
            if part not in before:
                self.halt(part, f"since {utc(since)}")
        for part in before.keys() - parts.keys():
            self.metrics.halted.labels(part).set(0)
            self.health.resume(part)

    def book(self, situation: Situation, now: float) -> None:
        """The snapshot's numbers."""
        snapshot, found = situation.snapshot, situation.assessments
        unknown, worst = unknown_of(found), worst_of(found)
        self.head(snapshot)
        self.metrics.accounts.labels("known").set(len(found) - len(unknown))
        self.metrics.accounts.labels("unknown").set(len(unknown))
        self.metrics.liquidatable_accounts.set(len(liquidatable(found)))
        self.metrics.min_health_usd.set(UNKNOWN if worst is None else worst[1] / WAD)
        self.metrics.min_health_percent.set(UNKNOWN if worst is None else 100.0 * least_share_of(found))
        unread = min((item.since for item in unknown.values()), default=now)
        self.health.stamp(ACCOUNTS, unread)
        self.metrics.unknown_oldest_seconds.set(max(0.0, now - unread))
        for phase in (Phase.SOLVENT, Phase.INSOLVENT):
            count = sum(isinstance(a, AuctionState) and a.phase == phase for a in snapshot.auctions.values())
            self.metrics.auctions.labels(phase.name.lower()).set(count)
        if not isinstance(situation.shortfall_wad, Unknown):
            self.metrics.shortfall_usd.set(situation.shortfall_wad / WAD)
        if not isinstance(situation.limited, Unknown):
            self.metrics.withdrawals_limited.set(int(situation.limited))
        self._published(snapshot)

    def _published(self, snapshot: Snapshot) -> None:
        now = snapshot.block.timestamp
        if not isinstance(snapshot.prices, Unknown):
            ages = [now - price.updated_at for price in snapshot.prices.values()]
            for (kind, number), price in snapshot.prices.items():
                if kind == 0:
                    self.metrics.price_age_seconds.labels(str(number)).set(now - price.updated_at)
            self.health.stamp(PRICES, now - max(ages, default=0))
        if not isinstance(snapshot.table, Unknown) and snapshot.table.joint.address is not None:
            self.metrics.joint_expires_in_seconds.set(snapshot.table.joint.expires_at - now)
        if not isinstance(snapshot.table, Unknown) and not isinstance(snapshot.prices, Unknown):
            for u, page in snapshot.table.pages.items():
                if page.address is not None:
                    self.metrics.table_epoch.labels(str(u)).set(page.epoch)
                    self.metrics.table_age_seconds.labels(str(u)).set(now - page.observed_at)
                    steps = drift_steps(page, snapshot.prices[0, u].price_wad)
                    self.metrics.table_drift_steps.labels(str(u)).set(steps)
                    self.metrics.table_expires_in_seconds.labels(str(u)).set(page.expires_at - now)
        if not isinstance(snapshot.parameters, Unknown):
            self.metrics.parameters_age_seconds.set(now - snapshot.parameters.pushed_at)
            self.metrics.parameters_valid_for_seconds.set(snapshot.parameters.valid_until - now)
