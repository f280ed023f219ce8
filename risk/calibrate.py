# SPDX-License-Identifier: Apache-2.0
"""From market history to the parameter set a keeper may push, with where it came from.

The steps, each in its own module: factors (EWMA or GJR) -> Expected Shortfall with stressed weight and long floor ->
scan ranges (fast up, slow down) -> volatility shocks -> joint law scaled to the scans -> offset floor -> joint
scenarios -> certificate on fresh draws and unseen books -> haircuts and charges -> gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from risk.adaptive import shortfall_forecast
from risk.books import build_universe
from risk.config import CalibrationConfig
from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import FactorHistory, FhsConfig, build_factors
from risk.findings import Finding, plain
from risk.haircuts import collateral_parameters, residual_history
from risk.joint import Law, build_law, joint_scenarios
from risk.liquidity import Liquidity, bps_up, day_volatility_bps, measure_liquidity, underlying_parameters
from risk.live import LiveBooks, lattice_books
from risk.market.history import FloatArray, PriceHistory, utc
from risk.market.observed import FundingSeries, basis_floor
from risk.market.quality import OFF_PEG, discount, inspect
from risk.pricing.svi import slices_from_smile
from risk.provenance import check_gates, data_hash, fit_diagnostics, gates, provenance
from risk.ranges import MAX_SCAN, RangeEstimate, estimate_ranges, smooth_fall, stressed_period
from risk.stress import low_correlations, offset_floor
from risk.types import (
    BPS,
    CollateralParameters,
    GlobalParameters,
    ParameterSet,
    SmileModel,
    SurfaceSlice,
    UnderlyingParameters,
)

__all__ = ["CalibrationConfig", "calibrate", "check_gates", "stages", "surface_slices"]

Progress = Callable[[str], None]
# Stretches of the horizon that must fit side by side before a 1 % tail mean says anything.
MIN_HORIZONS = 30
# A volatility index that ended longer ago says nothing about today.
STALE_VOL_S = 7 * 86_400


def stages(config: CalibrationConfig, underlyings: int) -> int:
    """How many sentences `calibrate` says through its progress, at least."""
    return 3 if underlyings < 2 else 5 + config.adversary.rounds


def calibrate(
    history: PriceHistory,
    config: CalibrationConfig,
    rng: np.random.Generator,
    previous: ParameterSet | None = None,
    vol_history: PriceHistory | None = None,
    progress: Progress | None = None,
    *,
    peg_history: PriceHistory | None = None,
    live_books: LiveBooks | None = None,
    funding: Mapping[str, FundingSeries] | None = None,
    notes: Sequence[Finding] = (),
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
        The set in force: ranges fall slowly from it, and its scenarios are kept unless new ones are better.
    vol_history : PriceHistory, optional
        Implied volatility level per underlying as ``close`` (per year or in percent). Of this and `peg_history` only
        bars that had closed at the observation time count.
    progress : callable, optional
        Called with a sentence before each step.
    peg_history : PriceHistory, optional
        Price of collateral assets over that of their link (or USD), as ``close``, for assets `history` does not hold.
    live_books : LiveBooks, optional
        Real accounts; a third of the books scenarios are chosen for and certified on come from them.
    funding : mapping of symbol to FundingSeries, optional
        The charge on hedges between instruments is at least the Expected Shortfall of what funding costs.
    notes : sequence of Finding
        What was noticed while the inputs were read; recorded with what is noticed here.
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
    findings = [*notes, *inspect(prices)]
    fit = _fit(prices, config, vol_history, previous, seed, observed_at, findings, say)
    live = None
    if live_books is not None:
        spots = dict(zip(symbols, prices.close[-1].tolist(), strict=True))
        live, more = lattice_books(live_books, build_universe(symbols, fit.vols), spots, observed_at)
        findings += more
    kappa = _offset(fit.law.factors, config)
    chosen = joint_scenarios(fit.law, fit.vols, kappa, config, previous=previous, live_books=live, say=say)
    say("charges and haircuts")
    floors = _basis_floors(symbols, funding, config, observed_at)
    underlyings = _underlying_parameters(fit, floors, config, findings)
    collaterals = _collateral_parameters(history, peg_history, config, findings)
    hashed = data_hash((history, vol_history, peg_history), funding, live_books)
    diagnostics = {
        **fit_diagnostics(symbols, fit.estimates, fit.law.period, fit.law.factors, prices, findings),
        "adaptive_shortfall": dict(fit.forecasts),
        "basis_floor": floors,
        "joint": chosen.report,
        "warnings": plain(findings),
        "gates": gates(fit.estimates, chosen, config.gates, first=previous is None),
    }
    result = ParameterSet(
        global_parameters=_global_parameters(config, chosen.offset_floor),
        underlyings=underlyings,
        collaterals=collaterals,
        surfaces=fit.smiles,
        joint=chosen.joint,
        joint_underlyings=symbols if chosen.joint is not None else (),
        certificate=chosen.certificate,
        provenance=provenance(history, hashed, config, seed, observed_at, diagnostics),
    )
    check_gates(result)
    return result


@dataclass(frozen=True, slots=True)
class _Fit:
    """What the history says: estimates, surfaces and liquidity of each underlying, and the law of their joint moves."""

    estimates: tuple[RangeEstimate, ...]
    forecasts: Mapping[str, float]
    smiles: Mapping[str, SmileModel]
    traded: Mapping[str, Liquidity]
    law: Law

    @property
    def vols(self) -> FloatArray:
        """(k,) annual volatility at the money, short tenors."""
        return np.array([smile.short_vol for smile in self.smiles.values()])


def _fit(
    prices: PriceHistory,
    config: CalibrationConfig,
    vol_history: PriceHistory | None,
    previous: ParameterSet | None,
    seed: int,
    observed_at: int,
    findings: list[Finding],
    say: Progress,
) -> _Fit:
    symbols, fhs = prices.symbols, _fhs_config(prices, config)
    say(f"volatility and joint residuals of {', '.join(symbols)} over {prices.ts.size:,} bars")
    factors = _factors(prices, config, vol_history)
    say("Expected Shortfall, stressed period and scan ranges")
    period = stressed_period(factors, fhs.horizon_bars, config.ranges)
    estimates = estimate_ranges(factors, fhs, period, config.ranges)
    forecasts = shortfall_forecast(prices, vol_history) if config.adaptive == "on" else {}
    smiles = _smiles(symbols, factors, vol_history, config, observed_at, findings)
    traded = _traded(symbols, prices, config)
    scans = _scans(traded, _blends(symbols, estimates, forecasts, config), smiles, config, previous, observed_at)
    return _Fit(estimates, forecasts, smiles, traded, build_law(factors, fhs, period, scans, config, seed))


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


def _traded(symbols: tuple[str, ...], prices: PriceHistory, config: CalibrationConfig) -> dict[str, Liquidity]:
    depths = dict(config.depths_usd)
    return {s: measure_liquidity(prices, s, config.liquidity, depths.get(s)) for s in symbols}


def _blends(
    symbols: tuple[str, ...],
    estimates: tuple[RangeEstimate, ...],
    forecasts: Mapping[str, float],
    config: CalibrationConfig,
) -> list[float]:
    """Expected Shortfall that each scan is to cover; a forecast moves it inside its band."""
    shape = config.stressed_weight, config.ranges.long_floor
    return [
        estimate.adapted(forecasts[symbol], *shape) if symbol in forecasts else estimate.blend(*shape)
        for symbol, estimate in zip(symbols, estimates, strict=True)
    ]


def _scans(
    traded: Mapping[str, Liquidity],
    blends: Sequence[float],
    smiles: Mapping[str, SmileModel],
    config: CalibrationConfig,
    previous: ParameterSet | None,
    observed_at: int,
) -> FloatArray:
    """Scan ranges, whole basis points, as the contract accepts them: the joint law is scaled to what will be pushed.

    Besides its bounds, the contract wants a scan of so many times the daily volatility pushed in the same word.
    """
    out = []
    for (symbol, liquidity), raw in zip(traded.items(), blends, strict=True):
        last, elapsed = None, 0.0
        if previous is not None and symbol in previous.underlyings:
            last = previous.underlyings[symbol].scan_bps / BPS
            elapsed = float(observed_at - previous.provenance.observed_at)
        scan = smooth_fall(raw, last, elapsed, config.ranges.fall_per_day)
        least = config.scan_multiple * day_volatility_bps(liquidity, smiles[symbol].short_vol) / BPS
        out.append(bps_up(min(max(scan, config.ranges.min_range, least), MAX_SCAN)) / BPS)
    return np.array(out)


def _smiles(
    symbols: tuple[str, ...],
    factors: FactorHistory,
    vol_history: PriceHistory | None,
    config: CalibrationConfig,
    observed_at: int,
    findings: list[Finding],
) -> dict[str, SmileModel]:
    per_year, smile = 365 * 86_400 / factors.interval_s, config.smile
    long_run = np.sqrt(np.mean(np.square(factors.changes[:, : len(symbols)]), axis=0) * per_year)
    out = {}
    for i, symbol in enumerate(symbols):
        short = smile.premium * float(factors.level[-1, i])
        if vol_history is not None and symbol in vol_history.symbols:
            end = int(vol_history.ts[-1]) + vol_history.interval_s
            if observed_at - end > STALE_VOL_S:
                text = f"implied volatility ends {utc(end)}; the EWMA of returns gives today's level"
                findings.append(Finding("stale-volatility", symbol, text))
            else:
                quoted = float(vol_history.close[-1, vol_history.symbols.index(symbol)])
                # Volatility indices are quoted in percent; no market trades at 500 % for long nor at half a percent.
                short = quoted / 100.0 if quoted > 5.0 else quoted
        level, far = (float(np.clip(v, smile.low, smile.high)) for v in (short, smile.premium * float(long_run[i])))
        out[symbol] = SmileModel(level, far, smile.reversion, smile.rho, smile.eta)
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


def _basis_floors(
    symbols: tuple[str, ...],
    funding: Mapping[str, FundingSeries] | None,
    config: CalibrationConfig,
    observed_at: int,
) -> dict[str, float]:
    """Least charge on a hedge, by symbol, where funding is known for long enough."""
    known = {s: funding[s] for s in symbols if funding is not None and s in funding}
    found = {s: basis_floor(one, config.horizon_s, config.ranges.level, observed_at) for s, one in known.items()}
    return {s: value for s, value in found.items() if value is not None}


def _underlying_parameters(
    fit: _Fit,
    basis: Mapping[str, float],
    config: CalibrationConfig,
    findings: list[Finding],
) -> dict[str, UnderlyingParameters]:
    shocks, out = fit.law.shocks, {}
    for i, (symbol, liquidity) in enumerate(fit.traded.items()):
        scan, up, down, power = (float(x[i]) for x in (shocks.scan, shocks.vol_up, shocks.vol_down, shocks.power))
        word = underlying_parameters(scan, up, down, power, fit.smiles[symbol].short_vol, liquidity, config.liquidity)
        word = replace(word, basis_charge_bps=max(word.basis_charge_bps, bps_up(basis.get(symbol, 0.0))))
        most = int(word.scan_bps / config.scan_multiple) if config.scan_multiple else word.vol_day_bps
        if word.vol_day_bps > most:
            text = f"daily volatility of {word.vol_day_bps} bps pushed as {most}: the widest scan allows no more"
            findings.append(Finding("volatility-capped", symbol, text))
            word = replace(word, vol_day_bps=most)
        out[symbol] = word
    return out


def _collateral_parameters(
    history: PriceHistory, pegs: PriceHistory | None, config: CalibrationConfig, findings: list[Finding]
) -> dict[str, CollateralParameters]:
    out = {}
    for spec in config.collaterals:
        residual = None
        if pegs is not None and spec.name in pegs.symbols:
            residual = pegs.select([spec.name])
        elif spec.name in history.symbols and (spec.linked is None or spec.linked in history.symbols):
            residual = None if spec.name == spec.linked else residual_history(history, spec.name, spec.linked)
        if residual is not None and (off := discount(residual)) > OFF_PEG:
            findings.append(
                Finding("off-peg", spec.name, f"stands {off:.1%} below its peg; the haircut is at least that")
            )
        out[spec.name] = collateral_parameters(spec, residual, config.haircuts)
    return out
