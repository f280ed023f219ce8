# SPDX-License-Identifier: Apache-2.0
"""Black-76 side by side: ours, py_vollib_vectorized, QuantLib's Python wheel and the textbook line of numpy."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.pricing import black76

FloatArray = NDArray[np.float64]

PEERS = ("py_vollib_vectorized", "QuantLib")
# Ours against each peer, of the greater of forward and strike.
PRICE_BOUND = 1e-12


class MissingPeer(RuntimeError):  # noqa: N818 (named for what the reader should do)
    """A library that is compared with is not installed."""


class Disagreement(RuntimeError):  # noqa: N818 (named for what it says)
    """Two programs computed different numbers, so that their speeds mean nothing."""


class Timing(NamedTuple):
    """Shortest wall and processor time of a few runs, s, and what the last one returned."""

    wall: float
    processor: float
    value: Any


def best(work: Callable[[], Any], repeats: int = 5) -> Timing:
    """Run a few times; the processor time counts every thread of this process."""
    walls, processors, value = [], [], None
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        value = work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return Timing(min(walls), min(processors), value)


def agree(name: str, difference: FloatArray, bound: float) -> float:
    """Largest difference, relative to what the caller scaled by.

    Raises
    ------
    Disagreement
        When it exceeds the bound, or is no number.
    """
    worst = float(np.abs(difference).max(initial=0.0))
    if not worst <= bound:
        raise Disagreement(f"{name}: values differ by {worst:.2e}, bound {bound:.0e}; the timings are worthless")
    return worst


def versions() -> dict[str, str]:
    """Of everything that is timed.

    Raises
    ------
    MissingPeer
        When a library that is compared with is not installed.
    """
    found = {}
    for name in ("numpy", "scipy", "numba", *PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError as error:
            raise MissingPeer(f"{name} is not installed: pip install 'ballast-margin[peers]'") from error
    return found


def textbook(forward: FloatArray, strike: FloatArray, vol: FloatArray, tau: FloatArray) -> FloatArray:
    """Call prices as anybody would write them in numpy."""
    deviation = vol * np.sqrt(tau)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    return np.asarray(forward * ndtr(d1) - strike * ndtr(d1 - deviation))


def quantlib(forward: FloatArray, strike: FloatArray, vol: FloatArray, tau: FloatArray) -> FloatArray:
    """QuantLib takes one option a call."""
    import QuantLib as ql  # noqa: N813

    rows = zip(strike.tolist(), forward.tolist(), (vol * np.sqrt(tau)).tolist(), strict=True)
    return np.array([ql.blackFormula(ql.Option.Call, *row) for row in rows])  # type: ignore[no-untyped-call]


def py_vollib(forward: FloatArray, strike: FloatArray, vol: FloatArray, tau: FloatArray) -> FloatArray:
    """Undiscounted calls; the package warns about its own use of pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from py_vollib_vectorized import vectorized_black

        prices = vectorized_black("c", forward, strike, tau, 0.0, vol, return_as="numpy")  # type: ignore[no-untyped-call]
        return np.ravel(prices)


def measure(count: int, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Million prices a second of each, on the same inputs (QuantLib on the first hundredth); ours against each peer."""
    rng = np.random.default_rng(1)
    inputs = (
        rng.uniform(80, 120, count),
        rng.uniform(50, 150, count),
        rng.uniform(0.2, 1.5, count),
        rng.uniform(0.01, 1, count),
    )
    few = tuple(item[: max(count // 100, 1)] for item in inputs)
    scale, out = np.maximum(inputs[0], inputs[1]), {}
    rows: tuple[tuple[str, Callable[[], FloatArray], int], ...] = (
        ("ours", lambda: black76.price(*inputs, threads=threads), 7),
        ("ours_1_thread", lambda: black76.price(*inputs), 5),
        ("ours_without_numba", lambda: black76.price(*inputs, threads=threads, engine="numpy"), 3),
        ("numpy", lambda: textbook(*inputs), 3),
        ("vollib", lambda: py_vollib(*inputs), 3),
        ("quantlib", lambda: quantlib(*few), 3),
    )
    times, values = {}, {}
    for name, work, repeats in rows:
        say(f"Black-76: {name}")
        timing = best(work, repeats)
        size = timing.value.size
        times[name], values[name] = (timing.wall / size, timing.processor / size), timing.value
        out["black76_mprices_s" if name == "ours" else f"black76_{name}_mprices_s"] = size / timing.wall / 1e6
    for name, value in values.items():
        difference = (values["ours"][: value.size] - value) / scale[: value.size]
        if name != "ours":
            out[f"black76_{name}_difference"] = agree(f"Black-76, ours and {name}", difference, PRICE_BOUND)
    for name in ("vollib", "numpy", "quantlib"):
        out[f"black76_vs_{name}"] = times[name][0] / times["ours"][0]
    # processor time depends less on what else the machine does: one core of ours against one of theirs
    out["black76_mprices_per_processor_s"] = 1e-6 / times["ours_1_thread"][1]
    out["black76_vs_vollib_processor"] = times["vollib"][1] / times["ours_1_thread"][1]
    return {"black76_prices": count, **out}
