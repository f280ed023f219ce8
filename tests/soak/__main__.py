# SPDX-License-Identifier: Apache-2.0
"""Runs one of the long tests and prints what it did.

    python -m tests.soak kills --count 1000 --seed 1
    python -m tests.soak reorgs --count 300 --seed 1 --json

Exit code 1 when anything was violated. Each module beside this one is a subcommand: its docstring says what it does,
``COUNT`` is the default of ``--count``, and ``run(count, seed)`` returns a `tests.soak.outcome.Outcome`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import pkgutil
import sys
from types import ModuleType

import structlog
from rich.console import Console
from rich.table import Table

import tests.soak
from tests.soak.outcome import Outcome


def runs() -> dict[str, ModuleType]:
    """Modules that can be run, by the name of the subcommand."""
    names = (item.name for item in pkgutil.iter_modules(tests.soak.__path__) if not item.name.startswith("_"))
    modules = {name.replace("_", "-"): importlib.import_module(f"tests.soak.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def arguments(found: dict[str, ModuleType]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="name", required=True)
    for name, module in found.items():
        one = chosen.add_parser(name, help=(module.__doc__ or "").split("\n")[0])
        one.add_argument("--count", type=int, default=module.COUNT)
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def report(name: str, outcome: Outcome, *, as_json: bool) -> None:
    """Print what was done and violated."""
    if as_json:
        print(json.dumps({**outcome.figures, "violations": outcome.violations}, indent=1))
        return
    table = Table("figure", "value", title=name)
    for key, value in outcome.figures.items():
        table.add_row(key.replace("_", " "), str(value))
    Console().print(table)
    print(f"{len(outcome.violations)} violations")
    print("\n".join(outcome.violations))


def main() -> int:
    """Run and report."""
    found = runs()
    wanted = arguments(found)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    outcome = found[wanted.name].run(wanted.count, wanted.seed)
    report(wanted.name, outcome, as_json=wanted.json)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
