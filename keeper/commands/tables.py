# SPDX-License-Identifier: Apache-2.0
"""``ballast table``: show, verify."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from keeper.app import Connection
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
from keeper.domain import Event, Snapshot, TableStatus, Unknown
from keeper.errors import Permanent, Transient
from keeper.publish.rebuild import Verdict, find_event, verify_page
from keeper.publish.triggers import drift_steps

app = typer.Typer(no_args_is_help=True, help="Risk table epochs: what lives, and whether anybody can rebuild it.")


@app.command()
def show(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Living pages: age, life left, drift of the live price from the reference."""
    snapshot = open_chain(config, network, rpc_url, manifest).chain.snapshot(accounts=())
    status, now = _table(snapshot), snapshot.block.timestamp
    prices = {} if isinstance(snapshot.prices, Unknown) else snapshot.prices
    rows = []
    for u, page in sorted(status.pages.items()):
        price = prices.get((0, u))
        steps = None if page.address is None or price is None else round(drift_steps(page, price.price_wad), 3)
        rows.append(
            {
                "underlying": u,
                "symbol": snapshot.symbol(u),
                "epoch": page.epoch,
                "age_s": now - page.observed_at if page.address else None,
                "life_left_s": page.expires_at - now if page.address else None,
                "reference_usd": usd(page.reference_price_wad) if page.address else None,
                "drift_steps": steps,
                "atm_vol_bps": page.atm_vol_bps,
                "rows": f"{page.rows}/{page.rows_wanted}",
            }
        )
    joint = status.joint
    if as_json:
        print_json(
            {"block": snapshot.block.number, "pages": rows, "joint": {"epoch": joint.epoch, "count": joint.count}}
        )
        return
    shown = [name for name in (rows[0] if rows else ("symbol",)) if name != "underlying"]
    made = table(f"pages at block {snapshot.block}", *shown)
    for row in rows:
        made.add_row(*("" if row[name] is None else str(row[name]) for name in shown))
    out = console()
    out.print(made)
    life = f", {joint.expires_at - now} s left" if joint.address else ""
    out.print(f"joint scenarios: epoch {joint.epoch}, {joint.count} scenarios{life}")


@app.command()
def verify(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild every living page from its event and compare each row; exit code 1 where one differs."""
    connection = open_chain(config, network, rpc_url, manifest)
    verdicts = verify_all(connection)
    if as_json:
        print_json([{"underlying": v.underlying, "epoch": v.epoch, "problems": list(v.problems)} for v in verdicts])
    else:
        made = table("living pages", "underlying", "epoch", "rows", "verdict")
        for verdict in verdicts:
            said = "; ".join(verdict.problems) or "rebuilt bit for bit"
            made.add_row(str(verdict.underlying), str(verdict.epoch), str(verdict.rows), said)
        console().print(made)
    wrong = [v.underlying for v in verdicts if v.problems]
    if wrong:
        raise Permanent(f"pages of underlyings {wrong} are not what their events say; see the runbook")


def verify_all(connection: Connection) -> list[Verdict]:
    """Verdict on each living page."""
    snapshot = connection.chain.snapshot(accounts=())
    status, market = _table(snapshot), snapshot.market
    if isinstance(market, Unknown):
        raise Transient(f"pages cannot be read ({market.reason}); run again")
    verdicts = []
    for u, page in sorted(market.pages.items()):
        event = find_event(newest_first(connection, snapshot.block.number), u, page.epoch)
        verdicts.append(verify_page(snapshot, status.pages[u], page, event))
    return verdicts


def newest_first(connection: Connection, head: int, most: int | None = None) -> Iterator[Event]:
    """Events from the head back to the deployment, in ranges of blocks; in at most so many ranges."""
    span, last, read = connection.settings.index.block_range, head, 0
    while last >= connection.manifest.start_block and (most is None or read < most):
        first = max(connection.manifest.start_block, last - span + 1)
        yield from reversed(connection.chain.events(first, last))
        last, read = first - 1, read + 1


def _table(snapshot: Snapshot) -> TableStatus:
    if isinstance(snapshot.table, Unknown):
        raise Transient(f"the risk table cannot be read ({snapshot.table.reason}); run again")
    return snapshot.table
