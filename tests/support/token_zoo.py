# SPDX-License-Identifier: Apache-2.0
"""The whole protocol whose cash token and ether are ZooTokens: plain until a test gives them a habit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyrevm
import pytest

from tests.support import protocol
from tests.support.protocol import ETH, LOTS, PERP, USD, WAD, Protocol, Reverted, address_of
from tests.support.revm import CALLER, Contract, deploy

ODD, WBTC, XAU = 0, 1, 2  # assets; the first is the odd one
ALICE, CAROL, BOB, LENDER, BIDDER = map(address_of, ("alice", "carol", "bob", "lender", "bidder"))
ETH_PERP = ETH << 8 | PERP
ALL = 2**256 - 1
# what transfer and transferFrom of a ZooToken answer
YES, NOTHING, NO, LONG, SHORT, NO_BOOL = range(6)
AUDIT = (
    "lots_wrong", "open_lots_wrong", "collateral_wrong", "assess_failed", "im_below_mm", "excess", "spare_raw",
    "equities", "healths", "im_healths", "nonces",
)  # fmt: skip
# code that a token can be upgraded into: a megabyte of zeros returned, or reverted with; nothing but a revert; none
BOMB, REVERT_BOMB, REVERT, GONE = (bytes.fromhex(code) for code in ("621000005ff3", "621000005ffd", "5f5ffd", ""))


def odd_protocol(decimals: int = 6) -> Protocol:
    """A protocol with odd cash (``decimals``) and odd ether (18)."""

    def place(evm: Any, path: str, *arguments: Any, caller: str = CALLER) -> Contract:
        if path.endswith("TestToken.vy") and arguments[0] in {"US Dollar", "WETH"}:
            is_cash = arguments[0] == "US Dollar"
            return deploy(evm, "contracts/testing/ZooToken.vy", decimals if is_cash else 18, caller=caller)
        return deploy(evm, path, *arguments, caller=caller)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "deploy", place)
        return Protocol()


@dataclass(frozen=True)
class Zoo:
    """A protocol with people in it: alice and carol hold the odd ether, bob what is sound, the lender cash."""

    world: Protocol
    auditor: Contract
    alice: int
    carol: int
    bob: int
    lender: int
    bidder: int

    @property
    def cash(self) -> Contract:
        """The odd cash token."""
        return self.world.cash

    @property
    def ether(self) -> Contract:
        """The odd collateral."""
        return self.world.tokens[ODD]

    def audit(self) -> dict[str, Any]:
        """ProtocolAuditFixture's findings."""
        return dict(zip(AUDIT, self.auditor.call("audit", 3, static=True), strict=True))

    def faults(self) -> dict[str, int]:
        """What does not hold in the books; empty = all holds."""
        found = self.audit()
        wrong = {name: found[name] for name in AUDIT[:5] if found[name]}
        if found["excess"] > 0:
            wrong["excess"] = found["excess"]
        if found["spare_raw"] < 0:
            wrong["spare_raw"] = found["spare_raw"]
        return wrong

    def code(self, token: Contract) -> bytes:
        """Runtime code of a token; what revm adds for its analysis is left off."""
        return bytes(self.world.evm.get_code(token.address)).removesuffix(bytes(33))

    def become(self, token: Contract, code: bytes) -> None:
        """A token is upgraded to other code; its storage stays."""
        self.world.evm.insert_account_info(token.address, pyrevm.AccountInfo(nonce=1, code=code))

    def leave(self, name: str, *, without: Contract | None = None) -> dict[str, int]:
        """What a person can take out now, all but one token, in a branch: token -> raw units received."""
        world, account, owner = self.world, getattr(self, name), address_of(name)
        mark, got = world.evm.snapshot(), {}
        try:
            for token in (world.cash, *world.tokens):
                if token is not without and self.held(account, token):
                    before = token.call("balanceOf", owner)
                    world.withdraw(account, token, ALL, owner)
                    got[token.address] = token.call("balanceOf", owner) - before
            return got
        finally:
            world.evm.revert(mark)

    def held(self, account: int, token: Contract) -> int:
        """What the ledger says an account has of a token, cash in wad, others raw."""
        if token is self.world.cash:
            return max(int(self.world.accounts.call("cash_of", account)), 0)
        return int(self.world.accounts.call("collateral_of", account, self.world.tokens.index(token)))

    def pay_in(self, token: Contract, amount_raw: int, owner: str = ALICE) -> int:
        """Deposit into the owner's account what it is given for that; returns what it was credited."""
        account = {ALICE: self.alice, CAROL: self.carol, BOB: self.bob, LENDER: self.lender}[owner]
        before = self.held(account, token)
        token.call("mint", owner, 2 * amount_raw)
        token.call("approve", self.world.accounts.address, amount_raw, caller=owner)
        self.world.accounts.call("deposit", account, token.address, amount_raw, caller=owner)
        return self.held(account, token) - before

    def take_out(self, token: Contract, amount_raw: int, owner: str = ALICE) -> int:
        """Withdraw; returns what the owner received."""
        account = {ALICE: self.alice, CAROL: self.carol, BOB: self.bob, LENDER: self.lender}[owner]
        before = token.call("balanceOf", owner)
        self.world.withdraw(account, token, amount_raw, owner)
        return int(token.call("balanceOf", owner) - before)

    def trade(self, lots: int = 60 * LOTS) -> None:
        """Alice buys ether perpetuals of the bidder."""
        self.world.fill(ETH_PERP, self.alice, self.bidder, lots, self.world.mark(ETH_PERP))

    def crash(self, usd: float) -> None:
        """Ether falls; pages follow."""
        world = self.world
        world.wait(61)
        world.set_price(ETH, usd)
        world.refresh()
        for u in (0, ETH):
            world.publish(u)
        world.publish_joint()


def populate(world: Protocol) -> Zoo:
    """Everybody opens an account and deposits."""
    unit = 10 ** int(world.cash.call("decimals"))
    numbers = {name: world.open_account(address_of(name)) for name in ("alice", "carol", "bob", "lender", "bidder")}
    auditor = deploy(
        world.evm, "contracts/testing/ProtocolAuditFixture.vy", world.accounts.address, world.registry.address,
        world.engine.address, WAD // unit,
    )  # fmt: skip
    zoo = Zoo(world, auditor, **numbers)
    for owner in (ALICE, CAROL):
        zoo.pay_in(zoo.ether, 100 * WAD, owner)
    zoo.pay_in(world.tokens[WBTC], 10 * 10**8, BOB)
    zoo.pay_in(world.tokens[XAU], 20 * WAD, BOB)
    zoo.pay_in(world.cash, 50_000 * unit, BOB)
    zoo.pay_in(world.cash, 1_000_000 * unit, LENDER)
    world.deposit(zoo.bidder, world.cash, 5_000_000 * unit, BIDDER)
    return zoo


__all__ = ["USD", "Reverted", "Zoo", "odd_protocol", "populate"]
