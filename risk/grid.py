# SPDX-License-Identifier: Apache-2.0
"""The sliding grid in floats: how 45 stored values of an option become its profit at the 27 live scan points.

For one price the interpolation of docs/margin-rule.md, section 4, is the same linear map for every account, so it is
applied to the rows once and a whole book follows from one sparse product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.onchain_options import interpolation
from risk.table import NODES, VOL_BASE, RiskRows
from risk.types import JointScenarios

FloatArray = NDArray[np.float64]

SCAN_POINTS = 27
MOVES: FloatArray = np.arange(-4, 5) / 4.0
MAX_COORDINATE = 1_500.0
GRID_EDGE = 15.0
_OUTER = np.array([0, 1, 2, 3, 4, 7, 10, 11, 12, 13, 14])
_INNER_REACH = 3.0
_BYTE = 127


class LiveGrid(NamedTuple):
    """Rows at a live price: ``value`` (n,) and ``pnl`` (n, 27) in USD per unit; ``coordinate`` of the price, in steps.

    ``beyond`` (10,) is how far the price and its nine moves lie beyond the grid, in steps: a short option is worth its
    tail times that less. Column ``9*v + i`` of ``pnl`` is volatility state ``v`` (down, base, up) and price move
    ``MOVES[i]`` scan ranges.
    """

    value: FloatArray
    pnl: FloatArray
    coordinate: float
    beyond: FloatArray


def interpolation_weights(coordinates: ArrayLike) -> FloatArray:
    """Weights of the 15 nodes at grid coordinates of shape (m,), in steps from the reference; shape (m, 15).

    Quadratic through the three nearest nodes of the inner tier (|y| <= 3, one step apart) or the outer one (three
    apart); beyond the grid the line through the two outer nodes.

    References
    ----------
    docs/margin-rule.md, section 4, "Interpolation".

    Examples
    --------
    >>> interpolation_weights([0.5])[0, 7:10].tolist()
    [0.375, 0.75, -0.125]
    """
    y = np.asarray(coordinates, dtype=np.float64)
    inner = np.abs(y) <= _INNER_REACH
    near = np.clip(np.floor(y + 0.5), -2, 2)
    far = np.clip(np.floor((y + 1.5) / 3.0), -4, 4)
    t = np.where(inner, y - near, (y - 3.0 * far) / 3.0)
    first_near = near.astype(np.int64)[:, None] + 6 + np.arange(3)
    first_far = _OUTER[far.astype(np.int64)[:, None] + 4 + np.arange(3)]
    nodes = np.where(inner[:, None], first_near, first_far)
    out = np.zeros((y.size, len(NODES)))
    shares = np.stack([0.5 * t * (t - 1.0), 1.0 - t * t, 0.5 * t * (t + 1.0)], axis=-1)
    s = (np.abs(y) - 12.0) / 3.0
    outside = np.where((y > 0.0)[:, None], np.array([12, 13, 14]), np.array([2, 1, 0]))
    off = (np.abs(y) > GRID_EDGE)[:, None]
    lines = np.stack([np.zeros_like(s), 1.0 - s, s], axis=-1)
    np.put_along_axis(out, np.where(off, outside, nodes), np.where(off, lines, shares), axis=1)
    return out


def grid_coordinates(price: float, reference_price: float, step: float, scan: float) -> FloatArray:
    """Coordinates in steps, clamped to +-1,500, of the price itself and of its nine scan moves; shape (10,).

    ``scan`` is the scan range as a fraction.

    Examples
    --------
    >>> grid_coordinates(100.0, 100.0, 0.01, 0.12)[[0, 1, 9]].round(9).tolist()
    [0.0, -12.0, 12.0]
    """
    factors = np.concatenate([[1.0], 1.0 + scan * MOVES])
    y = (price / reference_price * factors - 1.0) / step
    return np.asarray(np.clip(y, -MAX_COORDINATE, MAX_COORDINATE), dtype=np.float64)


def chain_weights(coordinates_e9: Sequence[int]) -> FloatArray:
    """Weights of the 15 nodes at integer coordinates (1e-9 of a step), from the nodes that the chain takes; (m, 15).

    Each weight is the nearest float of the chain's integer over 2e18: neither the floor of a coordinate nor the choice
    between two triples can differ.

    References
    ----------
    docs/margin-rule.md, section 4, "Interpolation".

    Examples
    --------
    >>> chain_weights([500_000_000])[0, 7:10].tolist()
    [0.375, 0.75, -0.125]
    """
    out = np.zeros((len(coordinates_e9), len(NODES)))
    for row, y in zip(out, coordinates_e9, strict=True):
        place = interpolation(y)
        for node, weight in zip(place.nodes, place.weights, strict=True):
            row[node] = weight / (2 * 10**18)
    return out


def live_grid(rows: RiskRows, price: float, scan: float, coordinates_e9: Sequence[int] | None = None) -> LiveGrid:
    """Slide the rows to a live price (USD) and evaluate the 27 scan points; no slack and no tail is taken here.

    ``coordinates_e9``: the chain's coordinates of the price and its nine moves, used in place of price and scan.

    Examples
    --------
    >>> spot = np.broadcast_to(100.0 * (1.0 + 0.01 * np.array(NODES)), (1, 3, 15))
    >>> grid = live_grid(RiskRows(spot, np.zeros(1), np.zeros(1), np.zeros(1), 100.0, 0.01), 102.0, 0.12)
    >>> round(float(grid.value[0]), 9), round(float(grid.pnl[0, 0]), 9)
    (102.0, -12.24)
    """
    if coordinates_e9 is None:
        y = grid_coordinates(price, rows.reference_price, rows.step, scan)
        weights = interpolation_weights(y)
    else:
        y = np.array([value / 10**9 for value in coordinates_e9])
        weights = chain_weights(coordinates_e9)
    values = rows.values @ weights.T
    base = values[:, VOL_BASE, 0]
    pnl = (values[:, :, 1:] - base[:, None, None]).reshape(-1, SCAN_POINTS)
    return LiveGrid(base, pnl, float(y[0]), np.maximum(np.abs(y) - GRID_EDGE, 0.0))


def joint_weights(joint: JointScenarios, column: int) -> FloatArray:
    """Map from one underlying's 27 scan profits to its profit in each joint scenario; shape (27, scenarios).

    References
    ----------
    docs/margin-rule.md, section 5.

    Examples
    --------
    >>> worst = JointScenarios(np.array([[-127]], dtype=np.int8), np.array([[127]], dtype=np.int8))
    >>> int(np.argmax(joint_weights(worst, 0)[:, 0]))
    18
    """
    price = np.maximum(joint.price_bytes[:, column].astype(np.int64), -_BYTE)
    vol = np.maximum(joint.vol_bytes[:, column].astype(np.int64), -_BYTE)
    scaled = (price + _BYTE) * 4
    cell = np.minimum(scaled // _BYTE, 7)
    upper = (scaled - _BYTE * cell) / _BYTE
    shock = np.abs(vol) / _BYTE
    state = np.where(vol >= 0, 2, 0)
    out = np.zeros((SCAN_POINTS, price.size))
    each = np.arange(price.size)
    for offset, share in ((0, 1.0 - upper), (1, upper)):
        out[9 + cell + offset, each] += share * (1.0 - shock)
        out[9 * state + cell + offset, each] += share * shock
    return out
