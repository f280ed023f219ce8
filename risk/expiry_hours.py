# SPDX-License-Identifier: Apache-2.0
"""The hour of an option's expiry, as a row of a page carries it beside the tail (docs/margin-rule.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from risk.types import OptionSpec

TAIL_BITS = 11
TAIL_MAX = 2**TAIL_BITS - 1
HOUR_MAX = 31
_HOUR_S = 3_600


def expiry_hours(options: Sequence[OptionSpec], now: int) -> NDArray[np.int64]:
    """When each option expires, in hours from the hour before ``now`` (unix s); shape (n,).

    0 where that is more than 31 (the expiry 30 hours ahead), or settled; 1 also where the expiry has passed.

    Examples
    --------
    >>> soon, later = (OptionSpec(0, 3_600 * hours, 90.0, True) for hours in (12, 99))
    >>> expiry_hours([soon, later], 3_600 * 2 + 5).tolist()
    [11, 0]
    """
    hours = [max(o.expiry // _HOUR_S - now // _HOUR_S, 0) + 1 if o.settled_price is None else 0 for o in options]
    return np.array([hour if hour <= HOUR_MAX else 0 for hour in hours], dtype=np.int64)
