# SPDX-License-Identifier: Apache-2.0
"""Everything that must be right before a keeper is left alone, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from keeper.app import Connection, connect
from keeper.assess import ParityPolicy, assess_all, check_parity, choose_for_parity
from keeper.commands.doctor_endpoints import examine_endpoints
from keeper.deploy.manifest import load_manifest
from keeper.domain import Snapshot, Unknown
from keeper.errors import KeeperError, Permanent
from keeper.policies import check_roles
from keeper.publish.calibration import PriceBook
from keeper.settings import Settings
from keeper.store import open_store
from keeper.tx.signer import load_signer
from risk.errors import RiskError
from risk.market.history import utc

T = TypeVar("T")
WEI_PER_ETHER = 10**18
PARITY = ParityPolicy(near_limit=64, sample=64)


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Ask every question that can still be asked; a failed one does not stop the others."""
    found: list[Finding] = []
    _ask(found, "database", lambda: _database(settings))
    _ask(found, "deployment", lambda: _deployment(settings))
    _ask_endpoints(found, settings)
    connection = _ask_for(found, "chain and contracts", lambda: connect(settings))
    signer = _ask(found, "signer", lambda: load_signer(settings).address)
    if connection is None:
        return found
    if signer is not None:
        _ask(found, "balance", lambda: _balance(connection, signer))
        _ask(found, "roles", lambda: _roles(connection, signer))
    snapshot = _ask_for(found, "snapshot", connection.chain.snapshot)
    if snapshot is not None:
        _ask(found, "accounts", lambda: _accounts(snapshot))
        _ask(found, "prices", lambda: _prices(snapshot, connection.collateral_names(snapshot)))
        if settings.prices_dir is not None:
            _ask(found, "price files", lambda: _price_files(settings, snapshot))
        _ask(found, "risk table", lambda: _table(snapshot))
        _ask(found, "parameters", lambda: _parameters(snapshot))
        _ask(found, "parity", lambda: _parity(connection, snapshot))
    return found


def _ask_endpoints(found: list[Finding], settings: Settings) -> None:
    try:
        addresses = list(load_manifest(settings.manifest_path).addresses.values())
        reports = examine_endpoints(settings, addresses)
    except KeeperError as error:
        found.append(Finding("endpoints", False, " ".join(str(error).split())))
        return
    found += [Finding(f"endpoint {report.name}", report.ok, report.detail) for report in reports]


def _ask(found: list[Finding], name: str, question: Callable[[], str]) -> str | None:
    try:
        answer = question()
    except (KeeperError, RiskError, OSError) as error:
        found.append(Finding(name, False, " ".join(str(error).split())))
        return None
    found.append(Finding(name, True, answer))
    return answer


def _ask_for(found: list[Finding], name: str, question: Callable[[], T]) -> T | None:
    try:
        answer = question()
    except (KeeperError, RiskError, OSError) as error:
        found.append(Finding(name, False, " ".join(str(error).split())))
        return None
    detail = f"block {answer.block}" if isinstance(answer, Snapshot) else "chain id and code match the manifest"
    found.append(Finding(name, True, detail))
    return answer


def _database(settings: Settings) -> str:
    store = open_store(settings.database_url.get_secret_value())
    store.close()
    return f"{store.name} is at the newest schema"


def _deployment(settings: Settings) -> str:
    done, wanted = load_manifest(settings.manifest_path).progress
    if done < wanted:
        raise Permanent(f"deployment unfinished: {done} of {wanted} steps; run ballast deploy again")
    return f"all {wanted} steps are done"


def _balance(connection: Connection, address: str) -> str:
    wei = connection.chain.balance(address)
    least = connection.settings.budget.per_transaction_wei
    if wei < least:
        raise Permanent(
            f"{address} has {wei / WEI_PER_ETHER:.6f} ether, one transaction may need {least / WEI_PER_ETHER:.6f}; "
            "fund it"
        )
    return f"{wei / WEI_PER_ETHER:.6f} ether"


def _roles(connection: Connection, address: str) -> str:
    check_roles(connection.chain, connection.settings, address)
    return f"{address} may do what the settings ask"


def _accounts(snapshot: Snapshot) -> str:
    unread = {a: w.reason for a, w in snapshot.accounts.items() if isinstance(w, Unknown)}
    if unread:
        first, reason = next(iter(unread.items()))
        raise Permanent(f"{len(unread)} accounts cannot be read; account {first}: {reason}")
    return f"{len(snapshot.accounts)} accounts are readable"


def _prices(snapshot: Snapshot, names: Mapping[int, str]) -> str:
    if isinstance(snapshot.prices, Unknown):
        raise Permanent(f"prices cannot be read: {snapshot.prices.reason}")
    dead = [
        snapshot.symbol(n) if kind == 0 else f"collateral {names.get(n, n)}"
        for (kind, n), p in snapshot.prices.items()
        if p.dead
    ]
    if dead:
        raise Permanent(f"dead prices: {', '.join(dead)}; check their feeds")
    oldest = max((snapshot.block.timestamp - p.updated_at for p in snapshot.prices.values()), default=0)
    late = sum(not p.fresh for p in snapshot.prices.values())
    return f"{len(snapshot.prices)} live prices, {late} of them late, the oldest {oldest} s old"


def _price_files(settings: Settings, snapshot: Snapshot) -> str:
    folder = settings.prices_dir
    if folder is None or isinstance(snapshot.underlyings, Unknown):
        raise Permanent("the underlyings cannot be read; check the manifest")
    symbols = tuple(info.symbol for _, info in sorted(snapshot.underlyings.items()))
    book = PriceBook.open(folder, settings.observed_file, symbols)
    far = book.far(snapshot)
    if far:
        raise Permanent(f"{'; '.join(far)}; hand over files of the same market that end near now")
    return f"{len(book.history.ts)} bars of {', '.join(symbols)}, the last of {utc(int(book.history.ts[-1]))}"


def _table(snapshot: Snapshot) -> str:
    if isinstance(snapshot.table, Unknown):
        raise Permanent(f"the risk table cannot be read: {snapshot.table.reason}")
    now, bad = snapshot.block.timestamp, []
    for u, page in sorted(snapshot.table.pages.items()):
        if page.rows < page.rows_wanted:
            bad.append(f"{snapshot.symbol(u)} has {page.rows} of {page.rows_wanted} rows")
        elif page.address is not None and page.expires_at < now:
            bad.append(f"the page of {snapshot.symbol(u)} expired {now - page.expires_at} s ago")
    if bad:
        raise Permanent(f"{'; '.join(bad)}; run a publisher: 'ballast keeper run --execute' with publisher.enabled")
    return f"{len(snapshot.table.pages)} underlyings have the rows they need"


def _parameters(snapshot: Snapshot) -> str:
    if isinstance(snapshot.parameters, Unknown):
        raise Permanent(f"the parameters cannot be read: {snapshot.parameters.reason}")
    left = snapshot.parameters.valid_until - snapshot.block.timestamp
    if left < 0:
        raise Permanent(f"the parameters lapsed {-left} s ago and initial margin is rising; push, see 'ballast params'")
    return f"valid for {left} s more"


def _parity(connection: Connection, snapshot: Snapshot) -> str:
    found = assess_all(snapshot)
    parity = check_parity(connection.chain, snapshot, found, choose_for_parity(found, PARITY, snapshot.block.hash))
    if parity.mismatches:
        raise Permanent(f"{len(parity.mismatches)} accounts differ from the engine; {parity.mismatches[0]}")
    return f"{len(parity.checked)} accounts equal the engine's integers"
