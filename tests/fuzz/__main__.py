# SPDX-License-Identifier: Apache-2.0
"""Plays the whole protocol at random and audits its books after every step; prints steps, seeds and violations.

    python -m tests.fuzz --steps 1000000 --seed 1 --jobs 2

Exit code 1 when anything was violated. A violation names seed and step: `--seed S --steps N` plays it again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import Counter

from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.campaign import EPISODE_STEPS, Tally, campaign

# seeds of one worker's block of work: a block is short, so that progress shows and no worker waits long for the other
BLOCK_STEPS = 50 * EPISODE_STEPS


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first episode; each has the next")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def block(work: tuple[int, int]) -> Tally:
    """One worker's share: (first seed, steps)."""
    return campaign(*work, told=lambda _: None)


def main() -> int:
    """Play and report."""
    wanted = arguments()
    sizes = [min(BLOCK_STEPS, wanted.steps - at) for at in range(0, wanted.steps, BLOCK_STEPS)]
    seeds = [wanted.seed + at * BLOCK_STEPS // EPISODE_STEPS for at in range(len(sizes))]
    total, console = Tally(), Console(stderr=True)
    with (
        multiprocessing.Pool(wanted.jobs) as pool,
        Progress(*Progress.get_default_columns(), TimeRemainingColumn(), console=console) as progress,
    ):
        task = progress.add_task("steps", total=wanted.steps)
        for part in pool.imap_unordered(block, list(zip(seeds, sizes, strict=True))):
            total.steps += part.steps
            total.seconds += part.seconds
            total.liveness += part.liveness
            total.done += part.done
            total.refused += part.refused
            total.violations += part.violations
            progress.update(task, completed=total.steps)
    report(total, seeds[0], sum(sizes), as_json=wanted.json)
    return 1 if total.violations else 0


def report(total: Tally, seed: int, steps: int, *, as_json: bool) -> None:
    """Print what was played."""
    last = seed + -(-steps // EPISODE_STEPS) - 1
    if as_json:
        counts = {"done": dict(total.done), "refused": dict(total.refused), "violations": total.violations}
        head = {"steps": total.steps, "seeds": [seed, last], "exits_tried": total.liveness, "cpu_s": total.seconds}
        print(json.dumps(head | counts, indent=1))
        return
    table = Table("action", "done", "refused", title=f"{total.steps:,} steps, seeds {seed}..{last}")
    refused: Counter[str] = Counter()
    for text, count in total.refused.items():
        refused[text.split(":")[0]] += count
    for name in sorted(total.done | refused):
        table.add_row(name, f"{total.done[name]:,}", f"{refused[name]:,}")
    Console().print(table)
    print(f"{total.liveness:,} times every account that held initial margin left (rolled back)")
    print(f"{len(total.violations)} violations")
    print("\n".join(total.violations))


if __name__ == "__main__":
    sys.exit(main())
