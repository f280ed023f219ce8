# SPDX-License-Identifier: Apache-2.0
"""Everybody who touches the protocol, and what they may try; every attempt happens or is refused with a reason.

An actor's action is a method of :class:`Actors` that draws what it needs from ``self.pick`` (a random generator or a
hypothesis source with the same three methods) and calls real contracts. What it must not break is in ``invariants.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eth_abi import encode

from tests.fuzz.surroundings import Source, Surroundings
from tests.support.protocol import (
    ANY_NONCE,
    ASSETS,
    BTC,
    ETH,
    FUTURE,
    HOUR,
    LOTS,
    PERP,
    SOL,
    USD,
    WAD,
    Protocol,
    address_of,
    selector,
)

PEOPLE = ("lender", "hedger", "reckless", "attacker", "griefer", "liquidator", "rival")
GAMBLERS = ("reckless", "reckless", "attacker", "griefer", "hedger")
RICH = ("lender", "liquidator", "rival")
EVERYTHING = 2**256 - 1
# scenarios of a witness: the ends of the scan in each volatility state
SCAN_ENDS = (64, 72, 73, 81, 82, 90)
WITHDRAW = selector("withdraw(uint256,address,uint256,address)")
DEPOSIT = selector("deposit(uint256,address,uint256)")
TRANSFER = selector("transfer(uint256,uint256,address,uint256)")


class Actors(Surroundings):
    """A protocol full of people, with the market and the keepers around them."""

    def __init__(self, world: Protocol, pick: Source) -> None:
        super().__init__(world, pick)
        self.owner = {name: address_of(name) for name in PEOPLE}
        self.account = {name: world.open_account(owner) for name, owner in self.owner.items()}
        self.second = world.open_account(self.owner["attacker"])
        numbers = [*self.account.values(), self.second]
        self._pairs = [(a, b) for a in numbers for b in numbers if a != b]
        self._settle_in()

    def _settle_in(self) -> None:
        world = self.world
        for name, usd in (("lender", 5_000_000), ("hedger", 500_000), ("reckless", 40_000), ("attacker", 300_000)):
            self._fund(name, world.cash, usd * USD)
        for name, usd in (("griefer", 10_000), ("liquidator", 3_000_000), ("rival", 2_000_000)):
            self._fund(name, world.cash, usd * USD)
        self._fund("hedger", world.tokens[0], 100 * WAD)
        self._fund("reckless", world.tokens[0], 20 * WAD)
        self._fund("attacker", world.tokens[1], 2 * 10**8)
        world.stake(200_000 * USD, self.owner["lender"])

    def _fund(self, name: str, token: Any, amount: int) -> None:
        self.world.deposit(self.account[name], token, amount, self.owner[name])

    # ------------------------------------------------------------------ doing things

    def _someone(self) -> str:
        return str(self.pick.choice(PEOPLE))

    def _token(self) -> Any:
        return self.pick.choice([self.world.cash, *self.world.tokens])

    def _amount(self, token: Any) -> int:
        unit = USD if token is self.world.cash else 10 ** ASSETS[self.world.tokens.index(token)][1]
        size = self.pick.choice([1, 10**-6, 10**-3, 0.1, 1, 10, 100, 10_000, 1_000_000])
        return max(1, int(unit * size * self.pick.number(0.1, 2.0)))

    # ------------------------------------------------------------------ owners

    def deposit(self) -> None:
        name, token = self._someone(), self._token()
        amount = min(self._amount(token), 10**9 * USD)
        if name in GAMBLERS:
            amount = amount // 1_000 + 1  # too rich, they would never be liquidated
        account = self.account[name]
        self.attempt("deposit", lambda: self.world.deposit(account, token, amount, self.owner[name]), account)

    def withdraw(self) -> None:
        name, token = self._someone(), self._token()
        amount = self.pick.choice([EVERYTHING, self._amount(token)])
        account = self.account[name]
        self.attempt("withdraw", lambda: self.world.withdraw(account, token, amount, self.owner[name]), account)

    def transfer(self) -> None:
        token, owner = self._token(), self.owner["attacker"]
        pair = [self.account["attacker"], self.second]
        giver, taker = pair if self.pick.integer(0, 1) else pair[::-1]
        amount = self.pick.choice([EVERYTHING, self._amount(token)])
        call = self.world.accounts.call
        self.attempt(
            "transfer", lambda: call("transfer", giver, taker, token.address, amount, caller=owner), giver, taker
        )

    def batch(self) -> None:
        """Flash liquidity: takes out more than margin allows and brings it back, or does not."""
        world, owner = self.world, self.owner["attacker"]
        account, token = self.account["attacker"], self._token()
        amount, back = self._amount(token), self.pick.choice([0.0, 0.5, 1.0, 1.0])
        token.call("mint", owner, amount)
        token.call("approve", world.accounts.address, 2**255, caller=owner)
        calls = [
            WITHDRAW + encode(["uint256", "address", "uint256", "address"], [account, token.address, amount, owner]),
            TRANSFER
            + encode(
                ["uint256", "uint256", "address", "uint256"], [account, self.second, token.address, amount // 3 + 1]
            ),
            DEPOSIT + encode(["uint256", "address", "uint256"], [account, token.address, int(amount * back) + 1]),
        ]
        chosen = [call for call in calls if self.pick.integer(0, 2)]
        self.attempt("batch", lambda: world.accounts.call("batch", chosen, caller=owner), account, self.second)

    def trade(self) -> None:
        world, pick = self.world, self.pick
        buyer, seller = pick.choice(self._pairs)
        u = pick.choice([BTC, ETH, SOL])
        rows = [i & 255 for i in world.options if i >> 8 == u]
        slot = pick.choice([PERP, PERP, *([FUTURE, *rows] if rows else [])])
        instrument = u << 8 | slot
        mark, low, high = world.engine.call("price_band", instrument)
        price = int(pick.choice([mark, mark, low, high, mark * pick.number(0.5, 2.0)]))
        usd = pick.choice([1, 100, 10_000, 30_000, 100_000, 1_000_000]) * pick.number(0.5, 2.0)
        lots = max(1, int(usd / world.quotes[u] * LOTS))
        self.attempt("trade", lambda: world.fill(instrument, buyer, seller, lots, price), buyer, seller)

    def gamble(self) -> None:
        """Somebody poor takes as much risk as margin allows against somebody rich; who lost everything comes back."""
        world, pick = self.world, self.pick
        name, rich = pick.choice(GAMBLERS), pick.choice(RICH)
        poor, u = self.account[name], pick.choice([BTC, ETH, SOL])
        found = world.assess(poor)
        spare = int(found["equity_im"] - found["im"])
        if spare < WAD:
            self.attempt("come back", lambda: world.deposit(poor, world.cash, 20_000 * USD, self.owner[name]), poor)
            return
        instrument = pick.choice([u << 8 | PERP, *(i for i in world.options if i >> 8 == u)])
        mark = world.mark(instrument)
        lots = max(1, int(spare / WAD / world.quotes[u] * pick.number(2.0, 8.0) * LOTS))
        sides = (poor, self.account[rich]) if pick.integer(0, 1) else (self.account[rich], poor)
        for part in (1, 2, 3, 5, 9):
            if self.attempt("gamble", lambda part=part: world.fill(instrument, *sides, lots // part, mark), *sides):
                break

    # ------------------------------------------------------------------ anyone

    def donate(self) -> None:
        token = self._token()
        token.call("mint", self.world.accounts.address, self._amount(token))
        self.done["donate"] += 1

    def grief(self) -> None:
        """One wei for somebody else, and every call that costs nothing."""
        world, owner = self.world, self.owner["griefer"]
        target = self.account[self._someone()]
        kind = self.pick.integer(0, 4)
        calls: tuple[Callable[[], Any], ...] = (
            lambda: world.deposit(target, world.cash, 1, owner),
            lambda: world.deposit(target, world.tokens[0], 1, owner),
            lambda: world.auction.call("tick", target, caller=owner),
            lambda: world.auction.call("end", target, caller=owner),
            lambda: world.accounts.call("withdraw", target, world.cash.address, 1, owner, caller=owner),
        )
        self.attempt(f"grief {kind}", calls[kind], target)

    def settle(self) -> None:
        world = self.world
        target, u = self.account[self._someone()], self.pick.choice([BTC, ETH, SOL])
        kind = self.pick.integer(0, 3)
        stranger = self.world.stranger
        calls: tuple[Callable[[], Any], ...] = (
            lambda: world.accounts.call("settle_delta", target, u << 8 | PERP, caller=stranger),
            lambda: world.accounts.call("settle_delta", target, u << 8 | FUTURE, caller=stranger),
            lambda: world.accounts.call("settle_options", target, u, caller=stranger),
            lambda: world.accounts.call("settle_many", list(self.account.values()), u, caller=stranger),
        )
        self.attempt(f"settle {kind}", calls[kind], *(self.account.values() if kind == 3 else (target,)))

    def settle_expiry(self) -> None:
        world = self.world
        expiries = sorted({(i >> 8, o[0]) for i, o in world.options.items() if o[0] < world.now})
        if not expiries:
            return
        u, expiry = self.pick.choice(expiries)
        at = self.round_at(u, expiry)
        self.moved = True
        self.attempt("settle expiry", lambda: world.registry.call("settle_expiry", u, expiry, at, at + 1))

    def round_at(self, u: int, when: int) -> int:
        """The last round of a feed by a moment."""
        last = int(self.world.feeds[u].call("last_round"))
        return next((r for r in range(last, 1 << 64, -1) if self._updated(u, r) <= when), last)

    def _updated(self, u: int, round_id: int) -> int:
        return int(self.world.feeds[u].call("getRoundData", round_id)[3])

    def retire_and_list(self) -> None:
        """Uses slots again: retires what has ended, lists something new."""
        world, u = self.world, self.pick.choice([BTC, ETH])
        ended = [i for i, o in world.options.items() if o[0] < world.now and i >> 8 == u]
        if ended:
            instrument = self.pick.choice(ended)
            everybody = [*self.account.values(), self.second]
            self.attempt("settle all", lambda: world.accounts.call("settle_many", everybody, u), *everybody)
            if self.attempt("retire", lambda: world.registry.call("retire", instrument)):
                del world.options[instrument]
        expiry = (world.now // HOUR + self.pick.integer(2, 24 * 20)) * HOUR
        strike = int(world.quotes[u] * self.pick.number(0.8, 1.25))
        if len(world.options) < 16:
            self.attempt("list", lambda: world.list_option(u, expiry, strike, is_call=bool(self.pick.integer(0, 1))))

    # ------------------------------------------------------------------ liquidators

    def _weak(self) -> int:
        """An account, mostly one that may be liquidated."""
        found = [number for number in self.account.values() if self.health(number) < 0]
        return int(self.pick.choice(found)) if found and self.pick.integer(0, 4) else self.account[self._someone()]

    def _on_sale(self) -> int:
        """An account, mostly one whose auction runs."""
        found = [number for number in self.account.values() if self.world.auction.call("auction_of", number)[0]]
        return int(self.pick.choice(found)) if found and self.pick.integer(0, 9) else self._weak()

    def start(self) -> None:
        target, who = self._weak(), self.pick.choice(["liquidator", "rival", "attacker"])
        self.attempt("start", lambda: self.world.start(target, self.account[who]), target, self.account[who])

    def start_with(self) -> None:
        """A witness: the joint scenario that hurts most, or an end of the scan."""
        target = self._weak()
        worst = int(self.world.assess(target)["worst_joint"])
        scenario = worst if worst < SCAN_ENDS[0] and self.pick.integer(0, 4) else self.pick.choice(SCAN_ENDS)
        call = self.world.auction.call
        self.attempt("start with", lambda: call("start_with", target, scenario, self.account["rival"]), target,
                     self.account["rival"])  # fmt: skip

    def bid(self) -> None:
        target, who = self._on_sale(), self.pick.choice(["liquidator", "rival", "attacker", "lender"])
        fraction = self.pick.choice([WAD, WAD // 2, WAD // 10, WAD // 1_000, 1])
        self.moved = True  # an insolvent bid may lower the supply index
        mine = self.account[who]
        self.attempt("bid", lambda: self.world.bid(target, mine, self.owner[who], fraction), target, mine)

    def bid_legs(self) -> None:
        world, target = self.world, self._on_sale()
        who = self.pick.choice(["liquidator", "attacker"])
        legs = []
        for instrument in [BTC << 8 | PERP, ETH << 8 | PERP, SOL << 8 | PERP, *world.options]:
            lots = int(world.accounts.call("position_of", target, instrument))
            if lots and self.pick.integer(0, 1):
                legs.append((instrument, lots // self.pick.choice([1, 2, 10])))
        legs = [leg for leg in legs if leg[1]][:4]
        args = (target, self.account[who], legs, 0, 0, ANY_NONCE)
        self.attempt("bid legs", lambda: world.auction.call("bid_legs", *args, caller=self.owner[who]), target,
                     self.account[who])  # fmt: skip

    def liquidate_all(self) -> None:
        """Liquidators who compete: whoever can be started is, and everybody bids."""
        for name in ("reckless", "attacker", "hedger", "griefer"):
            target = self.account[name]
            if self.health(target) < 0:
                self.attempt("start", lambda t=target: self.world.start(t, self.account["rival"]), target,
                             self.account["rival"])  # fmt: skip
                self.moved = True
                self.attempt("bid", lambda t=target: self._bid_whole(t), target, self.account["liquidator"])

    def _bid_whole(self, target: int) -> None:
        self.world.bid(target, self.account["liquidator"], self.owner["liquidator"])


# how often each is tried
WEIGHTS = {
    "trade": 24, "gamble": 14, "deposit": 6, "withdraw": 10, "transfer": 4, "batch": 6, "donate": 2, "grief": 6,
    "settle": 5, "settle_expiry": 2, "retire_and_list": 2, "start": 4, "start_with": 4, "bid": 10, "bid_legs": 5,
    "liquidate_all": 1, "price_moves": 12, "time_passes": 5, "feeds_speak": 4, "publish": 2, "keeper_works": 3,
    "publish_joint": 1, "push": 2, "execute": 1, "funding": 2, "basis": 1, "sync": 1,
}  # fmt: skip
