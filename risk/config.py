# SPDX-License-Identifier: Apache-2.0
"""Every choice a calibration makes, in one record whose hash travels with the result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from risk.adversary import AdversaryConfig
from risk.errors import BadInput
from risk.factors.fhs import VolatilityModel
from risk.haircuts import CollateralSpec, HaircutConfig
from risk.liquidity import LiquidityConfig
from risk.ranges import RangeConfig
from risk.scenarios import SelectionConfig

MODEL_VERSION = "ballast-fhs-1"


@dataclass(frozen=True, slots=True)
class SmileConfig:
    """Surface assumptions where no option quotes are given.

    At the money: the 10-day EWMA volatility for short tenors and the whole history's for long ones, times `premium`
    (implied over realised: DVOL over that EWMA had a median of 1.20 on BTC and 1.13 on ETH, 2021-03..2023-12); between
    them the variance reverts at `reversion` a year. Skew and convexity are constants typical of Deribit's BTC and ETH.
    """

    premium: float = 1.15
    reversion: float = 6.0
    rho: float = -0.20
    eta: float = 0.90
    low: float = 0.15
    high: float = 3.0


@dataclass(frozen=True, slots=True)
class Gates:
    """Limits a calibration must keep to be pushed."""

    min_ratio_p01: float = 0.75
    min_single_p01: float = 0.75
    max_efficiency: float = 1.80
    max_relative_error: float = 0.60


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """Everything a calibration depends on besides data and randomness; its hash travels as ``model_hash``.

    Attributes
    ----------
    underlyings : tuple of str
        Empty: every symbol of the history that is not a collateral asset.
    collaterals : tuple of CollateralSpec
    horizon_s, block_s : int
        Liquidation horizon and length of a bootstrap stretch, s.
    halflife_s, vol_halflife_s : int
        EWMA half-lives of the filter and of the volatility level, s.
    volatility : {"ewma", "gjr"}
    adaptive : {"off", "on"}
        Whether the forecast of `risk.adaptive` stands for today's Expected Shortfall, within the band of
        `RangeEstimate.adapted`. Off: over 2019..2023 it did not beat filtered historical simulation
        (docs/risk/adaptive.md).
    n_sims, n_train, n_books : int
        Draws, books scenarios are chosen for, books they are certified on.
    correlation_window_s, correlation_quantile
        For the offset floor; it is kept within `offset_low`..`offset_high`.
    correlation_one : float
        Size, in scan ranges, of the two scenarios every set holds: all down and all up together, volatility up.
    hysteresis : float
        Relative gain of the 1 % ratio or of the efficiency, on the same books and draws, that new scenarios must bring
        to replace those in force.
    scan_multiple : float
        Least scan range over the volatility of a day that is pushed with it; the contract's default guard is 3.
    adversary : AdversaryConfig
    reserve_usd : int
        Margin kept for the reward of the caller of a liquidation, USD an account.
    depths_usd : tuple of (symbol, USD)
        Observed order-book depth, where known.
    """

    underlyings: tuple[str, ...] = ()
    collaterals: tuple[CollateralSpec, ...] = ()
    horizon_s: int = 86_400
    block_s: int = 21_600
    halflife_s: int = 72 * 3600
    vol_halflife_s: int = 240 * 3600
    volatility: VolatilityModel = "ewma"
    adaptive: Literal["off", "on"] = "off"
    ratio_low: float = 0.6
    ratio_high: float = 1.8
    stressed_weight: float = 0.25
    ranges: RangeConfig = field(default_factory=RangeConfig)
    smile: SmileConfig = field(default_factory=SmileConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    liquidity: LiquidityConfig = field(default_factory=LiquidityConfig)
    haircuts: HaircutConfig = field(default_factory=HaircutConfig)
    gates: Gates = field(default_factory=Gates)
    im_scale: float = 1.0
    mm_scale: float = 0.8
    im_charge_scale: float = 1.0
    reserve_usd: int = 25
    offset_low: float = 0.10
    offset_high: float = 0.50
    correlation_window_s: int = 30 * 86_400
    correlation_quantile: float = 0.05
    correlation_one: float = 0.85
    n_sims: int = 20_000
    n_train: int = 4_000
    n_books: int = 10_000
    hysteresis: float = 0.05
    scan_multiple: float = 3.0
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    depths_usd: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        # The contract's own limits: IM >= MM, and up to a scale of 2 the slack outweighs what packing hides.
        if not 0 < self.mm_scale <= self.im_scale <= 2 or not 1 <= self.im_charge_scale <= 6.5:
            raise BadInput(
                f"scales im {self.im_scale}, mm {self.mm_scale}, charges {self.im_charge_scale}: "
                "need 0 < mm <= im <= 2 and 1 <= charges <= 6.5"
            )
        if min(self.n_train, self.n_books) < 50 or self.n_sims < 1_000:
            raise BadInput(
                f"{self.n_sims} draws, {self.n_train} training and {self.n_books} test books: "
                "need at least 1,000, 50 and 50"
            )

        if self.adaptive not in {"off", "on"}:
            raise BadInput(f"adaptive is {self.adaptive!r}; write off or on")
        if self.adaptive == "on" and (self.horizon_s, self.ranges.level) != (86_400, 0.99):
            raise BadInput(
                f"the adaptive layer forecasts 99 % of 86400 s, not {self.ranges.level:.1%} of {self.horizon_s} s; "
                "turn it off"
            )

    @classmethod
    def quick(cls, **changes: Any) -> CalibrationConfig:
        """Smaller samples, for a loop that calibrates every hour; every other default is the same."""
        base = cls(
            n_sims=6_000,
            n_train=500,
            n_books=1_500,
            selection=SelectionConfig(max_candidates=1_000),
            adversary=AdversaryConfig(rounds=1, slots=8, books=40, steps=8),
        )
        return replace(base, **changes)

    def model_hash(self) -> str:
        """SHA-256 of model version and configuration, ``0x`` + 64 hex digits."""
        text = json.dumps({"version": MODEL_VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return "0x" + hashlib.sha256(text.encode()).hexdigest()
