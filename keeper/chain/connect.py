# SPDX-License-Identifier: Apache-2.0
"""From settings to the client of a chain."""

from __future__ import annotations

from urllib.parse import urlsplit

from keeper.chain.endpoint import Limits
from keeper.chain.freshness import FreshPolicy
from keeper.chain.pool_policy import PoolPolicy
from keeper.chain.rpc import Rpc, RpcOptions
from keeper.errors import ConfigError
from keeper.settings import Settings
from keeper.settings_sections import RpcEndpoint, RpcPool


def rpc_of(settings: Settings) -> Rpc:
    """Client of the settings' endpoints; nothing is asked yet.

    Raises
    ------
    ConfigError
        There is no endpoint, or ``rpc.endpoints`` names one that is not used.
    """
    reads, sends = settings.endpoints, settings.send_endpoints
    rpc = Rpc.connect(reads, send_url=sends, timeout_s=settings.rpc_timeout_s, options=rpc_options(settings))
    used = {urlsplit(url).netloc.rpartition("@")[2].lower() for url in (*reads, *sends)}
    unknown = sorted(name for name in settings.rpc.endpoints if name.lower() not in used)
    if unknown:
        raise ConfigError(
            f"setting 'rpc.endpoints' names {unknown[0]}, which is no endpoint in use ({', '.join(sorted(used))}); "
            "write its host, with the port where the URL has one"
        )
    return rpc


def rpc_options(settings: Settings) -> RpcOptions:
    """Rules of the pool as the settings say."""
    said = settings.rpc
    fresh = FreshPolicy(stale_s=settings.stale_after_s, max_lag_blocks=said.max_lag_blocks)
    policy = PoolPolicy(
        fresh=fresh,
        probe_s=said.probe_s,
        still_s=said.still_s,
        chain_check_s=said.chain_check_s,
        pause_s=said.pause_s,
        max_pause_s=said.max_pause_s,
        max_wait_s=said.max_wait_s,
        spread=said.spread,
    )
    named = {name.lower(): _limits(each) for name, each in said.endpoints.items()}
    return RpcOptions(policy, _limits(said), named)


def _limits(said: RpcPool | RpcEndpoint) -> Limits:
    weight = said.weight if isinstance(said, RpcEndpoint) else 1
    return Limits(weight, said.requests_per_s, said.burst, said.max_log_range)
