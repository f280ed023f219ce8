# SPDX-License-Identifier: Apache-2.0
"""What a backtest walks, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.config import CalibrationConfig
from risk.errors import BadInput
from risk.market.history import utc
from risk.scenarios import SelectionConfig

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """What is walked and how.

    Attributes
    ----------
    start, end : int
        First decision and the bound that no horizon passes, epoch seconds; decisions are at midnight UTC.
    horizon_s : int
        Horizon of forecast, margin and loss, seconds; decisions are as far apart, in whole days, so horizons never
        overlap.
    level : float
        Confidence.
    refit_days : int
        Days between whole calibrations; scan ranges follow the data at every decision.
    stride_bars : int
        Every how many bars a stretch of the past starts that the forecast revalues options on.
    notional : float
        Gross USD of each account.
    seed : int
    calibration : CalibrationConfig
        Underlyings, collateral and horizon in it are set by the walk.
    """

    start: int
    end: int
    horizon_s: int = DAY_S
    level: float = 0.99
    refit_days: int = 30
    stride_bars: int = 7
    notional: float = 100_000.0
    seed: int = 1
    calibration: CalibrationConfig = field(
        default_factory=lambda: CalibrationConfig.quick(
            n_sims=4_000, n_train=400, n_books=400, selection=SelectionConfig(max_candidates=600)
        )
    )

    def __post_init__(self) -> None:
        if self.start % DAY_S or self.end <= self.start + self.horizon_s:
            raise BadInput(
                f"backtest from {utc(self.start)} to {utc(self.end)}: begin at midnight UTC, leave room for a horizon"
            )
        if not 0.5 < self.level < 1.0:
            raise BadInput(f"confidence level is {self.level}; it must lie between 0.5 and 1")
        if self.horizon_s < 3600 or self.refit_days < 1 or self.stride_bars < 1 or not self.notional > 0:
            raise BadInput(
                f"horizon {self.horizon_s} s, refit every {self.refit_days} days, stride {self.stride_bars} bars, "
                f"notional {self.notional} USD: need 3600, 1, 1 and more than 0"
            )

    @property
    def step_s(self) -> int:
        """Seconds between decisions."""
        return -(-self.horizon_s // DAY_S) * DAY_S
