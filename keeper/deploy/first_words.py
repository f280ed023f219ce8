# SPDX-License-Identifier: Apache-2.0
"""Whether RiskParameters will take the first words of a configuration, asked before anything is sent.

The rules that a word keeps by itself are those of its section; here are those with the bounds and the guards.
"""

from __future__ import annotations

from collections.abc import Mapping

from keeper.deploy.config_market import Bounds
from keeper.errors import ConfigError

BPS = 10_000
BOUNDS = ("bounds_global", "bounds_underlying", "bounds_collateral")


def check_bounds(kind: int, lanes: Mapping[str, object], bounds: Bounds) -> None:
    """Every lane that the bounds name exists, and none has its low above its high.

    Raises
    ------
    ConfigError
        Names the section, the lane and its values.
    """
    for limit in ("low", "high", "step_up", "step_down"):
        for name in getattr(bounds, limit):
            if name not in lanes:
                raise ConfigError(f"bounds {limit} name lane {name!r}; the lanes are {', '.join(lanes)}")
    for name in lanes:
        low, high = bounds.low.get(name, 0), bounds.high.get(name, 0)
        if low > high:
            raise ConfigError(f"parameters.{BOUNDS[kind]}: low {name} = {low} is above high {name} = {high}; swap them")


def check_first(kind: int, where: str, word: Mapping[str, int], bounds: Bounds, multiple_bps: int) -> None:
    """A first word lies inside its bounds, and an underlying's scan range covers its volatility.

    Parameters
    ----------
    where
        The word's section in the file.
    multiple_bps
        Least scan range over the one-day volatility; 0 = no such rule.

    Raises
    ------
    ConfigError
        Names the section, the lane, its value and what it must be.
    """
    for name, value in word.items():
        low, high = bounds.low.get(name, 0), bounds.high.get(name, 0)
        if not low <= value <= high:
            raise ConfigError(
                f"{where}.{name} = {value} is outside parameters.{BOUNDS[kind]}, {low}..{high}; correct either"
            )
    needed = -(-multiple_bps * word.get("vol_day_bps", 0) // BPS)
    if "scan_bps" in word and word["scan_bps"] < needed:
        raise ConfigError(
            f"{where}.scan_bps = {word['scan_bps']} is below {needed}, which vol_day_bps = {word['vol_day_bps']} needs "
            f"by parameters.guards.min_scan_multiple_bps = {multiple_bps}; widen the scan range"
        )
