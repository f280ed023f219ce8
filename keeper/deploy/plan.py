# SPDX-License-Identifier: Apache-2.0
"""The plan of a deployment: every step with its estimated gas, shown before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eth_abi.abi import decode
from rich.table import Table

from keeper.artifacts import load
from keeper.chain.multicall import MULTICALL3
from keeper.chain.rpc import Rpc
from keeper.deploy.config import LOCAL_CHAINS, DeployConfig, described
from keeper.deploy.handover import OWNED
from keeper.deploy.manifest import Manifest, encode_value
from keeper.deploy.slots import REGISTRY, read_taken
from keeper.deploy.steps import Deploy, Step, references
from keeper.deploy.wire import Wiring
from keeper.deploy.wire_listing import Anchors, Progress
from keeper.errors import ConfigError, KeeperError

WEI_PER_ETHER = 10**18
DECIMALS = bytes.fromhex("313ce567")
LATEST_ROUND = bytes.fromhex("feaf968c")
# Gas of the wiring calls at their dearest (two feeds, a rate, a sequencer), as measured on the embedded chain and
# rounded up; tests compare. The batch is dear by the memory that its module sets aside for 255 calls.
CALL_GAS = {
    "list_underlying": 165_000, "list_option": 225_000, "list_future": 90_000, "list_collateral": 150_000,
    "set_feed": 165_000, "set_cash_feed": 140_000, "share_feed": 90_000, "record": 90_000, "set_bounds": 125_000,
    "initialise": 115_000, "set_publisher": 95_000, "set_terms": 130_000, "set_settings": 90_000, "deposit": 105_000,
    "mint": 70_000, "schedule_batch": 1_700_000,
}  # fmt: skip
DEFAULT_CALL_GAS = 60_000
CREATE_GAS, CODE_BYTE_GAS, CONSTRUCTOR_GAS = 53_000, 200, 320_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, with everything the executor needs.

    Attributes
    ----------
    config, deployer, anchors
        What it was made from.
    governance
        Who owns the contracts in the end: an address, or ``Timelock``.
    steps
        In the order of sending.
    external
        Addresses that exist already, by name.
    feeds
        ``kind:id`` to the name of its feed.
    multicall
        Whether a multicall contract of our own is part of it.
    """

    config: DeployConfig
    deployer: str
    governance: str
    anchors: Anchors
    steps: tuple[Step, ...]
    external: dict[str, str]
    feeds: dict[str, str]
    multicall: bool

    @property
    def creations(self) -> tuple[Deploy, ...]:
        """The steps that create contracts."""
        return tuple(step for step in self.steps if isinstance(step, Deploy))

    @property
    def gas(self) -> int:
        """Estimated gas of all steps."""
        return sum(estimate(step) for step in self.steps)

    @property
    def acceptances(self) -> tuple[str, ...]:
        """Contracts whose ownership governance must accept afterwards; empty when the deployer keeps it."""
        return () if self.governance == self.deployer else OWNED

    @property
    def artifacts(self) -> dict[str, str]:
        """Artifact of each name, existing tokens and feeds included."""
        known = {step.contract: step.artifact for step in self.creations}
        return known | external_artifacts(self.external)


def external_artifacts(external: dict[str, str]) -> dict[str, str]:
    """ABI with which an existing token or feed is read."""
    return {name: "TestToken" if name.startswith("token:") else "MockAggregator" for name in external}


def estimate(step: Step) -> int:
    """Gas of a step: code deposit, calldata and a constant for creations, a measured constant for calls."""
    if not isinstance(step, Deploy):
        return CALL_GAS.get(step.function, DEFAULT_CALL_GAS)
    artifact = load(step.artifact)
    code = artifact.bytecode
    calldata = 16 * len(code) - 12 * code.count(0) + 2 * (len(code) // 32)
    return CREATE_GAS + CODE_BYTE_GAS * artifact.runtime_size + calldata + CONSTRUCTOR_GAS


def make_plan(config: DeployConfig, rpc: Rpc, deployer: str, manifest: Manifest | None = None) -> Plan:
    """Look at the chain and lay out the deployment; nothing is sent.

    Parameters
    ----------
    manifest
        Of an earlier run of the same deployment: its time, prices and choices are used again.

    Raises
    ------
    ConfigError
        The chain or an address is not what the configuration says, or the manifest is of another deployment.
    Transient
        The node does not answer.
    """
    check_chain(config, rpc)
    if manifest is not None:
        check_same(config, deployer, manifest)
        spots = {symbol: Decimal(text) for symbol, text in manifest.spots.items()}
        anchors = Anchors(manifest.started_at, spots, manifest.decimals)
        multicall = manifest.multicall
    else:
        anchors = read_anchors(config, rpc)
        multicall = config.multicall == "deploy" or (config.multicall == "auto" and not rpc.code(MULTICALL3))
    wiring = Wiring(config, deployer, anchors, multicall, progress_of(config, rpc, manifest))
    plan = Plan(
        config=config,
        deployer=deployer,
        governance=wiring.owner,
        anchors=anchors,
        steps=wiring.steps(),
        external=wiring.external(),
        feeds={f"{kind}:{number}": ref.name for (kind, number), ref in wiring.listing.feeds().items()},
        multicall=multicall,
    )
    check_order(plan)
    return plan


def progress_of(config: DeployConfig, rpc: Rpc, manifest: Manifest | None) -> Progress:
    """What an earlier run has done, and where the instruments that it or anybody has listed are."""
    registry = None if manifest is None else manifest.contracts.get(REGISTRY)
    if manifest is None or registry is None or not rpc.code(registry.address):
        return Progress()
    done = frozenset(step.id for step in manifest.steps if step.done)
    return Progress(done, read_taken(rpc, registry.address, len(config.underlyings)))


def check_chain(config: DeployConfig, rpc: Rpc) -> None:
    """Make sure that the node is on the chain of the configuration."""
    rpc.check_chain(config.network.chain_id)
    if config.mocks() and config.network.chain_id not in LOCAL_CHAINS:
        raise ConfigError(f"mocks on chain {config.network.chain_id}, which is not local; give real addresses")


def check_same(config: DeployConfig, deployer: str, manifest: Manifest) -> None:
    """Make sure that a manifest belongs to this configuration and key."""
    pairs = (
        ("network", manifest.network, config.network.name),
        ("chain id", manifest.chain_id, config.network.chain_id),
        ("deployer", manifest.deployer, deployer),
    )
    for what, recorded, given in pairs:
        if recorded != given:
            raise ConfigError(
                f"the manifest has {what} {recorded}, this run has {given}; use the same or another network name"
            )


def check_order(plan: Plan) -> None:
    """Every address must be known when a step needs it."""
    known = set(plan.external)
    for step in plan.steps:
        missing = references(step.args) - known
        if missing:
            raise ConfigError(f"step '{step.id}' needs {', '.join(sorted(missing))}, which no earlier step provides")
        if isinstance(step, Deploy):
            known.add(step.contract)


def read_anchors(config: DeployConfig, rpc: Rpc) -> Anchors:
    """Time of the head, spot prices and decimals, read from the addresses of the configuration."""
    head = rpc.block()
    answers = {
        name: source.mock.price if source.mock else _spot(rpc, str(source.address), described(name), head.number)
        for name, source in config.aggregators()
    }
    spots = {item.symbol: answers[f"feed:{item.symbol}"] for item in config.underlyings}
    for asset in config.collateral:
        if asset.rate is not None and asset.rate.source is not None:
            _need_code(rpc, asset.rate.source, f"rate source of {asset.symbol}")
    if config.sequencer is not None:
        _need_code(rpc, config.sequencer.address, "sequencer feed")
    decimals = {
        item.symbol: _decimals(rpc, item.token, f"token {item.symbol}", head.number)
        for item in (config.cash, *config.collateral)
        if item.token is not None
    }
    return Anchors(head.timestamp, spots, decimals)


def _need_code(rpc: Rpc, address: str, what: str) -> None:
    if not rpc.code(address):
        raise ConfigError(f"{what} at {address} has no code on chain {rpc.chain_id()}; correct the address")


def _decimals(rpc: Rpc, address: str, what: str, block: int) -> int:
    _need_code(rpc, address, what)
    try:
        (found,) = decode(["uint8"], rpc.call(address, DECIMALS, block, what=f"decimals of {what}"))
    except KeeperError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} at {address} has no decimals(); correct the address") from error
    return int(found)


def _spot(rpc: Rpc, address: str, what: str, block: int) -> Decimal:
    decimals = _decimals(rpc, address, what, block)
    try:
        data = rpc.call(address, LATEST_ROUND, block, what=f"latestRoundData of {what}")
        answer = decode(["uint80", "int256", "uint256", "uint256", "uint80"], data)[1]
    except KeeperError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} at {address} has no latestRoundData(); correct the address") from error
    if answer <= 0:
        raise ConfigError(f"{what} at {address} answers {answer}; a price must be positive, choose another feed")
    return Decimal(int(answer)) / Decimal(10**decimals)


def plan_table(plan: Plan, done: Sequence[str] = (), gas_price_wei: int | None = None) -> Table:
    """The plan as a table for a person; ``done`` lists the steps that a manifest has already."""
    cost = "" if gas_price_wei is None else f", about {plan.gas * gas_price_wei / WEI_PER_ETHER:.4f} ether"
    table = Table(
        title=f"{plan.config.network.name} (chain {plan.config.network.chain_id}), deployer {plan.deployer}",
        caption=f"{len(plan.steps)} steps, {len(plan.creations)} contracts, about {plan.gas:,} gas{cost}",
    )
    for heading in ("#", "step", "arguments", "gas about", ""):
        table.add_column(heading, justify="right" if heading in {"#", "gas about"} else "left", overflow="fold")
    for number, step in enumerate(plan.steps, 1):
        state = "done" if step.id in done else ""
        table.add_row(str(number), step.id, _show(step.args), f"{estimate(step):,}", state)
    for name in plan.acceptances:
        table.add_row("", f"{name}.accept_ownership", "", "", f"afterwards, by {plan.governance}")
    return table


def plan_json(plan: Plan, done: Sequence[str] = ()) -> str:
    """The plan as JSON for a program."""
    steps: list[dict[str, Any]] = [
        {
            "id": step.id,
            "contract": step.contract,
            "create": step.artifact if isinstance(step, Deploy) else None,
            "function": None if isinstance(step, Deploy) else step.function,
            "args": encode_value(step.args),
            "gas_estimate": estimate(step),
            "done": step.id in done,
        }
        for step in plan.steps
    ]
    head = {"network": plan.config.network.name, "chain_id": plan.config.network.chain_id, "deployer": plan.deployer}
    accept = [{"contract": name, "by": plan.governance} for name in plan.acceptances]
    return json.dumps({**head, "gas_estimate": plan.gas, "steps": steps, "to_accept": accept}, indent=1)


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_show(item) for item in value)
    if isinstance(value, bytes):
        return "0x" + (value.hex() if any(value) else "0")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**53:
        return hex(value) if value % 10**9 else f"{value:.6g}"
    name = getattr(value, "name", None)
    return f"<{name}>" if name else str(value)
