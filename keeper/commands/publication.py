# SPDX-License-Identifier: Apache-2.0
"""``ballast table publish | diff | approve``, ``ballast params waiting | approve``: what was built, one's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.act import Result, execute
from keeper.actions import PublishJoint, PublishPage
from keeper.app import Connection, SystemClock
from keeper.assess import assess_all
from keeper.commands.common import (
    ConfigOption,
    ExecuteOption,
    JsonOption,
    ManifestOption,
    NetworkOption,
    ParamsOption,
    RpcOption,
    console,
    open_chain,
    print_json,
    table,
)
from keeper.commands.params import app as params_app
from keeper.commands.params import read_target
from keeper.commands.tables import app as table_app
from keeper.cosign.quorum import Gathered
from keeper.cosign.wire import quorum_of
from keeper.decide import Policy, Situation, decide
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import ConfigError, Permanent, Transient
from keeper.outbox import SenderOutbox
from keeper.policies import check_roles, policy_of
from keeper.publish.approvals import Approval, approve, living, page_digest
from keeper.publish.readback import verify
from keeper.publish.records import log
from keeper.publish.signing import Publisher
from keeper.publish.triggers import PagePolicy
from keeper.recorder import REFUSED, SENT, SHADOW, WAITING, Recorder
from keeper.store import Store, open_store
from keeper.store.models import EpochRow
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import load_signer
from risk.market.history import utc

JOINT = -1
NOW_DUE = PagePolicy(drift_bps=10**9, vol_bps=10**9, heartbeat_s=0, validity_s=1)
PricesOption = Annotated[Path | None, typer.Option("--prices", help="Calibrate on this folder of price files.")]
ShadowOption = Annotated[bool, typer.Option("--shadow", help="What shadow mode would have sent, beside the chain.")]


def publish(
    execute_: ExecuteOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    params: ParamsOption = None,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build every page now, check it, gather signatures, publish; without --execute peers are only asked."""
    connection = open_chain(config, network, rpc_url, manifest)
    settings, chain = connection.settings, connection.chain
    signer = load_signer(settings)
    store = open_store(settings.database_url.get_secret_value())
    try:
        snapshot = chain.snapshot()
        publisher = Publisher(signer, chain.chain_id, connection.manifest.addresses["RiskTable"])
        quorum = quorum_of(settings, chain, store, publisher)
        quorum.turn_s = 0  # a person says that it is this publisher's turn
        tables = _due(connection, store, snapshot, params, prices)
        rows: list[dict[str, Any]] = []
        for item in tables:
            found = quorum.complete(item, snapshot.block, dry=not execute_)
            said = _said(found)
            if execute_ and found.table is not None:
                said = _send(connection, store, found.table)
            rows.append({"kind": item.kind, "subject": item.subject, "epoch": item.epoch, "outcome": said})
            rows[-1] |= {"willing": list(found.willing), "refused": [str(refusal) for refusal in found.refusals]}
    finally:
        store.close()
    _show(rows, as_json)
    if any(row["outcome"].startswith("not ") for row in rows):
        raise Permanent("not everything was published; the table says why")


def _due(
    connection: Connection, store: Store, snapshot: Snapshot, params: Path | None, prices: Path | None
) -> list[PublishPage | PublishJoint]:
    """Everything that passes its checks, whether a trigger asks for it or not."""
    settings, chain = connection.settings, connection.chain
    target = read_target(connection, snapshot, params, prices)
    limits = chain.call(ContractCall("RiskTable", "limits"), block=snapshot.block)
    rules = policy_of(settings)
    validity = PagePolicy(NOW_DUE.drift_bps, NOW_DUE.vol_bps, 0, settings.publisher.validity_s)
    policy = Policy(pages=validity, page_guard=rules.page_guard, settle=False)
    approvals = living(store, chain.chain_id, snapshot.block.timestamp)
    situation = Situation(
        snapshot, assess_all(snapshot), vol_steps_bps=(limits[5], limits[6]), target=target, approvals=approvals
    )
    decision = decide(situation, policy)
    for note in decision.notes:
        if note.alarm:
            typer.echo(f"refused: {note.text}", err=True)
    return [item for item in decision.actions if isinstance(item, PublishPage | PublishJoint)]


def _said(found: Gathered) -> str:
    if found.short is not None:
        return f"not sent: {found.short}"
    if found.waiting is not None:
        return f"not sent: {found.waiting}"
    return f"{1 + len(found.willing)} would sign, {found.needed} are needed"


def _send(connection: Connection, store: Store, action: PublishPage | PublishJoint) -> str:
    """Send one table, wait for it, read it back."""
    settings, chain, clock = connection.settings, connection.chain, SystemClock()
    signer = load_signer(settings)
    check_roles(chain, settings, signer.address)
    journal = Journal(store, chain.chain_id, signer.address)
    sender = Sender(chain, journal, signer, clock, policy_from(settings))
    outcome = execute(chain, SenderOutbox(sender, journal, None), action)
    if outcome.result is Result.PENDING:
        waiting = next(i for i in journal.open_intents() if (i.kind, i.epoch) == (action.kind, action.epoch))
        sender.wait(waiting, timeout_s=180)
    elif outcome.result is not Result.DONE:
        return f"not sent: {outcome.detail}"
    log(Recorder(store, chain.chain_id), action, clock.now(), SENT)
    verify(chain.snapshot(accounts=()), action)
    return f"published, signed by {', '.join(signer for signer, _ in action.signatures)}"


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(list(rows))
        return
    made = table("tables", "kind", "subject", "epoch", "outcome")
    for row in rows:
        made.add_row(row["kind"], row["subject"], str(row["epoch"]), row["outcome"])
    console().print(made)


def diff(
    shadow: ShadowOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pages that wait for a person (or, with --shadow, that would have been sent) beside those that live."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot(accounts=())
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        kept = Recorder(store, connection.chain.chain_id).epochs(SHADOW if shadow else REFUSED)
    finally:
        store.close()
    rows = [_beside(snapshot, row) for row in kept]
    if as_json:
        print_json(rows)
        return
    title = "shadow: built and not sent" if shadow else "pages that wait for a person"
    made = table(title, "of", "epoch", "built at (UTC)", "field", "built", "lives", "newly liquidatable")
    for row in rows:
        first = True
        for name, built, lives in row["fields"]:
            head = (row["symbol"], str(row["epoch"]), utc(row["built_at"])) if first else ("", "", "")
            made.add_row(*head, name, str(built), str(lives), row["newly"] if first else "")
            first = False
    console().print(made)


def _beside(snapshot: Snapshot, row: EpochRow) -> dict[str, Any]:
    """One built table with the fields in which it differs from what lives."""
    impact = row.content.get("impact") or {}
    found: dict[str, Any] = {
        "underlying": row.underlying,
        "symbol": _name(snapshot, row.underlying),
        "epoch": row.epoch,
        "built_at": row.built_at,
        "content_hash": row.content_hash,
        "said": row.content.get("said"),
        "newly_liquidatable": impact.get("newly_liquidatable", []),
        "newly": ", ".join(map(str, impact.get("newly_liquidatable", []))),
    }
    return {**found, "fields": _fields(snapshot, row)}


def _name(snapshot: Snapshot, underlying: int) -> str:
    return "joint" if underlying == JOINT else snapshot.symbol(underlying)


def _fields(snapshot: Snapshot, row: EpochRow) -> list[tuple[str, Any, Any]]:
    status = snapshot.table
    if isinstance(status, Unknown):
        raise Transient(f"the risk table cannot be read ({status.reason}); run again")
    if row.underlying == JOINT:
        count = len(row.content["scenarios"]) // 64
        ends = (row.content["expires_at"], status.joint.expires_at)
        return [("scenarios", count, status.joint.count), ("expires_at", *ends)]
    page, header = status.pages[row.underlying], row.content["header"]
    names = ("reference_price_wad", "lane_unit_wad", "step_e9", "atm_vol_bps", "observed_at", "expires_at")
    pairs = [(name, int(header[name]), getattr(page, name)) for name in names]
    rows = (len(row.content["rows"]) // 192, page.rows)
    return [*pairs, ("rows", *rows)]


def approve_page(
    underlying: Annotated[str, typer.Argument(help="Symbol or number of the underlying, or 'joint'.")],
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
) -> None:
    """Let the next page of an underlying go out although accounts fall by it: those that were listed, and no others."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot(accounts=())
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        rows = Recorder(store, connection.chain.chain_id).epochs(REFUSED)
        names = {row.underlying: _name(snapshot, row.underlying) for row in rows}
        row = next((r for r in rows if underlying in {names[r.underlying], str(r.underlying)}), None)
        if row is None or not row.content.get("impact"):
            waiting = ", ".join(sorted(names.values())) or "none"
            raise ConfigError(f"no page of '{underlying}' waits for approval (waiting: {waiting})")
        what = f"{names[row.underlying]}, epoch {row.epoch}"
        _approve(connection, store, snapshot, page_digest(row.underlying, row.epoch), what, row.content["impact"])
    finally:
        store.close()


def waiting(
    shadow: ShadowOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Batches that wait for approval (or, with --shadow, that would have been sent), with hash and impact."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot(accounts=())
    status = snapshot.parameters
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        kept = Recorder(store, connection.chain.chain_id).pushes(SHADOW if shadow else WAITING)
    finally:
        store.close()
    if not shadow and not isinstance(status, Unknown):
        kept = [row for row in kept if row.nonce == status.nonce + 1]
    rows = [
        {
            "hash": row.digest.hex(),
            "kind": row.content["kind"],
            "nonce": row.nonce,
            "built_at": row.built_at,
            "words": len(row.content["changes"]),
            "newly_liquidatable": row.content.get("impact", {}).get("newly_liquidatable", []),
            "said": row.content.get("said"),
        }
        for row in kept
    ]
    if as_json:
        print_json(rows)
        return
    made = table("batches", "hash", "kind", "nonce", "built at (UTC)", "words", "newly liquidatable", "why it waits")
    for item in rows:
        fallen = ", ".join(map(str, item["newly_liquidatable"])) or "none"
        made.add_row(
            item["hash"][:16], item["kind"], str(item["nonce"]), utc(item["built_at"]), str(item["words"]), fallen,
            item["said"],
        )  # fmt: skip
    console().print(made)


def approve_batch(
    batch: Annotated[str, typer.Argument(help="Hash of the batch, or its first eight digits, from 'params waiting'.")],
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
) -> None:
    """Let the keeper send exactly this batch; the word is good for publisher.approval_s."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot(accounts=())
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        rows = Recorder(store, connection.chain.chain_id).pushes(WAITING)
        asked = batch.removeprefix("0x").lower()
        found = [row for row in rows if len(asked) >= 8 and row.digest.hex().startswith(asked)]
        if len(found) != 1:
            raise ConfigError(f"{len(found)} waiting batches begin with '{batch}'; see 'ballast params waiting'")
        (row,) = found
        what = f"{row.content['kind']} {row.nonce}"
        _approve(connection, store, snapshot, row.digest, what, row.content.get("impact", {}))
    finally:
        store.close()


def _approve(
    connection: Connection, store: Store, snapshot: Snapshot, digest: bytes, what: str, impact: Mapping[str, Any]
) -> None:
    """Write the word down and say what it covers; times are the chain's, which the keeper compares with."""
    now = snapshot.block.timestamp
    until = now + connection.settings.publisher.approval_s
    accounts = frozenset((*impact.get("newly_liquidatable", []), *impact.get("unknown", [])))
    approve(store, connection.chain.chain_id, Approval(digest, what, accounts, until), now)
    harm = f"accounts {', '.join(map(str, sorted(accounts)))} may fall" if accounts else "no account may fall"
    typer.echo(f"{what} ({digest.hex()[:16]}) is approved until {utc(until)}; {harm}")


def register() -> None:
    """Put the commands into their groups."""
    pages: dict[str, Any] = {"publish": publish, "diff": diff, "approve": approve_page}
    for name, command in pages.items():
        table_app.command(name)(command)
    batches: dict[str, Any] = {"waiting": waiting, "approve": approve_batch}
    for name, command in batches.items():
        params_app.command(name)(command)
