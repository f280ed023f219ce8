# SPDX-License-Identifier: Apache-2.0
"""From settings to the co-signing service and to those who ask."""

from __future__ import annotations

import time
from collections.abc import Callable

from keeper.cosign.commitments import Commitments
from keeper.cosign.judge import Judge
from keeper.cosign.quorum import Peer, Quorum
from keeper.cosign.routes import cosign_routes
from keeper.cosign.service import Cosigner
from keeper.errors import ConfigError
from keeper.observe.server import ObserveServer
from keeper.ports import Chain
from keeper.publish.check import PageGuard
from keeper.publish.signing import Publisher
from keeper.publish.wire import tolerance_of
from keeper.settings import Settings
from keeper.store import Store
from risk.types import ParameterSet


def _now() -> int:
    return int(time.time())


def commitments_of(publisher: Publisher, store: Store) -> Commitments:
    """What a publisher's key has signed."""
    return Commitments(store, publisher.chain_id, publisher.table, publisher.signer.address)


def quorum_of(settings: Settings, chain: Chain, store: Store, publisher: Publisher) -> Quorum:
    """Who is asked for signatures; without peers only a quorum of one is ever complete."""
    cosign = settings.cosign
    return Quorum(
        publisher=publisher,
        chain=chain,
        peers=tuple(Peer(peer.url.get_secret_value(), peer.signer) for peer in cosign.peers),
        commitments=commitments_of(publisher, store),
        timeout_s=cosign.timeout_s,
        turn_s=cosign.turn_s,
        clock=_now,
    )


def server_of(
    settings: Settings, chain: Chain, store: Store, publisher: Publisher, target: Callable[[], ParameterSet | None]
) -> ObserveServer:
    """The service on its port; ``chain`` must be a client of its own, as it is used beside the cycle.

    Raises
    ------
    ConfigError
        There are no peers, or the address cannot be bound.
    """
    cosign, rules = settings.cosign, settings.publisher
    if not cosign.peers:
        raise ConfigError("co-signing answers peers only; add [[cosign.peers]] with url and signer of each")
    judge = Judge(
        chain=chain,
        target=target,
        validity_s=rules.validity_s,
        tolerance=tolerance_of(settings),
        guard=PageGuard(rules.max_page_newly_liquidatable_bps, rules.max_page_newly_liquidatable),
    )
    service = Cosigner(
        publisher,
        judge,
        commitments_of(publisher, store),
        [peer.signer for peer in cosign.peers],
        per_minute=cosign.requests_per_minute,
        busy_s=cosign.timeout_s / 2,
        clock=_now,
    )
    routes = cosign_routes(service, max_body_bytes=cosign.max_body_bytes, timeout_s=cosign.timeout_s)
    return ObserveServer(cosign.host, cosign.port, routes, "cosign.port")
