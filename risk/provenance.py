# SPDX-License-Identifier: Apache-2.0
"""Where a parameter set comes from: hashes of data and code, diagnostics of the fits, and the gates it had to pass."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from risk.config import MODEL_VERSION, CalibrationConfig, Gates
from risk.errors import GateFailed
from risk.factors.dependence import INDEFINITE, fit_t_copula
from risk.factors.fhs import FactorHistory
from risk.findings import Finding
from risk.joint import JointResult
from risk.live import LiveBooks
from risk.market.history import PriceHistory
from risk.market.observed import FundingSeries
from risk.ranges import RangeEstimate
from risk.types import ParameterSet, Provenance

# Residuals every so many bars for the copula: dependence of tails within hours, not its sampling noise, is wanted.
COPULA_ROWS = 1_000
COPULA_MIN_ROWS = 250


@cache
def code_hash() -> str:
    """SHA-256 over the library's own source files, ``0x`` + 64 hex digits: the code version of a calibration."""
    root = Path(__file__).parent
    digest = hashlib.sha256(b"ballast.risk-code.1\0")
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return "0x" + digest.hexdigest()


def data_hash(
    histories: Sequence[PriceHistory | None],
    funding: Mapping[str, FundingSeries] | None = None,
    live: LiveBooks | None = None,
) -> str:
    """SHA-256 over everything observed that a calibration read, ``0x`` + 64 hex digits."""
    digest = hashlib.sha256(b"ballast.calibration-data.2\0")
    for history in histories:
        digest.update((history.content_hash if history is not None else "none").encode() + b"\0")
    for symbol, series in sorted((funding or {}).items()):
        digest.update(f"{symbol} {series.period_s} {series.prints}\0".encode())
        digest.update(np.ascontiguousarray(series.ts, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(series.rate, dtype="<f8").tobytes())
    for leg in live.legs if live is not None else ():
        digest.update(repr(leg).encode() + b"\0")
    return "0x" + digest.hexdigest()


def provenance(
    history: PriceHistory,
    hashed: str,
    config: CalibrationConfig,
    seed: int,
    observed_at: int,
    diagnostics: Mapping[str, Any],
) -> Provenance:
    """The record that travels with a set."""
    return Provenance(
        model_version=MODEL_VERSION,
        data_hash=hashed,
        model_hash=config.model_hash(),
        seed=seed,
        observed_at=observed_at,
        first_at=int(history.ts[0]),
        last_at=int(history.ts[-1]),
        observations=int(history.ts.size),
        diagnostics={"code_hash": code_hash(), **diagnostics},
    )


def fit_diagnostics(
    symbols: tuple[str, ...],
    estimates: tuple[RangeEstimate, ...],
    period: tuple[int, int],
    factors: FactorHistory,
    prices: PriceHistory,
    findings: list[Finding],
) -> dict[str, Any]:
    """What a reader of a push needs to judge it, JSON-safe; what had to be repaired is added to `findings`."""
    spot = factors.residuals[:, : len(symbols)]
    return {
        "stressed_period": list(period),
        "gaps": [str(gap) for gap in prices.gaps[:20]],
        "gap_count": len(prices.gaps),
        "volatility_models": dict(zip(symbols, factors.models, strict=True)),
        "annual_volatility": {s: round(float(factors.level[-1, i]), 6) for i, s in enumerate(symbols)},
        "residuals": {
            s: {
                # A filter that fits leaves deviation 1 and squares without memory.
                "deviation": round(float(spot[:, i].std()), 4),
                "squares_day_correlation": round(_memory(np.square(spot[:, i]), factors.interval_s), 4),
            }
            for i, s in enumerate(symbols)
        },
        "expected_shortfall": {
            s: {"current": e.current, "stressed": e.stressed, "long": e.long, "error": e.error}
            for s, e in zip(symbols, estimates, strict=True)
        },
        **_copula(factors, findings),
    }


def _memory(squares: np.ndarray[Any, np.dtype[np.float64]], interval_s: int) -> float:
    """Correlation of clipped squares with those of a day later."""
    lag = max(1, 86_400 // interval_s)
    x = np.minimum(squares, 25.0)
    if x.size <= lag + 2 or x.std() == 0.0:
        return 0.0
    return float(np.corrcoef(x[:-lag], x[lag:])[0, 1])


def _copula(factors: FactorHistory, findings: list[Finding]) -> dict[str, Any]:
    """The parametric second opinion on dependence: a t copula of the spot residuals."""
    k = len(factors.symbols)
    rows = factors.residuals[:, :k]
    rows = rows[:: max(1, rows.shape[0] // COPULA_ROWS)]
    if k < 2 or rows.shape[0] < COPULA_MIN_ROWS:
        return {}
    fit = fit_t_copula(rows)
    if fit.lowest < -INDEFINITE:
        text = f"smallest eigenvalue {fit.lowest:.2g}; the t copula uses the nearest correlation matrix"
        findings.append(Finding("indefinite-correlation", ", ".join(factors.symbols), text))
    pairs = np.triu_indices(k, 1)
    tails = [fit.tail_dependence(int(i), int(j)) for i, j in zip(*pairs, strict=True)]
    return {
        "t_copula": {
            "dof": round(fit.dof, 2),
            "correlation": [round(float(np.quantile(fit.correlation[pairs], q)), 4) for q in (0.0, 0.5, 1.0)],
            "tail_dependence": [round(float(np.quantile(tails, q)), 4) for q in (0.0, 0.5, 1.0)],
        }
    }


def gates(
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


def check_gates(parameters: ParameterSet) -> None:
    """Refuse a set that did not pass a gate that is enforced.

    Raises
    ------
    GateFailed
    """
    found = parameters.provenance.diagnostics.get("gates", {})
    failed = [
        f"{name} is {g['value']:.4g}, limit {g['limit']:.4g}"
        for name, g in found.items()
        if g["enforced"] and not g["passed"]
    ]
    if failed:
        raise GateFailed(f"calibration fails its gates: {'; '.join(failed)}; keep the set in force")
