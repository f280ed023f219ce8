# SPDX-License-Identifier: Apache-2.0
"""Risk tables: the value of every option of an underlying on the 15 x 3 grid; risk.page packs them for the chain.

Conventions (docs/margin-rule.md, section 3, defines the bytes; this module decides what the numbers mean):

* Node ``n`` is spot ``R * (1 + n*h)``; the forward moves in proportion.
* The smile is *sticky strike*: an option keeps the volatility of its strike at the reference price on every node. Moves
  of the smile with spot belong to the volatility states and to the joint scenarios, which pair both.
* Volatility states shock that volatility by ``1 + up*(30/max(DTE,1))^p`` and ``1 - down*(30/max(DTE,1))^p``, DTE in
  days, not below ``MIN_VOLATILITY``.
* A settled option is worth its settlement payoff on every node and has neither delta nor short minimum. One past
  expiry but not settled is worth its intrinsic value at each node, since no price is fixed for it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.errors import BadInput
from risk.expiry_hours import expiry_hours
from risk.pricing import black76, instruments, svi
from risk.types import SECONDS_PER_DAY, SECONDS_PER_YEAR, OptionSpec, SurfaceSlice, UnderlyingParameters
from risk.units import (
    E9,
    fraction_from_bps,
    step_e9_from_scan,
)

FloatArray = NDArray[np.float64]

NODES: tuple[int, ...] = (-15, -12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12, 15)
VOL_DOWN, VOL_BASE, VOL_UP = 0, 1, 2
MAX_ROWS = 253
MIN_VOLATILITY = 0.01
_REFERENCE_DTE = 30.0
_MIN_DTE = 1.0
_MAX_STEP = 0.075


@dataclass(frozen=True, slots=True)
class RiskRows:
    """Rows of one underlying in floats, row number = slot.

    ``values`` (n, 3, 15), ``short_minimum`` (n,) and ``absolute_delta`` (n,) in USD per unit; the latter is |delta| x
    reference price; ``tail`` (n,) as :func:`tails`. ``reference_price`` and ``lane_unit`` in USD, ``step`` a fraction;
    ``lane_unit`` is 0 when the rows never went through packing. ``hour`` (n,) as :func:`expiry_hours`.
    """

    values: FloatArray
    short_minimum: FloatArray
    absolute_delta: FloatArray
    tail: FloatArray
    reference_price: float
    step: float
    lane_unit: float = 0.0
    hour: NDArray[np.int64] | None = None


def node_prices(reference_price: float, step: float) -> FloatArray:
    """Spot at the 15 nodes, USD; shape (15,). Not below zero: scan ranges above 80 % reach past a total loss.

    Examples
    --------
    >>> node_prices(100.0, 0.0625)[[0, 7, 14]].tolist()
    [6.25, 100.0, 193.75]
    """
    return reference_price * np.maximum(1.0 + np.asarray(NODES, dtype=np.float64) * step, 0.0)


def tenor_scale(dte: FloatArray, power: float) -> FloatArray:
    """Multiple of the 30-day volatility shock at days to expiry of any shape: ``(30/max(DTE,1))^power``.

    Examples
    --------
    >>> tenor_scale(np.array([30.0, 0.1]), 0.5).round(4).tolist()
    [1.0, 5.4772]
    """
    return np.asarray((_REFERENCE_DTE / np.maximum(dte, _MIN_DTE)) ** power, dtype=np.float64)


def shocked_volatilities(base: FloatArray, dte: FloatArray, up: float, down: float, power: float) -> FloatArray:
    """Volatilities of the three states, shape (n, 3), from base volatilities and days to expiry of shape (n,).

    ``up`` and ``down`` are fractions at 30 days, ``power`` the exponent of the term structure.

    References
    ----------
    Deribit portfolio margin and Paradex: ``sigma * (1 +- shock * (30/DTE)^p)``.

    Examples
    --------
    >>> shocked_volatilities(np.array([0.5]), np.array([30.0]), 0.5, 0.25, 0.3).tolist()
    [[0.375, 0.5, 0.75]]
    """
    scale = tenor_scale(dte, power)
    states = np.stack([base * (1.0 - down * scale), base, base * (1.0 + up * scale)], axis=-1)
    return np.maximum(states, MIN_VOLATILITY)


@dataclass(frozen=True, slots=True)
class _Living:
    """Vectors (n,) that price the options not settled: everything but spot and volatility state."""

    strike: FloatArray
    is_call: NDArray[np.bool_]
    tau: FloatArray
    ratio: FloatArray
    discount: FloatArray
    base_vol: FloatArray


def _living(options: Sequence[OptionSpec], price: float, slices: Sequence[SurfaceSlice], now: int) -> _Living:
    by_expiry = {item.expiry: item for item in slices}
    strike = np.array([option.strike for option in options], dtype=np.float64)
    expiry = np.array([option.expiry for option in options], dtype=np.int64)
    ratio, discount, vol = np.ones(strike.size), np.ones(strike.size), np.zeros(strike.size)
    for when in np.unique(expiry[expiry > now]).tolist():
        if when not in by_expiry:
            raise BadInput(f"no surface slice for expiry {when} (unix s); add one or leave its options out")
        item, member = by_expiry[when], expiry == when
        ratio[member], discount[member] = item.forward_ratio, item.discount
        moneyness = np.log(strike[member] / (price * item.forward_ratio))
        vol[member] = svi.volatility(item.svi, moneyness, (when - now) / SECONDS_PER_YEAR)
    tau = np.maximum(expiry - now, 0) / SECONDS_PER_YEAR
    is_call = np.array([option.is_call for option in options], dtype=bool)
    return _Living(strike, is_call, tau, ratio, discount, vol)


def node_values(
    options: Sequence[OptionSpec],
    reference_price: float,
    step: float,
    slices: Sequence[SurfaceSlice],
    now: int,
    vol_up_bps: int,
    vol_down_bps: int,
    vol_power_bps: int,
) -> FloatArray:
    """Value of each option at every node, USD per unit; shape (n, 3, 15), states down, base, up.

    Parameters
    ----------
    options
        The n options, in the order of the result.
    reference_price
        USD per unit.
    step
        Grid step as a fraction of the reference price, a twelfth of the scan range.
    slices
        One for each expiry after ``now`` that an unsettled option has.
    now
        Unix seconds.
    vol_up_bps, vol_down_bps, vol_power_bps
        Lanes of the underlying's parameters.

    Raises
    ------
    BadInput
        When a price, strike or step is unusable or an expiry has no slice.

    Examples
    --------
    >>> settled = OptionSpec(0, 0, 90.0, True, 100.0)
    >>> float(node_values([settled], 100.0, 0.01, [], 1, 5000, 2500, 3000)[0, 1, 7])
    10.0
    """
    _check_grid(options, reference_price, step)
    out = np.empty((len(options), 3, len(NODES)))
    alive = [index for index, option in enumerate(options) if option.settled_price is None]
    for index, option in enumerate(options):
        if option.settled_price is not None:
            out[index] = instruments.option_payoff(option.settled_price, option.strike, option.is_call)
    if alive:
        data = _living([options[index] for index in alive], reference_price, slices, now)
        vols = shocked_volatilities(
            data.base_vol,
            data.tau * SECONDS_PER_YEAR / SECONDS_PER_DAY,
            fraction_from_bps(vol_up_bps),
            fraction_from_bps(vol_down_bps),
            fraction_from_bps(vol_power_bps),
        )
        out[alive] = black76.price(
            node_prices(reference_price, step) * data.ratio[:, None, None],
            data.strike[:, None, None],
            vols[:, :, None],
            data.tau[:, None, None],
            data.discount[:, None, None],
            data.is_call[:, None, None],
        )
    return out


def absolute_deltas(
    options: Sequence[OptionSpec], reference_price: float, slices: Sequence[SurfaceSlice], now: int
) -> FloatArray:
    """|spot delta| x reference price of each option at the reference price, USD per unit; shape (n,).

    Raises
    ------
    BadInput
        When an unsettled, unexpired option has no slice.
    """
    out = np.zeros(len(options))
    alive = [index for index, option in enumerate(options) if option.settled_price is None]
    if alive:
        data = _living([options[index] for index in alive], reference_price, slices, now)
        delta = black76.greeks(
            reference_price * data.ratio, data.strike, data.base_vol, data.tau, data.discount, data.is_call
        ).delta
        out[alive] = np.abs(delta) * data.ratio * reference_price
    return out


def tails(
    options: Sequence[OptionSpec],
    values: FloatArray,
    reference_price: float,
    step: float,
    slices: Sequence[SurfaceSlice],
    now: int,
) -> FloatArray:
    """The most each option gains on its straight continuation beyond the grid; shape (n,), USD per unit and grid step.

    A value is convex in the price: its slope runs from 0 to that of the discounted forward (a put's from minus that to
    0). What it may gain, beyond an edge, on the line through the two outer nodes ``values[:, :, 13:15]`` or
    ``values[:, :, 1::-1]`` is therefore at most the difference of two slopes a step; the tail is the greatest over both
    edges and the three volatility states (docs/adr/0006-straight-tails.md).

    Raises
    ------
    BadInput
        When an unsettled, unexpired option has no slice.
    """
    out = np.zeros(len(options))
    alive = [index for index, option in enumerate(options) if option.settled_price is None]
    if alive:
        data = _living([options[index] for index in alive], reference_price, slices, now)
        steepest = (data.ratio * data.discount * reference_price * step)[:, None]
        above = (values[alive, :, 14] - values[alive, :, 13]) / 3.0
        below = (values[alive, :, 0] - values[alive, :, 1]) / 3.0
        call = data.is_call[:, None]
        gain = np.maximum(np.where(call, steepest, 0.0) - above, np.where(call, 0.0, steepest) - below)
        out[alive] = np.maximum(gain.max(axis=1), 0.0)
    return out


def risk_rows(
    options: Sequence[OptionSpec],
    reference_price: float,
    slices: Sequence[SurfaceSlice],
    now: int,
    parameters: UnderlyingParameters,
    row_count: int,
) -> RiskRows:
    """Float rows of an underlying, zero where a slot has no option; units in :class:`RiskRows`.

    Raises
    ------
    BadInput
        When a slot is used twice or lies outside ``row_count``, or an input cannot be priced.
    """
    slots = [option.slot for option in options]
    if len(set(slots)) != len(slots) or not all(0 <= slot < row_count for slot in slots) or row_count > MAX_ROWS:
        raise BadInput(f"slots {slots} must be distinct and below {row_count} <= {MAX_ROWS} rows; check the registry")
    step = step_e9_from_scan(parameters.scan_bps) / E9
    values = np.zeros((row_count, 3, len(NODES)))
    minimum, delta, tail = (np.zeros(row_count) for _ in range(3))
    values[slots] = node_values(
        options, reference_price, step, slices, now,
        parameters.vol_up_bps, parameters.vol_down_bps, parameters.vol_power_bps,
    )  # fmt: skip
    delta[slots] = absolute_deltas(options, reference_price, slices, now)
    charge = fraction_from_bps(parameters.short_min_bps) * reference_price
    minimum[slots] = [0.0 if option.settled_price is not None else charge for option in options]
    tail[slots] = tails(options, values[slots], reference_price, step, slices, now)
    hour = np.zeros(row_count, dtype=np.int64)
    hour[slots] = expiry_hours(options, now)
    return RiskRows(values, minimum, delta, tail, reference_price, step, hour=hour)


def _check_grid(options: Sequence[OptionSpec], reference_price: float, step: float) -> None:
    if not (np.isfinite(reference_price) and reference_price > 0.0):
        raise BadInput(f"reference price {reference_price} USD must be positive; wait for a fresh oracle price")
    if not 0.0 < step <= _MAX_STEP:
        raise BadInput(f"grid step {step} must lie in (0, {_MAX_STEP}]; keep the scan range within 100..9,000 bps")
    bad = [option for option in options if not (np.isfinite(option.strike) and option.strike > 0.0)]
    if bad:
        raise BadInput(f"slot {bad[0].slot} has strike {bad[0].strike} USD; strikes must be positive")
