# SPDX-License-Identifier: Apache-2.0
"""What the float margin of a book reads: the market, and the accounts as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from risk.errors import BadInput
from risk.table import RiskRows
from risk.types import BPS, CollateralParameters, GlobalParameters, JointScenarios, UnderlyingParameters

FloatArray = NDArray[np.float64]

FOREVER = 2**32 - 1


class Mark(NamedTuple):
    """A delta-one instrument now: settlement price in USD (0 = not settled), carry, expiry (unix s; 0 = none).

    The carry of a perpetual is its cumulative funding in USD per unit, that of a future its basis as a fraction of the
    price of the underlying. A perpetual expires only when it is being delisted.
    """

    settled: float = 0.0
    carry: float = 0.0
    expiry: int = 0


@dataclass(frozen=True, slots=True)
class UnderlyingMarket:
    """One underlying now: ``price`` USD and how late it is, page rows with their times, ``marks`` of its instruments.

    ``marks`` are the perpetual's and those of the futures in slots 254 and 253. ``dead`` outdoes ``late_bps``. The hour
    of an option's expiry counts from ``rows_observed_at``. ``coordinates_e9`` are the chain's grid coordinates of the
    price and its nine moves, 1e-9 of a step; None: they are computed from the price.
    """

    name: str
    price: float
    parameters: UnderlyingParameters
    rows: RiskRows | None = None
    rows_expire_at: int = FOREVER
    marks: tuple[Mark, Mark, Mark] = (Mark(), Mark(), Mark())
    dead: bool = False
    late_bps: int = 0
    rows_observed_at: int = 0
    coordinates_e9: tuple[int, ...] | None = None

    @property
    def lateness_bps(self) -> int:
        """Lateness of the price in force, 0..10,000."""
        return BPS if self.dead else self.late_bps


@dataclass(frozen=True, slots=True)
class CollateralMarket:
    """One collateral asset now: ``price`` USD per token; ``linked`` index of the underlying it offsets, or ``None``."""

    name: str
    price: float
    parameters: CollateralParameters
    linked: int | None = None
    dead: bool = False
    late_bps: int = 0

    @property
    def lateness_bps(self) -> int:
        """Lateness of the price in force, 0..10,000."""
        return BPS if self.dead else self.late_bps


@dataclass(frozen=True, slots=True)
class Market:
    """Everything the rule reads but the accounts. Columns of ``joint`` are the underlyings, in order."""

    global_parameters: GlobalParameters
    underlyings: tuple[UnderlyingMarket, ...]
    collaterals: tuple[CollateralMarket, ...] = ()
    joint: JointScenarios | None = None
    joint_expires_at: int = FOREVER
    now: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """A accounts x U underlyings x C collateral assets, quantities in whole units.

    ``cash`` (A,) USD; ``units`` (A, U, 3) of the perpetual and of the futures in slots 254 and 253; ``base`` (A, U)
    USD: what those three cost, negative for a purchase, with the perpetual's carry at entry folded in; ``collateral``
    tokens and ``collateral_use`` (share of the deposit cap, 0..1) (A, C); ``options`` one CSR matrix (A, slots) of
    signed units for each underlying.
    """

    cash: FloatArray
    units: FloatArray
    base: FloatArray
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

    def take(self, accounts: NDArray[np.int64]) -> Book:
        """A book of copies of the accounts with these numbers."""
        dense = {name: getattr(self, name)[accounts] for name in _DENSE}
        return Book(**dense, options=tuple(matrix[accounts] for matrix in self.options))


_DENSE = ("cash", "units", "base", "collateral", "collateral_use")


def _rows_of(matrix: sparse.csr_array, low: int, high: int) -> sparse.csr_array:
    """Rows of a CSR matrix without copying its entries."""
    pointers = matrix.indptr[low : high + 1]
    part = slice(pointers[0], pointers[-1])
    triple = (matrix.data[part], matrix.indices[part], pointers - pointers[0])
    return sparse.csr_array(triple, shape=(high - low, matrix.shape[1]))  # type: ignore[no-untyped-call]


def check_shapes(book: Book, market: Market) -> None:
    """Raise ``BadInput`` unless every array of the book fits the market.

    Raises
    ------
    BadInput
        When book and market do not agree.
    """
    accounts, u, c = len(book), len(market.underlyings), len(market.collaterals)
    if not u or any(item.parameters.scan_bps == 0 for item in market.underlyings):
        raise BadInput("the market needs at least one underlying, each with a positive scan range; set its parameters")
    wanted = [(accounts,), (accounts, u, 3), (accounts, u), *[(accounts, c)] * 2]
    for name, shape in zip(_DENSE, wanted, strict=True):
        if getattr(book, name).shape != shape:
            raise BadInput(f"book {name} has shape {getattr(book, name).shape}, {shape} expected; rebuild the book")
    if len(book.options) != u or any(matrix.shape[0] != accounts for matrix in book.options):
        raise BadInput(f"book needs {u} option matrices of {accounts} rows, one an underlying; rebuild the book")
    if market.joint is not None and market.joint.price_bytes.shape[1] != u:
        raise BadInput(f"joint scenarios have {market.joint.price_bytes.shape[1]} columns for {u} underlyings")


def check_finite(block: Book, first: int) -> None:
    """Raise ``BadInput`` when a block of accounts, of which the first is account ``first``, holds NaN or infinity.

    Raises
    ------
    BadInput
        When an amount is not finite.
    """
    named = [(name, getattr(block, name)) for name in _DENSE]
    named += [(f"options of underlying {k}", matrix.data) for k, matrix in enumerate(block.options)]
    for name, array in named:
        # One sum is quicker than a look at each, and finite only when they all are, or it overflows.
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            raise BadInput(
                f"book {name} holds a number that is not finite, in accounts {first} to {first + len(block) - 1}; "
                "clean the book"
            )
