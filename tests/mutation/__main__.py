# SPDX-License-Identifier: Apache-2.0
"""Changes the contracts one slip at a time and counts how many the tests notice.

    python -m tests.mutation --sample 120 --seed 1        a sample over all margin and ledger sources
    python -m tests.mutation --sample 0 --only haircut    every mutant of one module; or a group of targets.toml
    python -m tests.mutation --list --only haircut        what would be tried

Two rates are printed: of all valid mutants, and of those that differ from the original. A survivor for which
tests/mutation/survivors.toml proves that nothing can tell it from the original is listed with why and left out of the
second, for which exit code 1 says that it is below --at-least.
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
    parser.add_argument("--at-least", type=float, default=95.0, help="percent of the differing that must be killed")
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
    equal = sum(o.result == "survived" and bool(o.why) for o in outcomes)
    percent, of_differing = (100.0 * counts["killed"] / n if n else 100.0 for n in (valid, valid - equal))
    if wanted.json:
        rows = [{**asdict(o), "key": o.mutant.key} for o in outcomes]
        rates = {"percent": percent, "percent_of_differing": of_differing}
        print(json.dumps({**counts, "equal": equal, **rates, "seed": wanted.seed, "outcomes": rows}, indent=1))
    else:
        for outcome in outcomes:
            if outcome.result == "survived":
                print(f"survived {outcome.mutant.key}\n         {outcome.why or 'not explained yet'}")
        print(", ".join(f"{number} {name}" for name, number in counts.items()) + f": {percent:.1f} % killed")
        print(f"{of_differing:.1f} % of those that differ from the original; {equal} do not")
    return 0 if of_differing >= wanted.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
