# SPDX-License-Identifier: Apache-2.0
"""A second opinion on prices, from outside the chain: fetched beside the cycle, never waited for by it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import structlog

from keeper.bounded_http import bounded_client
from keeper.domain import Unknown
from keeper.errors import Transient

WAD = 10**18
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An HTTP address that answers JSON with a price in USD.

    ``url`` has ``{symbol}`` where the symbol goes; ``path`` names the number in the answer, parts separated by dots,
    list items by their position (``data.amount``, ``result.0.last``); ``symbols`` says what the source calls an
    underlying where that differs.
    """

    url: str
    path: str
    symbols: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Host of the source; the rest of an address may be a key."""
        return urlsplit(self.url).hostname or "source"

    def fetch(self, client: httpx.Client, symbol: str) -> int:
        """Price of a symbol, USD wad.

        Raises
        ------
        Transient
            The source does not answer, or not with a price.
        """
        address = self.url.replace("{symbol}", quote(self.symbols.get(symbol, symbol), safe=""))
        what = f"price of {symbol} at {self.name}"
        try:
            answer = client.get(address)
            answer.raise_for_status()
            return price_wad(answer.json(), self.path, what)
        except (httpx.HTTPError, ValueError) as error:
            # the text of an HTTP error has the whole address in it
            status = f" with {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
            raise Transient(f"{what} failed{status} ({type(error).__name__}); it will be asked again") from None


def price_wad(answer: Any, path: str, what: str) -> int:
    """The positive number at ``path``, as USD wad.

    Raises
    ------
    Transient
        There is none.

    Examples
    --------
    >>> price_wad({"data": [{"amount": "2000.5"}]}, "data.0.amount", "price")
    2000500000000000000000
    """
    value = answer
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Transient(f"{what}: the answer has no '{path}'; correct sanity.sources.path") from None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise Transient(f"{what}: '{path}' is no number") from None
    if not price.is_finite() or not 0 < price < 10**15:
        raise Transient(f"{what}: '{path}' is no price ({price})")
    return int(price * WAD)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a source said, and when (unix s)."""

    source: str
    price_wad: int
    at: int


class References:
    """Keeps the newest quote of every source and symbol.

    Parameters
    ----------
    symbols
        Underlyings to ask for.
    refresh_s
        Seconds between two rounds.
    clock
        Unix time in seconds.
    """

    def __init__(
        self, sources: Sequence[Source], symbols: Sequence[str], refresh_s: float, clock: Callable[[], int]
    ) -> None:
        self._sources = tuple(sources)
        self._symbols = tuple(symbols)
        self._refresh_s = refresh_s
        self._clock = clock
        self._quotes: dict[tuple[str, str], Quote | Unknown] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._client = bounded_client(TIMEOUT_S, MAX_BYTES)

    def start(self) -> None:
        """Ask again and again in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="references", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close connections."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)
        self._client.close()

    def refresh(self) -> None:
        """Ask every source for every symbol once."""
        for source in self._sources:
            for symbol in self._symbols:
                key, now = (source.name, symbol), self._clock()
                try:
                    self._quotes[key] = Quote(source.name, source.fetch(self._client, symbol), now)
                except Transient as error:
                    before = self._quotes.get(key)
                    since = before.since if isinstance(before, Unknown) else now
                    self._quotes[key] = Unknown(str(error), since)
                    if not isinstance(before, Unknown):
                        structlog.get_logger("references").warning(str(error))

    def quotes(self, symbol: str) -> tuple[Quote | Unknown, ...]:
        """The newest of each source; ``Unknown`` where it was never asked or did not answer last."""
        never = Unknown("it was not asked yet", self._clock())
        return tuple(self._quotes.get((source.name, symbol), never) for source in self._sources)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._refresh_s)
