# SPDX-License-Identifier: Apache-2.0
"""``ballast tx``: list, bump, cancel."""

from __future__ import annotations

from collections.abc import Callable
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
    open_chain,
    print_json,
    settings_from,
    table,
)
from keeper.errors import ConfigError, Permanent
from keeper.store import Store, open_store
from keeper.tx.fees import Fees, caps_within, raised_offer
from keeper.tx.journal import IN_FLIGHT, Intent, Journal
from keeper.tx.sender import SELF_SEND_GAS, Sender, policy_from
from keeper.tx.signer import load_signer

app = typer.Typer(no_args_is_help=True, help="The journal of transactions.")
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
    as_json: JsonOption = False,
) -> None:
    """Intents with their state, nonce and transaction, those that changed last first."""
    settings = settings_from(config, network, None, manifest)
    store = open_store(settings.database_url.get_secret_value())
    intents = Journal(store, settings.expected_chain_id, "").latest(limit)
    store.close()
    rows: list[dict[str, Any]] = [
        {
            "id": i.id,
            "kind": i.kind,
            "subject": i.subject,
            "epoch": i.epoch,
            "state": str(i.state),
            "nonce": i.nonce,
            "tx": "" if i.tx_hash is None else "0x" + i.tx_hash.hex(),
            "error": i.error or "",
        }
        for i in intents
    ]
    if as_json:
        print_json(rows)
        return
    made = table("journal", "id", "kind", "subject", "epoch", "state", "nonce", "tx", "error")
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row.values()))
    console().print(made)


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
