# SPDX-License-Identifier: Apache-2.0
"""One account's margin in words and contributions: which move is feared, what each position adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.grid import MOVES, SCAN_POINTS, joint_weights
from risk.margin import (
    NO_JOINT,
    Book,
    LiveUnderlying,
    MarginResult,
    Market,
    UnderlyingResult,
    check_shapes,
    live_underlyings,
    margin_block,
    underlying_result,
)
from risk.margin_collateral import collateral_values, linked_values
from risk.types import BPS

FloatArray = NDArray[np.float64]

_STATES = ("vol down", "vol unchanged", "vol up")
_BYTE = 127


class Move(NamedTuple):
    """What happens to one underlying: price change as a fraction; volatility -1 (down state) .. 1 (up state)."""

    underlying: str
    price: float
    volatility: float

    def words(self) -> str:
        """Like ``BTC -14.2 %, vol up 63 %``, the percentage being that of the volatility state's shock."""
        state = _STATES[1 + int(np.sign(self.volatility))]
        share = "" if self.volatility in {-1.0, 0.0, 1.0} else f" {abs(self.volatility) * 100:.0f} %"
        return f"{self.underlying} {self.price * 100:+.1f} %, {state}{share}"


class Contribution(NamedTuple):
    """One line of the loss: a position's profit in USD under the moves, and the share of its slack."""

    name: str
    profit: float


class CollateralLine(NamedTuple):
    """One collateral asset: market value and what counts after haircut, USD."""

    name: str
    value: float
    counted_im: float
    counted_mm: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind one account's numbers, USD.

    ``binding`` names the term of the market risk that is the largest: ``none``, ``scan``, ``joint``, ``sum of scans``
    (no joint scenarios), ``offset floor`` or ``dominant underlying``. ``moves`` are the worst scan point of each
    underlying, or with ``joint`` the worst joint scenario; ``contributions`` are the profits of all positions under
    them and add up to ``-scenario_loss``. With ``offset floor`` and ``dominant underlying`` the market risk exceeds
    every joint scenario, so the moves shown are those of the worst scan points.
    """

    result: MarginResult
    binding: str
    moves: tuple[Move, ...]
    contributions: tuple[Contribution, ...]
    scenario_loss: float
    charges: tuple[Contribution, ...]
    collateral: tuple[CollateralLine, ...]

    @property
    def scenario(self) -> str:
        """The moves in words."""
        return "; ".join(move.words() for move in self.moves) or "no position at risk"


class _Weights(NamedTuple):
    """One underlying's part of the scenario: its move, and weights (27,) of its scan points."""

    move: Move
    points: FloatArray


def explain(book: Book, market: Market, account: int) -> Explanation:
    """Explain the margin of one account of a book.

    Raises
    ------
    BadInput
        When the shapes of book and market do not agree.

    References
    ----------
    docs/margin-rule.md, sections 4 to 7.

    Examples
    --------
    >>> from scipy import sparse
    >>> from risk.margin import UnderlyingMarket
    >>> from risk.types import GlobalParameters, UnderlyingParameters
    >>> eth = UnderlyingMarket("ETH", 2000.0, UnderlyingParameters(2000, 0, 0, 0, 0, 0, 0, 0, 1, 0))
    >>> market = Market(GlobalParameters(10_000, 8_000, 10_000, 0), (eth,))
    >>> one, nothing = np.array([[1.0]]), np.zeros((1, 0))
    >>> book = Book(np.zeros(1), one, -2000.0 * one, 0.0 * one, nothing, nothing, (sparse.csr_array((1, 0)),))
    >>> explain(book, market, 0).scenario
    'ETH -20.0 %, vol down'
    """
    check_shapes(book, market)
    one = book.account(account)
    live = live_underlyings(one, market)
    collateral = collateral_values(one, market)
    results = [underlying_result(one, k, item, linked_values(k, collateral, market)) for k, item in enumerate(live)]
    total = margin_block(one, market, live)
    binding = _binding(total, results, market)
    if binding == "joint" and market.joint is not None:
        weights = _joint_moves(results, market, int(total.worst_joint[0]))
    else:
        weights = _scan_moves(results, market)
    lines = [line for k, weight in weights.items() for line in _lines(one, market, k, live[k], weight.points)]
    return Explanation(
        result=total,
        binding=binding,
        moves=tuple(weight.move for weight in weights.values()),
        contributions=tuple(sorted(lines, key=lambda line: line.profit)),
        scenario_loss=-sum(line.profit for line in lines),
        charges=tuple(
            Contribution(market.underlyings[k].name, float(item.charge[0]))
            for k, item in enumerate(results)
            if item.active[0]
        ),
        collateral=tuple(
            CollateralLine(item.name, *(float(part[0, k]) for part in collateral[:3]))
            for k, item in enumerate(market.collaterals)
            if collateral.value[0, k] > 0.0
        ),
    )


def _binding(total: MarginResult, results: list[UnderlyingResult], market: Market) -> str:
    scans, risk = total.scans[0], float(total.market_risk[0])
    active = sum(bool(item.active[0]) for item in results)
    if risk <= 0.0:
        return "none"
    if active < 2:
        return "scan"
    candidates = {
        "dominant underlying": 2.0 * scans.max() - scans.sum(),
        "offset floor": market.global_parameters.offset_floor_bps / BPS * scans.sum(),
    }
    name = max(candidates, key=lambda item: candidates[item])
    if candidates[name] >= risk:
        return name
    return "sum of scans" if total.worst_joint[0] == NO_JOINT else "joint"


def _scan_moves(results: list[UnderlyingResult], market: Market) -> dict[int, _Weights]:
    """The worst scan point of each active underlying."""
    out = {}
    for k, item in enumerate(results):
        if item.active[0]:
            worst = int(item.grid[0].argmin())
            scan = market.underlyings[k].parameters.scan_bps / BPS
            move = Move(market.underlyings[k].name, scan * float(MOVES[worst % 9]), float(worst // 9 - 1))
            out[k] = _Weights(move, np.eye(SCAN_POINTS)[worst])
    return out


def _joint_moves(results: list[UnderlyingResult], market: Market, scenario: int) -> dict[int, _Weights]:
    """The active underlyings' part of one joint scenario."""
    joint = market.joint
    assert joint is not None  # noqa: S101  (the caller asks only for a scenario that was evaluated)
    out = {}
    for k, item in enumerate(results):
        if item.active[0]:
            price = max(int(joint.price_bytes[scenario, k]), -_BYTE) / _BYTE
            vol = max(int(joint.vol_bytes[scenario, k]), -_BYTE) / _BYTE
            scan = market.underlyings[k].parameters.scan_bps / BPS
            out[k] = _Weights(Move(market.underlyings[k].name, scan * price, vol), joint_weights(joint, k)[:, scenario])
    return out


def _lines(one: Book, market: Market, index: int, live: LiveUnderlying, points: FloatArray) -> list[Contribution]:
    """Profit of each position of one underlying under weights of its scan points."""
    item = market.underlyings[index]
    change = float(points @ np.tile(MOVES, 3)) * live.scan
    lines = []
    if one.perp_units[0, index] != 0.0:
        lines.append(Contribution(f"{item.name} perpetual", float(one.perp_units[0, index]) * item.price * change))
    for k, asset in enumerate(market.collaterals):
        if asset.linked == index and one.collateral[0, k] > 0.0:
            value = float(one.collateral[0, k]) * asset.price
            lines.append(Contribution(f"{asset.name} collateral", value * change))
    options = one.options[index]
    for slot, units in zip(options.indices.tolist(), options.data.tolist(), strict=True):
        profit = units * float(live.signed[slot, :SCAN_POINTS] @ points)
        slack = abs(units) * float(live.absolute[slot, 0]) * live.slack
        if units < 0.0:
            profit -= units * float(live.absolute[slot, 4]) * float(live.tail_pnl @ points)
        lines.append(Contribution(f"{item.name} option {slot}", profit - slack))
    return lines
