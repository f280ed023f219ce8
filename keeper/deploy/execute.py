# SPDX-License-Identifier: Apache-2.0
"""Carrying a plan out, one transaction after the other, each recorded before it is sent.

Killed at any line, the next run goes on: a recorded transaction is looked up by its hash, and while its nonce is unused
it is signed and sent again with that nonce, so it can never run twice. A call whose effect can be read back is not sent
when the effect is there already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

from keeper.artifacts import hex_hash, load
from keeper.chain.rpc import Rpc
from keeper.deploy.manifest import (
    ContractRecord,
    Manifest,
    ManifestFile,
    StepRecord,
    encode_checks,
    encode_value,
    git_commit,
)
from keeper.deploy.outbox import Message, Outbox, Waiting
from keeper.deploy.plan import Plan, check_chain, check_same, estimate
from keeper.deploy.steps import Call, Check, Deploy, Step, call_data, creation_code, holds, resolve
from keeper.domain import Receipt
from keeper.errors import ConfigError, Halt, Permanent, Reverted, Transient
from keeper.ports import Signer

Stage = Literal["skipped", "intent", "sent", "mined", "done"]
Progress = Callable[[Stage, Step], None]


class Executor:
    """Sends the steps of a plan.

    Parameters
    ----------
    plan, rpc, signer
        What, where and by whom; the signer is the plan's deployer.
    file
        The manifest.
    progress
        Told about every stage of every step.
    """

    def __init__(
        self,
        plan: Plan,
        rpc: Rpc,
        signer: Signer,
        file: ManifestFile,
        progress: Progress | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.plan = plan
        self.rpc = rpc
        self.signer = signer
        self.file = file
        self.progress = progress or (lambda _stage, _step: None)
        self.outbox = Outbox(plan.config.network, rpc, signer, file, waiting or Waiting())

    def run(self) -> Manifest:
        """Send what is not done yet; returns the complete manifest.

        Raises
        ------
        ConfigError
            Wrong chain, key, balance, or a manifest of another deployment; nothing has been sent.
        Permanent, Transient
            A step failed; running again goes on there.
        Halt
            The chain is not in the state that a confirmed step must have left.
        """
        self._preflight()
        manifest = self._open()
        for step in self.plan.steps:
            self._step(manifest, step)
        return manifest

    # ------------------------------------------------------------------ before

    def _preflight(self) -> None:
        check_chain(self.plan.config, self.rpc)
        me = self.signer.address
        if me != self.plan.deployer:
            raise ConfigError(f"the key is {me}, the plan is for {self.plan.deployer}; use the right key or plan again")
        for name, address in self.plan.external.items():
            if not self.rpc.code(address):
                raise ConfigError(f"{name} at {address} has no code; correct the configuration")

    def _open(self) -> Manifest:
        plan, manifest = self.plan, self.file.load()
        if manifest is not None:
            check_same(plan.config, plan.deployer, manifest)
            self._check_unchanged(manifest)
            manifest.governance, manifest.external = plan.governance, plan.external
            manifest.feeds = plan.feeds
        else:
            manifest = Manifest(
                network=plan.config.network.name,
                chain_id=plan.config.network.chain_id,
                deployer=plan.deployer,
                governance=plan.governance,
                git_commit=git_commit(),
                started_at=plan.anchors.time,
                start_block=self.rpc.block().number,
                spots={symbol: str(price) for symbol, price in plan.anchors.spots.items()},
                decimals=dict(plan.anchors.decimals),
                external=plan.external,
                multicall=plan.multicall,
                feeds=plan.feeds,
            )
        manifest.planned = len({step.id for step in plan.steps} | {step.id for step in manifest.steps})
        self._check_balance(manifest)
        self.file.save(manifest)  # a disk that cannot take the first record must stop before anything is sent
        return manifest

    def _check_unchanged(self, manifest: Manifest) -> None:
        addresses = {**self.plan.external, **manifest.addresses}
        for step in self.plan.creations:
            record = manifest.contracts.get(step.contract)
            if record is None:
                continue
            data = creation_code(load(step.artifact), resolve(step.args, addresses))
            if record.constructor_data != "0x" + data[len(load(step.artifact).bytecode) :].hex():
                raise ConfigError(
                    f"{step.contract} in {self.file.path} was created with other arguments; use another network name"
                )

    def _check_balance(self, manifest: Manifest) -> None:
        quote, me = self.rpc.fees(), self.signer.address
        if quote.base_fee_wei >= self.outbox.caps.max_fee_wei:
            raise Transient(
                f"base fee {quote.base_fee_wei} wei is above network.max_fee_gwei "
                f"{self.plan.config.network.max_fee_gwei}; wait or raise it"
            )
        left = [step for step in self.plan.steps if not ((record := manifest.step(step.id)) and record.done)]
        need = sum(map(estimate, left)) * (quote.base_fee_wei + quote.priority_fee_wei)
        have = self.rpc.balance(me)
        if have < need:
            raise ConfigError(
                f"deployer {me} has {have / 10**18:.6f} ether and needs about {need / 10**18:.6f}; send it the rest"
            )

    # ------------------------------------------------------------------ one step

    def _step(self, manifest: Manifest, step: Step) -> None:
        record = manifest.step(step.id)
        if record is not None and record.done:
            self._check_code(manifest, step)
            self.progress("skipped", step)
            return
        addresses = manifest.addresses
        if isinstance(step, Call) and not (record and record.attempts) and self._effective(step, addresses):
            manifest.steps.append(StepRecord(id=step.id, kind=step.kind, block=0, checks=encode_checks(step.checks)))
            self.file.save(manifest)
            self.progress("skipped", step)
            return
        artifact = load(self.plan.artifacts[step.contract])
        args = resolve(step.args, addresses)
        if isinstance(step, Deploy):
            to, data = None, creation_code(artifact, args)
        else:
            to, data = addresses[step.contract], call_data(artifact, step.function, args)
        if record is None:
            record = StepRecord(id=step.id, kind=getattr(step, "kind", "fixed"))
            manifest.steps.append(record)

        def happened(address: str | None) -> bool:
            if isinstance(step, Deploy):
                return artifact.matches_code(self.rpc.code(str(address)))
            return self._effective(step, addresses)

        self.outbox.progress = lambda stage: self.progress(cast("Stage", stage), step)
        receipt = self.outbox.deliver(manifest, record, Message(step.id, to, data, happened))
        self._finish(manifest, step, record, receipt, args)

    def _effective(self, step: Call, addresses: dict[str, str]) -> bool:
        return any(self._holds(check, addresses) for check in step.checks)

    def _holds(self, check: Check, addresses: dict[str, str]) -> bool:
        number = self.rpc.block().number
        artifact = load(self.plan.artifacts[check.contract])

        def read(to: str, data: bytes) -> bytes:
            return self.rpc.call(to, data, number, what=f"{check.contract}.{check.function}")

        try:
            return holds(check, artifact, addresses, read)
        except Reverted:  # a view of something that is not listed yet
            return False

    def _check_code(self, manifest: Manifest, step: Step) -> None:
        if not isinstance(step, Deploy):
            return
        record = manifest.contracts[step.contract]
        code = self.rpc.code(record.address)
        if hex_hash(code) != record.code_hash:
            problem = "no code" if not code else "other code"
            raise ConfigError(
                f"{step.contract} at {record.address} has {problem} on this chain; "
                f"{self.file.path} is of another chain or one that was reset, use another network name"
            )

    # ------------------------------------------------------------------ after

    def _finish(self, manifest: Manifest, step: Step, record: StepRecord, receipt: Receipt, args: Any) -> None:
        self.progress("mined", step)
        tx_hash = "0x" + receipt.tx_hash.hex()
        if not receipt.succeeded:
            for item in record.attempts:
                item.void = True
            self.file.save(manifest)
            raise Permanent(
                f"step '{step.id}' was mined and reverted (transaction {tx_hash}); look at it and run again"
            )
        if isinstance(step, Deploy):
            address = next(item.address for item in record.attempts if item.tx_hash == tx_hash)
            manifest.contracts[step.contract] = self._contract_record(step, str(address), args, receipt)
        elif step.checks and not self._effective(step, manifest.addresses):
            raise Halt(
                f"step '{step.id}' (transaction {tx_hash}) succeeded but does not read back; "
                "compare the configuration with the chain before going on"
            )
        else:
            record.checks = encode_checks(step.checks)
        record.block, record.gas_used = receipt.block_number, receipt.gas_used
        self.file.save(manifest)
        self.progress("done", step)

    def _contract_record(self, step: Deploy, address: str, args: Any, receipt: Receipt) -> ContractRecord:
        artifact, code = load(step.artifact), self.rpc.code(address)
        if not artifact.matches_code(code):
            raise Halt(f"{step.contract} at {address} does not have the code of {step.artifact}; check the node")
        data = creation_code(artifact, args)[len(artifact.bytecode) :]
        entry = artifact.entry
        return ContractRecord(
            address=address, artifact=step.artifact, version=artifact.version, tx_hash="0x" + receipt.tx_hash.hex(),
            block=receipt.block_number, code_hash=hex_hash(code), constructor_args=encode_value(args),
            constructor_data="0x" + data.hex(), abi_hash=entry["abi_hash"], integrity=entry["integrity"],
            compiler=entry["compiler"], evm_version=entry["evm_version"], optimiser=entry["optimiser"],
        )  # fmt: skip


def execute(
    plan: Plan,
    rpc: Rpc,
    signer: Signer,
    file: ManifestFile,
    *,
    progress: Progress | None = None,
    waiting: Waiting | None = None,
) -> Manifest:
    """Carry a plan out; see :class:`Executor`."""
    return Executor(plan, rpc, signer, file, progress, waiting).run()
