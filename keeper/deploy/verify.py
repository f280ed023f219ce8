# SPDX-License-Identifier: Apache-2.0
"""Reading a deployment back: code, wiring, roles, feeds, parameters and listings as the manifest records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table

from keeper.artifacts import Artifact, hex_hash, load
from keeper.chain.rpc import Rpc
from keeper.deploy.handover import EXECUTOR, OWNED, PROPOSER, TIMELOCK
from keeper.deploy.manifest import Manifest, StepRecord, decode_check, decode_value
from keeper.deploy.plan import external_artifacts
from keeper.deploy.steps import Check, Ref, answer_of, different, resolve
from keeper.errors import ConfigError, Permanent, Reverted

State = Literal["ok", "changed", "pending", "wrong"]
# Addresses that a contract was created with and can never change: by the view that answers them.
WIRES: dict[str, dict[str, str]] = {
    "RiskParameters": {"ORACLE": "PriceOracle"},
    "RiskTable": {"REGISTRY": "InstrumentRegistry", "ORACLE": "PriceOracle", "PARAMETERS": "RiskParameters"},
    "MarginAccounts": {
        "EXTENSION": "MarginAccountsExtension", "registry": "InstrumentRegistry", "oracle": "PriceOracle",
    },
    "MarginAccountsExtension": {"registry": "InstrumentRegistry", "oracle": "PriceOracle"},
    "MarginEngine": {
        "ACCOUNTS": "MarginAccounts", "REGISTRY": "InstrumentRegistry", "ORACLE": "PriceOracle",
        "PARAMETERS": "RiskParameters", "TABLE": "RiskTable",
    },
    "MarginLens": {"ACCOUNTS": "MarginAccounts", "REGISTRY": "InstrumentRegistry", "ENGINE": "MarginEngine"},
    "InsuranceFund": {"ACCOUNTS": "MarginAccounts"},
    "LiquidationAuction": {
        "ACCOUNTS": "MarginAccounts", "ENGINE": "MarginEngine", "FUND": "InsuranceFund",
        "PARAMETERS": "RiskParameters", "ORACLE": "PriceOracle",
    },
    "SignedTradeVenue": {"ACCOUNTS": "MarginAccounts", "REGISTRY": "InstrumentRegistry"},
}  # fmt: skip
# Whose cash token must be one.
CASH = {"RiskTable": "BOND_TOKEN", "InsuranceFund": "asset", "MarginAccountsExtension": "cash_token"}
LEDGER, EXTENSION = "MarginAccounts", "MarginAccountsExtension"


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
        findings += self._wires() + self._fixed() + self._timelock()
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

    def _wires(self) -> list[Finding]:
        """What each contract was created with, by its views."""
        known, found = self.manifest.contracts, []
        for name, views in WIRES.items():
            for view, target in views.items():
                if name in known and target in known:
                    found.append(self._equal(f"{name}.{view}", (name, view), (Ref(target),)))
        for name, view in CASH.items():
            if name in known and LEDGER in known:
                cash = self._answer(Check(LEDGER, "cash_token", (), ()))
                found.append(self._equal(f"{name}.{view}", (name, view), cash or ()))
        if "PriceOracle" in known:
            _, *sequencer = known["PriceOracle"].constructor_args
            found.append(self._equal("PriceOracle.sequencer", ("PriceOracle", "sequencer"), tuple(sequencer)))
        return found

    def _fixed(self) -> list[Finding]:
        """What has no view, or must be the same in two codes: read from behind the code."""
        known, found = self.manifest.contracts, []
        if "InstrumentRegistry" in known and "PriceOracle" in known:
            oracle = "0x" + self._immutables("InstrumentRegistry")["ORACLE"][-20:].hex()
            wrong = oracle != known["PriceOracle"].address.lower()
            found.append(Finding("oracle of InstrumentRegistry", "wrong" if wrong else "ok", oracle if wrong else ""))
        if LEDGER in known:
            # the ledger and its extension share storage
            own, other = self._immutables(LEDGER), self._immutables(EXTENSION)
            differing = [key for key, value in other.items() if own.get(key) != value]
            detail = f"{', '.join(differing)} differ between {LEDGER} and {EXTENSION}" if differing else ""
            found.append(Finding(f"immutables of {EXTENSION}", "wrong" if differing else "ok", detail))
        return found

    def _timelock(self) -> list[Finding]:
        if TIMELOCK not in self.manifest.contracts:
            return []
        delay, proposers, executors = self.manifest.contracts[TIMELOCK].constructor_args
        found = [self._equal("delay of the timelock", (TIMELOCK, "get_minimum_delay"), (delay,), "changed")]
        for role, name, members in ((PROPOSER, "proposer", proposers), (EXECUTOR, "executor", executors)):
            for who in members:
                subject = f"timelock {name} {who}"
                found.append(self._equal(subject, (TIMELOCK, "hasRole", role, who), (True,), "changed"))
        return found

    def _equal(
        self, subject: str, ask: tuple[Any, ...], expect: tuple[object, ...], otherwise: State = "wrong"
    ) -> Finding:
        name, view, *args = ask
        answer, wanted = self._answer(Check(name, view, tuple(args), ())), resolve(expect, self.manifest.addresses)
        if answer is not None and not different(answer, wanted):
            return Finding(subject, "ok")
        return Finding(subject, otherwise, f"{answer}, expected {wanted}")

    def _owner(self, name: str) -> Finding:
        subject, governance = f"owner of {name}", self.manifest.owner
        owner = self._address_of(name, "owner")
        if owner == governance.lower():
            return Finding(subject, "ok")
        if self._address_of(name, "pending_owner") == governance.lower():
            by = "the timelock" if self.manifest.governance == TIMELOCK else governance
            return Finding(subject, "pending", f"{by} must accept it: ballast deploy --accept")
        return Finding(subject, "wrong", f"{owner}, the configuration says {governance}")

    def _immutables(self, name: str) -> dict[str, bytes]:
        code = self.rpc.code(self.manifest.contracts[name].address, self.block)
        return immutables(load(self.manifest.contracts[name].artifact), code)

    def _address_of(self, name: str, view: str) -> str:
        answer = self._answer(Check(name, view, (), (None,)))
        if answer is None:
            raise Permanent(f"{name}.{view} reverts; check the manifest")
        return str(answer[0]).lower()


def immutables(artifact: Artifact, code: bytes) -> dict[str, bytes]:
    """What a constructor fixed, by name, read from behind the deployed code."""
    start, found = int(artifact.entry["runtime_size"]), {}

    def walk(layout: Mapping[str, Any], path: str) -> None:
        for key, part in layout.items():
            if {"offset", "length"} <= part.keys():
                place = start + part["offset"]
                found[path + key] = code[place : place + part["length"]]
            else:
                walk(part, f"{path}{key}.")

    walk(artifact.layout.get("code_layout", {}), "")
    return found


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
