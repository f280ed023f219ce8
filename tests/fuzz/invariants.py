# SPDX-License-Identifier: Apache-2.0
"""What must hold after every step, whoever did what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.fuzz.actors import Actors
from tests.support.protocol import ASSETS, BTC, ETH, FUTURE, PERP, SOL, Reverted
from tests.support.revm import deploy

CASH_SCALE = 10**12
# What rounding against accounts may leave without an owner over a whole episode, lot x wad: a millionth of a dollar.
LOST_LIMIT = 10**6 * 10**12
# An untouched account's equity may move by the rounding of interest that was accrued by somebody's call.
ROUNDING_WAD = 10**6


@dataclass(frozen=True, slots=True)
class Books:
    """Findings of ProtocolAuditFixture, by name."""

    lots_wrong: int
    open_lots_wrong: int
    collateral_wrong: int
    assess_failed: int
    im_below_mm: int
    excess: int
    spare_raw: int
    equities: tuple[int, ...]
    healths: tuple[int, ...]
    im_healths: tuple[int, ...]
    nonces: tuple[int, ...]


class Auditor:
    """Reads the books after every step and says what is broken, in words."""

    def __init__(self, actors: Actors) -> None:
        self.actors, self.world = actors, actors.world
        accounts = self.world.accounts.address
        self._contract = deploy(
            self.world.evm, "contracts/testing/ProtocolAuditFixture.vy",
            accounts, self.world.registry.address, self.world.engine.address, CASH_SCALE,
        )  # fmt: skip
        self.before = self.read()

    def read(self) -> Books:
        """The books now."""
        return Books(*self._contract.call("audit", len(ASSETS), static=True))

    def faults(self) -> list[str]:
        """What the last step broke; empty = nothing."""
        books, before, found = self.read(), self.before, []
        self.before = books
        for name, what in (
            ("lots_wrong", "lots do not add up to zero"),
            ("open_lots_wrong", "open lots are not what accounts hold"),
            ("collateral_wrong", "collateral is not what accounts hold, or tokens are missing"),
            ("assess_failed", "assess reverts"),
            ("im_below_mm", "initial margin below maintenance margin"),
        ):
            value = getattr(books, name)
            if value:
                found.append(f"{what}: {value - 1}")
        if books.excess > 0:
            found.append(f"claims exceed the tokens booked by {books.excess} lot x wad")
        if books.excess < -LOST_LIMIT:
            found.append(f"{-books.excess} lot x wad of the tokens booked belong to nobody")
        if books.spare_raw < 0:
            found.append(f"{-books.spare_raw} raw cash tokens are missing")
        if not self.actors.moved:
            found += self._untouched(before, books)
        return found

    def _untouched(self, before: Books, now: Books) -> list[str]:
        """No account loses value by somebody else's action."""
        return [
            f"account {number} lost {before.equities[number] - now.equities[number]} wad untouched"
            for number in range(1, len(before.equities))
            if number not in self.actors.touched and now.equities[number] < before.equities[number] - ROUNDING_WAD
        ]

    # ------------------------------------------------------------------ liveness

    def stuck(self) -> list[str]:
        """Every account that holds initial margin can leave once its keeper is back; tried in a branch."""
        found, world, branch, now = [], self.world, self.world.evm.snapshot(), self.world.now
        try:
            world.wait(61)
            world.refresh()
            for u in (BTC, ETH):
                self._published(u)
            world.publish_joint()
            self._settle()
            for name, account in self.actors.account.items():
                if self.read().im_healths[account] < 0:
                    continue
                inner = world.evm.snapshot()
                reason = self._leave(name, account)
                world.evm.revert(inner)
                if reason:
                    found.append(f"account {account} ({name}) cannot leave: {reason}")
        finally:
            world.evm.revert(branch)
            world.now = now
            world.wait(0)
        return found

    def _settle(self) -> None:
        """What has expired is settled by whoever cares: the price, then everybody."""
        world = self.world
        for u, expiry in {(i >> 8, option[0]) for i, option in world.options.items() if option[0] <= world.now}:
            if not world.registry.call("settlement_price", u, expiry):
                at = self.actors.round_at(u, expiry)
                world.registry.call("settle_expiry", u, expiry, at, at + 1)
        for u in (BTC, ETH):
            world.accounts.call("settle_many", [*self.actors.account.values(), self.actors.second], u)

    def _published(self, u: int) -> None:
        try:
            last = int(self.world.table.call("page_info", u)[3])
            self.world.publish(u, vol=last / 10_000)
        except Reverted as error:
            # without an unexpired option there is nothing to price
            assert str(error) == "table: row count", error

    def _leave(self, name: str, account: int) -> str:
        """Close everything against a rich stranger, take everything out; the reason if that fails.

        Legs of a hedge close one after the other, so some cash goes in first; it comes out with the rest.
        """
        world, owner = self.world, self.actors.owner[name]
        rich = world.open_account(world.stranger)
        world.deposit(rich, world.cash, 10**9 * 10**6, world.stranger)
        world.deposit(account, world.cash, 10**9 * 10**6, owner)
        try:
            for instrument in self._instruments():
                lots = int(world.accounts.call("position_of", account, instrument))
                mark, _, high = world.engine.call("price_band", instrument) if lots else (0, 0, 0)
                lots = lots if high else 0
                if lots:
                    sides = (rich, account) if lots > 0 else (account, rich)
                    world.fill(instrument, *sides, abs(lots), mark)
            for token in (world.cash, *world.tokens):
                if token is world.cash or int(world.accounts.call("collateral_of", account, world.tokens.index(token))):
                    self._take(account, token, owner)
        except Reverted as error:
            return str(error)
        return ""

    def _take(self, account: int, token: Any, owner: str) -> None:
        try:
            self.world.withdraw(account, token, 2**256 - 1, owner)
        except Reverted as error:
            # nothing to take; or more than the limit after a known loss, which is the rule
            if str(error) not in ("accounts: zero amount", "cash: withdrawals limited"):
                raise

    def _instruments(self) -> list[int]:
        deltas = [u << 8 | slot for u in (BTC, ETH, SOL) for slot in (PERP, FUTURE)]
        return [*deltas, *self.world.options]


__all__ = ["Auditor", "Books"]
