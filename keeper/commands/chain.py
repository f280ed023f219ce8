# SPDX-License-Identifier: Apache-2.0
"""``ballast deploy | doctor | config``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr

from keeper.chain.connect import rpc_of
from keeper.chain.rpc import Rpc
from keeper.commands.common import (
    ConfigOption,
    JsonOption,
    ManifestOption,
    NetworkOption,
    RpcOption,
    console,
    print_json,
    read_settings,
    settings_from,
    table,
)
from keeper.commands.doctor import examine
from keeper.deploy.steps import Step
from keeper.errors import ConfigError, Permanent
from keeper.logging import redact_text, scrub
from keeper.tx.signer import load_signer

if TYPE_CHECKING:
    from keeper.deploy.config import Network
    from keeper.deploy.manifest import ManifestFile
    from keeper.ports import Signer

config_app = typer.Typer(no_args_is_help=True, help="The settings.")
HIDDEN = "[hidden]"


def deploy(
    config: Annotated[Path, typer.Option("--config", help="Deployment configuration, such as config/local.toml.")],
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Finish the hand-over to governance instead.")] = False,
) -> None:
    """Print the plan of a deployment, then carry it out; run again, it goes on where it stopped."""
    from keeper.deploy.config import load_config
    from keeper.deploy.execute import execute
    from keeper.deploy.manifest import ManifestFile, manifest_path
    from keeper.deploy.plan import make_plan, plan_json, plan_table

    wanted = load_config(config)
    if network is not None and network != wanted.network.name:
        raise ConfigError(f"{config} is of network {wanted.network.name}, not {network}; give the file of that network")
    settings = read_settings(network=wanted.network.name, chain_id=wanted.network.chain_id, rpc_url=rpc_url)
    rpc = rpc_of(settings)
    rpc.check_chain(wanted.network.chain_id)
    signer = load_signer(settings)
    path = manifest or manifest_path(Path("deployments"), wanted.network.chain_id, wanted.network.name)
    file = ManifestFile(path)
    if accept:
        _accept(wanted.network, rpc, signer, file, as_json=as_json, yes=yes)
        return
    before = file.load()
    plan = make_plan(wanted, rpc, signer.address, before)
    done = [] if before is None else [step.id for step in before.steps if step.done]
    if as_json:
        typer.echo(plan_json(plan, done))
    else:
        fees = rpc.fees()
        console().print(plan_table(plan, done, fees.base_fee_wei + fees.priority_fee_wei))
    if {step.id for step in plan.steps} <= set(done):
        typer.echo("every step is done; nothing is sent, the code on chain is compared", err=True)
    else:
        _confirm(yes)
    result = execute(plan, rpc, signer, file, progress=_show_step)
    typer.echo(f"deployed {len(result.contracts)} contracts; manifest {path}", err=True)
    if plan.acceptances:
        typer.echo(
            f"then: ballast deploy --config {config} --accept, until {plan.governance} owns everything", err=True
        )


def _accept(network: Network, rpc: Rpc, signer: Signer, file: ManifestFile, *, as_json: bool, yes: bool) -> None:
    """Send the next part of the hand-over; without the right key, show what somebody else must send."""
    from keeper.deploy.handover import Handover
    from keeper.deploy.manifest import load_manifest

    hand = Handover(load_manifest(file.path), rpc)
    left = hand.state(int(time.time()))
    rows = [{"call": call.what, "to": call.to, "data": "0x" + call.data.hex(), "by": left.role} for call in left.calls]
    if as_json:
        print_json({"complete": left.complete, "ready_at": left.ready_at, "calls": rows})
    else:
        made = table("hand-over", "call", "to", "data", "by")
        for row in rows:
            made.add_row(*map(str, row.values()))
        console().print(made)
    if left.complete:
        typer.echo(f"{hand.manifest.owner} owns every contract", err=True)
    elif left.ready_at:
        typer.echo(f"the timelock can accept from {left.ready_at} (unix s) on; run the same command then", err=True)
    else:
        _confirm(yes)
        hand.send(left, network, signer, file)
        typer.echo("sent; run the same command again until it says that nothing is left", err=True)


def _confirm(yes: bool) -> None:
    if not yes and not typer.confirm("send these transactions?", default=False, err=True):
        raise Permanent("nothing was sent; run again with --yes to send")


def _show_step(stage: str, step: Step) -> None:
    """One line a step: the one that a stuck transaction stops at is the last."""
    if stage not in {"intent", "mined", "done"}:
        typer.echo(f"{stage:8} {step.id}", err=True)


def doctor(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask everything that must be right before a keeper is left alone; exit code 1 where something is not."""
    found = examine(settings_from(config, network, rpc_url, manifest))
    if as_json:
        print_json([{"name": f.name, "ok": f.ok, "detail": scrub(f.detail)} for f in found])
    else:
        made = table("doctor", "question", "", "answer")
        for item in found:
            made.add_row(item.name, "ok" if item.ok else "FAILED", scrub(item.detail))
        console().print(made)
    wrong = [item.name for item in found if not item.ok]
    if wrong:
        raise Permanent(f"not ready: {', '.join(wrong)}; the table says what to do")


@config_app.callback()
def _config() -> None:
    """The settings."""


@config_app.command("show")
def config_show(
    config: ConfigOption = None,
    network: NetworkOption = None,
    redacted: Annotated[bool, typer.Option("--redacted", help="Hide secrets; they always are.")] = True,
) -> None:
    """Settings as they are after command line, environment, file and defaults; secrets are hidden."""
    settings = read_settings(config, network=network)
    typer.echo(json.dumps(_shown(settings.model_dump()), indent=1, default=str))


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return redact_text(text) if "://" in text else HIDDEN
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value
