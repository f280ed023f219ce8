# SPDX-License-Identifier: Apache-2.0
"""Factor models: volatility, dependence, filtered historical simulation."""

from risk.factors.dependence import TCopula, fit_t_copula, ledoit_wolf, nearest_correlation
from risk.factors.fhs import FactorHistory, FhsConfig, Moves, build_factors, filtered_windows, simulate_moves
from risk.factors.volatility import VolatilityFit, ewma_variance, gjr_garch_t

__all__ = [
    "FactorHistory",
    "FhsConfig",
    "Moves",
    "TCopula",
    "VolatilityFit",
    "build_factors",
    "ewma_variance",
    "filtered_windows",
    "fit_t_copula",
    "gjr_garch_t",
    "ledoit_wolf",
    "nearest_correlation",
    "simulate_moves",
]
