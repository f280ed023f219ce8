# SPDX-License-Identifier: Apache-2.0
"""Speed of the risk library on this machine, as JSON: ``python -m scripts.bench_risk [--accounts N] [--threads N]``.

Each figure is the best of a few runs; keys name what is counted. Ratios between machines mean more than the numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from scipy import sparse

from risk.margin import Book, Market, UnderlyingMarket, margin
from risk.pricing import black76, svi
from risk.table import build_page, unpack_page
from risk.types import SECONDS_PER_DAY, GlobalParameters, JointScenarios, OptionSpec, SmileModel, UnderlyingParameters

NOW = 1_800_000_000
SPOT_WAD = 2_500 * 10**18
LANES = UnderlyingParameters(1_800, 4_500, 2_500, 3_000, 50, 30, 20, 5, 500, 100, 400, 450)
DAYS = (1, 2, 7, 14, 30, 60, 90, 180)
SLICES = svi.slices_from_smile(SmileModel(0.6, 0.7, 4.0, -0.2, 0.9), [NOW + SECONDS_PER_DAY * day for day in DAYS], NOW)


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Shortest wall time of a few runs, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def options(count: int) -> list[OptionSpec]:
    """Calls and puts of eight expiries around the spot."""
    strikes = np.linspace(1_500.0, 4_000.0, -(-count // 8))
    return [
        OptionSpec(slot, NOW + SECONDS_PER_DAY * DAYS[slot % 8], float(strikes[slot // 8]), bool(slot % 2))
        for slot in range(count)
    ]


def bench_prices(count: int, threads: int) -> dict[str, float]:
    """Black-76 prices a second, millions."""
    rng = np.random.default_rng(1)
    forward, strike = rng.uniform(80, 120, count), rng.uniform(50, 150, count)
    vol, tau = rng.uniform(0.2, 1.5, count), rng.uniform(0.01, 1, count)
    one = best(lambda: black76.price(forward, strike, vol, tau))
    many = best(lambda: black76.price(forward, strike, vol, tau, threads=threads))
    return {"price_only_1_thread": count / one / 1e6, f"price_only_{threads}_threads": count / many / 1e6}


def bench_table() -> float:
    """1,012 options on four full pages of 253: 1,012 x 45 nodes, priced and packed, ms."""
    page = options(253)
    return 1e3 * best(lambda: [build_page(page, SPOT_WAD, SLICES, NOW, LANES, 253) for _ in range(4)])


def random_book(accounts: int, underlyings: int, positions: int, slots: int) -> Book:
    """Option positions spread evenly over underlyings and slots, a perpetual everywhere."""
    rng = np.random.default_rng(2)
    shape = (accounts, positions)
    owner = np.broadcast_to(np.arange(accounts)[:, None], shape)
    where, slot, size = rng.integers(0, underlyings, shape), rng.integers(0, slots, shape), rng.normal(size=shape)
    matrices = tuple(
        sparse.csr_array(  # type: ignore[no-untyped-call]
            (size[where == u], (owner[where == u], slot[where == u])), shape=(accounts, slots)
        )
        for u in range(underlyings)
    )
    units = np.zeros((accounts, underlyings, 3))
    units[:, :, 0] = rng.normal(size=(accounts, underlyings))
    none = np.zeros((accounts, 0))
    return Book(np.zeros(accounts), units, np.zeros((accounts, underlyings)), none, none, matrices)


def bench_margin(accounts: int, threads: int) -> float:
    """Accounts x 8 options and 4 perpetuals, 500 instruments, 45 nodes and 64 joint scenarios: s."""
    book = random_book(accounts, 4, 8, 125)
    rng = np.random.default_rng(3)
    rows = unpack_page(build_page(options(125), SPOT_WAD, SLICES, NOW, LANES, 125))
    joint = JointScenarios(*rng.integers(-127, 128, (2, 64, 4)).astype(np.int8))
    parts = tuple(UnderlyingMarket(f"U{u}", 2_510.0, LANES, rows) for u in range(4))
    market = Market(GlobalParameters(10_000, 8_000, 10_000, 2_000, 25), parts, joint=joint, now=NOW)
    return best(lambda: margin(book, market, threads=threads), repeats=3)


def main() -> None:
    """Run all and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--prices", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    result = {
        "machine": f"{platform.machine()}, python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {version('scipy')}",
        "black76_million_prices_per_s": bench_prices(args.prices, args.threads),
        "table_1012_options_x_45_nodes_packed_ms": bench_table(),
        "margin_book": {"accounts": args.accounts, "seconds": bench_margin(args.accounts, args.threads)},
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
