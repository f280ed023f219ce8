# SPDX-License-Identifier: Apache-2.0
"""One node of the pool: how it is reached, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from web3 import HTTPProvider, Web3
from web3.exceptions import BlockNotFound
from web3.providers import BaseProvider
from web3.types import BlockIdentifier

from keeper.bounded_http import bounded_session
from keeper.chain.spans import Span
from keeper.domain import Block
from keeper.errors import Behind, ConfigError

# They ask for the chain id before each call, refuse blocks of proof-of-authority chains, and look names up.
UNWANTED = ("validation", "gas_price_strategy", "ens_name_to_address")
KEPT_BLOCKS = 64  # pinned blocks remembered of an endpoint


class Endpoint:
    """One node; ``name`` is its host and port, because the rest of a URL is often a key."""

    def __init__(self, provider: BaseProvider, name: str, *, remote: bool = False) -> None:
        self.web3 = Web3(provider)
        for unwanted in UNWANTED:
            self.web3.middleware_onion.remove(unwanted)
        self.name = name
        self.remote = remote

    @classmethod
    def http(cls, url: str, timeout_s: float) -> Endpoint:
        """Connect to an HTTP endpoint.

        Raises
        ------
        ConfigError
            The URL is not http or https.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"RPC endpoint with scheme '{parts.scheme}' is not usable; give an http(s) URL with a host"
            )
        provider = HTTPProvider(
            url, {"timeout": timeout_s}, session=bounded_session(), exception_retry_configuration=None
        )
        name = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
        return cls(provider, name, remote=True)


def read_block(web3: Web3, number: int | None = None) -> Block:
    """Header of a block, the newest where ``number`` is None.

    Raises
    ------
    Behind
        The node does not have it.
    """
    asked: BlockIdentifier = "latest" if number is None else number
    try:
        got = web3.eth.get_block(asked)
    except BlockNotFound as error:
        raise Behind(f"block {asked!s} is not at the node yet; it will be tried again") from error
    block_number = whole(got["number"], 63)
    if number is not None and block_number != number:
        raise ValueError(f"block {block_number} was given for block {number}")
    hashes = bytes(got["hash"]), bytes(got["parentHash"])
    if [len(each) for each in hashes] != [32, 32]:
        raise ValueError("a block's hash has 32 bytes")
    return Block(block_number, *hashes, whole(got["timestamp"], 63))


def whole(value: Any, bits: int) -> int:
    """A node's number, where it is one of so many bits.

    Raises
    ------
    ValueError
        It is negative, too large or no whole number: JSON has fractions, truths and NaN where a number should be.

    Examples
    --------
    >>> whole(7, 64)
    7
    """
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError(f"{value!r:.40} is no number from 0 to 2^{bits}")
    return value


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator allows one endpoint; None is no limit.

    ``weight`` is its share of the cycles where the load is spread; ``max_log_range`` the most blocks asked for at once.
    """

    weight: int = 1
    requests_per_s: float | None = None
    burst: int = 10
    max_log_range: int | None = None


class TokenBucket:
    """At most ``burst`` requests at once and ``rate`` a second in the long run; no limit where ``rate`` is None."""

    def __init__(self, rate: float | None, burst: int, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._left = float(burst)
        self._at = now()

    def wait_s(self) -> float:
        """Seconds until the next request is allowed."""
        if self._rate is None:
            return 0.0
        self._fill(self._rate)
        return max(0.0, (1.0 - self._left) / self._rate)

    def take(self) -> None:
        """Count one request, also one that was not allowed: the debt is waited off."""
        if self._rate is not None:
            self._fill(self._rate)
            self._left -= 1.0

    def _fill(self, rate: float) -> None:
        now = self._now()
        self._left = min(float(self._burst), self._left + (now - self._at) * rate)
        self._at = now


@dataclass(frozen=True, slots=True)
class Head:
    """Newest block an endpoint told of; ``seen_at`` and ``since``, when it was first told, of the monotonic clock."""

    number: int
    timestamp: int
    seen_at: float
    since: float = 0.0


@dataclass(slots=True)
class EndpointState:
    """What the pool knows of an endpoint.

    Attributes
    ----------
    failures
        Failures in a row that were this endpoint's own.
    rest_until
        Moment of the monotonic clock before which it is not asked; ``rest_why`` says what happened.
    doubted
        Back from a failure, or never asked for its chain id: it has to show it before it is believed.
    wrong_chain
        The chain id it gave, where that was not the expected one; such an endpoint is asked nothing else.
    stale
        Why its head is not to be acted on; empty where it is.
    agreed
        Hash of each recent block that it has shown to have.
    faults
        JSON-RPC errors where another endpoint had an answer; ``fault_at`` the moment of the last.
    by_hash
        Whether it takes a block's hash for ``eth_call`` (EIP-1898); None until tried.
    """

    endpoint: Endpoint
    limits: Limits
    bucket: TokenBucket
    span: Span
    failures: int = 0
    rest_until: float = 0.0
    rest_why: str = ""
    doubted: bool = False
    wrong_chain: int | None = None
    chain_at: float | None = None
    head: Head | None = None
    stale: str = ""
    agreed: dict[int, bytes] = field(default_factory=dict)
    by_hash: bool | None = None
    credit: int = 0
    faults: int = 0
    fault_at: float = 0.0

    @property
    def name(self) -> str:
        """Host and port."""
        return self.endpoint.name

    def agree(self, number: int, block_hash: bytes) -> None:
        """Remember that the endpoint has a block."""
        self.agreed.pop(number, None)
        self.agreed[number] = block_hash
        if len(self.agreed) > KEPT_BLOCKS:
            del self.agreed[next(iter(self.agreed))]


def make_states(
    endpoints: Sequence[Endpoint],
    default: Limits,
    named: Mapping[str, Limits],
    now: Callable[[], float],
) -> list[EndpointState]:
    """States of endpoints with unique names: a second one of the same host gets ``#2``."""
    seen: dict[str, int] = {}
    states = []
    for endpoint in endpoints:
        limits = named.get(endpoint.name, default)
        count = seen[endpoint.name] = seen.get(endpoint.name, 0) + 1
        if count > 1:
            endpoint.name = f"{endpoint.name}#{count}"
        bucket = TokenBucket(limits.requests_per_s, limits.burst, now)
        states.append(EndpointState(endpoint, limits, bucket, Span(limits.max_log_range)))
    return states
