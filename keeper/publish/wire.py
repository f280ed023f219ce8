# SPDX-License-Identifier: Apache-2.0
"""From settings to the publisher's parts that look at others."""

from __future__ import annotations

from functools import partial

from keeper.index.publications import published_pages
from keeper.ports import Chain
from keeper.publish.compare import Tolerance
from keeper.publish.watch import Watch
from keeper.recorder import Recorder
from keeper.settings import Settings
from keeper.store import Store


def tolerance_of(settings: Settings) -> Tolerance:
    """How far another publisher's calibration may lie from this one's."""
    cosign = settings.cosign
    return Tolerance(
        vol_bps=cosign.vol_tolerance_bps,
        ratio_bps=cosign.ratio_tolerance_bps,
        value_bps=cosign.value_tolerance_bps,
        price_bps=cosign.price_tolerance_bps,
        joint_steps=cosign.joint_tolerance_steps,
    )


def watch_of(settings: Settings, chain: Chain, store: Store, own: str | None) -> Watch | None:
    """The watch over published pages, where the settings want one."""
    if not settings.publisher.watch:
        return None
    return Watch(
        chain=chain,
        pages=partial(published_pages, store, chain.chain_id),
        own=own,
        ours=Recorder(store, chain.chain_id).built,
        tolerance=tolerance_of(settings),
        challenges=settings.publisher.challenge,
    )
