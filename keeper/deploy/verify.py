# SPDX-License-Identifier: Apache-2.0
"""Reading a deployment back: code, wiring, roles, feeds, parameters and listings as the manifest records them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from keeper.artifacts import hex_hash, load
from keeper.chain.rpc import Rpc
from keeper.deploy.manifest import Manifest, StepRecord, decode_check, decode_value
from keeper.deploy.plan import external_artifacts
from keeper.deploy.steps import Check, answer_of, different, resolve
from keeper.deploy.wire import OWNED
from keeper.errors import ConfigError, Permanent, Reverted

State = Literal["ok", "changed", "pending", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``wrong`` needs a person; ``changed`` is what operation may change; ``pending`` waits."""

    subject: str
    state: State
    detail: str = ""


class Verifier:
    """Compares a manifest with the chain at one block.

    Parameters
    ----------
    manifest, rpc
        The record and the chain.
    """

    def __init__(self, manifest: Manifest, rpc: Rpc) -> None:
        self.manifest = manifest
        self.rpc = rpc
        self.block = rpc.block().number
        self.artifacts = {name: item.artifact for name, item in manifest.contracts.items()}
        self.artifacts |= external_artifacts(manifest.external)

    def run(self) -> list[Finding]:
        """Every finding, good ones too."""
        if self.rpc.chain_id() != self.manifest.chain_id:
            raise ConfigError(
                f"the node is on chain {self.rpc.chain_id()}, the manifest is of chain {self.manifest.chain_id}; "
                "correct the endpoint or the manifest"
            )
        findings = [self._code(name) for name in self.manifest.contracts]
        if any(item.state == "wrong" for item in findings):
            return findings  # views of other code would mean nothing
        findings += [self._external(name, address) for name, address in self.manifest.external.items()]
        findings += [self._step(step) for step in self.manifest.steps if step.checks or not step.done]
        return findings + [self._owner(name) for name in OWNED if name in self.manifest.contracts]

    def _code(self, name: str) -> Finding:
        record = self.manifest.contracts[name]
        code, artifact = self.rpc.code(record.address, self.block), load(record.artifact)
        subject = f"code of {name}"
        if not code:
            return Finding(subject, "wrong", f"no code at {record.address}")
        if hex_hash(code) != record.code_hash:
            return Finding(subject, "wrong", f"{record.address} has {hex_hash(code)}, recorded is {record.code_hash}")
        if record.integrity != artifact.entry["integrity"]:
            return Finding(subject, "changed", "deployed from other sources than this package has")
        return Finding(subject, "ok")

    def _external(self, name: str, address: str) -> Finding:
        found = bool(self.rpc.code(address, self.block))
        return Finding(name, "ok" if found else "wrong", "" if found else f"no code at {address}")

    def _step(self, step: StepRecord) -> Finding:
        if not step.done:
            return Finding(step.id, "pending", "not carried out yet")
        answers = []
        for record in step.checks:
            check = decode_check(record)
            answer = self._answer(check)
            if answer is not None and not different(answer, resolve(check.expect, self.manifest.addresses)):
                return Finding(step.id, "ok")
            answers.append(f"{check.contract}.{check.function} = {answer}, expected {_text(record.expect)}")
        return Finding(step.id, "changed" if step.kind == "initial" else "wrong", "; ".join(answers))

    def _answer(self, check: Check) -> tuple[object, ...] | None:
        def read(to: str, data: bytes) -> bytes:
            return self.rpc.call(to, data, self.block, what=f"{check.contract}.{check.function}")

        try:
            return answer_of(check, load(self.artifacts[check.contract]), self.manifest.addresses, read)
        except Reverted:
            return None

    def _owner(self, name: str) -> Finding:
        subject, governance = f"owner of {name}", self.manifest.governance
        owner = self._address_of(name, "owner")
        if owner == governance.lower():
            return Finding(subject, "ok")
        if self._address_of(name, "pending_owner") == governance.lower():
            return Finding(subject, "pending", f"{governance} must call accept_ownership")
        return Finding(subject, "wrong", f"{owner}, the configuration says {governance}")

    def _address_of(self, name: str, view: str) -> str:
        answer = self._answer(Check(name, view, (), (None,)))
        if answer is None:
            raise Permanent(f"{name}.{view} reverts; check the manifest")
        return str(answer[0]).lower()


def _text(expect: list[object]) -> str:
    return str(decode_value(expect))


def verify(manifest: Manifest, rpc: Rpc) -> list[Finding]:
    """Read everything back.

    Returns
    -------
    list of Finding
        One for each thing looked at.

    Raises
    ------
    ConfigError
        The node is on another chain.
    """
    return Verifier(manifest, rpc).run()


def problems(findings: list[Finding]) -> list[Finding]:
    """The findings that need a person."""
    return [item for item in findings if item.state == "wrong"]


def findings_table(findings: list[Finding], everything: bool = False) -> Table:
    """Findings for a person; without ``everything`` only those that are not in order."""
    count = sum(item.state == "ok" for item in findings)
    table = Table(title=f"{count} of {len(findings)} in order")
    for heading in ("what", "state", "detail"):
        table.add_column(heading, overflow="fold")
    for item in findings:
        if everything or item.state != "ok":
            table.add_row(item.subject, item.state, item.detail)
    return table
