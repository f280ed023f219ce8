# SPDX-License-Identifier: Apache-2.0
"""Accounts to replay: sizes, kinds and health drawn at random, so that each holds its initial margin at the start.

Anchors: the 5,265 liquidations of Aave v2 (2021-07..2022-04, USD repaid) have a median of 5.6 k and a log deviation of
2.05, which sizes here share; the health factors of its 1,309 stETH borrowers (June 2023) have quartiles of 1.44, 1.99
and 3.04, so that health less one is log-normal with a median near 1 and a log deviation near 1.2. Real positions may be
handed over in place of the drawn borrowers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from risk.errors import BadInput
from risk.margin import Book, Market, margin
from risk.market.history import FloatArray, IntArray
from risk.replay.market import Instruments

KINDS = ("borrower", "perpetual trader", "option seller", "hedged maker", "lender")
SIZE_SPREAD, HEALTH_SPREAD = 2.05, 1.2
LEAST_BUFFER = 0.02


@dataclass(frozen=True, slots=True)
class PopulationConfig:
    """Who is there.

    Attributes
    ----------
    accounts : int
    gross_usd : float
        Sum over accounts of gross notional: perpetuals, options at spot, and collateral.
    mix : tuple of float
        Shares of `KINDS`.
    buffer : float
        Median of initial equity over initial margin, less one.
    long_share : float
        Share of perpetual traders that are long.
    largest : float
        Most of `gross_usd` in one account.
    utilisation : float
        Debt over what lenders supply.
    weights : tuple of float
        Share of each underlying in what is held; empty: the same for all. Take volumes, or a thin market holds as much
        as a deep one.
    """

    accounts: int = 5_000
    gross_usd: float = 1e9
    mix: tuple[float, ...] = (0.30, 0.35, 0.15, 0.08, 0.12)
    buffer: float = 0.5
    long_share: float = 0.65
    largest: float = 0.02
    utilisation: float = 0.8
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.accounts < 10 or not self.gross_usd > 0 or not self.buffer > 0:
            raise BadInput(f"population of {self.accounts} accounts, {self.gross_usd} USD: need 10 and a positive size")
        if len(self.mix) != len(KINDS) or min(self.mix) < 0 or abs(sum(self.mix) - 1.0) > 1e-9:
            raise BadInput(f"mix {self.mix} must be {len(KINDS)} shares that add up to 1: {', '.join(KINDS)}")
        if not 0 < self.utilisation <= 1 or not 0 <= self.long_share <= 1 or not 0 < self.largest <= 1:
            raise BadInput("utilisation and largest account lie in (0, 1], the long share in 0..1")

    def pick(self, underlyings: int, size: int, rng: np.random.Generator) -> IntArray:
        """Underlyings drawn by their weights."""
        share = np.array(self.weights or (1.0,) * underlyings, dtype=np.float64)
        if share.size != underlyings or not (share >= 0).all() or share.sum() <= 0:
            raise BadInput(f"weights {self.weights} for {underlyings} underlyings: need one each, none negative")
        return np.asarray(rng.choice(underlyings, size=size, p=share / share.sum()), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class RealPositions:
    """Real borrowers: collateral in USD and debt over collateral, both (n,)."""

    collateral_usd: FloatArray
    loan_to_value: FloatArray


@dataclass(frozen=True, slots=True)
class Population:
    """The accounts with their kinds, places in `KINDS`, (A,)."""

    book: Book
    kind: IntArray


def build_population(
    config: PopulationConfig,
    instruments: Instruments,
    market: Market,
    deltas: list[FloatArray],
    rng: np.random.Generator,
    real: RealPositions | None = None,
) -> Population:
    """Draw a population at a market's prices.

    Parameters
    ----------
    config, instruments, market
    deltas
        Dollar delta of a unit of each option, by underlying, for makers' hedges.
    rng : numpy.random.Generator
    real : RealPositions, optional
        Sizes and loans of the borrowers, in wrapped staked ether where there is some.

    Returns
    -------
    Population
        Every account but lenders holds ``(1 + b)`` times its initial margin, b log-normal with median ``config.buffer``
        and at least 2 %; a real borrower its own loan, or as much of it as initial margin allows.
    """
    n, price = config.accounts, np.array([item.price for item in market.underlyings])
    kind = rng.choice(len(KINDS), size=n, p=config.mix)
    size = np.exp(SIZE_SPREAD * rng.standard_normal(n))
    loans = np.full(n, np.nan)
    if real is not None:
        loans = _real_sizes(kind, size, real, rng)
    size = _scaled(size, config, kind)
    units, options = np.zeros((n, price.size)), [np.zeros((n, len(o))) for o in instruments.options]
    collateral = np.zeros((n, len(instruments.collaterals)))
    _borrowers(kind, size, collateral, instruments, price, config, rng, real is not None)
    _traders(kind, size, units, collateral, instruments, price, config, rng)
    _sellers(kind, size, options, price, config, rng)
    _makers(kind, size, units, options, deltas, price, config, rng)
    book = _book(np.zeros(n), units, price, collateral, options)
    buffer = np.maximum(config.buffer * np.exp(HEALTH_SPREAD * rng.standard_normal(n)), LEAST_BUFFER)
    return Population(_funded(book, kind, size, buffer, loans, market, config), np.asarray(kind, dtype=np.int64))


def _real_sizes(kind: IntArray, size: FloatArray, real: RealPositions, rng: np.random.Generator) -> FloatArray:
    """Give borrowers the sizes of real ones, in units of their median; their loans (n,), NaN for others."""
    mine = np.flatnonzero(kind == 0)
    if real.collateral_usd.size == 0 or not (real.collateral_usd > 0).all():
        raise BadInput("real positions: need positive collateral; drop the rows without")
    picks = rng.integers(real.collateral_usd.size, size=mine.size)
    size[mine] = real.collateral_usd[picks] / np.median(real.collateral_usd)
    loans = np.full(kind.size, np.nan)
    loans[mine] = real.loan_to_value[picks]
    return loans


def _scaled(size: FloatArray, config: PopulationConfig, kind: IntArray) -> FloatArray:
    """Sizes that add up to the gross notional asked for, none above the largest; lenders count apart."""
    taking = kind != len(KINDS) - 1
    for _ in range(60):
        size = np.where(taking, size * (config.gross_usd / size[taking].sum()), size)
        size = np.where(taking, np.minimum(size, config.largest * config.gross_usd), size)
    return size


def _borrowers(
    kind: IntArray,
    size: FloatArray,
    collateral: FloatArray,
    instruments: Instruments,
    price: FloatArray,
    config: PopulationConfig,
    rng: np.random.Generator,
    staked: bool,
) -> None:
    """One or two assets each; real ones hold wrapped staked ether."""
    mine, assets = np.flatnonzero(kind == 0), instruments.collateral_prices(price)
    first, second = (config.pick(price.size, mine.size, rng) for _ in range(2))
    if staked and "wstETH" in instruments.collaterals:
        first = second = np.full(mine.size, instruments.collaterals.index("wstETH"))
    share = rng.uniform(0.5, 1.0, mine.size)
    np.add.at(collateral, (mine, first), share * size[mine] / assets[first])
    np.add.at(collateral, (mine, second), (1.0 - share) * size[mine] / assets[second])


def _traders(
    kind: IntArray,
    size: FloatArray,
    units: FloatArray,
    collateral: FloatArray,
    instruments: Instruments,
    price: FloatArray,
    config: PopulationConfig,
    rng: np.random.Generator,
) -> None:
    """One or two perpetuals, mostly the same way; a third post an asset beside cash."""
    mine = np.flatnonzero(kind == 1)
    way = np.where(rng.random(mine.size) < config.long_share, 1.0, -1.0)
    first, second = (config.pick(price.size, mine.size, rng) for _ in range(2))
    share, against = rng.uniform(0.5, 1.0, mine.size), np.where(rng.random(mine.size) < 0.25, -1.0, 1.0)
    np.add.at(units, (mine, first), way * share * size[mine] / price[first])
    np.add.at(units, (mine, second), way * against * (1.0 - share) * size[mine] / price[second])
    posting = mine[rng.random(mine.size) < 1 / 3]
    asset = config.pick(price.size, posting.size, rng)
    collateral[posting, asset] += 0.1 * size[posting] / instruments.collateral_prices(price)[asset]


def _sellers(
    kind: IntArray,
    size: FloatArray,
    options: list[FloatArray],
    price: FloatArray,
    config: PopulationConfig,
    rng: np.random.Generator,
) -> None:
    """Short strangles, straddles and lone shorts of one underlying, a quarter with a wing bought back."""
    mine, u = np.flatnonzero(kind == 2), config.pick(price.size, int((kind == 2).sum()), rng)
    for account, under in zip(mine, u, strict=True):
        row = options[under][account]
        leg = size[account] / price[under] / 2.0
        pick = rng.integers(row.size, size=2)
        np.add.at(row, pick, -leg)
        if rng.random() < 0.25:
            row[rng.integers(row.size)] += leg


def _makers(
    kind: IntArray,
    size: FloatArray,
    units: FloatArray,
    options: list[FloatArray],
    deltas: list[FloatArray],
    price: FloatArray,
    config: PopulationConfig,
    rng: np.random.Generator,
) -> None:
    """Four options of one underlying either way, the delta hedged with its perpetual."""
    mine, u = np.flatnonzero(kind == 3), config.pick(price.size, int((kind == 3).sum()), rng)
    for account, under in zip(mine, u, strict=True):
        row = options[under][account]
        pick = rng.integers(row.size, size=4)
        np.add.at(row, pick, rng.choice((-1.0, 1.0), size=4) * size[account] / price[under] / 4.0)
        units[account, under] = -float(row @ deltas[under]) / price[under]


def _book(
    cash: FloatArray, units: FloatArray, price: FloatArray, collateral: FloatArray, options: list[FloatArray]
) -> Book:
    three = np.zeros((*units.shape, 3))
    three[:, :, 0] = units
    matrices = tuple(sparse.csr_array(matrix) for matrix in options)  # type: ignore[no-untyped-call]
    return Book(cash, three, -units * price, collateral, np.zeros_like(collateral), matrices)


def _funded(
    book: Book,
    kind: IntArray,
    size: FloatArray,
    buffer: FloatArray,
    loans: FloatArray,
    market: Market,
    config: PopulationConfig,
) -> Book:
    """Cash that gives each account its health, and lenders who lend what the others owe."""
    found = margin(book, market)
    reserve = float(market.global_parameters.reserve_usd)
    # Debt, which a borrower is about to take, brings in the reserve; who has a position holds it already.
    im = found.im + np.where(kind == 0, reserve, 0.0)
    # A borrower's linked collateral counts in equity; its debt is what is left of it over the margin wanted.
    cash = (1.0 + buffer) * im - found.equity_im
    real = np.isfinite(loans)
    least = (1.0 + LEAST_BUFFER) * im - found.equity_im
    cash = np.where(real, np.maximum(-np.nan_to_num(loans) * found.equity_mark, least), cash)
    # A borrower whose collateral alone covers its margin takes no cash in.
    cash = np.where((kind == 0) & (cash > 0.0), 0.0, cash)
    lender = kind == len(KINDS) - 1
    debt, supplied = -cash[(cash < 0) & ~lender].sum(), cash[(cash > 0) & ~lender].sum()
    wanted = max(debt / config.utilisation - supplied, 0.1 * debt, 1.0)
    cash = np.where(lender, wanted * size / max(float(size[lender].sum()), 1e-12), cash)
    return replace(book, cash=cash)
