# SPDX-License-Identifier: Apache-2.0
"""Payoffs: a live exchange reply for the inverse perpetual, a book example for options, hand sums for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from risk.errors import BadInput
from risk.pricing import instruments


def test_inverse_perpetual_matches_an_exchange_margin_reply() -> None:
    # Short 0.999487053 ETH of notional at the index; price moves of 18 % (a stored Deribit margin simulation).
    notional = -0.999487053
    up, down = instruments.inverse_perp_pnl(notional, 1.0, [1.18, 0.82])
    assert up == pytest.approx(-0.15246412672881, abs=1e-14)
    assert down == pytest.approx(0.219399597, abs=1e-9)
    with pytest.raises(BadInput, match="positive"):
        instruments.inverse_perp_pnl(1.0, 0.0, 1.0)


def test_delta_one_profit_is_price_gain_less_what_the_carry_took_on_the_way() -> None:
    # Bought 3 at 100 and 1 at 120, sold 2 at 130, under carries of 1, 2 and 2.5; now 125 under 3.
    base = -3 * (100.0 - 1.0) - (120.0 - 2.0) + 2 * (130.0 - 2.5)
    gain = 3 * 25 + 5 + 2 * 5
    funding = 3 * (2.0 - 1.0) + 4 * (2.5 - 2.0) + 2 * (3.0 - 2.5)
    assert instruments.delta_one_value(2.0, base, 125.0, carry=3.0) == pytest.approx(gain - funding)
    # a future has none
    assert instruments.delta_one_value(-2.0, 250.0, 125.0) == 0.0


def test_span_covered_write_arrays() -> None:
    # McMillan, Options as a Strategic Investment, p. 668: 1 S&P future, 500 USD a point, range 20 points.
    moves = np.array([0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3]) / 3.0
    future = -instruments.delta_one_change(500.0, 20.0, moves)
    published = [0, 0, -3330, -3330, 3330, 3330, -6670, -6670, 6670, 6670, -10000, -10000, 10000, 10000]
    assert future == pytest.approx(published, abs=4.0)
    assert future.max() == pytest.approx(10_000.0)


def test_future_value_is_discounted() -> None:
    # Ten ETH futures at 2253.2 against 2243.3.
    assert 10 * instruments.future_value(2_253.2, 2_243.3) == pytest.approx(99.0)
    assert instruments.future_value(105.0, 100.0, 0.9) == pytest.approx(4.5)


@pytest.mark.parametrize(("price", "call", "put"), [(90.0, 0.0, 10.0), (100.0, 0.0, 0.0), (130.0, 30.0, 0.0)])
def test_option_payoffs(price: float, call: float, put: float) -> None:
    assert instruments.option_payoff(price, 100.0) == call
    assert instruments.option_payoff(price, 100.0, False) == put


def test_option_value_of_haug() -> None:
    # Haug 1998: spot 60, strike 65, r 8 %, 0.25 years, 30 % -> 2.1334; put 100/95 with q 5 %, r 10 %, 0.5 -> 2.4648.
    call = instruments.option_value(60.0, np.exp(0.02), 65.0, 0.30, 0.25, np.exp(-0.02))
    put = instruments.option_value(100.0, np.exp(0.025), 95.0, 0.20, 0.5, np.exp(-0.05), False)
    assert call == pytest.approx(2.1334, abs=1e-4)
    assert put == pytest.approx(2.4648, abs=1e-4)
