# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels of the hot loops: bulk Black-76 prices, margin of large books, Expected Shortfall of large books.

They need numba (``pip install 'ballast-margin[fast]'``) and are an implementation of what numpy does beside them, never
a definition: every caller has a numpy path, and tests hold the two together within the bounds that the callers state.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

from risk.errors import BadInput

Engine = Literal["auto", "numpy", "compiled"]
F = TypeVar("F", bound=Callable[..., Any])


def use_compiled(engine: Engine, size: int, least: int) -> bool:
    """Whether a job of ``size`` items runs compiled: on demand, or under ``"auto"`` from ``least`` items with numba.

    Raises
    ------
    BadInput
        When the engine is unknown, or ``"compiled"`` and numba is not installed.

    Examples
    --------
    >>> use_compiled("numpy", 10**9, 1)
    False
    """
    if engine not in ("auto", "numpy", "compiled"):
        raise BadInput(f"engine {engine!r} is unknown; use auto, numpy or compiled")
    if engine == "numpy" or (engine == "auto" and size < least):
        return False
    if find_spec("numba") is not None:
        return True
    if engine == "compiled":
        raise BadInput("engine 'compiled' needs numba: pip install 'ballast-margin[fast]', or use engine 'numpy'")
    return False


def compiled(*, inline: bool = False) -> Callable[[F], F]:
    """Decorator: machine code on the first call, kept on disk where that is possible, run outside the interpreter lock.

    Floating point stays IEEE but for contraction to fused multiply-add: no reassociation, NaN and infinity keep
    their meaning. ``inline`` is for the small functions that others are made of.
    """
    from numba import njit

    options: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

    def decorate(function: F) -> F:
        if inline:
            return njit(function, inline="always", **options)  # type: ignore[no-any-return]
        try:
            return njit(function, cache=True, **options)  # type: ignore[no-any-return]
        except RuntimeError:
            # no writable place for the cache: compile in every process
            return njit(function, **options)  # type: ignore[no-any-return]

    return decorate
