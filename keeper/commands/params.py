# SPDX-License-Identifier: Apache-2.0
"""``ballast params``: show, diff, push (or, where that would loosen, propose)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from keeper.act import Result, execute, rehearse
from keeper.actions import ProposeParameters
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
    usd,
)
from keeper.domain import Snapshot, Unknown
from keeper.errors import ConfigError, Halt, Permanent, Transient
from keeper.index.proposals import QueuedProposal, queued_proposals
from keeper.outbox import SenderOutbox
from keeper.policies import check_roles, push_policy
from keeper.publish.calibration import PriceBook, collateral_specs, recalibrate
from keeper.publish.parameters import PushPlan, plan_push, target_words
from keeper.publish.queue import read_queue
from keeper.publish.readback import verify
from keeper.publish.words import COLLATERAL, KIND_NAMES, LANE_NAMES, UNDERLYING, describe
from keeper.store import open_store
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import load_signer
from risk.market.history import utc
from risk.types import ParameterSet
from risk.units import unpack_lanes

app = typer.Typer(no_args_is_help=True, help="Risk parameters on chain: what they are, what the model wants, push.")
PricesOption = Annotated[Path | None, typer.Option("--prices", help="Calibrate on this folder of price files.")]


@app.command()
def show(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every parameter as stored and as in force now, with its bounds and largest steps."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot(accounts=())
    rows = _parameter_rows(snapshot)
    if as_json:
        keys = ("kind", "id", "name", "value", "in_force", "low", "high", "step_up", "step_down")
        print_json({"block": snapshot.block.number, "parameters": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    made = table("parameters", "kind", "of", "name", "value", "in force", "low", "high", "step up", "step down")
    for row in named(connection, snapshot, rows):
        made.add_row(*row)
    console().print(made)
    status = snapshot.parameters
    if isinstance(status, Unknown):
        raise Transient(f"the status of the parameters cannot be read ({status.reason}); run again")
    console().print(
        f"push {status.nonce} at {utc(status.pushed_at)}, observed at {utc(status.observed_at)}, valid until "
        f"{utc(status.valid_until)}; at least {status.min_interval_s} s between pushes",
        markup=False,
    )


def named(
    connection: Connection, snapshot: Snapshot, rows: Sequence[tuple[str | int, ...]]
) -> Iterator[tuple[str, ...]]:
    """Rows that begin with kind and number, for people: with the symbol in place of the number."""
    assets = connection.collateral_names(snapshot)
    for kind, number, *rest in rows:
        of = ""
        if kind == KIND_NAMES[UNDERLYING]:
            of = snapshot.symbol(int(number))
        elif kind == KIND_NAMES[COLLATERAL]:
            of = assets.get(int(number), str(number))
        yield str(kind), of, *map(str, rest)


def _parameter_rows(snapshot: Snapshot) -> list[tuple[str | int, ...]]:
    """(kind, id, name, value, value in force, low, high, step up, step down) of every lane that is set."""
    words, bounds, market = snapshot.parameter_words, snapshot.parameter_bounds, snapshot.market
    if isinstance(words, Unknown):
        raise Transient(f"parameters cannot be read ({words.reason}); run again")
    if isinstance(bounds, Unknown):
        raise Transient(f"bounds cannot be read ({bounds.reason}); run again")
    if isinstance(market, Unknown):
        raise Transient(f"the words in force cannot be read ({market.reason}); run again")
    in_force = (lambda _: market.global_word, market.underlying_words.__getitem__, market.collateral_words.__getitem__)
    rows: list[tuple[str | int, ...]] = []
    for (kind, number), word in sorted(words.items()):
        limits = bounds[kind]
        packed = (word, in_force[kind](number), limits.low, limits.high, limits.step_up, limits.step_down)
        for name, *values in zip(LANE_NAMES[kind], *map(unpack_lanes, packed), strict=False):
            rows.append((KIND_NAMES[kind], number, name, *values))
    return rows


@app.command()
def diff(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    params: ParamsOption = None,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the model wants, what one push may change now, and what that would do to the accounts."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot()
    target = read_target(connection, snapshot, params, prices)
    plan = make_plan(connection, snapshot, target, approved=False)
    print_plan(connection, snapshot, target, plan, as_json)


@app.command()
def push(
    execute_: ExecuteOption = False,
    approve: Annotated[bool, typer.Option("--approve", help="I have seen the impact and take it.")] = False,
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    params: ParamsOption = None,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push or propose one batch towards what the model wants. Sends nothing without --execute."""
    connection = open_chain(config, network, rpc_url, manifest)
    snapshot = connection.chain.snapshot()
    target = read_target(connection, snapshot, params, prices)
    plan = make_plan(connection, snapshot, target, approved=approve)
    if plan.action is None:
        print_plan(connection, snapshot, target, plan, as_json)
        raise Permanent(f"nothing is pushed: {plan.refused or plan.waiting}")
    if not execute_:
        outcome = rehearse(connection.chain, plan.action, snapshot.block, None)
        print_plan(connection, snapshot, target, plan, as_json)
        typer.echo(f"dry run: {outcome}", err=True)
        if outcome.result is not Result.WOULD:
            raise Permanent(f"{plan.action} would be refused: {outcome.detail}")
        return
    send(connection, plan)
    announced = isinstance(plan.action, ProposeParameters)
    typer.echo(f"{plan.action} is {'announced' if announced else 'on chain and reads back as sent'}", err=True)


def send(connection: Connection, plan: PushPlan) -> None:
    """Send a push or a proposal, wait for it, read it back.

    Raises
    ------
    Permanent, Transient, Halt
        It was refused, is not mined yet, or reads back differently.
    """
    settings, chain, clock = connection.settings, connection.chain, SystemClock()
    signer = load_signer(settings)
    pushing = settings.publisher.model_copy(update={"push_parameters": True})
    check_roles(chain, settings.model_copy(update={"publisher": pushing}), signer.address)
    store = open_store(settings.database_url.get_secret_value())
    try:
        journal = Journal(store, chain.chain_id, signer.address)
        sender = Sender(chain, journal, signer, clock, policy_from(settings))
        action = plan.action
        if action is None:
            raise Permanent("there is neither push nor proposal to send")
        outcome = execute(chain, SenderOutbox(sender, journal, None), action)
        if outcome.result is Result.PENDING:
            waiting = next(i for i in journal.open_intents() if (i.kind, i.epoch) == (action.kind, action.epoch))
            sender.wait(waiting, timeout_s=180)
        elif outcome.result not in {Result.DONE, Result.KNOWN}:
            raise Permanent(f"{action} was refused: {outcome.detail}")
        verify(chain.snapshot(accounts=()), action)
    finally:
        store.close()


def read_target(connection: Connection, snapshot: Snapshot, params: Path | None, prices: Path | None) -> ParameterSet:
    """What the model wants: from a file, or calibrated now."""
    if params is not None:
        return ParameterSet.from_json(params.read_text(encoding="utf-8"))
    folder = prices or connection.settings.prices_dir
    if folder is None:
        raise ConfigError("there is no target to compare with; give --params FILE or --prices DIR, or set prices_dir")
    if isinstance(snapshot.underlyings, Unknown):
        raise Transient(f"underlyings cannot be read ({snapshot.underlyings.reason}); run again")
    symbols = [info.symbol for _, info in sorted(snapshot.underlyings.items())]
    book = PriceBook.open(folder, connection.settings.observed_file, symbols)
    specs = collateral_specs(connection.collateral_names(snapshot), snapshot)
    return recalibrate(book.history, specs, None, snapshot.block.timestamp)


def make_plan(connection: Connection, snapshot: Snapshot, target: ParameterSet, approved: bool) -> PushPlan:
    """Plan on an operator's word: neither deadband nor heartbeat holds it back."""
    policy = replace(push_policy(connection.settings), deadband_bps=0, heartbeat_s=0)
    names = connection.collateral_names(snapshot)
    words = snapshot.parameter_words
    queue = (
        words
        if isinstance(words, Unknown)
        else read_queue(connection.chain, snapshot.block, words, _queued(connection))
    )
    return plan_push(snapshot, assess_all(snapshot), target, names, policy, queue, approved)


def _queued(connection: Connection) -> tuple[QueuedProposal, ...]:
    """Announced changes that the keeper's index knows of."""
    store = open_store(connection.settings.database_url.get_secret_value())
    try:
        return queued_proposals(store, connection.chain.chain_id)
    finally:
        store.close()


def print_plan(connection: Connection, snapshot: Snapshot, target: ParameterSet, plan: PushPlan, as_json: bool) -> None:
    """Lanes now, after one push, and at the target; then the impact."""
    words = snapshot.parameter_words
    if isinstance(words, Unknown):
        raise Halt(f"parameters cannot be read ({words.reason}); run again")
    wanted = target_words(target, snapshot, connection.collateral_names(snapshot))
    pushed = {(kind, number): word for kind, number, word in plan.changes}
    rows = []
    for key, goal in sorted(wanted.items()):
        now = words.get(key, 0)
        after = {name: then for name, _, then in describe(key[0], now, pushed.get(key, now))}
        for name, before, final in describe(key[0], now, goal):
            rows.append((KIND_NAMES[key[0]], key[1], name, before, after.get(name, before), final))
    impact = plan.impact
    if as_json:
        keys = ("kind", "id", "name", "now", "after_push", "target")
        print_json(
            {
                "changes": [dict(zip(keys, row, strict=True)) for row in rows],
                "newly_liquidatable": [] if impact is None else list(impact.newly_liquidatable),
                "equity_wad": 0 if impact is None else impact.equity_wad,
                "refused": plan.refused,
                "waiting": plan.waiting,
            }
        )
        return
    made = table("parameters that differ", "kind", "of", "name", "now", "after this push", "target")
    for row in named(connection, snapshot, rows):
        made.add_row(*row)
    out = console()
    out.print(made)
    if impact is not None:
        count = len(impact.newly_liquidatable)
        out.print(f"impact: {count} accounts newly liquidatable, worth {usd(impact.equity_wad)} USD")
    for text in (plan.refused, plan.waiting):
        if text is not None:
            out.print(text, markup=False)
