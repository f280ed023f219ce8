# SPDX-License-Identifier: Apache-2.0
"""The margin rule in floats, for a whole book at once.

Same rule as docs/margin-rule.md, without its roundings (but for whole basis points of haircut). ``risk.onchain`` gives
the exact integers of one account, ``risk.explain`` the reasons; this module is for calibration and monitoring of many.

Float against integer: every amount differs from the integer twin's by at most ``2e-9`` of the account's gross notional
(options, perpetuals, linked collateral) plus ``1e-12`` of its cash plus 1e-9 USD; 1.1e-10 was the largest of 480 random
accounts (``pytest -s tests/unit/risk/test_margin.py``). The notional term is the chain's floor of a grid coordinate to
1e-9 of a step, which enters with the slope of the profile; everything else is a few wads. Exempt are coordinates within
1e-9 of a midpoint between nodes, where the two may choose neighbouring triples, and charges on size far beyond the
depth, which grow with its square.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from risk.errors import BadInput
from risk.grid import MOVES, SCAN_POINTS, joint_weights, live_grid
from risk.margin_collateral import HAIR, USD_PER_DEPTH, collateral_values, linked_values
from risk.table import RiskRows
from risk.types import BPS, CollateralParameters, GlobalParameters, JointScenarios, UnderlyingParameters
from risk.units import fraction_from_bps

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FLAG_PRICE_DEAD, FLAG_TABLE_EXPIRED, FLAG_ROW_MISSING, FLAG_JOINT_MISSING, FLAG_OFF_GRID = 1, 2, 4, 8, 16
NO_JOINT = 255
_SLACK_LANES = 0.625
_GRID_EDGE = 15.0
_BLOCK = 8_192


@dataclass(frozen=True, slots=True)
class UnderlyingMarket:
    """One underlying now: ``price`` USD, ``funding`` cumulative index (USD per unit), page rows with their expiry."""

    name: str
    price: float
    parameters: UnderlyingParameters
    rows: RiskRows | None = None
    rows_expire_at: int = 2**32 - 1
    funding: float = 0.0
    dead: bool = False


@dataclass(frozen=True, slots=True)
class CollateralMarket:
    """One collateral asset now: ``price`` USD per token; ``linked`` index of the underlying it offsets, or ``None``."""

    name: str
    price: float
    parameters: CollateralParameters
    linked: int | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Market:
    """Everything the rule reads but the accounts. Columns of ``joint`` are the underlyings, in order."""

    global_parameters: GlobalParameters
    underlyings: tuple[UnderlyingMarket, ...]
    collaterals: tuple[CollateralMarket, ...] = ()
    joint: JointScenarios | None = None
    joint_expires_at: int = 2**32 - 1
    now: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """A accounts x U underlyings x C collateral assets, quantities in whole units.

    ``cash`` (A,) USD; ``perp_units``, ``perp_quote`` (USD, minus what was paid), ``perp_funding`` (index at entry)
    (A, U); ``collateral`` tokens and ``collateral_use`` (share of the deposit cap, 0..1) (A, C); ``options`` one CSR
    matrix (A, slots) of signed units for each underlying.
    """

    cash: FloatArray
    perp_units: FloatArray
    perp_quote: FloatArray
    perp_funding: FloatArray
    collateral: FloatArray
    collateral_use: FloatArray
    options: tuple[sparse.csr_array, ...]

    def __len__(self) -> int:
        return int(self.cash.size)

    def account(self, index: int) -> Book:
        """A book of that one account."""
        return self.block(index, index + 1)

    def block(self, low: int, high: int) -> Book:
        """Accounts ``low`` to ``high - 1``; shares memory with this book."""
        dense = {name: getattr(self, name)[low:high] for name in _DENSE}
        return Book(**dense, options=tuple(_rows_of(matrix, low, high) for matrix in self.options))


_DENSE = ("cash", "perp_units", "perp_quote", "perp_funding", "collateral", "collateral_use")


def _rows_of(matrix: sparse.csr_array, low: int, high: int) -> sparse.csr_array:
    """Rows of a CSR matrix without copying its entries."""
    pointers = matrix.indptr[low : high + 1]
    part = slice(pointers[0], pointers[-1])
    triple = (matrix.data[part], matrix.indices[part], pointers - pointers[0])
    return sparse.csr_array(triple, shape=(high - low, matrix.shape[1]))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class MarginResult:
    """One entry an account (USD unless named); ``scans`` is (A, U), 0 where an underlying is inactive.

    ``worst_joint`` and ``flags`` as docs/margin-rule.md, sections 5 and 7.
    """

    equity_mark: FloatArray
    equity_im: FloatArray
    equity_mm: FloatArray
    im: FloatArray
    mm: FloatArray
    market_risk: FloatArray
    charges: FloatArray
    worst_joint: IntArray
    flags: IntArray
    scans: FloatArray


_RESULT_FIELDS = tuple(item.name for item in fields(MarginResult))


class LiveUnderlying(NamedTuple):
    """What one underlying contributes for every account: row products, made once per call.

    ``signed`` and ``absolute`` multiply signed and absolute units; ``joint_rows`` (slots, scenarios) is the first 27
    columns of ``signed`` sent through the joint scenarios, ``joint_moves`` (scenarios,) their price moves as fractions.
    ``tail_pnl`` (27,), ``tail_now`` and ``joint_tails`` (scenarios,) are what a unit of tail of the shorts changes.
    """

    market: UnderlyingMarket
    scan: float
    signed: FloatArray
    absolute: FloatArray
    slack: float
    coordinate: float
    joint_rows: FloatArray
    joint_moves: FloatArray
    tail_pnl: FloatArray
    tail_now: float
    joint_tails: FloatArray
    expired: bool


class UnderlyingResult(NamedTuple):
    """Section 4 of the rule for a block of accounts: ``grid`` (A, 27), the rest (A,).

    ``delta_one`` is the USD value of perpetual and linked collateral, ``slack`` what packing may hide, ``short_tail``
    the tails of the shorts.
    """

    perp_pnl: FloatArray
    option_value: FloatArray
    delta_one: FloatArray
    slack: FloatArray
    short_tail: FloatArray
    grid: FloatArray
    scan: FloatArray
    charge: FloatArray
    drift: FloatArray
    active: NDArray[np.bool_]
    flags: IntArray


def margin(book: Book, market: Market, *, threads: int = 1) -> MarginResult:
    """Margin of every account of a book.

    Parameters
    ----------
    book, market
        Accounts and market, with equally many underlyings and collateral assets.
    threads
        Worker threads over blocks of accounts; the result does not depend on it.

    Raises
    ------
    BadInput
        When the shapes of book and market do not agree.

    References
    ----------
    docs/margin-rule.md, sections 4 to 7.

    Examples
    --------
    >>> eth = UnderlyingMarket("ETH", 2000.0, UnderlyingParameters(2000, 0, 0, 0, 0, 0, 0, 0, 1, 0))
    >>> market = Market(GlobalParameters(10_000, 8_000, 10_000, 0), (eth,))
    >>> one = np.array([[1.0]])
    >>> nothing = np.zeros((1, 0))
    >>> book = Book(np.zeros(1), one, -2000.0 * one, 0.0 * one, nothing, nothing, (sparse.csr_array((1, 0)),))
    >>> result = margin(book, market)
    >>> float(result.im[0]), float(result.mm[0])
    (400.0, 320.0)
    """
    check_shapes(book, market)
    live = live_underlyings(book, market)
    # An empty book is one empty block, so that the result still has its columns.
    blocks = [book.block(low, min(low + _BLOCK, len(book))) for low in range(0, max(len(book), 1), _BLOCK)]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return _joined(list(pool.map(lambda block: margin_block(block, market, live), blocks)))


def check_shapes(book: Book, market: Market) -> None:
    """Raise ``BadInput`` unless every array of the book fits the market."""
    accounts, u, c = len(book), len(market.underlyings), len(market.collaterals)
    if not u or any(item.parameters.scan_bps == 0 for item in market.underlyings):
        raise BadInput("the market needs at least one underlying, each with a positive scan range; set its parameters")
    wanted = [(accounts,), *[(accounts, u)] * 3, *[(accounts, c)] * 2]
    for name, shape in zip(_DENSE, wanted, strict=True):
        if getattr(book, name).shape != shape:
            raise BadInput(f"book {name} has shape {getattr(book, name).shape}, {shape} expected; rebuild the book")
    if len(book.options) != u or any(matrix.shape[0] != accounts for matrix in book.options):
        raise BadInput(f"book needs {u} option matrices of {accounts} rows, one an underlying; rebuild the book")
    if market.joint is not None and market.joint.price_bytes.shape[1] != u:
        raise BadInput(f"joint scenarios have {market.joint.price_bytes.shape[1]} columns for {u} underlyings")


def live_underlyings(book: Book, market: Market) -> tuple[LiveUnderlying, ...]:
    """Slide every page to the live price: all the work that does not depend on the number of accounts."""
    return tuple(_live(k, options.shape[1], market) for k, options in enumerate(book.options))


def _live(index: int, slots: int, market: Market) -> LiveUnderlying:
    item = market.underlyings[index]
    scan = fraction_from_bps(item.parameters.scan_bps)
    # Columns: 27 scan profits, value, short minimum, missing row, tail | present row, |delta| and the last three again.
    signed, absolute = np.zeros((slots, SCAN_POINTS + 4)), np.zeros((slots, 5))
    coordinate, slack, count, beyond = 0.0, 0.0, 0, np.zeros(10)
    if item.rows is not None:
        grid = live_grid(item.rows, item.price, scan)
        coordinate, slack, count = grid.coordinate, item.rows.lane_unit * _SLACK_LANES, min(len(grid.value), slots)
        signed[:count, :SCAN_POINTS] = grid.pnl[:count]
        signed[:count, SCAN_POINTS] = grid.value[:count]
        absolute[:count, 0] = 1.0
        absolute[:count, 1] = item.rows.absolute_delta[:count]
        signed[:count, SCAN_POINTS + 1] = absolute[:count, 2] = item.rows.short_minimum[:count]
        signed[:count, SCAN_POINTS + 3] = absolute[:count, 4] = item.rows.tail[:count]
        beyond = grid.beyond
    signed[count:, SCAN_POINTS + 2] = absolute[count:, 3] = 1.0
    weights = np.zeros((SCAN_POINTS, 0)) if market.joint is None else joint_weights(market.joint, index)
    joint_rows, joint_moves = signed[:, :SCAN_POINTS] @ weights, scan * (np.tile(MOVES, 3) @ weights)
    tail_pnl = np.tile(beyond[0] - beyond[1:], 3)
    expired = item.rows is not None and item.rows_expire_at < market.now
    return LiveUnderlying(
        item, scan, signed, absolute, slack, coordinate, joint_rows, joint_moves,
        tail_pnl, -float(beyond[0]), tail_pnl @ weights, expired,
    )  # fmt: skip


def margin_block(book: Book, market: Market, live: tuple[LiveUnderlying, ...]) -> MarginResult:
    """Margin of a block of accounts small enough for its arrays to stay in cache."""
    collateral = collateral_values(book, market)
    results = [underlying_result(book, k, item, linked_values(k, collateral, market)) for k, item in enumerate(live)]
    risk, worst, flags = _market_risk(book, results, live, market)
    charges = np.sum([item.charge for item in results], axis=0)
    drift = np.sum([item.drift for item in results], axis=0)
    common = book.cash + np.sum([item.perp_pnl + item.option_value for item in results], axis=0)
    scale = market.global_parameters
    for item in results:
        flags |= item.flags
    return MarginResult(
        equity_mark=common + collateral.value.sum(axis=1),
        equity_im=common + collateral.counted_im.sum(axis=1),
        equity_mm=common + collateral.counted_mm.sum(axis=1),
        im=(scale.im_scale_bps * risk + scale.im_charge_scale_bps * charges) / BPS + drift,
        mm=scale.mm_scale_bps * risk / BPS + charges,
        market_risk=risk,
        charges=charges,
        worst_joint=worst,
        flags=flags | collateral.flags,
        scans=np.stack([item.scan for item in results], axis=1),
    )


def underlying_result(book: Book, index: int, live: LiveUnderlying, linked: FloatArray) -> UnderlyingResult:
    """Section 4 of the rule for every account of a block."""
    item, lanes = live.market, live.market.parameters
    units, options = book.perp_units[:, index], book.options[index]
    signed = options @ live.signed
    gross, delta, minimum, missing, tail = (abs(options) @ live.absolute).T
    # |q| and q together give the shorts: (|q| - q) / 2.
    short_minimum = np.maximum(0.5 * (minimum - signed[:, SCAN_POINTS + 1]), 0.0)
    short_missing = np.maximum(0.5 * (missing - signed[:, SCAN_POINTS + 2]), 0.0)
    short_tail = np.maximum(0.5 * (tail - signed[:, SCAN_POINTS + 3]), 0.0)
    slack = gross * live.slack
    dollars = units * item.price + linked
    grid = signed[:, :SCAN_POINTS]
    grid += np.multiply.outer(dollars * live.scan, np.tile(MOVES, 3)) - slack[:, None]
    if live.tail_pnl.any():
        grid += np.multiply.outer(short_tail, live.tail_pnl)
    net = np.abs(grid[:, 14] - grid[:, 12]) * (2.0 / live.scan)
    notional = gross * item.price
    depth = max(1, lanes.depth) * USD_PER_DEPTH
    charge = fraction_from_bps(lanes.delta_charge_bps) * net * (1.0 + net / depth)
    charge += fraction_from_bps(lanes.option_charge_bps) * notional * (1.0 + notional / depth)
    charge += short_minimum + short_missing * item.price
    charge += fraction_from_bps(lanes.basis_charge_bps) * 0.5 * np.maximum(np.abs(dollars) + delta - net, 0.0)
    drift = notional * (fraction_from_bps(lanes.drift_charge_bps) * min(abs(live.coordinate), _GRID_EDGE))
    perp_pnl = units * item.price + book.perp_quote[:, index] - units * (item.funding - book.perp_funding[:, index])
    optioned = np.diff(options.indptr) > 0
    active = optioned | (units != 0.0) | (book.perp_quote[:, index] != 0.0) | (linked > 0.0)
    flags = np.where(missing > 0.0, FLAG_ROW_MISSING, 0).astype(np.int64)
    flags |= np.where(optioned & live.expired, FLAG_TABLE_EXPIRED, 0)
    flags |= np.where(optioned & (abs(live.coordinate) > _GRID_EDGE), FLAG_OFF_GRID, 0)
    flags |= np.where(active & item.dead, FLAG_PRICE_DEAD, 0)
    scan = np.maximum(-grid.min(axis=1), 0.0)
    value = signed[:, SCAN_POINTS] + short_tail * live.tail_now - slack
    return UnderlyingResult(perp_pnl, value, dollars, slack, short_tail, grid, scan, charge, drift, active, flags)


def _market_risk(
    book: Book, results: list[UnderlyingResult], live: tuple[LiveUnderlying, ...], market: Market
) -> tuple[FloatArray, IntArray, IntArray]:
    """Section 5: market risk, worst joint scenario and flags of each account."""
    scans = np.stack([item.scan for item in results], axis=1)
    several = np.flatnonzero(np.sum([item.active for item in results], axis=0) >= 2)
    total = scans.sum(axis=1)
    worst, flags = np.full(total.size, NO_JOINT), np.zeros(total.size, dtype=np.int64)
    # With one active underlying the sum of scans is its scan, and with none it is zero.
    risk = total.copy()
    if not several.size:
        return risk, worst, flags
    if market.joint is None:
        loss = total[several]
        flags[several] = FLAG_JOINT_MISSING
    else:
        losses, scenarios = _joint_losses(book, results, live)
        loss, worst[several] = losses[several], scenarios[several]
        flags[several] = FLAG_TABLE_EXPIRED if market.joint_expires_at < market.now else 0
    floor = fraction_from_bps(market.global_parameters.offset_floor_bps) * total[several]
    dominant = 2.0 * scans[several].max(axis=1) - total[several]
    risk[several] = np.maximum(loss, np.maximum(floor, dominant))
    return risk, worst, flags


def _joint_losses(
    book: Book, results: list[UnderlyingResult], live: tuple[LiveUnderlying, ...]
) -> tuple[FloatArray, IntArray]:
    """Greatest joint loss of every account of a block and the lowest scenario that has it.

    Linear in positions, so it needs no 27-point grids: one sparse product an underlying. The weights of the 27 points
    add up to 1 in each scenario, which is why the slack enters whole.
    """
    delta_one = np.stack([item.delta_one for item in results], axis=1)
    profit = delta_one @ np.stack([item.joint_moves for item in live])
    for options, item, result in zip(book.options, live, results, strict=True):
        if options.nnz:
            profit += options @ item.joint_rows
            if item.joint_tails.any():
                profit += np.multiply.outer(result.short_tail, item.joint_tails)
    index = profit.argmin(axis=1)
    lowest = np.take_along_axis(profit, index[:, None], axis=1)[:, 0] - np.sum([item.slack for item in results], axis=0)
    # A perfect hedge loses nothing but the last bits of its sums: that is no scenario's loss.
    real = lowest < -HAIR * np.sum([item.scan for item in results], axis=0)
    return np.where(real, -lowest, 0.0), np.where(real, index, NO_JOINT)


def _joined(parts: list[MarginResult]) -> MarginResult:
    return MarginResult(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _RESULT_FIELDS})
