# SPDX-License-Identifier: Apache-2.0
"""Market history: load, align, difference, simulate."""

from risk.market.clean import align, exact_pairs, find_gaps, horizon_returns, log_returns
from risk.market.history import Gap, PriceHistory, PriceSeries
from risk.market.load import load_prices
from risk.market.synthetic import Crash, simulate, warmup

__all__ = [
    "Crash",
    "Gap",
    "PriceHistory",
    "PriceSeries",
    "align",
    "exact_pairs",
    "find_gaps",
    "horizon_returns",
    "load_prices",
    "log_returns",
    "simulate",
    "warmup",
]
