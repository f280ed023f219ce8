# SPDX-License-Identifier: Apache-2.0
"""Limits of the sender, as the settings give them."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.errors import ConfigError
from keeper.settings import Settings
from keeper.tx.fees import FeeCaps


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """Limits of the sender; money in wei.

    ``max_in_flight`` transactions with consecutive nonces may wait in the pool; each has been taken by the node before
    the next one is signed.
    """

    fees: FeeCaps
    per_transaction_wei: int
    per_day_wei: int
    confirmations: int = 2
    failures_in_a_row: int = 5
    max_tries: int = 3
    max_in_flight: int = 8
    bump_after_s: int = 45
    gas_margin_percent: int = 20


def policy_from(settings: Settings) -> SendPolicy:
    """Build the limits that the settings ask for."""
    fees, budget = settings.fees, settings.budget
    if fees.max_priority_fee_gwei > fees.max_fee_gwei:
        raise ConfigError(
            f"fees.max_priority_fee_gwei ({fees.max_priority_fee_gwei}) is above fees.max_fee_gwei "
            f"({fees.max_fee_gwei}); lower it"
        )
    caps = FeeCaps(fees.max_fee_wei, fees.max_priority_fee_wei, fees.base_fee_multiplier, fees.bump_percent)
    return SendPolicy(
        fees=caps,
        per_transaction_wei=budget.per_transaction_wei,
        per_day_wei=budget.per_day_wei,
        confirmations=settings.final_after,
        failures_in_a_row=budget.failures_in_a_row,
        max_tries=budget.attempts,
        bump_after_s=fees.bump_after_s,
        gas_margin_percent=fees.gas_margin_percent,
    )
