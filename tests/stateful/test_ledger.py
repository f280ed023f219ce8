# SPDX-License-Identifier: Apache-2.0
"""The ledger alone: whatever happens, lots add up to zero, collateral to its totals, and cash to what is held.

The margin gate says yes to everything here, so accounts go as deep into debt as they like: conservation must not need
solvency.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import boa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.ledger import (
    ALICE,
    AUCTION,
    BOB,
    BTC,
    CAROL,
    ETH,
    GOVERNANCE,
    KEEPER,
    PERP,
    USD,
    VENUE,
    WAD,
    Ledger,
    deploy_ledger,
)

OWNERS: Final = {1: ALICE, 2: BOB, 3: CAROL}
ACCOUNTS: Final = st.sampled_from(sorted(OWNERS))
UNDERLYINGS: Final = st.sampled_from([ETH, BTC])
FRACTIONS: Final = st.one_of(st.integers(0, WAD), st.sampled_from([WAD, WAD // 2, 1]))
PRICES_USD: Final = {ETH: (500, 8_000), BTC: (10_000, 200_000)}
REFUSED: Final = ("cash: not enough held", "cash: not covered", "collateral: balance", "collateral: cap")
MASK_112: Final = 2**112 - 1


@contextlib.contextmanager
def unless_refused() -> Iterator[None]:
    """Lets a call fail for a reason that is the ledger's right, and for no other."""
    try:
        yield
    except boa.BoaError as error:
        # not str(error): boa fails to print a trace with a call that returns an array
        if error.stack_trace.last_frame.pretty_vm_reason not in REFUSED:
            raise


@functools.cache
def deployed() -> Ledger:
    """One deployment for all runs; boa's pytest plugin rolls each run back."""
    ledger = deploy_ledger()
    ledger.accounts.set_rates(500, 1_000, 20_000, 8_000, 1_500, sender=GOVERNANCE)
    return ledger


class LedgerMachine(RuleBasedStateMachine):
    ledger: Ledger

    @initialize()
    def set_up(self) -> None:
        self.ledger = deployed()
        layout = self.ledger.accounts.compiler_data.storage_layout["storage_layout"]["cash"]
        self.slots = {name: layout[name]["slot"] for name in ("_indices", "_totals")}
        self.expiries: dict[int, int] = {}
        self.calls = 1
        self.slack = Fraction(0)
        for account, owner in OWNERS.items():
            self.ledger.deposit(account, self.ledger.cash, 100_000 * USD, owner)
            self.ledger.deposit(account, self.ledger.weth, WAD, owner)
        # debt and odd indices from the first step on: at an index of one nothing rounds
        self.ledger.accounts.withdraw(3, self.ledger.cash.address, 250_000 * USD, CAROL, sender=CAROL)
        self.pass_time(12_345)

    # --- what people do

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**12))
    def deposit_cash(self, account: int, amount: int) -> None:
        self.ledger.deposit(account, self.ledger.cash, amount)

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**12), everything=st.booleans())
    def withdraw_cash(self, account: int, amount: int, everything: bool) -> None:
        if everything and self.ledger.accounts.cash_of(account) >= 10**12:
            amount = 2**256 - 1
        token, owner = self.ledger.cash.address, OWNERS[account]
        with unless_refused():
            self.ledger.accounts.withdraw(account, token, amount, owner, sender=owner)

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**9), bitcoin=st.booleans())
    def deposit_collateral(self, account: int, amount: int, bitcoin: bool) -> None:
        with unless_refused():
            token = self.ledger.wbtc if bitcoin else self.ledger.weth
            self.ledger.deposit(account, token, amount, OWNERS[account])

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**9))
    def withdraw_collateral(self, account: int, amount: int) -> None:
        token, owner = self.ledger.wbtc.address, OWNERS[account]
        with unless_refused():
            self.ledger.accounts.withdraw(account, token, amount, owner, sender=owner)

    @rule(
        underlying=UNDERLYINGS, buyer=ACCOUNTS, step=st.integers(1, 2), lots=st.integers(1, 10**8),
        offset=st.integers(-(10**19), 10**19), fee=st.integers(0, WAD),
    )  # fmt: skip
    def trade_perpetual(self, underlying: int, buyer: int, step: int, lots: int, offset: int, fee: int) -> None:
        seller = (buyer + step - 1) % 3 + 1
        price = self.ledger.oracle.price(0, underlying)[0] + offset
        fill = (underlying << 8 | PERP, buyer, seller, lots, price, fee, fee // 3)
        self.ledger.accounts.apply_fill(fill, sender=VENUE)

    @rule(underlying=UNDERLYINGS, strike=st.integers(1, 10**5), is_call=st.booleans(), hours=st.integers(2, 4))
    def list_option(self, underlying: int, strike: int, is_call: bool, hours: int) -> None:
        expiry = (int(boa.env.timestamp) // 3_600 + hours) * 3_600
        with contextlib.suppress(boa.BoaError):  # listed before
            option = self.ledger.registry.list_option(underlying, expiry, strike * WAD - 1, is_call, sender=GOVERNANCE)
            self.expiries[int(option)] = expiry

    @rule(
        buyer=ACCOUNTS, step=st.integers(1, 2), lots=st.integers(1, 10**8), price=st.integers(0, 10**21),
        pick=st.integers(0, 99),
    )  # fmt: skip
    def trade_option(self, buyer: int, step: int, lots: int, price: int, pick: int) -> None:
        alive = sorted(k for k, expiry in self.expiries.items() if expiry > int(boa.env.timestamp))
        if alive:
            fill = (alive[pick % len(alive)], buyer, (buyer + step - 1) % 3 + 1, lots, price, 0, 0)
            self.ledger.accounts.apply_fill(fill, sender=VENUE)

    @rule(account=ACCOUNTS, underlying=UNDERLYINGS)
    def settle(self, account: int, underlying: int) -> None:
        self.ledger.accounts.settle_perp(account, underlying)
        self.ledger.accounts.settle_options(account, underlying)

    # --- what the world does

    @rule(underlying=UNDERLYINGS, at=st.floats(0, 1))
    def move_price(self, underlying: int, at: float) -> None:
        low, high = PRICES_USD[underlying]
        self.ledger.set_price(underlying, round(low + at * (high - low)))

    @rule(seconds=st.integers(1, 5_000))
    def pass_time(self, seconds: int) -> None:
        """Feeds are written, time passes, feeds are written again; what expired between is settled."""
        rounds = {u: feed.last_round() for u, feed in self.ledger.feeds.items()}
        boa.env.time_travel(seconds=seconds)
        now = int(boa.env.timestamp)
        for feed in self.ledger.feeds.values():
            feed.set_answer(feed.latestRoundData()[1])
        for underlying, expiry in {(k >> 8, e) for k, e in self.expiries.items() if e < now}:
            if not self.ledger.registry.settlement_price(underlying, expiry):
                self.ledger.registry.settle_expiry(underlying, expiry, rounds[underlying])

    @rule(underlying=UNDERLYINGS, rate=st.integers(-(10**14), 10**14))
    def set_funding(self, underlying: int, rate: int) -> None:
        self.ledger.registry.set_funding_rate(underlying, rate, sender=KEEPER)

    @rule(amount=st.integers(1, 10**9))
    def donate(self, amount: int) -> None:
        for token in (self.ledger.cash, self.ledger.weth):
            token.mint(self.ledger.accounts.address, amount)

    # --- what the auction does

    @rule(account=ACCOUNTS, step=st.integers(1, 2), fraction=FRACTIONS, price=st.integers(-(10**20), 10**22))
    def seize(self, account: int, step: int, fraction: int, price: int) -> None:
        with unless_refused():
            self.ledger.accounts.seize(account, (account + step - 1) % 3 + 1, fraction, price, sender=AUCTION)

    @rule(amount=st.integers(1, 10**8))
    def cover(self, amount: int) -> None:
        self.ledger.cash.mint(self.ledger.accounts.address, amount)
        assert self.ledger.accounts.receive_cover(amount, sender=AUCTION) == amount * 10**12

    @rule(loss=st.integers(1, 10**20))
    def lose(self, loss: int) -> None:
        self.ledger.accounts.socialise_loss(loss, sender=AUCTION)

    # --- what must hold

    @invariant()
    def lots_add_up_to_zero(self) -> None:
        position = self.ledger.accounts.position_of
        for instrument in (PERP, 1 << 8 | PERP, *self.expiries):
            assert sum(position(account, instrument) for account in OWNERS) == 0

    @invariant()
    def collateral_adds_up(self) -> None:
        for asset, token in enumerate((self.ledger.weth, self.ledger.wbtc)):
            total = self.ledger.accounts.collateral_info(asset)[4]
            assert sum(self.ledger.accounts.collateral_of(account, asset) for account in OWNERS) == total
            assert total <= token.balanceOf(self.ledger.accounts.address)

    @invariant()
    def heads_count_what_is_there(self) -> None:
        for account in OWNERS:
            head = self.ledger.accounts.state(account)[0]
            for underlying in (ETH, BTC):
                options = self.ledger.options(account, underlying)
                assert all(lots for _, lots in options)
                assert len({slot for slot, _ in options}) == len(options)
                assert bool(head >> 128 + underlying & 1) == bool(self.ledger.perp(account, underlying)[0])

    @invariant()
    def cash_is_backed_to_the_last_wad(self) -> None:
        """Exact: cash at index + quotes + settled options + dust + cover not yet used <= tokens booked.

        Stronger: no step ever eats what earlier roundings left over.
        """
        book_raw, dust, credit = self.ledger.accounts.cash_book()
        assert book_raw <= self.ledger.cash.balanceOf(self.ledger.accounts.address)
        owed = self.cash_at_index() * 10**6 + dust + credit * 10**6 + self.unsettled()
        slack = book_raw * 10**18 - owed
        self.calls += 1
        assert slack >= self.slack
        self.slack = slack
        # each step drops a few wads by rounding, plus what a lower supply index drops
        assert slack <= 10**6 * 10**6 * self.calls

    def cash_at_index(self) -> Fraction:
        """Sum of all cash in wad, from the scaled totals as stored: no rounding."""
        indices, totals = (boa.env.get_storage(self.ledger.accounts.address, slot) for slot in self.slots.values())
        supplied = Fraction(totals % 2**128 * (indices & MASK_112), WAD)
        return supplied - Fraction((totals >> 128) * (indices >> 112 & MASK_112), WAD)

    def unsettled(self) -> int:
        """Quotes at entry funding, and options whose expiry is settled (lot x wad)."""
        total = 0
        for account in OWNERS:
            for underlying in (ETH, BTC):
                lots, quote, entry = self.ledger.perp(account, underlying)
                total += quote + lots * entry
                for slot, held in self.ledger.options(account, underlying):
                    total += held * self.intrinsic(underlying << 8 | slot)
        return total

    def intrinsic(self, instrument: int) -> int:
        info: Any = self.ledger.registry.option_info(instrument)
        price = int(self.ledger.registry.settlement_price(instrument >> 8, info[0]))
        return max(0, (price - info[1]) * (1 if info[2] else -1)) if price else 0


class TestLedger(LedgerMachine.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))

    @classmethod
    def setUpClass(cls) -> None:
        """Outside of any run, so that no rollback takes the contracts away."""
        deployed()
