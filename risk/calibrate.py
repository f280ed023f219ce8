# SPDX-License-Identifier: Apache-2.0
"""From market history to the parameter set a keeper may push, with where it came from.

The steps, each in its own module: factors (EWMA or GJR) -> Expected Shortfall with stressed weight and long floor ->
scan ranges (fast up, slow down) -> volatility shocks -> joint law scaled to the scans -> offset floor -> joint
scenarios -> certificate on fresh draws and unseen books -> haircuts and charges -> gates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from risk.adaptive import shortfall_forecast
from risk.config import MODEL_VERSION, CalibrationConfig, Gates, SmileConfig
from risk.errors import BadInput, GateFailed, InsufficientHistory
from risk.factors.fhs import FactorHistory, FhsConfig, build_factors
from risk.haircuts import collateral_parameters, residual_history
from risk.joint import JointResult, Law, build_law, joint_scenarios
from risk.liquidity import bps_up, measure_liquidity, underlying_parameters
from risk.market.history import FloatArray, PriceHistory
from risk.pricing.svi import slices_from_smile
from risk.ranges import MAX_SCAN, RangeEstimate, estimate_ranges, smooth_fall, stressed_period
from risk.stress import low_correlations, offset_floor
from risk.types import (
    BPS,
    CollateralParameters,
    GlobalParameters,
    ParameterSet,
    Provenance,
    SmileModel,
    SurfaceSlice,
    UnderlyingParameters,
)

__all__ = ["CalibrationConfig", "calibrate", "check_gates", "surface_slices"]

Progress = Callable[[str], None]
# Stretches of the horizon that must fit side by side before a 1 % tail mean says anything.
MIN_HORIZONS = 30


def calibrate(
    history: PriceHistory,
    config: CalibrationConfig,
    rng: np.random.Generator,
    previous: ParameterSet | None = None,
    vol_history: PriceHistory | None = None,
    progress: Progress | None = None,
    *,
    peg_history: PriceHistory | None = None,
    live_books: FloatArray | None = None,
    now: int | None = None,
) -> ParameterSet:
    """Calibrate every parameter a keeper may push.

    Parameters
    ----------
    history : PriceHistory
        Prices of the underlyings, and of collateral assets where known.
    config : CalibrationConfig
    rng : numpy.random.Generator
        Only its next integer is used, as the seed that is recorded.
    previous : ParameterSet, optional
        The set in force: ranges fall slowly from it, and its scenarios are kept while they still do.
    vol_history : PriceHistory, optional
        Implied volatility level per underlying as ``close`` (per year or in percent). Of this and `peg_history` only
        bars that had closed at the observation time count.
    progress : callable, optional
        Called with a sentence before each step.
    peg_history : PriceHistory, optional
        Price of collateral assets over that of their link (or USD), as ``close``, for assets `history` does not hold.
    live_books : (b, M) float64, optional
        Real books, USD notional of each instrument in the order of `risk.books.build_universe`; its strikes count
        standard deviations, so the order does not depend on volatility.
    now : int, optional
        Observation time, epoch seconds. Default: the end of the last bar.

    Returns
    -------
    ParameterSet

    Raises
    ------
    InsufficientHistory
        Too short a history.
    GateFailed
        The result must not be pushed; the message names each gate.
    BadInput
        Unusable configuration or symbols.

    Examples
    --------
    >>> from risk.market import warmup
    >>> past = warmup(["BTC", "ETH"], 1_500, [60e3, 3e3], np.random.default_rng(1), end_ts=1_700_000_000)
    >>> calibrate(past, CalibrationConfig.quick(), np.random.default_rng(2)).global_parameters.mm_scale_bps
    8000
    """
    say = progress or (lambda _: None)
    seed = int(rng.integers(2**53))
    symbols = _underlyings(history, config)
    prices, observed_at = history.select(symbols), int(history.ts[-1]) + history.interval_s if now is None else now
    vol_history, peg_history = _closed_by(vol_history, observed_at), _closed_by(peg_history, observed_at)
    fhs = _fhs_config(prices, config)
    say(f"volatility and joint residuals of {', '.join(symbols)} over {prices.ts.size:,} bars")
    factors = _factors(prices, config, vol_history)
    say("Expected Shortfall, stressed period and scan ranges")
    period = stressed_period(factors, fhs.horizon_bars, config.ranges)
    estimates = estimate_ranges(factors, fhs, period, config.ranges)
    forecasts = shortfall_forecast(prices, vol_history) if config.adaptive == "on" else {}
    scans = _scans(symbols, estimates, config, previous, observed_at, forecasts)
    smiles = _smiles(symbols, factors, vol_history, config.smile)
    law = build_law(factors, fhs, period, scans, config, seed)
    vols, kappa = np.array([smiles[s].short_vol for s in symbols]), _offset(factors, config)
    chosen = joint_scenarios(law, vols, kappa, config, previous=previous, live_books=live_books, say=say)
    say("charges and haircuts")
    result = ParameterSet(
        global_parameters=_global_parameters(config, chosen.offset_floor),
        underlyings=_underlying_parameters(symbols, prices, law, smiles, config),
        collaterals=_collateral_parameters(history, peg_history, config),
        surfaces=smiles,
        joint=chosen.joint,
        joint_underlyings=symbols if chosen.joint is not None else (),
        certificate=chosen.certificate,
        provenance=_provenance(
            (history, vol_history, peg_history),
            config,
            seed,
            observed_at,
            {
                **_diagnostics(symbols, estimates, period, factors, prices, forecasts),
                "gates": _gates(estimates, chosen, config.gates, first=previous is None),
            },
        ),
    )
    check_gates(result)
    return result


def surface_slices(
    parameters: ParameterSet, symbol: str, expiries: Sequence[int], now: int
) -> tuple[SurfaceSlice, ...]:
    """Volatility surface of one underlying at any expiries (unix s, after `now`).

    Raises
    ------
    BadInput
        When the set has no surface of the symbol, or an expiry is not after `now`.
    """
    if symbol not in parameters.surfaces:
        raise BadInput(f"no surface of {symbol}; the set has {', '.join(parameters.surfaces)}")
    return slices_from_smile(parameters.surfaces[symbol], expiries, now)


def check_gates(parameters: ParameterSet) -> None:
    """Refuse a set that did not pass a gate that is enforced.

    Raises
    ------
    GateFailed
    """
    gates = parameters.provenance.diagnostics.get("gates", {})
    failed = [
        f"{name} is {g['value']:.4g}, limit {g['limit']:.4g}"
        for name, g in gates.items()
        if g["enforced"] and not g["passed"]
    ]
    if failed:
        raise GateFailed(f"calibration fails its gates: {'; '.join(failed)}; keep the set in force")


def _underlyings(history: PriceHistory, config: CalibrationConfig) -> tuple[str, ...]:
    assets = {spec.name for spec in config.collaterals}
    chosen = config.underlyings or tuple(s for s in history.symbols if s not in assets)
    if not chosen:
        raise BadInput("no underlying to calibrate; name them or hand over prices that are not of collateral assets")
    return chosen


def _closed_by(series: PriceHistory | None, time: int) -> PriceHistory | None:
    """The bars of a series that had closed at a time (epoch s); None when there is none."""
    if series is None or int(series.ts[0]) + series.interval_s > time:
        return None
    return series.window(end=time - series.interval_s + 1)


def _factors(prices: PriceHistory, config: CalibrationConfig, vol_history: PriceHistory | None) -> FactorHistory:
    return build_factors(
        prices,
        halflife_bars=config.halflife_s / prices.interval_s,
        vol_halflife_bars=config.vol_halflife_s / prices.interval_s,
        vol_history=vol_history,
        model=config.volatility,
    )


def _fhs_config(history: PriceHistory, config: CalibrationConfig) -> FhsConfig:
    bar = history.interval_s
    if config.horizon_s % bar or config.block_s % bar:
        raise BadInput(
            f"horizon {config.horizon_s} s and block {config.block_s} s must be multiples of the bar ({bar} s)"
        )
    horizon = config.horizon_s // bar
    if history.ts.size < MIN_HORIZONS * horizon:
        raise InsufficientHistory(
            f"{history.ts.size} bars of {', '.join(history.symbols)}, {MIN_HORIZONS * horizon} are needed for a "
            f"horizon of {config.horizon_s} s; hand over a longer history"
        )
    return FhsConfig(horizon, config.block_s // bar, config.ratio_low, config.ratio_high, config.stressed_weight)


def _scans(
    symbols: tuple[str, ...],
    estimates: tuple[RangeEstimate, ...],
    config: CalibrationConfig,
    previous: ParameterSet | None,
    observed_at: int,
    forecasts: Mapping[str, float],
) -> FloatArray:
    """Scan ranges, whole basis points, within what the contract accepts."""
    out = []
    for symbol, estimate in zip(symbols, estimates, strict=True):
        shape = config.stressed_weight, config.ranges.long_floor
        raw = estimate.adapted(forecasts[symbol], *shape) if symbol in forecasts else estimate.blend(*shape)
        last, elapsed = None, 0.0
        if previous is not None and symbol in previous.underlyings:
            last = previous.underlyings[symbol].scan_bps / BPS
            elapsed = float(observed_at - previous.provenance.observed_at)
        scan = smooth_fall(raw, last, elapsed, config.ranges.fall_per_day)
        out.append(bps_up(min(max(scan, config.ranges.min_range), MAX_SCAN)) / BPS)
    return np.array(out)


def _smiles(
    symbols: tuple[str, ...], factors: FactorHistory, vol_history: PriceHistory | None, config: SmileConfig
) -> dict[str, SmileModel]:
    per_year = 365 * 86_400 / factors.interval_s
    long_run = np.sqrt(np.mean(np.square(factors.changes[:, : len(symbols)]), axis=0) * per_year)
    out = {}
    for i, symbol in enumerate(symbols):
        short = config.premium * float(factors.level[-1, i])
        if vol_history is not None and symbol in vol_history.symbols:
            quoted = float(vol_history.close[-1, vol_history.symbols.index(symbol)])
            # Volatility indices are quoted in percent; no market trades at 500 % for long nor at half a percent.
            short = quoted / 100.0 if quoted > 5.0 else quoted
        level, far = (float(np.clip(v, config.low, config.high)) for v in (short, config.premium * float(long_run[i])))
        out[symbol] = SmileModel(level, far, config.reversion, config.rho, config.eta)
    return out


def _offset(factors: FactorHistory, config: CalibrationConfig) -> float:
    """Offset floor, whole basis points, within its bounds."""
    if len(factors.symbols) < 2:
        return bps_up(config.offset_low) / BPS
    bars = min(config.correlation_window_s // factors.interval_s, factors.ts.size // 2)
    raw = offset_floor(low_correlations(factors, bars, config.correlation_quantile))
    return bps_up(min(max(raw, config.offset_low), config.offset_high)) / BPS


def _global_parameters(config: CalibrationConfig, kappa: float) -> GlobalParameters:
    return GlobalParameters(
        bps_up(config.im_scale),
        bps_up(config.mm_scale),
        bps_up(config.im_charge_scale),
        bps_up(kappa),
        config.reserve_usd,
    )


def _underlying_parameters(
    symbols: tuple[str, ...],
    prices: PriceHistory,
    law: Law,
    smiles: Mapping[str, SmileModel],
    config: CalibrationConfig,
) -> dict[str, UnderlyingParameters]:
    depths = dict(config.depths_usd)
    shocks = law.shocks
    return {
        s: underlying_parameters(
            float(shocks.scan[i]),
            float(shocks.vol_up[i]),
            float(shocks.vol_down[i]),
            float(shocks.power[i]),
            smiles[s].short_vol,
            measure_liquidity(prices, s, config.liquidity, depths.get(s)),
            config.liquidity,
        )
        for i, s in enumerate(symbols)
    }


def _collateral_parameters(
    history: PriceHistory, pegs: PriceHistory | None, config: CalibrationConfig
) -> dict[str, CollateralParameters]:
    out = {}
    for spec in config.collaterals:
        residual = None
        if pegs is not None and spec.name in pegs.symbols:
            residual = pegs.select([spec.name])
        elif spec.name in history.symbols and (spec.linked is None or spec.linked in history.symbols):
            residual = None if spec.name == spec.linked else residual_history(history, spec.name, spec.linked)
        out[spec.name] = collateral_parameters(spec, residual, config.haircuts)
    return out


def _provenance(
    histories: tuple[PriceHistory, PriceHistory | None, PriceHistory | None],
    config: CalibrationConfig,
    seed: int,
    observed_at: int,
    diagnostics: Mapping[str, Any],
) -> Provenance:
    ts = histories[0].ts
    return Provenance(
        model_version=MODEL_VERSION,
        data_hash=_data_hash(*histories),
        model_hash=config.model_hash(),
        seed=seed,
        observed_at=observed_at,
        first_at=int(ts[0]),
        last_at=int(ts[-1]),
        observations=int(ts.size),
        diagnostics=diagnostics,
    )


def _data_hash(*histories: PriceHistory | None) -> str:
    digest = hashlib.sha256(b"ballast.calibration-data.1\0")
    for history in histories:
        digest.update((history.content_hash if history is not None else "none").encode() + b"\0")
    return "0x" + digest.hexdigest()


def _diagnostics(
    symbols: tuple[str, ...],
    estimates: tuple[RangeEstimate, ...],
    period: tuple[int, int],
    factors: FactorHistory,
    prices: PriceHistory,
    forecasts: Mapping[str, float],
) -> dict[str, Any]:
    """What a reader of a push needs to judge it."""
    return {
        "stressed_period": list(period),
        "gaps": [str(gap) for gap in prices.gaps[:20]],
        "gap_count": len(prices.gaps),
        "volatility_models": dict(zip(symbols, factors.models, strict=True)),
        "annual_volatility": {s: round(float(factors.level[-1, i]), 6) for i, s in enumerate(symbols)},
        "expected_shortfall": {
            s: {"current": e.current, "stressed": e.stressed, "long": e.long, "error": e.error}
            for s, e in zip(symbols, estimates, strict=True)
        },
        "adaptive_shortfall": dict(forecasts),
    }


def _gates(
    estimates: tuple[RangeEstimate, ...], chosen: JointResult, limits: Gates, *, first: bool
) -> dict[str, dict[str, Any]]:
    """Value, limit and verdict of each gate.

    Coverage by the joint scenarios must hold as long as an offset floor can give it. Estimator error, cost, and
    coverage of lone underlyings are enforced on a first set only: they jump on the day of a crash, and refusing then
    would keep in force what was right before it. With no offset left (a floor of 1) it is not the scenarios that fall
    short.
    """
    error = max(e.error / max(e.long, 1e-9) for e in estimates)
    rows = [("es_relative_error", error, limits.max_relative_error, error <= limits.max_relative_error, first)]
    lone = chosen.single_p01
    rows.append(("single_p01", lone, limits.min_single_p01, lone >= limits.min_single_p01, first))
    if (certificate := chosen.certificate) is not None:
        low, cost = certificate.ratio_p01, certificate.efficiency
        offset = chosen.offset_floor < 1.0
        rows.append(("ratio_p01", low, limits.min_ratio_p01, low >= limits.min_ratio_p01, first or offset))
        rows.append(("efficiency", cost, limits.max_efficiency, cost <= limits.max_efficiency, first))
    return {
        name: {"value": value, "limit": limit, "passed": bool(passed), "enforced": enforced}
        for name, value, limit, passed, enforced in rows
    }
