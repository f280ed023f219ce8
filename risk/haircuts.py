# SPDX-License-Identifier: Apache-2.0
"""Collateral haircuts: Expected Shortfall of what is left after the link, plus the cost of selling at size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput
from risk.liquidity import DEPTH_LANE_USD, bps_up
from risk.market.clean import horizon_returns
from risk.market.history import PriceHistory
from risk.market.quality import discount
from risk.measures import expected_shortfall
from risk.types import LANE_MAX, CollateralParameters


@dataclass(frozen=True, slots=True)
class CollateralSpec:
    """A collateral asset as the calibration sees it.

    Attributes
    ----------
    name : str
    linked : str or None
        Underlying whose price moves it; then only the residual (depeg, staking discount) needs a haircut.
    depth_usd : float
        USD that can be sold at `slippage`; the unit of the size haircut.
    slippage : float
        Cost of selling `depth_usd`, a fraction.
    assumed_move : float
        Stands for the Expected Shortfall where no history is given; otherwise ignored.
    floor, cap : float
        Bounds of the initial haircut.
    use_haircut : float
        Extra when the protocol's cap in this asset is fully used.
    """

    name: str
    linked: str | None = None
    depth_usd: float = 5_000_000.0
    slippage: float = 0.01
    assumed_move: float = 0.10
    floor: float = 0.01
    cap: float = 0.95
    use_haircut: float = 0.05

    def __post_init__(self) -> None:
        fractions = (self.slippage, self.assumed_move, self.floor, self.cap, self.use_haircut)
        if not all(0 <= f <= 1 for f in fractions) or self.floor > self.cap:
            raise BadInput(
                f"collateral {self.name}: slippage, move, floor, cap and use haircut {fractions} must be fractions "
                "with floor <= cap"
            )
        if not self.depth_usd > 0:
            raise BadInput(f"collateral {self.name}: depth is {self.depth_usd} USD; it must be positive")


@dataclass(frozen=True, slots=True)
class HaircutConfig:
    """Confidence, horizon, weight of the stressed stretch (and its share of the history), maintenance share."""

    level: float = 0.99
    horizon_s: int = 86_400
    stressed_weight: float = 0.25
    stressed_share: float = 0.25
    mm_share: float = 0.8


def residual_history(history: PriceHistory, name: str, linked: str | None) -> PriceHistory:
    """The part of an asset's price its link does not explain: price over price of the underlying.

    Raises
    ------
    BadInput
        When a symbol is not in the history.
    """
    if linked is None:
        return history.select([name])
    pair = history.select([name, linked])
    return PriceHistory(
        (name,), pair.ts, pair.close[:, :1] / pair.close[:, 1:], pair.volume[:, :1], pair.interval_s, pair.gaps
    )


def residual_shortfall(residual: PriceHistory, config: HaircutConfig) -> float:
    """Expected Shortfall of falls of a residual, with weight on its worst stretch.

    Parameters
    ----------
    residual : PriceHistory
        One column; see `residual_history`. The horizon is raised to a bar where bars are coarser (daily files).
    config : HaircutConfig

    Returns
    -------
    float
        Fraction, >= 0: ``(1 - w) * ES(all) + w * ES(worst stretch)``, not below ES(all).

    References
    ----------
    docs/risk-methodology.md, formula 10.1.
    """
    horizon = max(config.horizon_s, residual.interval_s)
    _, moves = horizon_returns(residual, horizon - horizon % residual.interval_s)
    whole = max(0.0, expected_shortfall(moves[:, 0], config.level))
    length = max(1, int(config.stressed_share * moves.shape[0]))
    starts = np.unique(np.linspace(0, moves.shape[0] - length, 64).astype(np.int64))
    worst = max(expected_shortfall(moves[s : s + length, 0], config.level) for s in starts)
    w = config.stressed_weight
    return max(whole, (1 - w) * whole + w * worst)


def collateral_parameters(
    spec: CollateralSpec, residual: PriceHistory | None, config: HaircutConfig
) -> CollateralParameters:
    """The lanes of one collateral asset.

    Parameters
    ----------
    spec : CollateralSpec
    residual : PriceHistory, optional
        One column; without it ``spec.assumed_move`` stands for the shortfall.
    config : HaircutConfig

    Notes
    -----
    Initial haircut: shortfall plus slippage at the unit size, within floor and cap. Maintenance: ``mm_share`` of the
    shortfall plus the same slippage, never above the initial one. Each further ``depth_usd`` adds the slippage again.
    An asset that stands below its peg may lose as much again: the shortfall is at least its discount.

    References
    ----------
    docs/risk-methodology.md, formula 10.2.
    """
    move = spec.assumed_move
    if residual is not None:
        move = max(residual_shortfall(residual, config), discount(residual))
    initial = float(np.clip(move + spec.slippage, spec.floor, spec.cap))
    maintenance = min(initial, float(np.clip(config.mm_share * move + spec.slippage, 0.7 * spec.floor, spec.cap)))
    return CollateralParameters(
        haircut_im_bps=bps_up(initial),
        haircut_mm_bps=min(bps_up(initial), bps_up(maintenance)),
        size_haircut_bps=bps_up(spec.slippage),
        size_unit=int(np.clip(spec.depth_usd // DEPTH_LANE_USD, 1, LANE_MAX)),
        use_haircut_bps=bps_up(spec.use_haircut),
    )
