# SPDX-License-Identifier: Apache-2.0
"""The smallest way to a contract in revm: compile or load, deploy, call. For tests that need thousands of calls."""

from __future__ import annotations

import hashlib
import json
import re
import site
import tempfile
from functools import lru_cache
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

import pyrevm
from eth_abi import decode, encode
from eth_utils import function_abi_to_4byte_selector
from eth_utils.abi import collapse_if_tuple
from vyper import __version__ as compiler_version
from vyper.compiler import compile_code
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.settings import Settings

from tests.support.shared import ROOT

CALLER = "0x" + "c0ffee".rjust(40, "0")
GAS = 500_000_000


_IMPORT = re.compile(r"^(?:from ([\w.]+) )?import (\w+)(?: as \w+)?$", re.MULTILINE)


@lru_cache(maxsize=256)
def _imports(file: Path) -> tuple[Path, ...]:
    """Files of this repository that one imports; an unknown form of import is an error, not a miss."""
    text = file.read_text(encoding="utf-8")
    found = []
    for line in re.findall(r"^(?:from \S+ import|import) .*$", text, re.MULTILINE):
        match = _IMPORT.match(line)
        if match is None:
            raise ValueError(f"{file}: cannot read the import {line!r}; teach it to tests/support/revm.py")
        folder = ROOT / (match[1] or "").replace(".", "/")
        found += [path for path in (folder / f"{match[2]}.vy", folder / f"{match[2]}.vyi") if path.exists()]
    return tuple(found)


def _sources(path: Path) -> str:
    """A hash over a contract and all that it imports, so that no code compiled from other sources is ever used."""
    reached, open_files = {path}, [path]
    while open_files:
        fresh = set(_imports(open_files.pop())) - reached
        reached |= fresh
        open_files += fresh
    digest = hashlib.sha256(f"{compiler_version} {distribution_version('snekmate')}".encode())
    for file in sorted(reached):
        digest.update(file.relative_to(ROOT).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:24]


@lru_cache(maxsize=64)
def compiled(path: str) -> tuple[bytes, tuple[dict[str, Any], ...]]:
    """Creation code and ABI of a contract of this repository, compiled from its source or found compiled from it."""
    file = ROOT / ".pytest_cache" / "compiled" / f"{Path(path).stem}-{_sources(ROOT / path)}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        code, abi = _compile(path)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as fresh:
            json.dump({"code": code.hex(), "abi": abi}, fresh)
        Path(fresh.name).replace(file)
    found = json.loads(file.read_text(encoding="utf-8"))
    return bytes.fromhex(found["code"]), tuple(found["abi"])


def _compile(path: str) -> tuple[bytes, tuple[dict[str, Any], ...]]:
    roots = [*map(Path, site.getsitepackages()), ROOT]
    bundle = FilesystemInputBundle(roots)
    source = bundle.load_file(ROOT / path)
    out = compile_code(
        source.source_code,
        contract_path=str(ROOT / path),
        resolved_path=ROOT / path,
        input_bundle=bundle,
        output_formats=("bytecode", "abi"),
        settings=Settings(),
    )
    return bytes.fromhex(out["bytecode"][2:]), tuple(json.loads(json.dumps(out["abi"])))


class Reverted(Exception):  # noqa: N818 - what happened, as web3 and boa name it
    """A call reverted; the message is the reason string, or the raw data."""


class Contract:
    """A deployed contract: ``contract.call("name", ...)`` returns the decoded outputs."""

    def __init__(self, evm: Any, address: str, abi: tuple[dict[str, Any], ...]) -> None:
        self.evm, self.address = evm, address
        self.functions = {item["name"]: item for item in abi if item["type"] == "function"}
        self._codec = {
            name: (
                function_abi_to_4byte_selector(item),
                [collapse_if_tuple(dict(i)) for i in item["inputs"]],
                [collapse_if_tuple(dict(o)) for o in item["outputs"]],
            )
            for name, item in self.functions.items()
        }

    def call(self, name: str, *args: Any, caller: str = CALLER, static: bool = False) -> Any:
        """Call, keep the state changes, decode: one output bare, several as a tuple."""
        selector, inputs, outputs = self._codec[name]
        try:
            data = self.evm.message_call(
                caller=caller, to=self.address, calldata=selector + encode(inputs, args), gas=GAS, is_static=static
            )
        except RuntimeError as error:
            raise Reverted(_reason(error)) from error
        values = decode(outputs, bytes(data))
        return values[0] if len(values) == 1 else values


def _reason(error: RuntimeError) -> str:
    """The reason string inside revm's message ``Revert { gas_used: .., output: 0x.. }``, or that message."""
    text = str(error)
    found = re.search(r"output: 0x([0-9a-f]*)", text)
    output = bytes.fromhex(found.group(1)) if found else b""
    return str(decode(["string"], output[4:])[0]) if output[:4] == bytes.fromhex("08c379a0") else text


def new_evm() -> Any:
    """A revm at the Prague rules."""
    return pyrevm.EVM(gas_limit=GAS, spec_id="PRAGUE")


def deploy(evm: Any, path: str, *args: Any, caller: str = CALLER) -> Contract:
    """Deploy a contract of this repository with constructor arguments."""
    code, abi = compiled(path)
    inputs = next((item["inputs"] for item in abi if item["type"] == "constructor"), [])
    types = [collapse_if_tuple(dict(i)) for i in inputs]
    address = evm.deploy(deployer=caller, code=code + encode(types, args), gas=GAS)
    return Contract(evm, address, abi)


__all__ = ["CALLER", "Contract", "Reverted", "compiled", "deploy", "new_evm"]
