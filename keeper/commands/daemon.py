# SPDX-License-Identifier: Apache-2.0
"""``ballast keeper``: run, status, resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.app import Keeper, build_keeper, connect
from keeper.chain.connect import rpc_of
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
    usd,
)
from keeper.commands.daemon_news import log_end, log_start
from keeper.commands.reading import ReadingBar
from keeper.cosign.wire import server_of
from keeper.errors import ConfigError, KeeperError
from keeper.heads import HeadWatch
from keeper.heartbeat import Heartbeat
from keeper.jobs import jobs_of
from keeper.observe.server import ObserveServer, observe_routes
from keeper.recorder import Recorder
from keeper.report import CycleReport
from keeper.service import Service
from keeper.store import open_store

app = typer.Typer(no_args_is_help=True, help="Run the keeper and see what it did.")


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="One cycle, then stop.")] = False,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="Folder of price files to calibrate on.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Serve the live page on localhost.")] = False,
    page_port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of the page; 0: any free one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Observe, assess, decide, act, record. Sends nothing without --execute."""
    wanted = {"enabled": page or None, "port": page_port}
    said = {name: value for name, value in wanted.items() if value is not None}
    connection = open_chain(
        config, network, rpc_url, manifest, prices_dir=prices, execute=execute or None, page=said or None
    )
    sends = connection.settings.execute
    if once and page:
        raise ConfigError("--once stops before anybody could look at the page; leave out --once or --page")
    keeper = build_keeper(connection, sends)
    try:
        keeper.look()
        if once:
            if sends:
                keeper.office.open()
            keeper.calibrate()
            ReadingBar().attach(keeper.cycle.live)
            report = keeper.turn()
            if report is None:
                raise ConfigError("another keeper holds the lease of this chain; stop it, or run without --execute")
            show(report, sends, as_json)
        else:
            serve(keeper)
    finally:
        keeper.close()


def serve(keeper: Keeper) -> None:
    """Run the service until it is told to stop."""
    settings = keeper.connection.settings
    service = Service(jobs_of(keeper), keeper.metrics, keeper.health, keeper.clock.now)
    server = None
    if settings.metrics_port is not None:
        routes = observe_routes(keeper.metrics, keeper.health, keeper.clock.now)
        server = ObserveServer(settings.metrics_host, settings.metrics_port, routes)
        server.start()
    cosigner = _cosigner(keeper)
    keeper.office.open()
    log_start(keeper)
    ReadingBar().attach(keeper.cycle.live)
    watch = watch_heads(keeper, service)
    heart = beat(keeper, service)
    try:
        with serving_page(keeper, service):
            service.run()
        log_end()
    except KeeperError as error:
        keeper.office.alerts.fire("service_stopped", f"the keeper has stopped: {error}", keeper.clock.now())
        raise
    finally:
        for running in (watch, heart, server, cosigner):
            if running is not None:
                running.stop()


def _cosigner(keeper: Keeper) -> ObserveServer | None:
    """Start the co-signing service where the settings want it, with a chain client of its own."""
    settings, publisher = keeper.connection.settings, keeper.cycle.publisher
    if not settings.cosign.enabled:
        return None
    if publisher is None:
        raise ConfigError("co-signing needs the publisher's key; set PRIVATE_KEY_FILE or ETH_KEYSTORE")
    server = server_of(settings, connect(settings).chain, keeper.store, publisher, lambda: keeper.cycle.target)
    server.start()
    return server


def watch_heads(keeper: Keeper, service: Service) -> HeadWatch:
    """Begin a cycle whenever the head moves; with a client of its own, because the loop's is not shared."""
    settings = keeper.connection.settings
    head, poll_s = rpc_of(settings).block, settings.index.head_poll_s
    watch = HeadWatch(head, lambda: service.trigger("cycle"), lambda: keeper.busy, poll_s)
    watch.start()
    return watch


def beat(keeper: Keeper, service: Service) -> Heartbeat | None:
    """Keep or seek the lease beside the loop; who gets it begins a cycle at once."""
    lease, settings = keeper.lease, keeper.connection.settings
    if lease is None:
        return None

    def role(leads: bool) -> None:
        keeper.cycle.instruments.role(leads, keeper.clock.now())
        if leads and not keeper.busy:  # the one that runs has the lease too
            service.trigger("cycle")

    heart = Heartbeat(lease, max(settings.jobs.stall_s, 5 * settings.cycle_interval_s), role, service.fail)
    heart.start()
    return heart


@contextmanager
def serving_page(keeper: Keeper, service: Service) -> Iterator[None]:
    """Serve the live page while the service runs, where the settings ask for it."""
    settings = keeper.connection.settings
    if not settings.page.enabled:
        yield
        return
    from keeper.page.server import PageServer
    from keeper.page.view import source_of

    server = PageServer(source_of(keeper, settings.execute, service.status), settings.page)
    server.start()
    typer.echo(f"page: {server.url}")
    try:
        yield
    finally:
        server.stop()


def show(report: CycleReport, sends: bool, as_json: bool) -> None:
    """Print what one cycle saw and did, or would do."""
    if as_json:
        print_json({"block": report.block.number, "result": report.result, "executed": sends, **report.detail()})
        return
    out = console()
    worst = "none" if report.worst is None else f"account {report.worst[0]}: {usd(report.worst[1])} USD"
    out.print(
        f"block {report.block}: {report.accounts} accounts, {len(report.unknown)} unknown, "
        f"{len(report.liquidatable)} below maintenance margin; lowest health {worst}"
    )
    equal = len(report.parity.checked) - len(report.parity.mismatches)
    out.print(f"parity with the engine: {equal} of {len(report.parity.checked)} equal; {report.duration_s:.2f} s")
    for note in report.decision.notes:
        out.print(f"{'ALERT' if note.alarm else 'note'}: {note.text}", markup=False)
    if not report.outcomes:
        out.print("nothing to do")
        return
    made = table("actions" if sends else "actions (dry run)", "kind", "subject", "epoch", "outcome", "detail")
    for outcome in report.outcomes:
        action = outcome.action
        made.add_row(action.kind, action.subject, str(action.epoch), outcome.result, outcome.detail)
    out.print(made)


@app.command()
def status(
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Cycles to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Latest cycles, and parts that are halted."""
    settings = settings_from(config, network, None, manifest)
    store = open_store(settings.database_url.get_secret_value())
    recorder = Recorder(store, settings.expected_chain_id)
    rows, halted = recorder.runs(limit), recorder.halted()
    if as_json:
        runs: list[dict[str, Any]] = [
            {"started_at": r.started_at, "block": r.block_number, "result": r.result, "detail": r.detail} for r in rows
        ]
        print_json({"halted": halted, "runs": runs})
        return
    made = table("cycles", "id", "started at (UTC)", "block", "result", "actions, or the error", right=("id", "block"))
    for row in rows:
        detail = row.detail or {}
        said = detail.get("error") or "; ".join(detail.get("actions", []))
        made.add_row(str(row.id), moment(row.started_at), str(row.block_number or ""), row.result or "unfinished", said)
    out = console()
    out.print(made)
    out.print(f"halted: {', '.join(halted) or 'nothing'}")


@app.command()
def resume(
    part: Annotated[str, typer.Argument(help="liquidation, publication or parameters")],
    config: ConfigOption = None,
    network: NetworkOption = None,
    manifest: ManifestOption = None,
) -> None:
    """Let a halted part run again, after its cause is understood."""
    settings = settings_from(config, network, None, manifest)
    recorder = Recorder(open_store(settings.database_url.get_secret_value()), settings.expected_chain_id)
    if not recorder.resume(part):
        halted = ", ".join(recorder.halted()) or "nothing"
        raise ConfigError(f"part '{part}' is not halted (halted: {halted}); name one that is")
    typer.echo(f"{part} runs again")
