# SPDX-License-Identifier: Apache-2.0
"""Expected Shortfall of whole books: against one account at a time, between engines, and against known laws."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest
from scipy import sparse

from risk.errors import BadInput
from risk.fast import Engine
from risk.measures import expected_shortfall, gaussian_es
from risk.measures_book import book_expected_shortfall

needs_numba = pytest.mark.skipif(util.find_spec("numba") is None, reason="the compiled kernels need the extra 'fast'")
ENGINES = ["numpy", pytest.param("compiled", marks=needs_numba)]


def some_book(
    accounts: int, scenarios: int, instruments: int = 30, seed: int = 4
) -> tuple[sparse.csr_array, np.ndarray]:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(accounts, instruments)) * (rng.random((accounts, instruments)) < 0.3)
    return sparse.csr_array(dense), rng.standard_t(3, (instruments, scenarios))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("scenarios", "level"), [(1, 0.99), (40, 0.99), (1_000, 0.975), (5_000, 0.99), (4_999, 0.9)])
def test_equals_one_account_at_a_time(engine: Engine, scenarios: int, level: float) -> None:
    book, pnl = some_book(50, scenarios)
    got = book_expected_shortfall(book, pnl, level, engine=engine, threads=2)
    alone = [expected_shortfall(row, level) for row in book @ pnl]
    assert got == pytest.approx(alone, rel=1e-12, abs=1e-12)


@needs_numba
@pytest.mark.parametrize("order", ["as drawn", "worst first", "worst last", "sample misled"])
def test_engines_and_threads_agree_whatever_the_order_of_scenarios(order: str) -> None:
    book, pnl = some_book(300, 9_000)
    if order != "as drawn":
        pnl = pnl[:, np.argsort(pnl.sum(axis=0))]
    if order == "worst last":
        pnl = pnl[:, ::-1]
    if order == "sample misled":
        # every evenly spaced scenario is a disaster, and they are fewer than the tail
        pnl[:, :: 9_000 // 512] -= 50.0 * np.sign(book.toarray()[0])[:, None]
    plain = book_expected_shortfall(book, pnl, engine="numpy")
    one, two = (book_expected_shortfall(book, pnl, engine="compiled", threads=n) for n in (1, 2))
    scale = (abs(book) @ np.abs(pnl)).max(axis=1)
    assert np.array_equal(one, two)
    assert (np.abs(one - plain) <= 1e-13 * scale).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_normal_books_have_the_normal_shortfall(engine: Engine) -> None:
    rng = np.random.default_rng(9)
    pnl = rng.normal(size=(3, 200_000))
    positions = np.array([[1.0, 0.0, 0.0], [3.0, 0.0, -4.0], [0.0, 0.0, 0.0]])
    got = book_expected_shortfall(positions, pnl, 0.99, engine=engine)
    # four standard errors of a tail mean of 2,000 draws
    assert got == pytest.approx([gaussian_es(0.0, 1.0), gaussian_es(0.0, 5.0), 0.0], rel=0.03)
    assert got[2] == 0.0


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_input_is_refused(engine: Engine) -> None:
    good = np.ones((3, 20))
    with pytest.raises(BadInput, match="must be"):
        book_expected_shortfall(np.ones((2, 4)), good, engine=engine)
    with pytest.raises(BadInput, match="at least one scenario"):
        book_expected_shortfall(np.ones((2, 3)), np.ones((3, 0)), engine=engine)
    with pytest.raises(BadInput, match="level"):
        book_expected_shortfall(np.ones((2, 3)), good, 1.0, engine=engine)
    for positions, pnl in ((np.full((2, 3), np.nan), good), (np.ones((2, 3)), np.full((3, 20), np.inf))):
        with pytest.raises(BadInput, match="not finite"):
            book_expected_shortfall(positions, pnl, engine=engine)
    with pytest.raises(BadInput, match="overflow"), np.errstate(all="ignore"):
        book_expected_shortfall(np.full((1, 3), -1e308), good, engine=engine)
    assert book_expected_shortfall(np.zeros((0, 3)), good, engine=engine).shape == (0,)
