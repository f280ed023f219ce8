# SPDX-License-Identifier: Apache-2.0
"""The deployment of a demonstration: real contracts, test tokens and feeds, parameters from the first calibration."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

from keeper.deploy.config import DeployConfig, parse_config
from risk.haircuts import CollateralSpec
from risk.types import CollateralParameters, GlobalParameters, ParameterSet, UnderlyingParameters

STETH_RATE = Decimal("1.18")
EXPIRY_DAYS = (7, 30)
MONEYNESS = (80, 90, 100, 110, 120)
FUTURE_DAYS = (1, 30)
# On top of the calibrated scan range at first: loosened by a proposal once the keeper runs.
LAUNCH_SCAN_BPS = 150
SCAN_OVER_VOL = 3  # least multiple of the one-day volatility that the contract takes
HEARTBEAT_S = 7_200  # feeds here are written hourly

# Hard bounds of every lane and the largest step of one push, up and down. Tightening may go faster than loosening.
GLOBAL_BOUNDS = {
    "im_scale_bps": (10_000, 20_000, 1_000, 500),
    "mm_scale_bps": (5_000, 15_000, 500, 500),
    "im_charge_scale_bps": (10_000, 20_000, 1_000, 500),
    "offset_floor_bps": (500, 10_000, 1_000, 500),
    "reserve_usd": (0, 100, 10, 10),
}
UNDERLYING_BOUNDS = {
    "scan_bps": (500, 9_000, 400, 200),
    "vol_up_bps": (500, 20_000, 1_500, 750),
    "vol_down_bps": (100, 9_000, 1_000, 500),
    "vol_power_bps": (1_000, 9_000, 1_000, 1_000),
    "delta_charge_bps": (0, 500, 50, 25),
    "option_charge_bps": (0, 500, 50, 25),
    "basis_charge_bps": (0, 500, 50, 25),
    "drift_charge_bps": (0, 200, 20, 20),
    "depth": (1, 65_000, 20_000, 20_000),
    "short_min_bps": (10, 1_000, 100, 50),
    "vol_day_bps": (10, 3_000, 1_500, 1_500),
    "band_bps": (50, 2_000, 1_000, 1_000),
}
COLLATERAL_BOUNDS = {
    "haircut_im_bps": (0, 9_500, 500, 250),
    "haircut_mm_bps": (0, 9_000, 300, 200),
    "size_haircut_bps": (0, 1_000, 100, 100),
    "size_unit": (1, 65_000, 20_000, 20_000),
    "use_haircut_bps": (0, 3_000, 500, 250),
}


def collateral_specs(symbols: tuple[str, ...]) -> tuple[CollateralSpec, ...]:
    """Assets accepted beside cash: those linked to one of the underlyings."""
    links = {"WETH": "ETH", "WBTC": "BTC", "wstETH": "ETH"}
    return tuple(CollateralSpec(name, link) for name, link in links.items() if link in symbols)


def _bounds(table: dict[str, tuple[int, int, int, int]]) -> dict[str, dict[str, int]]:
    columns = ("low", "high", "step_up", "step_down")
    return {column: {name: row[k] for name, row in table.items()} for k, column in enumerate(columns)}


def clamp(
    record: GlobalParameters | UnderlyingParameters | CollateralParameters,
    table: dict[str, tuple[int, int, int, int]],
) -> dict[str, int]:
    """A calibrated record inside the hard bounds: what may be pushed in the end, whatever a model says."""
    return {name: max(low, min(high, getattr(record, name))) for name, (low, high, _, _) in table.items()}


def _underlying(symbol: str, price: float, target: ParameterSet) -> dict[str, Any]:
    wanted = target.underlyings[symbol]
    scan_bps = max(wanted.scan_bps + LAUNCH_SCAN_BPS, SCAN_OVER_VOL * wanted.vol_day_bps)
    cautious = replace(wanted, scan_bps=scan_bps)
    return {
        "symbol": symbol,
        "feed": {"mock": {"price": repr(round(price, 8))}, "heartbeat_s": HEARTBEAT_S},
        "parameters": clamp(cautious, UNDERLYING_BOUNDS),
        "futures": FUTURE_DAYS,
        "options": {
            "expiry_days": EXPIRY_DAYS,
            "strikes_percent": MONEYNESS,
            "strike_step": repr(strike_step(price)),
        },
    }


def strike_step(price: float) -> float:
    """A round step of at most half a percent of the price: 1, 2 or 5 times a power of ten."""
    raw = price / 200
    power = 10.0 ** math.floor(math.log10(raw))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= raw)


def _collateral(spec: CollateralSpec, target: ParameterSet) -> dict[str, Any]:
    decimals = {"WBTC": 8}.get(spec.name, 18)
    entry: dict[str, Any] = {
        "symbol": spec.name,
        "mock": {"decimals": decimals},
        "linked": spec.linked,
        "cap": "1000000",
        "parameters": clamp(target.collaterals[spec.name], COLLATERAL_BOUNDS),
    }
    if spec.name == "wstETH":
        entry["mock"] = {"decimals": 18, "rate": str(STETH_RATE)}
        entry["rate"] = {"kind": "steth", "low": "1", "high": "2"}
    return entry


def deploy_data(target: ParameterSet, prices: dict[str, float], chain_id: int, keeper: str) -> dict[str, Any]:
    """Deployment configuration, as TOML would give it, for the symbols of ``prices`` (USD)."""
    specs = collateral_specs(tuple(prices))
    return {
        "network": {"name": "demo", "chain_id": chain_id, "allow_mocks": True},
        "roles": {"governance": "deployer", "guardian": "deployer", "keepers": [keeper], "listers": []},
        "cash": {"symbol": "USDC", "mock": {"decimals": 6}},
        "underlyings": [_underlying(symbol, price, target) for symbol, price in prices.items()],
        "collateral": [_collateral(spec, target) for spec in specs],
        "parameters": {
            "initial": clamp(target.global_parameters, GLOBAL_BOUNDS),
            "bounds_global": _bounds(GLOBAL_BOUNDS),
            "bounds_underlying": _bounds(UNDERLYING_BOUNDS),
            "bounds_collateral": _bounds(COLLATERAL_BOUNDS),
            # a new collateral counts at once: everybody brings some in the first hour
            "guards": {"max_age_s": 8 * 3_600, "min_interval_s": 3_600, "listing_ramp_s": 0},
        },
        "fund": {"seed": "1000000"},
    }


def deploy_config(target: ParameterSet, prices: dict[str, float], chain_id: int, keeper: str) -> DeployConfig:
    """Deployment for the symbols of ``prices`` (USD), with the parameters of the first calibration.

    Raises
    ------
    ConfigError
        When the calibration does not fit the configuration's ranges.
    """
    return parse_config(deploy_data(target, prices, chain_id, keeper), "the demonstration's configuration")
