# SPDX-License-Identifier: Apache-2.0
"""``ballast accounts`` and ``ballast explain``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from keeper.app import Connection
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
from keeper.commands.risk_explain import Advice, advise, print_advice, print_demands
from keeper.commands.tables import newest_first
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import ConfigError, Permanent, Transient
from keeper.explain import Explanation, status
from keeper.explain import explain as explain_account
from keeper.explain_account import ChainAccount, peer_case
from keeper.publish.rebuild import page_surfaces
from risk.methodologies import METHODOLOGIES, methodology
from risk.methodologies.editable import Demand, demands
from risk.onchain import assess_words

WAD = 10**18
MOST_RANGES = 50  # of blocks, back from the head


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
    headings = ("account", "health", "of maintenance", "equity", "maintenance", "initial", "state")
    made = table(f"accounts at block {snapshot.block} (USD)", *headings, right=headings[:-1])
    for account, reason in unknown.items():
        made.add_row(str(account), "unknown", "", "", "", "", reason.reason)
    for health, account, result in known:
        said = status(result, snapshot.auctions.get(account)).split(":", maxsplit=1)[0]
        made.add_row(
            str(account),
            usd(health),
            f"{100 * health / result.mm:,.0f} %" if result.mm else "",
            usd(result.equity_mark),
            usd(result.mm),
            usd(result.im),
            said.split(" by ")[0],
        )
    console().print(made)


def explain(
    account: Annotated[int, typer.Argument(min=0, help="Number of the account.")],
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="Without peers, trades and swaps: no search.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Why an account's margin is what it is, why it is or is not liquidated, and what would lower it."""
    connection = open_chain(config, network, rpc_url, manifest)
    opened = connection.chain.call(ContractCall("MarginAccounts", "account_count"))
    if account >= opened:
        raise ConfigError(f"account {account} does not exist; the highest is {opened - 1}, see 'ballast accounts'")
    snapshot = connection.chain.snapshot(accounts=(account,))
    names = connection.collateral_names(snapshot)
    found = explain_account(snapshot, account, names)
    if isinstance(found, Unknown):
        raise Permanent(f"account {account} cannot be judged: {found.reason}; run 'ballast doctor'")
    more = None if brief else _more(connection, snapshot, account, names)
    if as_json:
        print_json({**_plain(found), **({} if more is None else more.plain())})
        return
    _print(found)
    if more is not None:
        print_demands(console(), more.peers)
        print_advice(console(), more.advice)


@dataclass(frozen=True, slots=True)
class _More:
    """What peers would ask for, and what would lower the margin."""

    peers: tuple[Demand, ...]
    advice: Advice

    def plain(self) -> dict[str, Any]:
        return {"peers": [item._asdict() for item in self.peers], **self.advice.plain()}


def _more(connection: Connection, snapshot: Snapshot, account: int, names: Mapping[int, str]) -> _More:
    """Ballast's own line among the peers is the chain's, not the model's."""
    words, market = snapshot.accounts[account], snapshot.market
    if isinstance(words, Unknown) or isinstance(market, Unknown):
        raise Transient(f"account {account} could not be read; run again")
    held = ChainAccount(snapshot, market, words, names)
    pages = {u: page for u, page in market.pages.items() if u in held.state.options}
    events = newest_first(connection, snapshot.block.number, MOST_RANGES)
    book, quotes = peer_case(held, page_surfaces(events, pages))
    own = assess_words(words, market)
    haircuts = (own.equity_mark - own.equity_im) / WAD, (own.equity_mark - own.equity_mm) / WAD
    first = Demand("ballast (on chain)", own.equity_mark / WAD, own.im / WAD + haircuts[0], own.mm / WAD + haircuts[1])
    others = demands(book, quotes, {name: methodology(name) for name in METHODOLOGIES if name != "ballast"})
    return _More((first, *others), advise(held))


def _plain(found: Explanation) -> dict[str, Any]:
    return {
        "account": found.account,
        "status": found.status,
        "assessment": found.assessment._asdict(),
        "holdings": [{"what": h.what, "amount": h.amount, "value_wad": h.value_wad} for h in found.holdings],
        "collateral": [asdict(line) for line in found.collateral],
        "binding": found.binding,
        "contributions": [{"name": name, "profit_wad": profit} for name, profit in found.parts],
        "worst": list(found.worst),
        "data": list(found.data),
        "flags": list(found.flags),
    }


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
    if found.parts:
        parts = table(
            f"profit under the worst moves (USD); {found.binding} decides", "position", "profit", right=("profit",)
        )
        for name, profit in found.parts:
            parts.add_row(name, usd(profit))
        out.print(parts)
    if found.collateral:
        columns = ("value", "counts for initial", "counts for maintenance")
        made = table("collateral (USD)", "asset", *columns, right=columns)
        for item in found.collateral:
            made.add_row(item.name, usd(item.value_wad), usd(item.counted_im_wad), usd(item.counted_mm_wad))
        out.print(made)
    for sentence in (*found.worst, *found.data, *found.flags):
        out.print(f"- {sentence}", markup=False)
