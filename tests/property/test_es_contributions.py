# SPDX-License-Identifier: Apache-2.0
"""Euler contributions add up to the Expected Shortfall whatever the ties or the order of scenarios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from risk import measures

# few different values, so that totals tie at the edge of the tail
profits = hnp.arrays(np.int64, st.tuples(st.integers(1, 60), st.integers(1, 4)), elements=st.integers(-3, 3))
levels = st.sampled_from([0.5, 0.75, 0.9, 0.975, 0.99])


@settings(max_examples=150, deadline=None)
@given(parts=profits, level=levels)
def test_contributions_add_up_with_ties(parts: np.ndarray, level: float) -> None:
    shares = measures.es_contributions(parts, level)
    assert shares.sum() == pytest.approx(measures.expected_shortfall(parts.sum(axis=1), level), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(parts=profits, level=levels, seed=st.integers(0, 2**32 - 1))
def test_order_of_scenarios_does_not_matter(parts: np.ndarray, level: float, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(parts)
    assert measures.es_contributions(shuffled, level) == pytest.approx(measures.es_contributions(parts, level))


@settings(max_examples=100, deadline=None)
@given(parts=profits, level=levels)
def test_no_component_is_charged_more_than_it_costs_alone(parts: np.ndarray, level: float) -> None:
    """What makes the allocation fair (no undercut): a contribution never exceeds the component's own shortfall."""
    shares = measures.es_contributions(parts, level)
    alone = [measures.expected_shortfall(parts[:, k], level) for k in range(parts.shape[1])]
    assert all(share <= own + 1e-12 for share, own in zip(shares, alone, strict=True))


@settings(max_examples=150, deadline=None)
@given(one=profits, shift=st.integers(-5, 5), scale=st.integers(1, 9), level=levels)
def test_expected_shortfall_is_coherent(one: np.ndarray, shift: int, scale: int, level: float) -> None:
    es = measures.expected_shortfall
    first, second = one[:, 0].astype(float), one[:, -1].astype(float)
    assert es(first + second, level) <= es(first, level) + es(second, level) + 1e-12
    assert es(first + shift, level) == pytest.approx(es(first, level) - shift, abs=1e-12)
    assert es(scale * first, level) == pytest.approx(scale * es(first, level), abs=1e-12)
    assert es(np.maximum(first, second), level) <= es(first, level) + 1e-12


def test_a_tie_at_the_edge_is_shared() -> None:
    """Tail of one scenario in four; two tie: each component answers for half of what it lost in each."""
    parts = np.array([[-2.0, 0.0], [0.0, -2.0], [1.0, 1.0], [2.0, 0.0]])
    assert measures.es_contributions(parts, 0.75).tolist() == [1.0, 1.0]
