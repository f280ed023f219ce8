# SPDX-License-Identifier: Apache-2.0
"""One account's margin in words and contributions: which move is feared, what each position adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.grid import MOVES, SCAN_POINTS, joint_weights
from risk.margin import NO_JOINT, Book, MarginResult, Market, margin_block
from risk.margin_collateral import CollateralResult, collateral_values, linked_values
from risk.margin_inputs import check_shapes
from risk.margin_last_day import LastDayResult, kept_book, last_day, seconds_left
from risk.margin_underlying import LiveUnderlying, UnderlyingResult, live_underlyings, underlying_result
from risk.types import BPS

FloatArray = NDArray[np.float64]

_STATES = ("vol down", "vol unchanged", "vol up")
_INSTRUMENTS = ("perpetual", "future 254", "future 253")
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
    """One collateral asset: market value, what counts after haircut, and doubt, USD; lateness of its price, bps."""

    name: str
    value: float
    counted_im: float
    counted_mm: float
    doubt: float
    late_bps: int


class Staleness(NamedTuple):
    """What old data and changes to come do to one underlying of an account, USD.

    ``amount`` is added to initial margin: ``widen_bps`` of scan and charges, the sum (at most 30,000) of the
    parameter that is still being phased in, the lateness of the price and that of the page, which is the greater of
    age and distance of the price from the page's reference. ``lost`` is option value that a dead page takes from
    initial equity, ``doubt`` what the account might be better by than its data say.
    """

    name: str
    widen_bps: float
    phased_in_bps: float
    price_late_bps: float
    page_age_bps: float
    page_distance_bps: float
    amount: float
    lost: float
    doubt: float

    def words(self) -> str:
        """Like ``ETH: initial margin 12.5 % wider (price late 10.0 %, page age 2.5 %)``."""
        page = ("page age", self.page_age_bps), ("page distance", self.page_distance_bps)
        parts = [("phased in", self.phased_in_bps), ("price late", self.price_late_bps), max(page, key=lambda p: p[1])]
        named = ", ".join(f"{name} {bps / 100:.1f} %" for name, bps in parts if bps > 0)
        out = [f"initial margin {self.widen_bps / 100:.1f} % wider ({named})"] if named else []
        out += [f"option value of {self.lost:.2f} USD lost with its page"] if self.lost > 0.0 else []
        out += [f"{self.doubt:.2f} USD in doubt"] if self.doubt > 0.0 else []
        return f"{self.name}: {'; '.join(out) or 'data fresh'}"


class LastDayLine(NamedTuple):
    """What contracts of one underlying that expire within a day add, USD.

    ``scan`` and ``charge``: to both margins, as only the part of the day that is left of them counts; ``ahead_scan``
    and ``ahead_charge``: to initial margin, which does without them already.
    """

    name: str
    scan: float
    charge: float
    ahead_scan: float
    ahead_charge: float

    def words(self) -> str:
        """Like ``ETH, contracts in their last day: they count for the part of it that is left: scan 5.00 USD more``."""
        both = _more(("scan", self.scan), ("charges", self.charge))
        ahead = _more(("scan", self.ahead_scan), ("charges", self.ahead_charge))
        out = [f"they count for the part of it that is left: {both}"] if both else []
        out += [f"initial margin already does without them: {ahead}"] if ahead else []
        return f"{self.name}, contracts in their last day: {'; '.join(out) or 'nothing more is asked for'}"


def _more(*parts: tuple[str, float]) -> str:
    return ", ".join(f"{name} {amount:.2f} USD more" for name, amount in parts if round(amount, 2))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind one account's numbers, USD.

    ``binding`` names the term of the market risk that is the largest: ``none``, ``scan``, ``joint``, ``sum of scans``
    (no joint scenarios), ``offset floor`` or ``dominant underlying``. ``moves`` are the worst scan point of each
    underlying, or with ``joint`` the worst joint scenario; ``contributions`` are the profits of all positions under
    them and add up to ``-scenario_loss``. With ``offset floor`` and ``dominant underlying`` the market risk exceeds
    every joint scenario, so the moves shown are those of the worst scan points. ``phased_in_risk`` is what initial
    margin's market risk already exceeds ``result.market_risk`` by, because an offset floor is rising; ``reserve`` what
    both margins keep for the caller of a liquidation; ``last_day`` what contracts that expire within a day add, by
    underlying that has some.
    """

    result: MarginResult
    binding: str
    moves: tuple[Move, ...]
    contributions: tuple[Contribution, ...]
    scenario_loss: float
    charges: tuple[Contribution, ...]
    collateral: tuple[CollateralLine, ...]
    staleness: tuple[Staleness, ...]
    phased_in_risk: float
    reserve: float
    last_day: tuple[LastDayLine, ...]

    @property
    def doubt(self) -> float:
        """What the liquidation of the account must wait for: its doubts over underlyings and collateral, USD."""
        return float(self.result.doubt[0])

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
    >>> eth = UnderlyingMarket("ETH", 2000.0, UnderlyingParameters(2000, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
    >>> market = Market(GlobalParameters(10_000, 8_000, 10_000, 0, 0), (eth,))
    >>> perpetual, nothing = np.array([[[1.0, 0.0, 0.0]]]), np.zeros((1, 0))
    >>> book = Book(np.zeros(1), perpetual, np.array([[-2000.0]]), nothing, nothing, (sparse.csr_array((1, 0)),))
    >>> explain(book, market, 0).scenario
    'ETH -20.0 %, vol down'
    """
    check_shapes(book, market)
    one = book.account(account)
    live = live_underlyings(one, market)
    collateral = collateral_values(one, market)
    linked = [linked_values(k, collateral, market) for k in range(len(live))]
    results = [underlying_result(one, k, item, linked[k]) for k, item in enumerate(live)]
    ending = last_day(one, live, linked, market)
    parts = {} if ending is None else {k: part.result for k, part in ending.parts.items()}
    if ending is not None:
        ending.enter(results)
    total = margin_block(one, market, live)
    binding = _binding(total, results, market)
    if binding == "joint" and market.joint is not None:
        weights = _joint_moves(results, market, int(total.worst_joint[0]))
    else:
        weights = _scan_moves(results, market)
    lines = [
        line for k, weight in weights.items() for line in _judged(one, market, k, live[k], weight.points, parts.get(k))
    ]
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
        collateral=_collateral_lines(collateral, market),
        staleness=tuple(_staleness(item, live[k]) for k, item in enumerate(results) if item.active[0]),
        phased_in_risk=_phased_in(total, results, market),
        reserve=float(market.global_parameters.reserve_usd) if _reserved(one, results) else 0.0,
        last_day=tuple(_last_day_line(market.underlyings[k].name, part) for k, part in parts.items()),
    )


def _last_day_line(name: str, part: LastDayResult) -> LastDayLine:
    return LastDayLine(
        name,
        scan=float(part.scan[0] - part.full.scan[0]),
        charge=float(part.charge[0] - part.full.charge[0]),
        ahead_scan=float(part.ahead_scan[0]),
        ahead_charge=float(part.ahead_charge[0]),
    )


def _collateral_lines(found: CollateralResult, market: Market) -> tuple[CollateralLine, ...]:
    value, im, mm, doubt = found.value[0], found.counted_im[0], found.counted_mm[0], found.doubt[0]
    return tuple(
        CollateralLine(item.name, float(value[k]), float(im[k]), float(mm[k]), float(doubt[k]), item.lateness_bps)
        for k, item in enumerate(market.collaterals)
        if value[k] > 0.0
    )


def _staleness(item: UnderlyingResult, live: LiveUnderlying) -> Staleness:
    optioned = float(item.optioned[0])
    return Staleness(
        name=live.market.name,
        widen_bps=float(item.widen_bps[0]),
        phased_in_bps=float(live.market.parameters.widen_bps),
        price_late_bps=float(live.market.lateness_bps),
        page_age_bps=optioned * live.age.by_age,
        page_distance_bps=optioned * live.age.by_distance,
        amount=float(item.wide[0]),
        lost=float(item.lost[0]),
        doubt=float(item.doubt[0]),
    )


def _phased_in(total: MarginResult, results: list[UnderlyingResult], market: Market) -> float:
    if sum(bool(item.active[0]) for item in results) < 2:
        return 0.0
    floor = market.global_parameters.im_offset_floor_bps / BPS * float(total.scans[0].sum())
    return max(0.0, floor - float(total.market_risk[0]))


def _reserved(one: Book, results: list[UnderlyingResult]) -> bool:
    return bool(one.cash[0] < 0.0) or any(bool(item.held[0]) for item in results)


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


def _judged(
    one: Book, market: Market, index: int, live: LiveUnderlying, points: FloatArray, part: LastDayResult | None
) -> list[Contribution]:
    """Profits of positions with the lots that the account is judged by at each point: all, or those kept."""
    if part is None:
        return _lines(one, market, index, live, points)
    left = seconds_left(market.underlyings[index], one.options[index].shape[1], market.now)
    less = part.kept.grid[0] < part.full.grid[0]
    full = _lines(one, market, index, live, np.where(less, 0.0, points))
    # a contract of which nothing is left has no line
    profits = {line.name: line.profit for line in full}
    for line in _lines(kept_book(one, index, left), market, index, live, np.where(less, points, 0.0)):
        profits[line.name] += line.profit
    return [Contribution(name, profit) for name, profit in profits.items()]


def _lines(one: Book, market: Market, index: int, live: LiveUnderlying, points: FloatArray) -> list[Contribution]:
    """Profit of each position of one underlying under weights of its scan points."""
    item = market.underlyings[index]
    change = float(points @ np.tile(MOVES, 3)) * live.scan
    lines = []
    for name, units, exposure in zip(_INSTRUMENTS, one.units[0, index], live.exposure, strict=True):
        if units != 0.0 and exposure != 0.0:
            lines.append(Contribution(f"{item.name} {name}", float(units * exposure) * change))
    for k, asset in enumerate(market.collaterals):
        if asset.linked == index and one.collateral[0, k] > 0.0:
            value = float(one.collateral[0, k]) * asset.price
            lines.append(Contribution(f"{asset.name} collateral", value * change))
    options = one.options[index]
    for slot, units in zip(options.indices.tolist(), options.data.tolist(), strict=True):
        profit = units * float(live.signed[slot, :SCAN_POINTS] @ points)
        slack = abs(units) * float(live.absolute[slot, 0]) * live.slack * float(points.sum())
        if units < 0.0:
            profit -= units * float(live.absolute[slot, 4]) * float(live.tail_pnl @ points)
        lines.append(Contribution(f"{item.name} option {slot}", profit - slack))
    return lines
