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
import signal
import sys

import structlog
from rich.console import Console
from rich.table import Table

import tests.soak
from tests.soak.outcome import Outcome

HELPERS = {"bench", "outcome", "__main__"}


def names() -> list[str]:
    """What can be run."""
    return sorted(item.name for item in pkgutil.iter_modules(tests.soak.__path__) if item.name not in HELPERS)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=names())
    parser.add_argument("--count", type=int, help="how often; each run has a number of its own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
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
    wanted = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # nodes are stopped on the way out
    module = importlib.import_module(f"tests.soak.{wanted.name}")
    outcome: Outcome = module.run(wanted.count or module.COUNT, wanted.seed)
    report(wanted.name, outcome, as_json=wanted.json)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
