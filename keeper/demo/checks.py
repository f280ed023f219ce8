# SPDX-License-Identifier: Apache-2.0
"""What must hold after every step: nothing was created or lost.

Used by the demonstration and by the tests on a node; reads one pinned block through the `Chain` port.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from keeper.domain import Block, ContractCall, Snapshot, Unknown
from keeper.errors import Transient
from keeper.ports import Chain
from risk.onchain_words import AccountState, parse_words

LOTS_PER_UNIT = 10**6
# Interest rounds in the protocol's favour: at most the last digit of an index times everything supplied, each accrual.
SURPLUS_BOUND_WAD = 10**12


class Tokens(Protocol):
    """ERC-20 reads, which are none of the keeper's business otherwise."""

    def balance_of(self, token: str, holder: str, block: Block) -> int:
        """Raw balance at a block."""

    def decimals(self, token: str) -> int:
        """Decimals of a token."""


@dataclass(frozen=True, slots=True)
class Conservation:
    """Outcome of one check: ``faults`` is empty when all holds; ``surplus_wad`` is cash held beyond all claims."""

    block: Block
    surplus_wad: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was created or lost."""
        return not self.faults


def _states(chain: Chain, snapshot: Snapshot) -> dict[int, AccountState]:
    """Every account with account 0, which the keeper itself never assesses."""
    states = {}
    own = chain.call(ContractCall("MarginAccounts", "state", (0,)), snapshot.block)
    for account, words in {0: tuple(own), **snapshot.accounts}.items():
        if isinstance(words, Unknown):
            raise Transient(f"account {account} could not be read ({words.reason}); check the node and repeat")
        states[account] = parse_words(words)
    return states


def _positions(states: dict[int, AccountState]) -> list[str]:
    lots: dict[str, int] = defaultdict(int)
    for state in states.values():
        for u, perp in state.perps.items():
            lots[f"perpetual of {u}"] += perp.lots
        for u, options in state.options.items():
            for option in options:
                lots[f"option {u}/{option.slot}"] += option.lots
    return [f"lots of {name} add up to {total}" for name, total in lots.items() if total != 0]


def _claims(states: dict[int, AccountState], funding: dict[int, int]) -> Fraction:
    """Cash of everybody plus what perpetuals owe each other (exact, in wad; the price cancels as lots add up to 0)."""
    total = Fraction(0)
    for state in states.values():
        total += state.cash
        for u, perp in state.perps.items():
            total += Fraction(perp.quote - perp.lots * (funding[u] - perp.funding_entry), LOTS_PER_UNIT)
    return total


def _collateral(tokens: Tokens, snapshot: Snapshot, states: dict[int, AccountState]) -> list[str]:
    if isinstance(snapshot.collaterals, Unknown):
        raise Transient(f"collateral list could not be read ({snapshot.collaterals.reason}); check the node and repeat")
    faults = []
    for asset, info in snapshot.collaterals.items():
        held = sum(item.amount for state in states.values() for item in state.collaterals if item.asset == asset)
        present = tokens.balance_of(info.token, snapshot.addresses["MarginAccounts"], snapshot.block)
        if held != info.total_raw:
            faults.append(f"collateral {asset}: accounts hold {held} raw, the total says {info.total_raw}")
        if held > present:
            faults.append(f"collateral {asset}: accounts hold {held} raw, the contract has only {present}")
    return faults


def check_conservation(chain: Chain, tokens: Tokens, snapshot: Snapshot) -> Conservation:
    """Cash, collateral and positions of all accounts against what the contracts hold.

    Raises
    ------
    Transient
        When an account could not be read: an unknown is never counted as nothing.
    """
    if isinstance(snapshot.market, Unknown):
        raise Transient(f"market could not be read ({snapshot.market.reason}); check the node and repeat")
    states = _states(chain, snapshot)
    faults = _positions(states) + _collateral(tokens, snapshot, states)
    book_raw, dust, credit = chain.call(ContractCall("MarginAccounts", "cash_book"), snapshot.block)
    cash_token = chain.call(ContractCall("MarginAccounts", "cash_token"), snapshot.block)
    held_raw = tokens.balance_of(cash_token, snapshot.addresses["MarginAccounts"], snapshot.block)
    if book_raw > held_raw:
        faults.append(f"cash: {book_raw} raw booked, only {held_raw} held")
    claims = _claims(states, dict(snapshot.market.funding)) + Fraction(dust, LOTS_PER_UNIT) + credit
    surplus = book_raw * 10 ** (18 - tokens.decimals(cash_token)) - claims
    if not 0 <= surplus <= SURPLUS_BOUND_WAD:
        faults.append(f"cash: tokens booked exceed all claims by {float(surplus):.0f} wad, not within 0..1e12")
    return Conservation(snapshot.block, int(surplus), tuple(faults))
