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

from tests.support.accounts_contract import calldata
from tests.support.ledger import (
    ALICE,
    AUCTION,
    BOB,
    BTC,
    CAROL,
    ETH,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    KEEPER,
    PERP,
    USD,
    VENUE,
    WAD,
    Ledger,
    deploy_ledger,
)

OWNERS: Final = {1: ALICE, 2: BOB, 3: CAROL, 4: ALICE}
OTHERS: Final = st.integers(1, 3)  # steps from one account to another
DELTAS: Final = [u << 8 | slot for u in (ETH, BTC) for slot in (PERP, FUTURE_A, FUTURE_B)]
ACCOUNTS: Final = st.sampled_from(sorted(OWNERS))
UNDERLYINGS: Final = st.sampled_from([ETH, BTC])
FRACTIONS: Final = st.one_of(st.integers(0, WAD), st.sampled_from([WAD, WAD // 2, 1]))
PRICES_USD: Final = {ETH: (500, 8_000), BTC: (10_000, 200_000)}
REFUSED: Final = (
    "cash: not enough held",
    "cash: not covered",
    "collateral: balance",
    "collateral: cap",
    "accounts: zero amount",
)
MASK_104: Final = 2**104 - 1


@contextlib.contextmanager
def unless_refused() -> Iterator[None]:
    """Lets a call fail for a reason that is the ledger's right, and for no other."""
    try:
        yield
    except boa.BoaError as error:
        # not str(error): boa fails to print a trace with a call that returns an array. The first frame is the innermost
        if getattr(error.stack_trace[0], "pretty_vm_reason", None) not in REFUSED:
            raise


@functools.cache
def deployed() -> Ledger:
    """One deployment for all runs; boa's pytest plugin rolls each run back."""
    ledger = deploy_ledger()
    ledger.accounts.set_rates(500, 1_000, 20_000, 8_000, 1_500, sender=GOVERNANCE)
    ledger.accounts.open_account(ALICE)
    return ledger


def other(account: int, step: int) -> int:
    """Another account."""
    return (account + step - 1) % len(OWNERS) + 1


class LedgerMachine(RuleBasedStateMachine):
    ledger: Ledger

    @initialize()
    def set_up(self) -> None:
        self.ledger = deployed()
        layout = self.ledger.accounts.compiler_data.storage_layout["storage_layout"]["cash"]
        self.slots = {name: layout[name]["slot"] for name in ("_indices", "_totals")}
        self.expiries: dict[int, int] = {}  # of options and futures, by instrument
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

    @rule(asset=st.sampled_from(["cash", "weth", "wbtc"]), amount=st.integers(1, 10**13), back=st.booleans())
    def transfer(self, asset: str, amount: int, back: bool) -> None:
        pair = (4, 1) if back else (1, 4)
        with unless_refused():
            self.ledger.accounts.transfer(*pair, getattr(self.ledger, asset).address, amount, sender=ALICE)

    @rule(amount=st.integers(1, 10**12), returned=st.integers(1, 10**12), moved=st.integers(1, 10**12))
    def batch(self, amount: int, returned: int, moved: int) -> None:
        accounts, token = self.ledger.accounts, self.ledger.cash
        token.mint(ALICE, returned)
        token.approve(accounts.address, returned, sender=ALICE)
        calls = (
            ("withdraw", 1, token.address, amount, ALICE),
            ("transfer", 4, 1, token.address, moved),
            ("deposit", 4, token.address, returned),
            ("settle_many", [1, 2, 3, 4], ETH),
        )
        with unless_refused():
            accounts.batch([calldata(accounts, *call) for call in calls], sender=ALICE)

    @rule(
        pick=st.integers(0, 5), buyer=ACCOUNTS, step=OTHERS, lots=st.integers(1, 10**8),
        offset=st.integers(-(10**19), 10**19), fee=st.integers(0, WAD),
    )  # fmt: skip
    def trade_delta(self, pick: int, buyer: int, step: int, lots: int, offset: int, fee: int) -> None:
        instrument = DELTAS[pick]
        if instrument & 255 != PERP and self.expiries.get(instrument, 0) <= int(boa.env.timestamp):
            return
        price = self.ledger.oracle.price(0, instrument >> 8)[0] + offset
        fill = (instrument, buyer, other(buyer, step), lots, price, fee, fee // 3)
        self.ledger.accounts.apply_fill(fill, sender=VENUE)

    @rule(underlying=UNDERLYINGS, hours=st.integers(2, 4))
    def list_future(self, underlying: int, hours: int) -> None:
        with contextlib.suppress(boa.BoaError):  # both slots are taken
            future, expiry = self.ledger.list_future(underlying, hours)
            self.expiries[future] = expiry

    @rule()
    def retire(self) -> None:
        """Frees every slot that is settled and empty, and no other."""
        for instrument, expiry in list(self.expiries.items()):
            if self.ledger.registry.settlement_price(instrument >> 8, expiry) == 0:
                continue
            if self.ledger.accounts.open_lots(instrument) == 0:
                self.ledger.registry.retire(instrument)
                del self.expiries[instrument]

    @rule(underlying=UNDERLYINGS, strike=st.integers(1, 10**5), is_call=st.booleans(), hours=st.integers(2, 4))
    def list_option(self, underlying: int, strike: int, is_call: bool, hours: int) -> None:
        expiry = (int(boa.env.timestamp) // 3_600 + hours) * 3_600
        with contextlib.suppress(boa.BoaError):  # listed before
            option = self.ledger.registry.list_option(underlying, expiry, strike * WAD - 1, is_call, sender=GOVERNANCE)
            self.expiries[int(option)] = expiry

    @rule(
        buyer=ACCOUNTS, step=OTHERS, lots=st.integers(1, 10**8), price=st.integers(0, 10**21),
        pick=st.integers(0, 99),
    )  # fmt: skip
    def trade_option(self, buyer: int, step: int, lots: int, price: int, pick: int) -> None:
        now = int(boa.env.timestamp)
        alive = sorted(k for k, expiry in self.expiries.items() if expiry > now and k & 255 < FUTURE_B)
        if alive:
            fill = (alive[pick % len(alive)], buyer, other(buyer, step), lots, price, 0, 0)
            self.ledger.accounts.apply_fill(fill, sender=VENUE)

    @rule(account=ACCOUNTS, underlying=UNDERLYINGS)
    def settle(self, account: int, underlying: int) -> None:
        self.ledger.accounts.settle_delta(account, underlying << 8 | PERP)
        self.ledger.accounts.settle_options(account, underlying)

    @rule(first=ACCOUNTS, step=OTHERS, underlying=UNDERLYINGS)
    def settle_many(self, first: int, step: int, underlying: int) -> None:
        self.ledger.accounts.settle_many([first, other(first, step), first], underlying)

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
                self.ledger.registry.settle_expiry(underlying, expiry, rounds[underlying], rounds[underlying] + 1)

    @rule(underlying=UNDERLYINGS, rate=st.integers(-(10**14), 10**14))
    def set_funding(self, underlying: int, rate: int) -> None:
        self.ledger.registry.set_funding_rate(underlying, rate, sender=KEEPER)

    @rule(amount=st.integers(1, 10**9))
    def donate(self, amount: int) -> None:
        for token in (self.ledger.cash, self.ledger.weth):
            token.mint(self.ledger.accounts.address, amount)

    # --- what the auction does

    @rule(account=ACCOUNTS, step=OTHERS, fraction=FRACTIONS, price=st.integers(-(10**20), 10**22))
    def seize(self, account: int, step: int, fraction: int, price: int) -> None:
        with unless_refused():
            self.ledger.accounts.seize(account, other(account, step), fraction, price, sender=AUCTION)

    @rule(account=ACCOUNTS, step=OTHERS, count=st.integers(1, 4), fraction=FRACTIONS, price=st.integers(0, 10**22))
    def seize_legs(self, account: int, step: int, count: int, fraction: int, price: int) -> None:
        legs = []
        for instrument in sorted({*DELTAS, *self.expiries})[:: count + 1]:
            held = int(self.ledger.accounts.position_of(account, instrument))
            lots = abs(held) * fraction // WAD * (1 if held > 0 else -1)
            if lots:
                legs.append((instrument, lots, price))
        self.ledger.accounts.seize_legs(account, other(account, step), legs[:16], sender=AUCTION)

    @rule(account=ACCOUNTS, step=OTHERS, amount=st.integers(0, 10**21))
    def pay_reward(self, account: int, step: int, amount: int) -> None:
        self.ledger.accounts.pay_reward(account, other(account, step), amount, sender=AUCTION)

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
        for instrument in {*DELTAS, *self.expiries}:
            held = [self.ledger.accounts.position_of(account, instrument) for account in OWNERS]
            assert sum(held) == 0
            assert self.ledger.accounts.open_lots(instrument) == sum(abs(lots) for lots in held)

    @invariant()
    def collateral_adds_up(self) -> None:
        for asset, token in enumerate((self.ledger.weth, self.ledger.wbtc)):
            total = self.ledger.accounts.collateral_info(asset)[4]
            assert sum(self.ledger.accounts.collateral_of(account, asset) for account in OWNERS) == total
            assert total <= token.balanceOf(self.ledger.accounts.address)

    @invariant()
    def heads_count_what_is_there(self) -> None:
        for account in OWNERS:
            deltas, options = self.ledger.positions(account)
            assert all(lots for lots, _ in deltas.values())
            for underlying in (ETH, BTC):
                lanes = options[underlying]
                assert all(lots for _, lots in lanes)
                assert len({slot for slot, _ in lanes}) == len(lanes)

    @invariant()
    def cash_is_backed_to_the_last_wad(self) -> None:
        """Exact: cash at index + bases + what is settled and not closed + dust + cover not yet used <= tokens booked.

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
        supplied = Fraction(totals % 2**128 * (indices & MASK_104), WAD)
        return supplied - Fraction((totals >> 128) * (indices >> 104 & MASK_104), WAD)

    def unsettled(self) -> int:
        """Bases, and what settled futures and options will pay on top (lot x wad)."""
        total = 0
        for account in OWNERS:
            deltas, options = self.ledger.positions(account)
            for instrument, (lots, base) in deltas.items():
                total += base
                if instrument & 255 != PERP:
                    total += lots * self.ledger.registry.mark(instrument)[0]
            for underlying in (ETH, BTC):
                for slot, held in options[underlying]:
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
