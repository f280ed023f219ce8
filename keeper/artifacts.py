# SPDX-License-Identifier: Apache-2.0
"""ABI, creation code and layout of every deployable contract, from packaged data: no compiler at run time.

``scripts/export_abi.py`` writes the data to ``abi/``; the wheel carries it as ``keeper/_data/abi``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from keeper.errors import ConfigError

_PACKAGED = Path(__file__).parent / "_data" / "abi"
_CHECKOUT = Path(__file__).parent.parent / "abi"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One deployable contract.

    Attributes
    ----------
    name
        Contract name, e.g. ``MarginEngine``.
    abi
        The ABI as a list of JSON objects.
    bytecode
        Creation code without constructor arguments.
    layout
        Storage and immutables as the compiler laid them out.
    entry
        Its item of ``abi/manifest.json``: version, hashes, selectors, topics, compiler.
    """

    name: str
    abi: Sequence[Mapping[str, Any]]
    bytecode: bytes
    layout: Mapping[str, Any]
    entry: Mapping[str, Any]

    @property
    def version(self) -> str:
        """Semantic version of the contract."""
        return str(self.entry["version"])

    @property
    def runtime_size(self) -> int:
        """Bytes of deployed code, immutables included."""
        return int(self.entry["runtime_size"]) + int(self.entry["immutables_size"])

    def matches_code(self, code: bytes) -> bool:
        """Whether deployed code is this contract's, whatever its immutables hold."""
        size = int(self.entry["runtime_size"])
        return len(code) == self.runtime_size and hex_hash(code[:size]) == self.entry["runtime_hash"]

    def constructor_types(self) -> list[Mapping[str, Any]]:
        """Inputs of the constructor, in order; empty without one."""
        for item in self.abi:
            if item["type"] == "constructor":
                return list(item["inputs"])
        return []


def hex_hash(data: bytes) -> str:
    """Keccak-256 as 0x-prefixed hex."""
    return "0x" + keccak(data).hex()


def abi_hash(abi: Sequence[Mapping[str, Any]]) -> str:
    """Hash of an ABI that does not depend on the order of keys."""
    return hex_hash(json.dumps(abi, sort_keys=True, separators=(",", ":")).encode())


def data_dir() -> Path:
    """Folder of the exported data: inside the installed package, else the checkout's ``abi/``.

    Raises
    ------
    ConfigError
        Neither is there.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / "manifest.json").is_file():
            return folder
    raise ConfigError(f"no contract data in {_PACKAGED} nor in {_CHECKOUT}; reinstall the package or run `make abi`")


@functools.cache
def manifest() -> Mapping[str, Any]:
    """``abi/manifest.json``: ``contracts`` and ``testing``, each a map from name to entry."""
    parsed: dict[str, Any] = json.loads((data_dir() / "manifest.json").read_text(encoding="utf-8"))
    return parsed


def names(testing: bool = False) -> tuple[str, ...]:
    """Names of the deployable contracts, or of the test tokens and feeds."""
    return tuple(manifest()["testing" if testing else "contracts"])


@functools.cache
def load(name: str) -> Artifact:
    """Load one contract by name; test tokens and feeds too.

    Raises
    ------
    ConfigError
        No such contract, or its files do not match the manifest.

    Examples
    --------
    >>> load("MarginEngine").bytecode[:1].hex() != ""
    True
    """
    testing = name in manifest()["testing"]
    if not testing and name not in manifest()["contracts"]:
        known = ", ".join(names())
        raise ConfigError(f"contract {name!r} is not among the exported ones ({known}); correct the name or export it")
    entry = manifest()["testing" if testing else "contracts"][name]
    folder = data_dir() / "testing" if testing else data_dir()
    try:
        abi = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        layout = json.loads((folder / "layout" / f"{name}.json").read_text(encoding="utf-8"))
        bytecode = bytes.fromhex((folder / "bytecode" / f"{name}.hex").read_text(encoding="ascii").strip()[2:])
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"contract data of {name} in {folder} cannot be read ({error}); reinstall or export again"
        ) from error
    if abi_hash(abi) != entry["abi_hash"] or hex_hash(bytecode) != entry["creation_hash"]:
        raise ConfigError(f"contract data of {name} in {folder} does not match its manifest; reinstall or export again")
    return Artifact(name, abi, bytecode, layout, entry)
