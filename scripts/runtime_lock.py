#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write packaging/*.lock: the part of requirements.lock that the keeper needs to run, and the part to build it.

The closure is taken from what is installed, so run it in the locked environment. ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
WANTED = {"runtime.lock": "ballast-margin[postgres]", "build.lock": "hatchling"}


def closure(root: str) -> set[str]:
    """Canonical names of everything a requirement needs on this platform, itself included."""
    found: set[str] = set()
    waiting = [Requirement(root)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        item = waiting.pop()
        name, extras = canonicalize_name(item.name), frozenset(item.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed; run 'make setup' first")
        found.add(name)
        for text in needs:
            need = Requirement(text)
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(need)
    return found


def blocks(lock: str) -> dict[str, str]:
    """Each requirement of a lock file with its hashes, by canonical name."""
    parts = re.findall(r"^[A-Za-z0-9][^\n]*(?:\n[ \t]+[^\n]*)*", lock, re.MULTILINE)
    return {canonicalize_name(re.split(r"[=\[ ;]", part, maxsplit=1)[0]): part for part in parts}


def made(root: str) -> str:
    """Text of the lock file of one requirement."""
    locked = blocks((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    names = sorted(closure(root) - {"ballast-margin"})
    missing = [name for name in names if name not in locked]
    if missing:
        sys.exit(f"requirements.lock lacks {', '.join(missing)}; the environment is not the locked one")
    head = f"# What {root} needs, from requirements.lock by scripts/runtime_lock.py\n"
    return head + "\n".join(locked[name] for name in names) + "\n"


def main() -> int:
    """Write or compare; 1 where a file is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = []
    for name, root in WANTED.items():
        path, text = ROOT / "packaging" / name, made(root)
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"packaging/{', '.join(stale)} differ from requirements.lock; run scripts/runtime_lock.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
