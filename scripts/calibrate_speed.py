# SPDX-License-Identifier: Apache-2.0
"""Time of a full calibration: ``python -m scripts.calibrate_speed [--profile]``.

Eight underlyings, three years of hourly bars (2021 to 2023), 20,000 draws, certificate on 10,000 unseen books. Reading
the files is timed apart. The target is 60 s on two cores.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from risk.calibrate import calibrate
from risk.config import CalibrationConfig
from risk.market.load import load_prices
from scripts.joint_efficiency import END, prices_folder

SYMBOLS = ("BTC", "ETH", "SOL", "BNB", "XRP", "LTC", "LINK", "AVAX")
START = 1_609_459_200


def measure(prices: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Seconds of the calibration (``calibrate_seconds``), with what it was made of."""
    began = time.perf_counter()
    history = load_prices(prices or prices_folder(), SYMBOLS, "1h", start=START, end=END)
    read, busy, config = time.perf_counter(), time.process_time(), CalibrationConfig()
    found = calibrate(history, config, np.random.default_rng(seed))
    wall, processor = time.perf_counter() - read, time.process_time() - busy
    assert found.certificate is not None
    return {
        "calibrate_seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "read_seconds": round(read - began, 2),
        "underlyings": len(SYMBOLS),
        "bars": int(history.ts.size),
        "draws": config.n_sims,
        "books": found.certificate.books,
        "scenarios": found.certificate.scenarios,
        "efficiency": round(found.certificate.efficiency, 4),
        "ratio_p01": round(found.certificate.ratio_p01, 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prices", type=Path, help="folder of hourly price files; default: the shared history")
    parser.add_argument("--profile", action="store_true", help="where the time goes, on standard error")
    args = parser.parse_args()
    profile = cProfile.Profile()
    found = profile.runcall(measure, args.prices) if args.profile else measure(args.prices)
    if args.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(15)
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
