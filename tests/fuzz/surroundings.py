# SPDX-License-Identifier: Apache-2.0
"""The market, the clock and the keepers, late and lying ones among them (every push legal by itself)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from risk.units import pack_lanes, unpack_lanes
from tests.support.protocol import (
    BTC,
    COLLATERAL_WORD,
    DAY,
    ETH,
    FUTURE,
    HOUR,
    SOL,
    UNDERLYING_WORD,
    WAD,
    Protocol,
    Reverted,
)


class Source(Interface):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int: ...
    def number(self, low: float, high: float) -> float: ...
    def choice(self, items: Any) -> Any: ...


class Surroundings:
    """What goes on around the people. ``touched`` are the accounts that the last action was about, ``moved`` whether it
    may move everybody's equity."""

    def __init__(self, world: Protocol, pick: Source) -> None:
        self.world, self.pick = world, pick
        self.refused: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.touched: set[int] = set()
        self.moved = False
        self.proposed: tuple[int, list[Any]] | None = None
        # health of an account; a play that has just audited knows it already
        self.health: Callable[[int], int] = world.health

    def forget(self) -> None:
        """Forgets what was remembered of a play that is rolled back."""
        self.proposed = None

    def attempt(self, name: str, call: Callable[[], Any], *accounts: int) -> bool:
        """Do it or be refused."""
        self.touched.update(accounts)
        try:
            call()
        except Reverted as error:
            reason = str(error)
            self.refused[f"{name}: {reason[:60]}"] += 1
            return False
        self.done[name] += 1
        return True

    # ------------------------------------------------------------------ market and time

    def price_moves(self) -> None:
        u = self.pick.choice([BTC, ETH, SOL])
        move = self.pick.choice([self.pick.number(0.98, 1.02), self.pick.number(0.9, 1.1), self.pick.number(0.6, 1.5)])
        base = (60_000, 3_000, 150)[u]
        self.world.set_price(u, min(max(self.world.quotes[u] * move, base / 8), base * 8))
        self.moved = True

    def time_passes(self) -> None:
        self.world.wait(self.pick.choice([12, 60, 900, HOUR, 6 * HOUR, DAY, 3 * DAY]))
        self.moved = True
        if self.pick.integer(0, 3):
            self.world.refresh()
        if self.pick.integer(0, 3):
            self.keeper_works()

    def keeper_works(self) -> None:
        """What a keeper on time does after a while."""
        self.moved = True
        for u in (BTC, ETH):
            last = int(self.world.table.call("page_info", u)[3])
            self.attempt("publish", lambda u=u, last=last: self.world.publish(u, vol=last / 10_000))
        if self.world.now > (int(self.world.table.call("read", 0)[0]) >> 200 & 0xFFFFFFFF) - DAY:
            self.attempt("publish joint", self.world.publish_joint)

    def feeds_speak(self) -> None:
        self.world.refresh()
        self.moved = True

    # ------------------------------------------------------------------ keepers, late and lying

    def publish(self) -> None:
        u, vol = self.pick.choice([BTC, ETH]), self.pick.number(0.45, 0.8)
        self.world.wait(self.pick.choice([0, 61]))
        self.moved = True
        self.attempt("publish", lambda: self.world.publish(u, vol=vol))

    def publish_joint(self) -> None:
        words = [self.pick.integer(0, 2**48 - 1) for _ in range(self.pick.integer(1, 8))]
        self.moved = True
        self.attempt("publish joint", lambda: self.world.publish_joint(words))

    def push(self) -> None:
        """Any legal push or proposal: a random word near the present one."""
        world, pick = self.world, self.pick
        kind, number = pick.integer(1, 2), pick.integer(0, 2)
        used = len((UNDERLYING_WORD, COLLATERAL_WORD)[kind - 1])
        lanes = list(unpack_lanes(int(world.parameters.call("word", kind, number)))[:used])
        tighter = pick.integer(0, 1)
        for lane in pick.choice([range(used), [0], [1], [used - 1]]):
            down = (kind, lane) in ((1, 8), (2, 3))
            move = pick.number(1.0, 1.2) if tighter else pick.number(0.85, 1.15)
            lanes[lane] = min(max(1, int(lanes[lane] / move if down and tighter else lanes[lane] * move)), 65_535)
        word = pack_lanes(lanes)
        nonce = int(world.parameters.call("status")[0]) + 1
        args = (nonce, world.now, world.now + HOUR, b"\1" * 32, b"\2" * 32, [(kind, number, word)])
        verb = pick.choice(["push", "propose"])
        self.moved = True
        if self.attempt(verb, lambda: world.parameters.call(verb, *args, caller=world.keeper)) and verb == "propose":
            self.proposed = (int(world.parameters.call("proposals")), args[-1])

    def execute(self) -> None:
        if self.proposed is None:
            return
        self.moved, content = True, self.proposed
        self.world.wait(self.pick.choice([0, DAY, DAY]))
        self.world.refresh()
        self.attempt("execute", lambda: self.world.parameters.call("execute", *content))

    def funding(self) -> None:
        world, u = self.world, self.pick.choice([BTC, ETH, SOL])
        rate = int(world.quotes[u] * WAD * self.pick.number(-0.03, 0.03) / DAY)
        self.moved = True
        call = world.registry.call
        self.attempt("funding", lambda: call("set_funding_rate", u, rate, caller=world.keeper))

    def basis(self) -> None:
        world, u = self.world, self.pick.choice([BTC, ETH])
        rate = self.pick.integer(-600, 600)
        self.moved = True
        self.attempt("basis", lambda: world.registry.call("set_basis", u << 8 | FUTURE, rate, caller=world.keeper))

    def sync(self) -> None:
        self.moved = True
        self.attempt("sync peg", lambda: self.world.parameters.call("sync_peg"))
