# SPDX-License-Identifier: Apache-2.0
"""EIP-1559 fees: the first offer and the raise of a transaction that waits. All in wei per gas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal

from keeper.domain import FeeQuote
from keeper.errors import Transient

NODE_MINIMUM_PERCENT = Decimal("12.5")  # geth's pool refuses a replacement below +10 %, others below +12.5 %


@dataclass(frozen=True, slots=True)
class FeeCaps:
    """Limits of a policy; ``bump_percent`` is raised to what nodes demand."""

    max_fee_wei: int
    max_priority_fee_wei: int
    base_fee_multiplier: Decimal = Decimal(2)
    bump_percent: Decimal = Decimal(20)


@dataclass(frozen=True, slots=True)
class Fees:
    """``maxFeePerGas`` and ``maxPriorityFeePerGas``."""

    max_fee_wei: int
    priority_fee_wei: int


def caps_within(caps: FeeCaps, gas_limit: int, budget_wei: int | None) -> FeeCaps:
    """Caps of a transaction whose gas may cost so much in all; None is no limit of its own.

    Examples
    --------
    >>> caps_within(FeeCaps(200, 5), gas_limit=10, budget_wei=1_509).max_fee_wei
    150
    """
    return caps if budget_wei is None else replace(caps, max_fee_wei=min(caps.max_fee_wei, budget_wei // gas_limit))


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))


def first_offer(quote: FeeQuote, caps: FeeCaps) -> Fees:
    """Fees of a new transaction: room for the base fee to rise, a tip as the node suggests, both under the caps.

    Raises
    ------
    Transient
        The base fee alone is at the cap: nothing can be mined now.

    Examples
    --------
    >>> first_offer(FeeQuote(100, 3), FeeCaps(max_fee_wei=150, max_priority_fee_wei=10))
    Fees(max_fee_wei=150, priority_fee_wei=3)
    """
    if quote.base_fee_wei >= caps.max_fee_wei:
        raise Transient(
            f"base fee {quote.base_fee_wei} wei is not below the cap of {caps.max_fee_wei} wei; "
            "wait or raise fees.max_fee_gwei"
        )
    tip = min(quote.priority_fee_wei, caps.max_priority_fee_wei, caps.max_fee_wei - quote.base_fee_wei)
    wanted = _up(quote.base_fee_wei * caps.base_fee_multiplier) + tip
    return Fees(min(wanted, caps.max_fee_wei), tip)


def raised_offer(previous: Fees, quote: FeeQuote, caps: FeeCaps) -> Fees | None:
    """Fees of a replacement: both fields up by the policy's percentage or to a new first offer, whichever is more.

    Returns
    -------
    Fees or None
        None where the raise that nodes demand does not fit under the fee cap. The tip's own cap does not hold here:
        a replacement must raise the tip whatever it was.

    Examples
    --------
    >>> raised_offer(Fees(100, 9), FeeQuote(20, 3), FeeCaps(max_fee_wei=150, max_priority_fee_wei=10))
    Fees(max_fee_wei=120, priority_fee_wei=11)
    """
    factor = 1 + max(caps.bump_percent, NODE_MINIMUM_PERCENT) / 100
    least = 1 + NODE_MINIMUM_PERCENT / 100
    if _up(previous.max_fee_wei * least) > caps.max_fee_wei:
        return None
    wanted = _up(quote.base_fee_wei * caps.base_fee_multiplier) + quote.priority_fee_wei
    max_fee = min(max(_up(previous.max_fee_wei * factor), wanted), caps.max_fee_wei)
    # geth refuses a replacement with an equal tip, and 12.5 % of nothing is nothing
    least_tip = max(_up(previous.priority_fee_wei * factor), previous.priority_fee_wei + 1)
    tip = max(least_tip, min(quote.priority_fee_wei, caps.max_priority_fee_wei))
    return Fees(max_fee, min(tip, max_fee))
