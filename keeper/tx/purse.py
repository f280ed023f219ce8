# SPDX-License-Identifier: Apache-2.0
"""What a transaction may cost: fee caps, the action's own budget, the limits of spending, and the balance."""

from __future__ import annotations

from keeper.errors import Halt, NoFunds, Permanent
from keeper.ports import Chain, Clock
from keeper.tx.fees import Fees, caps_within, first_offer, raised_offer
from keeper.tx.policy import SendPolicy
from keeper.tx.records import Intent, SignedTransaction
from keeper.tx.spending import DAY_S, Spending

WEI_PER_ETHER = 10**18


class Purse:
    """Offers fees for one signer's transactions, within every limit."""

    def __init__(self, chain: Chain, spending: Spending, clock: Clock, policy: SendPolicy, address: str) -> None:
        self._chain = chain
        self._spending = spending
        self._clock = clock
        self._policy = policy
        self._address = address

    def first(self, what: str, gas: int, budget_wei: int | None) -> Fees:
        """Fees of a new transaction of ``gas`` units.

        Raises
        ------
        Transient
            The base fee is at the cap, or (`NoFunds`) the signer cannot pay.
        Permanent
            It would cost more than one transaction, or this action, may.
        Halt
            The day's limit is reached.
        """
        quote = self._chain.fees()
        caps = caps_within(self._policy.fees, gas, budget_wei)
        if caps.max_fee_wei <= quote.base_fee_wei < self._policy.fees.max_fee_wei:
            raise Permanent(
                f"{what} needs {gas * quote.base_fee_wei} wei of gas, more than the {budget_wei} wei that it is "
                "expected to earn; it is left to others"
            )
        fees = first_offer(quote, caps)
        worst = gas * fees.max_fee_wei
        if worst > self._policy.per_transaction_wei:
            raise Permanent(
                f"{what} may cost {worst} wei, the limit is {self._policy.per_transaction_wei} wei; "
                "raise budget.per_transaction_ether or wait for lower fees"
            )
        spent = self._spending.spent_since(self._clock.now() - DAY_S)
        if spent + worst > self._policy.per_day_wei:
            raise Halt(
                f"gas of 24 hours would reach {spent + worst} wei, the limit is {self._policy.per_day_wei} wei; "
                "raise budget.per_day_ether or find out what is spending"
            )
        short = self.shortage(what, worst)
        if short is not None:
            raise NoFunds(short)
        return fees

    def raised(self, intent: Intent, newest: SignedTransaction, gas: int) -> Fees | str:
        """Fees of a replacement of an intent's newest transaction, or why there can be none."""
        policy, quote = self._policy, self._chain.fees()
        fees = raised_offer(newest.fees, quote, caps_within(policy.fees, gas, intent.gas_budget_wei))
        if fees is None and raised_offer(newest.fees, quote, policy.fees) is not None:
            return f"a raise would cost more than the {intent.gas_budget_wei} wei that the action is expected to earn"
        if fees is None or fees.max_fee_wei <= quote.base_fee_wei:
            return f"the fee cap of {policy.fees.max_fee_wei} wei forbids a raise; raise fees.max_fee_gwei"
        worst = gas * fees.max_fee_wei
        if worst > policy.per_transaction_wei:
            return f"the budget of {policy.per_transaction_wei} wei forbids a raise; raise budget.per_transaction_ether"
        more = max(0, worst - newest.worst_wei)
        if self._spending.spent_since(self._clock.now() - DAY_S) + more > policy.per_day_wei:
            return f"the budget of {policy.per_day_wei} wei a day forbids a raise; raise budget.per_day_ether"
        return self.shortage(f"a raise of {intent}", worst, without=intent.id) or fees

    def shortage(self, what: str, need_wei: int, without: int | None = None) -> str | None:
        """What is missing for a transaction beside those that wait already, None where the balance is enough."""
        balance, reserved = self._chain.balance(self._address), self._spending.reserved(without)
        if balance >= need_wei + reserved:
            return None
        return (
            f"{self._address} holds {balance} wei on chain {self._chain.chain_id}, {what} may need {need_wei} wei"
            f"{f' beside {reserved} wei for what waits already' if reserved else ''}; send it at least "
            f"{(need_wei + reserved - balance) / WEI_PER_ETHER:.6f} ether, sending then goes on by itself"
        )
