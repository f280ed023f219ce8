# SPDX-License-Identifier: Apache-2.0
"""Files of live accounts, and the accounts as books on the lattice joint scenarios are chosen for.

A file is CSV with the columns ``account,instrument,quantity``, or JSON ``{"accounts": {"<account>": {"<instrument>":
<quantity>, ...}, ...}}``. Quantities are signed units of the underlying. Instruments: ``BTC-PERP``, ``BTC-SPOT``
(collateral linked to the underlying), ``BTC-20240126`` (future), ``BTC-20240126-45000-C`` or ``-P`` (option); expiries
are at 08:00 UTC.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from risk.books import DAYS_A_YEAR, STRIKES_SD, TENORS_DAYS, Universe
from risk.errors import BadInput
from risk.findings import Finding
from risk.market.history import FloatArray, utc

NAME = re.compile(
    r"^(?P<symbol>[A-Za-z0-9]+)-(?:(?P<linear>PERP|SPOT)|(?P<expiry>[0-9]{8})(?:-(?P<strike>[0-9]+(?:\.[0-9]+)?)-(?P<kind>[CP]))?)$"
)
EXPIRY_HOUR = 8
DAY_S = 86_400
# Options further out than this are moved to the edge of the lattice and named.
FAR_SD, FAR_DAYS = 3.0, 180.0


@dataclass(frozen=True, slots=True)
class Leg:
    """One holding: signed ``quantity`` units; ``strike`` 0 and ``expiry`` 0 (epoch s) where there is none."""

    account: str
    symbol: str
    quantity: float
    expiry: int = 0
    strike: float = 0.0
    is_call: bool = False


@dataclass(frozen=True, slots=True)
class LiveBooks:
    """Legs of all accounts of a file, by account in order of appearance; ``source`` for messages."""

    legs: tuple[Leg, ...]
    source: str

    @property
    def accounts(self) -> tuple[str, ...]:
        """Names, in order of appearance."""
        return tuple(dict.fromkeys(leg.account for leg in self.legs))

    @property
    def underlyings(self) -> tuple[str, ...]:
        """Symbols, sorted."""
        return tuple(sorted({leg.symbol for leg in self.legs}))


def parse_instrument(name: str, symbols: Sequence[str]) -> tuple[str, int, float, bool]:
    """Underlying, expiry (epoch s, 0 = none), strike (0 = none) and whether it is a call.

    Raises
    ------
    BadInput
        When the name is none of the forms above, or of an underlying that is not calibrated.

    Examples
    --------
    >>> parse_instrument("BTC-20240126-45000-C", ["BTC"])
    ('BTC', 1706256000, 45000.0, True)
    """
    match = NAME.match(name.strip())
    if match is None:
        raise BadInput(f"unknown instrument {name!r}; write BTC-PERP, BTC-SPOT, BTC-20240126 or BTC-20240126-45000-C")
    symbol = match["symbol"].upper()
    if symbol not in symbols:
        raise BadInput(f"unknown instrument {name!r}: {symbol} is not calibrated; there are {', '.join(symbols)}")
    if match["linear"]:
        return symbol, 0, 0.0, False
    try:
        day = datetime.strptime(match["expiry"], "%Y%m%d").replace(tzinfo=UTC, hour=EXPIRY_HOUR)
    except ValueError:
        raise BadInput(f"unknown instrument {name!r}: {match['expiry']} is no date; write YYYYMMDD") from None
    strike = float(match["strike"] or 0.0)
    if match["strike"] and strike <= 0:
        raise BadInput(f"unknown instrument {name!r}: its strike must be above zero")
    return symbol, int(day.timestamp()), strike, match["kind"] == "C"


def load_books(path: Path, symbols: Sequence[str]) -> LiveBooks:
    """Read a file of live accounts.

    Parameters
    ----------
    path : Path
        ``.json``, else CSV.
    symbols : sequence of str
        Underlyings that are calibrated.

    Raises
    ------
    BadInput
        The file cannot be read, or holds an unknown instrument or a quantity that is no number: where is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"book {path} cannot be read ({error}); check the path") from error
    rows = _json_rows(path, text) if path.suffix == ".json" else _csv_rows(path, text)
    legs = []
    for where, account, name, raw in rows:
        try:
            symbol, expiry, strike, is_call = parse_instrument(name, symbols)
            quantity = float(raw)
            if not math.isfinite(quantity):
                raise ValueError
        except BadInput as error:
            raise BadInput(f"{path}, {where}: {error}") from error
        except (TypeError, ValueError):
            raise BadInput(f"{path}, {where}: quantity of {name} is {raw!r}, not a finite number; correct it") from None
        legs.append(Leg(account, symbol, quantity, expiry, strike, is_call))
    if not legs:
        raise BadInput(f"book {path} holds no position; leave --book out or export it again")
    return LiveBooks(tuple(legs), str(path))


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, str, str, Any]]:
    reader = csv.DictReader(text.splitlines())
    missing = [c for c in ("account", "instrument", "quantity") if c not in (reader.fieldnames or ())]
    if missing:
        raise BadInput(f"book {path}, line 1: missing column {', '.join(missing)}; write account,instrument,quantity")
    for row in reader:
        yield f"line {reader.line_num}", row["account"] or "", row["instrument"] or "", row["quantity"]


def _json_rows(path: Path, text: str) -> Iterable[tuple[str, str, str, Any]]:
    try:
        accounts = json.loads(text)["accounts"]
        pairs = [(str(a), dict(legs)) for a, legs in dict(accounts).items()]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f'book {path} is not {{"accounts": {{account: {{instrument: quantity}}}}}} ({error!r}); correct the file'
        ) from error
    for account, legs in pairs:
        for name, quantity in legs.items():
            yield f"account {account}", account, str(name), None if isinstance(quantity, bool) else quantity


def lattice_books(
    live: LiveBooks, universe: Universe, spots: Mapping[str, float], now: int
) -> tuple[FloatArray, tuple[Finding, ...]]:
    """Live accounts as rows of USD notional over the instruments of a universe, (accounts, M), and what was noticed.

    An option is shared among its four neighbours on the lattice, linearly in the logarithm of its tenor and in its
    strike in standard deviations, so that gross notional stays and close strikes stay apart. Futures count as the
    perpetual: the basis between them is charged, not simulated.

    Parameters
    ----------
    live : LiveBooks
    universe : Universe
        From `risk.books.build_universe` with its default lattice.
    spots : mapping of symbol to float
        USD.
    now : int
        Epoch seconds.

    Raises
    ------
    BadInput
        When an instrument has expired.
    """
    names = {account: row for row, account in enumerate(live.accounts)}
    books, far = np.zeros((len(names), universe.size)), 0
    per = universe.size // len(universe.symbols)
    for leg in live.legs:
        if leg.expiry and leg.expiry <= now:
            raise BadInput(
                f"{live.source}: account {leg.account} holds an instrument of {leg.symbol} that expired "
                f"{utc(leg.expiry)}, before {utc(now)}; settle it and export the book again"
            )
        u = universe.symbols.index(leg.symbol)
        notional, row = leg.quantity * spots[leg.symbol], names[leg.account]
        if not leg.strike:
            books[row, universe.perp(u)] += notional
            continue
        days = (leg.expiry - now) / DAY_S
        vol = float(universe.vol[u * per])
        z = math.log(leg.strike / spots[leg.symbol]) / (vol * math.sqrt(days / DAYS_A_YEAR))
        far += abs(z) > FAR_SD or days > FAR_DAYS
        for t, x in _between(math.log(days), [math.log(d) for d in TENORS_DAYS]):
            for s, y in _between(z, STRIKES_SD):
                books[row, u * per + 1 + 2 * (t * len(STRIKES_SD) + s) + (not leg.is_call)] += x * y * notional
    if not far:
        return books, ()
    text = f"{far} options lie beyond {FAR_SD} deviations or {FAR_DAYS:.0f} days; moved to the edge of the lattice"
    return books, (Finding("outside-lattice", live.source, text),)


def _between(x: float, nodes: Sequence[float]) -> list[tuple[int, float]]:
    """Neighbouring nodes and their weights; beyond the ends, the end."""
    x = min(max(x, nodes[0]), nodes[-1])
    right = max(1, int(np.searchsorted(nodes, x)))
    share = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    return [(right - 1, 1.0 - share), (right, share)]
