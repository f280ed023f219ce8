# SPDX-License-Identifier: Apache-2.0
"""The record of a deployment: ``deployments/<chain_id>/<env>.json``.

Append-only: a record is added or completed, never removed or rewritten. Every change is written to a new file, flushed
to the disk and moved over the old one, so that a reader or a killed process finds either the old or the new content.
An intent is recorded *before* its transaction is sent; its hash is known by then, because the transaction is signed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keeper import __version__
from keeper.artifacts import abi_hash, load
from keeper.chain.contracts import Deployed
from keeper.deploy.steps import AtLeast, Check, Hashed, Ref
from keeper.errors import ConfigError, Permanent

FORMAT = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Attempt(_Record):
    """A signed transaction; several with one nonce are replacements of each other. Fees in wei a gas."""

    tx_hash: str
    nonce: int
    gas: int
    max_fee_wei: int
    priority_fee_wei: int
    address: str | None = None
    void: bool = False


class ContractRecord(_Record):
    """A deployed contract with its provenance."""

    address: str
    artifact: str
    version: str
    tx_hash: str
    block: int
    code_hash: str
    constructor_args: list[Any]
    constructor_data: str
    abi_hash: str
    integrity: str
    compiler: str
    evm_version: str
    optimiser: str


class CheckRecord(_Record):
    """A check as JSON: references are ``{"ref": name}``, lower bounds ``{"at_least": n}``; see :func:`encode_value`."""

    contract: str
    function: str
    args: list[Any]
    expect: list[Any]


class StepRecord(_Record):
    """One step: its attempts, and the block it was mined in once done (0 when it was found done already)."""

    id: str
    kind: str = "fixed"
    attempts: list[Attempt] = Field(default_factory=list)
    block: int | None = None
    gas_used: int = 0
    checks: list[CheckRecord] = Field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the step is complete."""
        return self.block is not None


class Manifest(_Record):
    """Everything a keeper, a person or a resumed deployment needs to know. Prices in USD, times in unix seconds.

    ``governance`` is the owner in the end: an address, or ``Timelock``, the contract of that name. ``planned`` counts
    the steps of the plan and of earlier ones; 0 where an older version wrote the file.
    """

    format: int = FORMAT
    network: str
    chain_id: int
    deployer: str
    governance: str
    package_version: str = __version__
    git_commit: str | None = None
    started_at: int
    start_block: int
    spots: dict[str, str]
    decimals: dict[str, int]
    external: dict[str, str] = Field(default_factory=dict)
    multicall: bool = False
    contracts: dict[str, ContractRecord] = Field(default_factory=dict)
    feeds: dict[str, str] = Field(default_factory=dict)
    planned: int = 0
    steps: list[StepRecord] = Field(default_factory=list)

    @property
    def addresses(self) -> dict[str, str]:
        """Address of every name: contracts, ``token:SYMBOL``, ``feed:SYMBOL``."""
        return {**self.external, **{name: item.address for name, item in self.contracts.items()}}

    @property
    def owner(self) -> str:
        """Address that owns the contracts once the hand-over is complete."""
        return self.addresses.get(self.governance, self.governance)

    @property
    def tokens(self) -> dict[str, str]:
        """Address of each token by symbol."""
        return {name[6:]: address for name, address in self.addresses.items() if name.startswith("token:")}

    @property
    def price_feeds(self) -> dict[tuple[int, int], str]:
        """Feed of (kind, id): kind 0 underlying, 1 collateral asset, 2 cash (id 0)."""
        addresses = self.addresses
        return {
            (int(key.split(":")[0]), int(key.split(":")[1])): addresses[name]
            for key, name in self.feeds.items()
            if name in addresses
        }

    @property
    def progress(self) -> tuple[int, int]:
        """Steps that are done, and all that are recorded or planned."""
        return sum(step.done for step in self.steps), max(self.planned, len(self.steps))

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        done, wanted = self.progress
        return done == wanted > 0

    def step(self, step_id: str) -> StepRecord | None:
        """Record of a step, None where it has not begun."""
        return next((item for item in self.steps if item.id == step_id), None)

    def deployed(self) -> list[Deployed]:
        """The protocol's own contracts with ABI and code hash, as the keeper reads them.

        Raises
        ------
        ConfigError
            The keeper's ABI of a contract is not the one it was deployed with.
        """
        return [
            Deployed(name, item.address, self._abi(name), bytes.fromhex(item.code_hash[2:]))
            for name, item in self.contracts.items()
            if ":" not in name
        ]

    def _abi(self, name: str) -> Sequence[Mapping[str, Any]]:
        record = self.contracts[name]
        found = load(record.artifact).abi
        if abi_hash(found) != record.abi_hash:
            raise ConfigError(
                f"ABI of {name} is {abi_hash(found)} in this keeper, the manifest says {record.abi_hash}; "
                f"use the keeper of the deployment, ballast {self.package_version}"
            )
        return found


class ManifestFile:
    """A manifest on disk.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Manifest | None:
        """Read it; None where the file does not exist.

        Raises
        ------
        ConfigError
            Unreadable, no JSON, or not a manifest of this format.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"manifest {self.path} cannot be read ({error}); check the file") from error
        try:
            return Manifest.model_validate(json.loads(text))
        except ValueError as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ConfigError(f"manifest {self.path} is damaged ({first}); restore it from version control") from error

    def save(self, manifest: Manifest) -> None:
        """Replace the file atomically.

        Raises
        ------
        Permanent
            The disk is full or the folder cannot be written.
        """
        text = manifest.model_dump_json(indent=1, exclude_none=True) + "\n"
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise Permanent(
                f"manifest {self.path} cannot be written ({error.strerror or error}); free space or fix permissions "
                "and run the same command again: it goes on where it stopped"
            ) from error


def load_manifest(path: Path) -> Manifest:
    """Read a manifest that must exist.

    Raises
    ------
    ConfigError
        It does not, or is damaged.
    """
    manifest = ManifestFile(path).load()
    if manifest is None:
        raise ConfigError(f"manifest {path} does not exist; deploy first or give the path of the right one")
    return manifest


def manifest_path(folder: Path, chain_id: int, network: str) -> Path:
    """``<folder>/<chain_id>/<network>.json``."""
    return folder / str(chain_id) / f"{network}.json"


def git_commit() -> str | None:
    """Commit of the checkout this runs from, None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def encode_value(value: Any) -> Any:
    """A step's argument as JSON."""
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, AtLeast):
        return {"at_least": value.value}
    if isinstance(value, Hashed):
        return {"hashed": {"types": list(value.types), "values": encode_value(value.values)}}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, tuple | list):
        return [encode_value(item) for item in value]
    return value


def decode_value(value: Any) -> Any:
    """Inverse of :func:`encode_value`."""
    if isinstance(value, Mapping):
        ((kind, inner),) = value.items()
        return _DECODERS[kind](inner)
    if isinstance(value, list):
        return tuple(decode_value(item) for item in value)
    return value


_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "ref": Ref,
    "at_least": AtLeast,
    "hex": bytes.fromhex,
    "hashed": lambda inner: Hashed(tuple(inner["types"]), decode_value(inner["values"])),
}


def encode_checks(checks: Sequence[Check]) -> list[CheckRecord]:
    """Checks as they are recorded."""
    return [
        CheckRecord(
            contract=item.contract,
            function=item.function,
            args=encode_value(item.args),
            expect=encode_value(item.expect),
        )
        for item in checks
    ]


def decode_check(record: CheckRecord) -> Check:
    """Inverse of :func:`encode_checks` for one."""
    return Check(record.contract, record.function, decode_value(record.args), decode_value(record.expect))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
