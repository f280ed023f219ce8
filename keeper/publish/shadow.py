# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: go on as if everything that was decided had been published, and publish nothing.

Pages and scenarios are planned on the later of what lives on chain and what the shadow would have put there, so that
triggers come as often as they would. Margin is always judged by what lives. Parameters are planned on the chain's own:
what a push would change depends on limits in time that only the contract keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keeper.actions import Action, ChallengeRow, ParameterBatch, PublishJoint, PublishPage
from keeper.domain import JointStatus, PageStatus, Snapshot, TableStatus, Unknown
from keeper.publish.approvals import digest_of
from keeper.publish.check import joint_of, page_of
from risk.page import ROW_BYTES


@dataclass(slots=True)
class Shadow:
    """What would live if the shadow had published: its last page of each underlying, scenarios and batches."""

    pages: dict[int, PublishPage] = field(default_factory=dict)
    joint: PublishJoint | None = None
    batches: set[bytes] = field(default_factory=set)
    challenged: set[bytes] = field(default_factory=set)

    def take(self, action: Action) -> bool:
        """Remember an action as done; False where the same batch was done before."""
        if isinstance(action, PublishPage):
            self.pages[action.underlying] = action
        elif isinstance(action, PublishJoint):
            self.joint = action
        elif isinstance(action, ParameterBatch):
            digest = digest_of(action)
            if digest in self.batches:
                return False
            self.batches.add(digest)
        elif isinstance(action, ChallengeRow):
            if action.rows_hash in self.challenged:
                return False
            self.challenged.add(action.rows_hash)
        return True

    def planning(self, snapshot: Snapshot) -> Snapshot:
        """Snapshot to plan pages on."""
        table, market = snapshot.table, snapshot.market
        if isinstance(table, Unknown) or isinstance(market, Unknown):
            return snapshot
        newer = {u: page for u, page in self.pages.items() if u in table.pages and _newer(page, table.pages[u])}
        joint = self.joint if self.joint is not None and self.joint.joint_epoch > table.joint.epoch else None
        status = TableStatus(
            table.joint if joint is None else _joint_status(joint, table.joint),
            _statuses(table.pages, newer),
        )
        assumed = replace(
            market,
            pages={**market.pages, **{u: page_of(page) for u, page in newer.items()}},
            joint=market.joint if joint is None else joint_of(joint),
        )
        return replace(snapshot, table=status, market=assumed)


def _newer(page: PublishPage, living: PageStatus) -> bool:
    return living.address is None or page.header.observed_at > living.observed_at


def _statuses(pages: Mapping[int, PageStatus], newer: Mapping[int, PublishPage]) -> dict[int, PageStatus]:
    """Status of each page; epoch numbers stay those of the chain, which the contract's checks want."""
    found = dict(pages)
    for u, action in newer.items():
        header = action.header
        found[u] = replace(
            pages[u],
            address=page_of(action).address,
            observed_at=header.observed_at,
            expires_at=header.expires_at,
            reference_price_wad=header.reference_price_wad,
            lane_unit_wad=header.lane_unit_wad,
            step_e9=header.step_e9,
            atm_vol_bps=header.atm_vol_bps,
            rows=len(action.rows) // ROW_BYTES,
        )
    return found


def _joint_status(action: PublishJoint, living: JointStatus) -> JointStatus:
    return JointStatus(joint_of(action).address, living.epoch, len(action.scenarios) // 32, action.expires_at)
