# SPDX-License-Identifier: Apache-2.0
"""``ballast tx``: list, show, bump, cancel, acknowledge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.app import Connection, SystemClock
from keeper.commands.common import (
    ConfigOption,
    ExecuteOption,
    JsonOption,
    ManifestOption,
    NetworkOption,
    RpcOption,
    console,
    moment,
    open_chain,
    print_json,
    settings_from,
    table,
)
from keeper.errors import ConfigError, Permanent
from keeper.store import Store, open_store
from keeper.tx.fees import Fees, caps_within, raised_offer
from keeper.tx.journal import IN_FLIGHT, OPEN, Intent, Journal, SignedTransaction, State
from keeper.tx.sender import SELF_SEND_GAS, Sender, policy_from
from keeper.tx.signer import load_signer

app = typer.Typer(no_args_is_help=True, help="The journal of transactions.")
COLUMNS = ("id", "updated_at", "kind", "subject", "epoch", "state", "nonce", "tx", "error")
ATTEMPT_COLUMNS = (
    "tx", "nonce", "what", "max_fee_wei", "priority_fee_wei", "signed_at", "sent_at", "outcome", "cost_wei"
)  # fmt: skip
IntentArgument = Annotated[int, typer.Argument(metavar="ID", help="Number in 'ballast tx list'.")]


@app.callback()
def root() -> None:
    """The journal of transactions."""


@app.command("list")
def list_intents(
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    state: Annotated[list[State] | None, typer.Option(help="Only these states; may be given again.")] = None,
    unfinished: Annotated[bool, typer.Option("--open", help="Only what has not ended.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only this kind of action, for example bid.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject, for example an account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Intents with their state, nonce and transaction, those that changed last first; 'tx show' has the rest."""
    states = tuple(state or ()) + (OPEN if unfinished else ())
    with journal_of(config, network, manifest) as journal:
        intents = journal.latest(limit, states=states, kind=kind, subject=subject)
        rows = [listed(journal, intent) for intent in intents]
    if as_json:
        print_json(rows)
        return
    made = table("journal", *COLUMNS)
    for row in rows:
        made.add_row(*(_cell(name, row[name]) for name in COLUMNS))
    console().print(made)


@app.command()
def show(
    intent_id: IntentArgument,
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """One intent with every transaction that was ever signed for it. Needs no node."""
    with journal_of(config, network, manifest) as journal:
        intent = journal.get(intent_id)
        if intent is None:
            raise ConfigError(f"there is no intent {intent_id} of {journal.name}; see 'ballast tx list'")
        attempts = [attempt(item, intent) for item in journal.history(intent)]
    if as_json:
        print_json({**details(intent), "attempts": attempts})
        return
    out = console()
    for name, value in details(intent).items():
        out.print(f"{name.replace('_', ' '):16}{shown(name, value)}", markup=False, highlight=False)
    made = table("transactions, oldest first", *ATTEMPT_COLUMNS, right=("max_fee_wei", "priority_fee_wei", "cost_wei"))
    for row in attempts:
        made.add_row(*(shown(name, row[name]) for name in ATTEMPT_COLUMNS))
    out.print(made)


@app.command()
def acknowledge(
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the keeper send again after too many reverted transactions in a row. Find their cause first."""
    with journal_of(config, network, manifest) as journal:
        senders = journal.senders()
        counts = {sender: journal.of(sender).failures_in_a_row() for sender in senders}
        journal.acknowledge_failures()
    failures = max(counts.values(), default=0)
    if as_json:
        print_json({"acknowledged": failures})
    else:
        typer.echo(f"{failures} failures in a row acknowledged; the count starts again")


def shown(name: str, value: Any) -> str:
    """A value for a person: times as such, nothing for none."""
    if value is None:
        return ""
    return moment(value) if name.endswith("_at") else str(value)


@contextmanager
def journal_of(config: Path | None, network: str | None, manifest: Path | None) -> Iterator[Journal]:
    """The journal of the options' chain, to look at; no node is asked."""
    settings = settings_from(config, network, None, manifest)
    store = open_store(settings.database_url.get_secret_value())
    try:
        yield Journal(store, settings.expected_chain_id, "")
    finally:
        store.close()


def _cell(name: str, value: Any) -> str:
    """A value for the table; hashes are cut to keep an action on one line, 'tx show' and --json have them whole."""
    text = shown(name, value)
    return f"{text[:10]}…{text[-8:]}" if name == "tx" and text else text


def listed(journal: Journal, intent: Intent) -> dict[str, Any]:
    """Summary of an intent; while it waits, ``tx`` is the transaction that was sent last."""
    row = summary(intent)
    attempts = journal.transactions(intent) if intent.open and intent.tx_hash is None else []
    return {**row, "tx": "0x" + attempts[-1].hash.hex()} if attempts else row


def summary(intent: Intent) -> dict[str, Any]:
    """What the list shows of an intent."""
    return {
        "id": intent.id,
        "kind": intent.kind,
        "subject": intent.subject,
        "epoch": intent.epoch,
        "state": str(intent.state),
        "nonce": intent.nonce,
        "tx": "" if intent.tx_hash is None else "0x" + intent.tx_hash.hex(),
        "error": intent.error or "",
        "updated_at": intent.updated_at,
    }


def details(intent: Intent) -> dict[str, Any]:
    """Everything the journal says of an intent."""
    return {
        **summary(intent),
        "call": intent.what,
        "to": intent.to,
        "sender": intent.sender,
        "gas_limit": intent.gas_limit,
        "gas_budget_wei": intent.gas_budget_wei,
        "tries": intent.tries,
        "withdrawn": intent.withdrawn,
        "block": intent.block_number,
        "created_at": intent.created_at,
    }


def attempt(item: SignedTransaction, intent: Intent) -> dict[str, Any]:
    """One signed transaction; ``outcome`` is of its receipt."""
    outcome = "waits" if intent.open and item.nonce == intent.nonce else "not mined"
    if item.succeeded is not None:
        outcome = "mined" if item.succeeded else "reverted"
    return {
        "tx": "0x" + item.hash.hex(),
        "nonce": item.nonce,
        "what": "cancels" if item.cancels else "acts",
        "max_fee_wei": item.fees.max_fee_wei,
        "priority_fee_wei": item.fees.priority_fee_wei,
        "signed_at": item.signed_at,
        "sent_at": item.sent_at,
        "outcome": outcome,
        "cost_wei": item.cost_wei,
    }


@app.command()
def bump(
    intent_id: IntentArgument,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a waiting transaction by the same one with higher fees. Sends nothing without --execute."""
    replace(open_chain(config, network, rpc_url, manifest), intent_id, "bump", Sender.bump, execute, as_json)


@app.command()
def cancel(
    intent_id: IntentArgument,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a waiting transaction's nonce with an empty one to ourselves. Sends nothing without --execute."""
    replace(open_chain(config, network, rpc_url, manifest), intent_id, "cancel", Sender.cancel, execute, as_json)


def replace(
    connection: Connection,
    intent_id: int,
    verb: str,
    carry_out: Callable[[Sender, Intent], Intent],
    execute: bool,
    as_json: bool,
) -> None:
    """Say what would replace an intent's transaction, or replace it.

    Raises
    ------
    ConfigError
        There is no such intent, or the key is not the one that signed it.
    Permanent
        Nothing of it waits, or the raise does not fit under the fee cap.
    """
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        intent = find(connection, store, intent_id)
        journal = Journal(store, intent.chain_id, intent.sender)
        fees = offer(connection, journal, intent, verb)
        if execute:
            intent = carry_out(_sender(connection, journal, intent), intent)
            sent = journal.transactions(intent)
            fees = sent[-1].fees if sent else None
    finally:
        store.close()
    _report(intent, verb, fees, execute, as_json)


def find(connection: Connection, store: Store, intent_id: int) -> Intent:
    """Intent of a number on the connection's chain."""
    intent = Journal(store, connection.chain.chain_id, "").get(intent_id)
    if intent is None:
        raise ConfigError(f"there is no intent {intent_id} in {store.name}; see 'ballast tx list'")
    return intent


def offer(connection: Connection, journal: Journal, intent: Intent, verb: str) -> Fees | None:
    """Fees that a replacement would have, None where a cancellation needs no transaction."""
    if verb == "cancel" and intent.nonce is None and intent.open:
        return None
    sent = journal.transactions(intent)
    if intent.state not in IN_FLIGHT or not sent:
        raise Permanent(f"{intent} is {intent.state}, nothing of it waits; see 'ballast tx list'")
    gas = SELF_SEND_GAS if verb == "cancel" else sent[-1].gas_limit
    caps = caps_within(policy_from(connection.settings).fees, gas, intent.gas_budget_wei)
    fees = raised_offer(sent[-1].fees, connection.chain.fees(), caps)
    if fees is None:
        raise Permanent(
            f"{intent} cannot be replaced within the fee cap of {caps.max_fee_wei} wei; raise fees.max_fee_gwei"
        )
    return fees


def _sender(connection: Connection, journal: Journal, intent: Intent) -> Sender:
    signer = load_signer(connection.settings)
    if signer.address.lower() != intent.sender.lower():
        raise ConfigError(f"{intent} was signed by {intent.sender}, the key is of {signer.address}; use that key")
    return Sender(connection.chain, journal, signer, SystemClock(), policy_from(connection.settings))


def _report(intent: Intent, verb: str, fees: Fees | None, executed: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "id": intent.id,
                "action": verb,
                "state": str(intent.state),
                "nonce": intent.nonce,
                "max_fee_wei": None if fees is None else fees.max_fee_wei,
                "priority_fee_wei": None if fees is None else fees.priority_fee_wei,
                "executed": executed,
            }
        )
        return
    done = f"{verb} of {intent}" if executed else f"dry run: {verb} of {intent}"
    how = "no transaction needed, it is not signed"
    if fees is not None:
        how = f"nonce {intent.nonce}, fees up to {fees.max_fee_wei} wei and {fees.priority_fee_wei} wei of tip a gas"
    typer.echo(f"{done}: {how}; now {intent.state}" if executed else f"{done}: {how}; add --execute to send")
