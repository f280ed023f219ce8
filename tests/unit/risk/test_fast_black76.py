# SPDX-License-Identifier: Apache-2.0
"""The compiled Black-76 kernel against sixty decimal digits, QuantLib, py_vollib_vectorized and our own numpy path."""

from __future__ import annotations

import warnings
from decimal import Decimal
from importlib import util

import numpy as np
import pytest

from risk.errors import BadInput
from risk.fast import use_compiled
from risk.pricing import black76
from tests.support.pricing_exact import normal_cdf

pytest.importorskip("numba", reason="the compiled kernels need the extra 'fast'")

Arrays = tuple[np.ndarray, ...]


def random_options(count: int, seed: int = 7) -> Arrays:
    """Forward, strike, volatility, time, discount and kind, from deep in to far out of the money."""
    rng = np.random.default_rng(seed)
    forward = 10.0 ** rng.uniform(-2, 6, count)
    strike = forward * np.exp(rng.normal(0.0, 0.7, count))
    vol, tau = 10.0 ** rng.uniform(-2, 0.8, count), 10.0 ** rng.uniform(-4, 0.7, count)
    return forward, strike, vol, tau, rng.uniform(0.8, 1.0, count), rng.random(count) < 0.5


def test_within_the_stated_bound_of_numpy_whatever_the_threads() -> None:
    forward, strike, *rest = random_options(200_000)
    plain = black76.price(forward, strike, *rest, engine="numpy")
    one = black76.price(forward, strike, *rest, engine="compiled")
    two = black76.price(forward, strike, *rest, engine="compiled", threads=2)
    scale = rest[2] * np.maximum(forward, strike)
    assert np.abs(one - plain).max() > 0.0
    assert (np.abs(one - plain) / scale).max() <= 1e-13
    assert np.array_equal(one, two)
    # large inputs take the kernel unasked
    assert np.array_equal(black76.price(forward, strike, *rest), one)


def exact_call(forward: float, strike: float, deviation: float) -> Decimal:
    f, k, s = Decimal(forward), Decimal(strike), Decimal(deviation)
    d1 = (f / k).ln() / s + s / 2
    return f * normal_cdf(d1) - k * normal_cdf(d1 - s)


def test_within_1e_13_of_the_forward_of_exact_values() -> None:
    rng = np.random.default_rng(3)
    strike = np.concatenate([np.exp(rng.normal(0.0, 0.4, 150)), [1.0, 1.0, np.nextafter(1.0, 2.0)]])
    deviation = np.concatenate([rng.uniform(0.01, 2.5, 150), [1e-6, 5.0, 0.3]])
    # a volatility over one year is the deviation itself
    got = black76.price(1.0, strike, deviation, 1.0, engine="compiled")
    errors = [
        abs(float(Decimal(float(value)) - exact_call(1.0, float(k), float(s))))
        for value, k, s in zip(got, strike, deviation, strict=True)
    ]
    assert max(errors) <= 1e-13
    print(f"largest error {max(errors):.1e} of the forward")


def test_logarithm_where_mantissas_wrap() -> None:
    powers = 2.0 ** np.array([-1000.0, -300.0, -2.0, -1.0, 0.0, 1.0, 7.0])
    mantissas = np.array([1.0, 1.25, 1.4142135623730951, 1.5, 1.75])
    numbers = (
        powers[:, None] * np.concatenate([np.nextafter(mantissas, 0.0), mantissas, np.nextafter(mantissas, 2.0)])
    ).ravel()
    forward, strike = numbers[:, None], numbers
    for deviation in (1e-9, 0.3, 40.0):
        plain = black76.price(forward, strike, deviation, 1.0, engine="numpy")
        ours = black76.price(forward, strike, deviation, 1.0, engine="compiled")
        assert (np.abs(ours - plain) / np.maximum(forward, strike)).max() <= 1e-13


def test_agrees_with_quantlib_and_py_vollib() -> None:
    ql = pytest.importorskip("QuantLib")
    if util.find_spec("py_vollib_vectorized") is None:
        pytest.skip("py_vollib_vectorized is in the extra 'peers'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import py_vollib_vectorized as vollib
    rng = np.random.default_rng(11)
    n = 500
    forward, strike = rng.uniform(80, 120, n), rng.uniform(50, 150, n)
    vol, tau, call = rng.uniform(0.2, 1.5, n), rng.uniform(0.01, 1.0, n), rng.random(n) < 0.5
    ours = black76.price(forward, strike, vol, tau, 0.97, call, engine="compiled")
    kinds = np.where(call, ql.Option.Call, ql.Option.Put).tolist()
    deviation = vol * np.sqrt(tau)
    rows = zip(kinds, strike.tolist(), forward.tolist(), deviation.tolist(), strict=True)
    quantlib = [ql.blackFormula(*row, 0.97) for row in rows]
    assert np.abs(ours - quantlib).max() <= 1e-12 * 120
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = np.where(call, "c", "p")
        theirs = vollib.vectorized_black(flags, forward, strike, tau, 0.0, vol, return_as="numpy")
    assert np.abs(ours - 0.97 * np.asarray(theirs).ravel()).max() <= 1e-12 * 120


@pytest.mark.parametrize(
    ("forward", "strike", "vol", "tau", "call", "put"),
    [
        (0.0, 1.0, 0.5, 1.0, 0.0, 1.0),
        (1.0, 0.0, 0.5, 1.0, 1.0, 0.0),
        (0.0, 0.0, 0.5, 1.0, 0.0, 0.0),
        (2.0, 1.5, 0.0, 1.0, 0.5, 0.0),
        (2.0, 2.0, 0.0, 1.0, 0.0, 0.0),
        (2.0, 1.5, 0.5, 0.0, 0.5, 0.0),
        (2.0, 3.0, 1e200, 1e300, 2.0, 3.0),
        (1e-300, 1e300, 1.0, 1.0, 0.0, 1e300),
        (2.0, 1.9999999, 1e-300, 1.0, 1e-7, 0.0),
    ],
)
def test_limits(forward: float, strike: float, vol: float, tau: float, call: float, put: float) -> None:
    for engine in ("numpy", "compiled"):
        got = black76.price(forward, strike, vol, tau, 1.0, np.array([True, False]), engine=engine)
        assert got == pytest.approx([call, put], rel=1e-9, abs=1e-15), engine


@pytest.mark.parametrize("bad", [-1e-300, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", range(5))
def test_one_bad_number_among_many_is_refused(bad: float, where: int) -> None:
    inputs = [np.full(70_000, 1.0) for _ in range(5)]
    inputs[where][69_999] = bad
    with pytest.raises(BadInput, match="finite and not negative"):
        black76.price(*inputs, threads=2)


def test_sum_that_overflows_is_not_a_bad_number() -> None:
    huge = np.full(70_000, 1.7e308)
    assert black76.price(huge, huge, 0.0, 1.0, 1.0).max() == 0.0


def test_shapes_broadcast_as_in_numpy() -> None:
    forward, strike = np.linspace(90.0, 110.0, 300)[:, None], np.linspace(80.0, 120.0, 300)
    got = black76.price(forward, strike, 0.6, 0.25)
    assert got.shape == (300, 300)
    assert got == pytest.approx(black76.price(forward, strike, 0.6, 0.25, engine="numpy"), abs=1e-11)
    assert black76.price(np.zeros(0), 1.0, 1.0, 1.0, engine="compiled").shape == (0,)
    assert black76.price(1.0, 1.0, 1.0, 1.0, engine="compiled").shape == ()


def test_engine_is_known_and_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="engine 'fortran' is unknown"):
        black76.price(1.0, 1.0, 1.0, 1.0, engine="fortran")  # type: ignore[arg-type]
    monkeypatch.setattr("risk.fast.find_spec", lambda name: None)
    assert not use_compiled("auto", 10**9, 1)
    with pytest.raises(BadInput, match=r"pip install 'ballast-margin\[fast\]'"):
        use_compiled("compiled", 1, 1)
