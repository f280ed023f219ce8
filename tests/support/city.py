# SPDX-License-Identifier: Apache-2.0
"""The whole protocol with a lender, a rich account, a debtor and the keeper's own: what a keeper meets on a bad day."""

from __future__ import annotations

from keeper.decide import Policy
from tests.support.protocol import BTC, ETH, FUTURE, LOTS, PERP, SOL, USD, Protocol, address_of
from tests.support.protocol_chain import Hand

KEEPER, LENDER, DEBTOR, RICH = (address_of(name) for name in ("watchman", "lender", "debtor", "rich"))


class City:
    """The protocol with a lender, a rich account on every other side, a debtor, and the keeper's own account."""

    def __init__(self) -> None:
        self.protocol = Protocol()
        self.lender, self.rich, self.debtor, self.own = (
            self.protocol.open_account(who) for who in (LENDER, RICH, DEBTOR, KEEPER)
        )
        for account, who, usd in (
            (self.lender, LENDER, 10**6),
            (self.rich, RICH, 10**7),
            (self.own, KEEPER, 10**6),
            (self.debtor, DEBTOR, 30_000),
        ):
            self.protocol.deposit(account, self.protocol.cash, usd * USD, who)

    def hand(self, policy: Policy) -> Hand:
        """The keeper with a policy."""
        return Hand(self.protocol, policy, KEEPER)

    def trade(self, instrument: int, buyer: int, seller: int, units: float) -> None:
        """A fill at the mark."""
        self.protocol.fill(instrument, buyer, seller, int(units * LOTS), self.protocol.mark(instrument))

    def mixed_books(self) -> None:
        """Positions of every kind in three accounts."""
        p = self.protocol
        p.deposit(self.debtor, p.tokens[0], 4 * 10**18, DEBTOR)
        p.deposit(self.debtor, p.tokens[2], 3 * 10**18, DEBTOR)
        p.deposit(self.own, p.tokens[1], 2 * 10**8, KEEPER)
        self.trade(ETH << 8 | PERP, self.debtor, self.rich, 7.1234567)
        self.trade(ETH << 8 | FUTURE, self.rich, self.debtor, 3.3)
        self.trade(BTC << 8 | FUTURE, self.own, self.rich, 0.7)
        self.trade(SOL << 8 | PERP, self.rich, self.own, 55.5)
        options = sorted(p.options)
        for k, instrument in enumerate(options):
            buyer, seller = ((self.debtor, self.rich), (self.rich, self.debtor), (self.own, self.rich))[k % 3]
            self.trade(instrument, buyer, seller, 0.3 + 0.1 * k)

    def short_of_margin(self) -> None:
        """The debtor long 20 ETH, and a price at which that is below maintenance margin with equity left."""
        self.trade(ETH << 8 | PERP, self.debtor, self.rich, 20)
        self.fall(25)

    def fall(self, step_usd: int) -> None:
        """ETH falls until the debtor is below maintenance margin; the page follows."""
        p = self.protocol
        while p.health(self.debtor) >= 0:
            p.wait(60)
            p.refresh()
            p.set_price(ETH, p.quotes[ETH] - step_usd)
            p.publish(ETH)
        assert p.assess(self.debtor)["equity_mark"] > 0
