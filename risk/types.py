# SPDX-License-Identifier: Apache-2.0
"""The nouns of the risk library: small frozen records without behaviour beyond checking and (de)serialising.

Parameter records hold the *integer lanes* that go on chain (docs/margin-rule.md, section 3), in lane order;
everything else is ``float64`` in natural units (prices in USD per whole unit, rates and volatilities per year,
times in unix seconds).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from risk.errors import BadInput

LANE_MAX = 0xFFFF
BPS = 10_000
SECONDS_PER_DAY = 86_400
SECONDS_PER_YEAR = 365 * SECONDS_PER_DAY

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SviSlice:
    """Raw SVI total variance ``w(k) = a + b*(rho*(k-m) + sqrt((k-m)^2 + sigma^2))``, k = ln(strike/forward).

    References
    ----------
    Gatheral & Jacquier (2014), *Arbitrage-free SVI volatility surfaces*, eq. 3.1.
    """

    a: float
    b: float
    rho: float
    m: float
    sigma: float


@dataclass(frozen=True, slots=True)
class SurfaceSlice:
    """One expiry of a volatility surface.

    ``expiry`` unix s; ``forward_ratio`` forward / spot; ``discount`` price today of 1 USD paid at expiry.
    """

    expiry: int
    forward_ratio: float
    discount: float
    svi: SviSlice


@dataclass(frozen=True, slots=True)
class SmileModel:
    """A whole surface in seven numbers: an SSVI smile on a mean-reverting at-the-money variance curve.

    ``theta(tau) = long^2 * tau + (short^2 - long^2) * (1 - exp(-reversion*tau)) / reversion`` is the total variance
    at the money, ``phi = eta / sqrt(theta*(1 + theta))``; the surface is free of static arbitrage when
    ``eta * (1 + |rho|) <= 2``, because theta only rises. ``risk.pricing.svi.slices_from_smile`` makes the raw SVI slice
    of any expiry. Volatilities and rates per year; ``carry_rate`` is ln(forward/spot)/tau.

    References
    ----------
    Gatheral & Jacquier (2014), *Arbitrage-free SVI volatility surfaces*, eq. 4.1 and section 4.2.
    """

    short_vol: float
    long_vol: float
    reversion: float
    rho: float
    eta: float
    carry_rate: float = 0.0
    discount_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("short_vol", "long_vol", "reversion", "eta"):
            if not getattr(self, name) > 0.0:
                raise BadInput(f"smile {name} = {getattr(self, name)} must be positive; fit the smile again")
        if not abs(self.rho) < 1.0:
            raise BadInput(f"smile rho = {self.rho} must lie inside (-1, 1); fit the smile again")
        if self.eta * (1.0 + abs(self.rho)) > 2.0:
            raise BadInput(
                f"smile eta*(1+|rho|) = {self.eta * (1.0 + abs(self.rho)):.4f} exceeds 2 and admits butterfly "
                "arbitrage; lower eta"
            )


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """A European option: ``slot`` 0..252 in its underlying, ``expiry`` unix s, ``strike`` USD per unit.

    ``settled_price`` is the settlement price in USD once the expiry is settled, else ``None``.
    """

    slot: int
    expiry: int
    strike: float
    is_call: bool
    settled_price: float | None = None


class _Lanes:
    """Base of the records that become one word of 16-bit lanes."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LANE_MAX:
                raise BadInput(
                    f"{type(self).__name__}.{item.name} = {value!r} must be an int in 0..{LANE_MAX}; "
                    "round and clamp it before building the record"
                )

    def lanes(self) -> tuple[int, ...]:
        """Values in lane order."""
        return tuple(getattr(self, item.name) for item in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class GlobalParameters(_Lanes):
    """Lanes of the global word. ``reserve_usd`` is what margin keeps for the caller of a liquidation.

    ``im_offset_floor_bps`` is the offset floor that initial margin already feels while the other one ramps up to it.
    """

    im_scale_bps: int
    mm_scale_bps: int
    im_charge_scale_bps: int
    offset_floor_bps: int
    reserve_usd: int
    im_offset_floor_bps: int = 0


@dataclass(frozen=True, slots=True)
class UnderlyingParameters(_Lanes):
    """Lanes of an underlying's word. ``depth`` counts 10,000 USD; ``drift_charge_bps`` is per grid step.

    ``vol_day_bps`` is the volatility of a day, ``band_bps`` how far from the mark a fill of a perpetual or future may
    be, ``widen_bps`` what initial margin already feels of a rise that maintenance margin is still ramping up to.
    """

    scan_bps: int
    vol_up_bps: int
    vol_down_bps: int
    vol_power_bps: int
    delta_charge_bps: int
    option_charge_bps: int
    basis_charge_bps: int
    drift_charge_bps: int
    depth: int
    short_min_bps: int
    vol_day_bps: int
    band_bps: int
    widen_bps: int = 0


@dataclass(frozen=True, slots=True)
class CollateralParameters(_Lanes):
    """Lanes of a collateral asset's word. ``size_unit`` counts 10,000 USD."""

    haircut_im_bps: int
    haircut_mm_bps: int
    size_haircut_bps: int
    size_unit: int
    use_haircut_bps: int


@dataclass(frozen=True, slots=True, eq=False)
class JointScenarios:
    """Simultaneous moves of every underlying; both arrays int8 of shape (scenarios, underlyings), -127..127.

    A price byte counts 1/127 of the scan range; a volatility byte runs from the down state (-127) over the base (0) to
    the up state (127).
    """

    price_bytes: NDArray[np.int8]
    vol_bytes: NDArray[np.int8]

    def __post_init__(self) -> None:
        for name in ("price_bytes", "vol_bytes"):
            array = getattr(self, name)
            if array.dtype != np.int8 or array.ndim != 2:
                raise BadInput(f"joint {name} is {array.ndim}-d {array.dtype}; hand over a 2-d int8 array")
        if self.price_bytes.shape != self.vol_bytes.shape:
            raise BadInput(f"joint shapes {self.price_bytes.shape} and {self.vol_bytes.shape} differ; make them equal")

    def __len__(self) -> int:
        return int(self.price_bytes.shape[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JointScenarios):
            return NotImplemented
        return np.array_equal(self.price_bytes, other.price_bytes) and np.array_equal(self.vol_bytes, other.vol_bytes)

    def __hash__(self) -> int:
        return hash((self.price_bytes.tobytes(), self.vol_bytes.tobytes()))


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a joint scenario set was measured to cover, on fresh paths and unseen books.

    Ratios are margin / Expected Shortfall; ``efficiency`` is the mean ratio over its 1 % quantile (lower is better).
    ``ratio_mean`` is 0 in certificates older than the field.
    """

    scenarios: int
    books: int
    paths: int
    seed: int
    ratio_min: float
    ratio_p01: float
    ratio_median: float
    ratio_p99: float
    efficiency: float
    sample_hash: str
    ratio_mean: float = 0.0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a parameter set comes from. Hashes are ``0x`` + 64 hex digits; times unix s; diagnostics JSON-safe."""

    model_version: str
    data_hash: str
    model_hash: str
    seed: int
    observed_at: int
    first_at: int
    last_at: int
    observations: int
    diagnostics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """Everything one calibration produces and the keeper may push.

    ``joint`` has one column for each name of ``joint_underlyings``, in that order.
    """

    global_parameters: GlobalParameters
    underlyings: Mapping[str, UnderlyingParameters]
    collaterals: Mapping[str, CollateralParameters]
    surfaces: Mapping[str, SmileModel]
    joint: JointScenarios | None
    joint_underlyings: tuple[str, ...]
    certificate: Certificate | None
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.joint is not None and self.joint.price_bytes.shape[1] != len(self.joint_underlyings):
            raise BadInput(
                f"joint scenarios have {self.joint.price_bytes.shape[1]} columns for {len(self.joint_underlyings)} "
                "underlyings; name each column"
            )

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space, so equal sets give equal text.

        Raises
        ------
        BadInput
            When a value is not finite or not JSON-safe.
        """
        try:
            return json.dumps(_plain(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadInput(f"parameter set cannot be written as JSON: {error}; remove the offending value") from error

    @classmethod
    def from_json(cls, text: str) -> ParameterSet:
        """Inverse of :meth:`to_json`.

        Raises
        ------
        BadInput
            When the text is not JSON, or a field is missing, unknown or out of range.
        """
        try:
            raw = json.loads(text)
            return _parameter_set(raw)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise BadInput(f"parameter set JSON is malformed: {error!r}; write it again with to_json") from error

    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON, ``0x`` + 64 hex digits."""
        return "0x" + hashlib.sha256(self.to_json().encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Dataclasses, mappings and arrays as JSON-safe containers; an unsafe leaf is left for ``json`` to refuse."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _records(kind: type[T], raw: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    return {name: kind(**item) for name, item in raw.items()}


def _joint(raw: Mapping[str, Any] | None, columns: int) -> JointScenarios | None:
    if raw is None:
        return None
    arrays: Iterator[NDArray[np.int8]] = (
        np.array(raw[name], dtype=np.int8).reshape(-1, columns) for name in ("price_bytes", "vol_bytes")
    )
    return JointScenarios(*arrays)


def _parameter_set(raw: Mapping[str, Any]) -> ParameterSet:
    names = tuple(raw["joint_underlyings"])
    certificate = raw["certificate"]
    return ParameterSet(
        global_parameters=GlobalParameters(**raw["global_parameters"]),
        underlyings=_records(UnderlyingParameters, raw["underlyings"]),
        collaterals=_records(CollateralParameters, raw["collaterals"]),
        surfaces=_records(SmileModel, raw["surfaces"]),
        joint=_joint(raw["joint"], len(names)),
        joint_underlyings=names,
        certificate=None if certificate is None else Certificate(**certificate),
        provenance=Provenance(**raw["provenance"]),
    )
