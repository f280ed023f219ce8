# SPDX-License-Identifier: Apache-2.0
"""Replay of a whole protocol under history or simulated stress: liquidations, impact, bad debt, fund, sweeps."""

from risk.replay.engine import run
from risk.replay.fund import FundSizing, size_fund
from risk.replay.market import PricePath
from risk.replay.population import PopulationConfig, RealPositions
from risk.replay.prepare import Prepared, historical_path, populate, prepare
from risk.replay.results import ReplayResult, Summary
from risk.replay.settings import (
    AuctionTerms,
    Guards,
    Impact,
    LiquidatorPolicy,
    Outage,
    ReplaySettings,
)

__all__ = [
    "AuctionTerms",
    "FundSizing",
    "Guards",
    "Impact",
    "LiquidatorPolicy",
    "Outage",
    "PopulationConfig",
    "Prepared",
    "PricePath",
    "RealPositions",
    "ReplayResult",
    "ReplaySettings",
    "Summary",
    "historical_path",
    "populate",
    "prepare",
    "run",
    "size_fund",
]
