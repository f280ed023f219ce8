# SPDX-License-Identifier: Apache-2.0
"""Changes the contracts one slip at a time and counts how many the tests notice.

    python -m tests.mutation --sample 120 --seed 1        a sample over all margin and ledger sources
    python -m tests.mutation --sample 0 --only haircut    every mutant of one module; or a group of targets.toml
    python -m tests.mutation --list --only haircut        what would be tried

Exit code 1 when fewer than --at-least percent of the valid mutants are killed. Survivors that
tests/mutation/survivors.toml explains are listed with why and still count as survivors.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.progress import Progress

from tests.mutation.campaign import Outcome, run, sample

JOBS = 2


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=120, help="mutants to try; 0 = all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a source's path, or a group of targets.toml")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--at-least", type=float, default=95.0, help="percent that must be killed")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    return parser.parse_args()


def main() -> int:
    """Runs the campaign and prints what came of it."""
    wanted = arguments()
    chosen = sample(wanted.sample, wanted.seed, wanted.only)
    if wanted.list:
        for mutant, _ in chosen:
            print(f"{mutant.path}:{mutant.line} {mutant.kind}: {mutant.before.strip()} -> {mutant.after.strip()}")
        return 0
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        task = progress.add_task("mutants", total=len(chosen))

        def told(outcome: Outcome) -> None:
            progress.advance(task)
            if outcome.result != "killed":
                console.print(f"{outcome.result}: {outcome.mutant.key}", markup=False, soft_wrap=True)

        outcomes = run(chosen, wanted.jobs, told)
    counts = {name: sum(o.result == name for o in outcomes) for name in ("killed", "survived", "invalid")}
    valid = counts["killed"] + counts["survived"]
    percent = 100.0 * counts["killed"] / valid if valid else 100.0
    if wanted.json:
        rows = [{**asdict(o), "key": o.mutant.key} for o in outcomes]
        print(json.dumps({**counts, "percent": percent, "seed": wanted.seed, "outcomes": rows}, indent=1))
    else:
        for outcome in outcomes:
            if outcome.result == "survived":
                print(f"survived {outcome.mutant.key}\n         {outcome.why or 'not explained yet'}")
        print(", ".join(f"{number} {name}" for name, number in counts.items()) + f": {percent:.1f} % killed")
    return 0 if percent >= wanted.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
