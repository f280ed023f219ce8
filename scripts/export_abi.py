# SPDX-License-Identifier: Apache-2.0
"""Compile the contracts and write `abi/`, of which this is the only writer; `--check` compares instead.

Creation code, ABI and layout of each deployable contract go to `abi/`, of the test tokens and feeds to `abi/testing/`,
with `abi/manifest.json` over them. The ABI of a contract with an extension is the union of both. `--check` exits 1 and
says what differs, additive or breaking.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "abi"
FORMATS = ("abi", "bytecode", "bytecode_runtime", "layout", "integrity", "settings_dict")
# Harnesses, fixtures and ill-behaved tokens exist for unit tests alone and are compiled there.
NOT_DEPLOYED = ("Harness", "Fixture", "ZooToken", "ReentrantHolder")
MAX_CODE = 24_576
# A contract of this name with this ending holds the rarer functions of the one without (docs/adr/0011).
EXTENSION = "Extension"

sys.path.insert(0, str(ROOT))

from keeper.artifacts import abi_hash, hex_hash  # noqa: E402


def sources(root: Path) -> list[Path]:
    """Deployable sources: CamelCase files of contracts/ and the test tokens and feeds of contracts/testing/."""
    found = [*sorted((root / "contracts").glob("*.vy")), *sorted((root / "contracts" / "testing").glob("*.vy"))]
    return [path for path in found if path.name[0].isupper() and not path.stem.endswith(NOT_DEPLOYED)]


def compile_one(path: Path) -> dict[str, Any]:
    """Compile a file; output per format, as the compiler names them."""
    from vyper.compiler import compile_from_file_input
    from vyper.compiler.input_bundle import FilesystemInputBundle

    # The same search paths as the compiler's command line: installed packages (snekmate), then the project.
    installed = [Path(entry) for entry in sys.path if entry.endswith("site-packages")]
    make_bundle: Any = FilesystemInputBundle  # the compiler ships no types
    bundle = make_bundle([*installed, ROOT])
    output = dict(compile_from_file_input(bundle.load_file(path), input_bundle=bundle, output_formats=FORMATS))
    return {**output, "layout": without_paths(output["layout"])}


def without_paths(layout: Any) -> Any:
    """A layout in which an interface is named, not located: where the compiler was installed is nobody's business."""
    if isinstance(layout, dict):
        return {key: without_paths(part) for key, part in layout.items()}
    return re.sub(r"\S*/(\w+)\.vyi", r"\1", layout) if isinstance(layout, str) else layout


def canonical(item: Mapping[str, Any]) -> str:
    """Canonical type of an ABI parameter."""
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(canonical(part) for part in item['components'])}){kind[5:]}"


def signatures(abi: Sequence[Mapping[str, Any]], kind: str) -> dict[str, str]:
    """Signature of each function (4 bytes) or event (32 bytes) to its hash."""
    size = 10 if kind == "function" else 66
    listed = (f"{item['name']}({','.join(map(canonical, item['inputs']))})" for item in abi if item["type"] == kind)
    return {text: hex_hash(text.encode())[:size] for text in sorted(listed)}


def entry(path: Path, output: Mapping[str, Any], default_version: str) -> dict[str, Any]:
    """The contract's item of the manifest."""
    from vyper import __version__ as compiler

    tag = re.search(r"@custom:version\s+(\d+\.\d+\.\d+)", path.read_text(encoding="utf-8"))
    runtime = bytes.fromhex(output["bytecode_runtime"][2:])
    layout = output["layout"]
    settings = output["settings_dict"]
    return {
        "version": tag[1] if tag else default_version,
        "source": path.relative_to(ROOT).as_posix(),
        "abi_hash": abi_hash(output["abi"]),
        "creation_hash": hex_hash(bytes.fromhex(output["bytecode"][2:])),
        "runtime_hash": hex_hash(runtime),
        "runtime_size": len(runtime),
        "immutables_size": code_length(layout.get("code_layout", {})),
        "layout_hash": hex_hash(json.dumps(layout, sort_keys=True).encode()),
        "integrity": output["integrity"],
        "compiler": f"vyper {compiler.split('+')[0]}",
        "evm_version": settings["evm_version"],
        "optimiser": settings["optimize"],
        "selectors": signatures(output["abi"], "function"),
        "topics": signatures(output["abi"], "event"),
    }


def code_length(layout: Mapping[str, Any]) -> int:
    """Bytes of immutables that follow the runtime code."""
    if {"offset", "length"} <= layout.keys():
        return int(layout["offset"]) + int(layout["length"])
    return max((code_length(part) for part in layout.values() if isinstance(part, dict)), default=0)


def with_extension(abi: Sequence[Mapping[str, Any]], extension: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a client of a contract sees that hands unknown calls to its extension: the functions and events of both."""

    def key(item: Mapping[str, Any]) -> tuple[str, str]:
        return item["type"], f"{item.get('name', '')}({','.join(map(canonical, item.get('inputs', [])))})"

    own = [item for item in abi if item["type"] != "fallback"]
    known = {key(item) for item in own}
    return own + [item for item in extension if item["type"] != "constructor" and key(item) not in known]


def dump(value: Any) -> str:
    """JSON as stored: readable diffs, stable."""
    return json.dumps(value, indent=1) + "\n"


def build() -> dict[str, str]:
    """Text of every file of `abi/`, by path inside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    paths = sources(ROOT)
    with ProcessPoolExecutor(max_workers=2) as pool:
        outputs = list(pool.map(compile_one, paths))
    by_name = {path.stem: output for path, output in zip(paths, outputs, strict=True)}
    for name, output in by_name.items():
        if f"{name}{EXTENSION}" in by_name:
            output["abi"] = with_extension(output["abi"], by_name[f"{name}{EXTENSION}"]["abi"])
    files: dict[str, str] = {}
    listing: dict[str, dict[str, Any]] = {"contracts": {}, "testing": {}}
    for path, output in zip(paths, outputs, strict=True):
        testing = path.parent.name == "testing"
        name, prefix = path.stem, "testing/" if testing else ""
        files[f"{prefix}{name}.json"] = dump(output["abi"])
        files[f"{prefix}layout/{name}.json"] = dump(output["layout"])
        files[f"{prefix}bytecode/{name}.hex"] = output["bytecode"] + "\n"
        listing["testing" if testing else "contracts"][name] = entry(path, output, project["version"])
    files["manifest.json"] = dump(listing)
    return files


def stored(folder: Path) -> dict[str, str]:
    """Text of every file that is in `abi/` now."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def describe(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Say in words what differs: one line a file, and per contract which functions and events came or went."""
    lines = [f"missing: {name}" for name in sorted(new.keys() - old.keys())]
    lines += [f"left over: {name}" for name in sorted(old.keys() - new.keys())]
    lines += [f"differs: {name}" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
    if "manifest.json" not in old or "manifest.json" not in new:
        return lines
    before, after = (json.loads(files["manifest.json"])["contracts"] for files in (old, new))
    for name in sorted(before.keys() & after.keys()):
        for kind in ("selectors", "topics"):
            was, now = before[name][kind].keys(), after[name][kind].keys()
            lines += [f"{name}: breaking, {text} is gone" for text in sorted(was - now)]
            lines += [f"{name}: additive, {text} is new" for text in sorted(now - was)]
        if before[name]["layout_hash"] != after[name]["layout_hash"]:
            lines.append(f"{name}: storage or immutable layout changed")
    return lines


def oversized(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Contracts that no chain would accept (EIP-170)."""
    sizes = {name: item["runtime_size"] + item["immutables_size"] for name, item in entries.items()}
    return [f"{name}: {size} bytes of code, limit {MAX_CODE}" for name, size in sizes.items() if size > MAX_CODE]


def write(folder: Path, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Make `abi/` exactly the new files."""
    for name in old.keys() - new.keys():
        (folder / name).unlink()
    for name, text in new.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if old.get(name) != text:
            path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when abi/ is stale")
    options = parser.parse_args(arguments)
    old, new = stored(OUT), build()
    lines, large = describe(old, new), oversized(json.loads(new["manifest.json"])["contracts"])
    print("\n".join([*lines, *large]) or f"abi/ matches the sources ({len(new)} files)")
    if not options.check:
        write(OUT, old, new)
    return 1 if large or (options.check and lines) else 0


if __name__ == "__main__":
    sys.exit(main())
