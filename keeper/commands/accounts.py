# SPDX-License-Identifier: Apache-2.0
"""``ballast accounts`` and ``ballast explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from keeper.assess import assess_all
from keeper.commands.common import (
    ConfigOption,
    JsonOption,
    ManifestOption,
    NetworkOption,
    RpcOption,
    console,
    open_chain,
    print_json,
    table,
    usd,
)
from keeper.domain import ContractCall, Unknown
from keeper.errors import ConfigError, Permanent
from keeper.explain import Explanation, status
from keeper.explain import explain as explain_account


def accounts(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every account by health, worst first; accounts that cannot be judged come before all."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot()
    found = assess_all(snapshot)
    unknown = {a: r for a, r in found.items() if isinstance(r, Unknown)}
    known = sorted((r.mm_health, a, r) for a, r in found.items() if not isinstance(r, Unknown))
    if as_json:
        rows = [{"account": a, **r._asdict(), "mm_health": health, "im_health": r.im_health} for health, a, r in known]
        print_json(
            {
                "block": snapshot.block.number,
                "accounts": rows,
                "unknown": {a: {"reason": r.reason, "since": r.since} for a, r in unknown.items()},
            }
        )
        return
    headings = ("account", "health", "equity", "maintenance", "initial", "state")
    made = table(f"accounts at block {snapshot.block} (USD)", *headings, right=headings[:-1])
    for account, reason in unknown.items():
        made.add_row(str(account), "unknown", "", "", "", reason.reason)
    for health, account, result in known:
        said = status(result, snapshot.auctions.get(account)).split(":", maxsplit=1)[0]
        made.add_row(
            str(account), usd(health), usd(result.equity_mark), usd(result.mm), usd(result.im), said.split(" by ")[0]
        )
    console().print(made)


def explain(
    account: Annotated[int, typer.Argument(min=0, help="Number of the account.")],
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why an account's margin is what it is, and why it is or is not liquidated."""
    connection = open_chain(config, network, rpc_url, manifest)
    opened = connection.chain.call(ContractCall("MarginAccounts", "account_count"))
    if account >= opened:
        raise ConfigError(f"account {account} does not exist; the highest is {opened - 1}, see 'ballast accounts'")
    found = explain_account(connection.chain.snapshot(accounts=(account,)), account)
    if isinstance(found, Unknown):
        raise Permanent(f"account {account} cannot be judged: {found.reason}; run 'ballast doctor'")
    if as_json:
        print_json(
            {
                "account": account,
                "status": found.status,
                "assessment": found.assessment._asdict(),
                "holdings": [{"what": h.what, "amount": h.amount, "value_wad": h.value_wad} for h in found.holdings],
                "worst": list(found.worst),
                "data": list(found.data),
                "flags": list(found.flags),
            }
        )
        return
    _print(found)


def _print(found: Explanation) -> None:
    """The explanation for people."""
    result = found.assessment
    out = console()
    out.print(f"account {found.account}: {found.status}", markup=False)
    made = table("holdings", "what", "amount", "value USD", right=("amount", "value USD"))
    for line in found.holdings:
        made.add_row(line.what, line.amount, "" if line.value_wad is None else usd(line.value_wad))
    out.print(made)
    numbers = table("margin (USD)", "what", "initial", "maintenance", right=("initial", "maintenance"))
    numbers.add_row("equity after haircuts", usd(result.equity_im), usd(result.equity_mm))
    numbers.add_row("requirement", usd(result.im), usd(result.mm))
    numbers.add_row("health", usd(result.im_health), usd(result.mm_health))
    out.print(numbers)
    out.print(f"market risk {usd(result.market_risk)}, charges {usd(result.charges)}, doubt {usd(result.doubt)}")
    for sentence in (*found.worst, *found.data, *found.flags):
        out.print(f"- {sentence}", markup=False)
