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
from risk.onchain import ChainMarket
from risk.onchain_words import DELTA_ONE_SLOTS, PERPETUAL, AccountState, instrument_id, parse_words

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


@dataclass(frozen=True, slots=True)
class _Lots:
    """Lots of all accounts together, with and without their signs, by instrument; sum of all bases in lot x wad."""

    total: dict[int, int]
    open_lots: dict[int, int]
    bases: int


def _lots(states: dict[int, AccountState]) -> _Lots:
    total: dict[int, int] = defaultdict(int)
    open_lots: dict[int, int] = defaultdict(int)
    bases = 0
    for state in states.values():
        held = [(instrument, position.lots) for instrument, position in state.delta_ones.items()]
        held += [(instrument_id(u, item.slot), item.lots) for u, items in state.options.items() for item in items]
        for instrument, lots in held:
            total[instrument] += lots
            open_lots[instrument] += abs(lots)
        bases += sum(position.base for position in state.delta_ones.values())
    return _Lots(total, open_lots, bases)


def _worth(snapshot: Snapshot, market: ChainMarket, instrument: int) -> int | None:
    """What a unit of a settled instrument pays, wad: of a perpetual less its carry; None where it is not settled."""
    if instrument & 255 in DELTA_ONE_SLOTS:
        mark = market.marks[instrument]
        carry = mark.carry if instrument & 255 == PERPETUAL else 0
        return mark.settled - carry if mark.settled else None
    options = snapshot.options
    option = None if isinstance(options, Unknown) else options.get(instrument)
    if option is None or not option.settlement_wad:
        return None
    value = option.settlement_wad - option.strike_wad
    return max(0, value if option.is_call else -value)


def _positions(chain: Chain, snapshot: Snapshot, market: ChainMarket, lots: _Lots) -> tuple[list[str], int]:
    """Faults in lots, and what one-sided holders of settled instruments will be paid, lot x wad."""
    faults, pending = [], 0
    for instrument, total in sorted(lots.total.items()):
        worth = _worth(snapshot, market, instrument) if total else 0
        if worth is None:
            faults.append(f"lots of instrument {instrument} add up to {total}")
        else:
            # only of what is being settled may one side have been met and the other not yet
            pending += total * worth
    ids = sorted(lots.open_lots)
    calls = [ContractCall("MarginAccounts", "open_lots", (instrument,)) for instrument in ids]
    for instrument, said in zip(ids, chain.call_many(calls, snapshot.block) if calls else (), strict=True):
        if said != lots.open_lots[instrument]:
            faults.append(
                f"open lots of instrument {instrument} are {said}, accounts hold {lots.open_lots[instrument]}"
            )
    return faults, pending


def _claims(states: dict[int, AccountState], lots: _Lots, pending: int) -> Fraction:
    """Cash of everybody, what perpetuals and futures owe each other, what settled ones still pay: exact, in wad.

    Marks and carry cancel where lots add up to nothing, so of a perpetual or future only the bases are left.
    """
    return sum((Fraction(state.cash) for state in states.values()), Fraction(lots.bases + pending, LOTS_PER_UNIT))


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
    lots = _lots(states)
    faults, pending = _positions(chain, snapshot, snapshot.market, lots)
    faults += _collateral(tokens, snapshot, states)
    book_raw, dust, credit = chain.call(ContractCall("MarginAccounts", "cash_book"), snapshot.block)
    cash_token = chain.call(ContractCall("MarginAccounts", "cash_token"), snapshot.block)
    held_raw = tokens.balance_of(cash_token, snapshot.addresses["MarginAccounts"], snapshot.block)
    if book_raw > held_raw:
        faults.append(f"cash: {book_raw} raw booked, only {held_raw} held")
    claims = _claims(states, lots, pending) + Fraction(dust, LOTS_PER_UNIT) + credit
    surplus = book_raw * 10 ** (18 - tokens.decimals(cash_token)) - claims
    if not 0 <= surplus <= SURPLUS_BOUND_WAD:
        faults.append(f"cash: tokens booked exceed all claims by {float(surplus):.0f} wad, not within 0..1e12")
    return Conservation(snapshot.block, int(surplus), tuple(faults))
