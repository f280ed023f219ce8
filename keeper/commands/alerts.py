# SPDX-License-Identifier: Apache-2.0
"""``ballast alerts``: what is wrong, and whether anybody would be told."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from keeper import __version__
from keeper.commands.common import (
    ConfigOption,
    JsonOption,
    ManifestOption,
    NetworkOption,
    console,
    moment,
    print_json,
    settings_from,
    table,
)
from keeper.errors import ConfigError, KeeperError, Permanent
from keeper.observe.addresses import load_addresses
from keeper.observe.alert_store import AlertStore
from keeper.observe.delivery import Delivery, Message, check_address, host_of
from keeper.observe.margin_message import TEST
from keeper.observe.metrics import Metrics
from keeper.settings import Settings
from keeper.store import open_store

app = typer.Typer(no_args_is_help=True, help="Alerts to the operator and margin calls to account owners.")
AT_ONCE = 8
AccountOption = Annotated[int | None, typer.Option("--account", min=0, help="Test the addresses of this account.")]
OwnerOption = Annotated[str | None, typer.Option("--owner", help="Test the addresses of this owner.")]


@app.callback()
def root() -> None:
    """Alerts to the operator and margin calls to account owners."""


@app.command()
def test(
    account: AccountOption = None,
    owner: OwnerOption = None,
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test message to the operator's addresses, or to those of an account or an owner."""
    settings = settings_from(config, network, None, manifest)
    calls = account is not None or owner is not None
    urls = _owner_urls(settings, account, owner) if calls else _operator_urls(settings)
    secret = settings.margin_calls.secret
    delivery = Delivery(
        Metrics(__version__, settings.expected_chain_id),
        settings.margin_calls.timeout_s,
        secret.get_secret_value() if secret else None,
    )
    message = _message(settings, account, owner)

    def send(url: str) -> dict[str, Any]:
        error = None
        try:
            delivery.send(url, message, "margin_call" if calls else "alert")
        except KeeperError as failure:
            error = str(failure)
        return {"address": host_of(url), "ok": error is None, "error": error}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(send, urls))
    if as_json:
        print_json(rows)
    else:
        made = table("test messages", "address", "result")
        for row in rows:
            made.add_row(row["address"], "ok" if row["ok"] else f"FAILED: {row['error']}")
        console().print(made)
    failed = sum(not row["ok"] for row in rows)
    if failed:
        raise Permanent(f"{failed} of {len(rows)} addresses did not take the test message; correct them and test again")


def _operator_urls(settings: Settings) -> tuple[str, ...]:
    urls = settings.alerts.destinations
    if not urls:
        raise ConfigError(
            "no address for alerts is set; set alerts.urls, SLACK_WEBHOOK_URL, DISCORD_WEBHOOK_URL, or "
            "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID"
        )
    for url in urls:
        check_address(url, "alerts", webhooks=False)
    return urls


def _owner_urls(settings: Settings, account: int | None, owner: str | None) -> tuple[str, ...]:
    book = load_addresses(settings.margin_calls)
    urls = book.of(-1 if account is None else account, owner or "")
    if not urls:
        who = f"account {account}" if account is not None else f"owner {owner}"
        raise ConfigError(f"{who} has no address; add one to margin_calls.accounts, margin_calls.owners or the file")
    return urls


def _message(settings: Settings, account: int | None, owner: str | None) -> Message:
    who = "operator" if account is None and owner is None else f"account {account}" if account is not None else owner
    text = f"This is a test of Ballast's messages to {who}; nothing is wrong."
    data = {
        "version": 1,
        "kind": TEST,
        "id": f"{settings.expected_chain_id}-test-{int(time.time())}",
        "chain_id": settings.expected_chain_id,
        "account": account,
        "owner": owner,
        "text": text,
    }
    return Message("Ballast: test", text, "info", data)


@app.command("list")
def list_alerts(
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is over, of the last 30 days.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Troubles that last, oldest first; docs/runbook.md says what to do about each name."""
    settings = settings_from(config, network, None, manifest)
    store = open_store(settings.database_url.get_secret_value())
    found = [t for t in AlertStore(store, settings.expected_chain_id).load() if everything or t.lasts]
    store.close()
    found.sort(key=lambda trouble: trouble.first_at)
    if as_json:
        print_json([{name: getattr(t, name) for name in t.__slots__} for t in found])
        return
    made = table("alerts", "since (UTC)", "severity", "name", "text", "state")
    for t in found:
        state = "lasts" if t.lasts else "event" if t.recovered_at is None else f"over {moment(t.recovered_at)}"
        made.add_row(moment(t.first_at), t.severity, t.name, t.text, state)
    console().print(made)
