# SPDX-License-Identifier: Apache-2.0
"""A publisher's place: the whole protocol, a keeper's hand on it, what the model wants, and people with options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from keeper.act import Outcome, Result
from keeper.actions import Action
from keeper.chain.failures import reverted
from keeper.cycle import Cycle
from keeper.decide import Policy
from keeper.domain import Unknown
from keeper.errors import Reverted
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments, standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.publish.parameters import PushPolicy
from keeper.publish.signing import Publisher
from keeper.publish.triggers import PagePolicy
from keeper.recorder import Recorder
from keeper.situation import NativePrice
from keeper.store import Store, open_store
from keeper.tx.signer import LocalSigner
from risk.types import ParameterSet, Provenance, SmileModel
from risk.units import unpack_collateral, unpack_global, unpack_underlying
from tests.support.keeper_world import joint
from tests.support.protocol import DAY, ETH, HOUR, LOTS, PUBLISHER_KEY, USD, WAD, Protocol, address_of
from tests.support.protocol_chain import CHAIN_ID, Hand

SYMBOLS = ("BTC", "ETH", "SOL")
ASSETS = {0: "WETH", 1: "WBTC", 2: "XAU"}
PAGES = PagePolicy(drift_bps=300, vol_bps=1_000, heartbeat_s=6 * HOUR, validity_s=DAY)
PUSHES = PushPolicy(deadband_bps=100, heartbeat_s=DAY, max_newly_liquidatable=0, max_newly_liquidatable_wad=0)


class ProtocolClock:
    """The protocol's own time."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    def now(self) -> int:
        return self.protocol.now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a cycle does not sleep")


class HandOutbox:
    """Sends at once through a hand, as a chain that mines immediately would."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self.performed: list[Action] = []

    def perform(self, action: Action) -> Outcome:
        try:
            self.hand.act(action)
        except Reverted as error:
            raise reverted(action.kind, error.reason) from error
        self.performed.append(action)
        return Outcome(action, Result.DONE, "0xaa")

    def reconcile(self) -> tuple[Outcome, ...]:
        return ()


class Press:
    """One protocol and everything a publisher needs."""

    def __init__(self) -> None:
        self.protocol = Protocol()
        self.hand = self.new_hand()
        signer = LocalSigner.from_key(PUBLISHER_KEY, "test")
        self.publisher = Publisher(signer, CHAIN_ID, self.protocol.table.address)

    def new_hand(self) -> Hand:
        """A hand that remembers nothing."""
        return Hand(self.protocol, Policy(), self.protocol.keeper)

    def target(self, vol: float = 0.6, **under: Any) -> ParameterSet:
        """What the chain has, but for the volatility and the lanes given by underlying; observed now."""
        words = self.hand.chain.snapshot(accounts=()).parameter_words
        assert not isinstance(words, Unknown)
        lanes = {symbol: unpack_underlying(words[1, u]) for u, symbol in enumerate(SYMBOLS)}
        lanes |= {symbol: replace(lanes[symbol], **changes) for symbol, changes in under.items()}
        now = self.protocol.now
        return ParameterSet(
            global_parameters=unpack_global(words[0, 0]),
            underlyings=lanes,
            collaterals={name: unpack_collateral(words[2, asset]) for asset, name in ASSETS.items()},
            surfaces={symbol: SmileModel(vol, vol, 2.0, -0.2, 0.9) for symbol in SYMBOLS},
            joint=joint([[-127, -120, -110]], [[127, 100, 90]]),
            joint_underlyings=SYMBOLS,
            certificate=None,
            provenance=Provenance("t", "0x" + "aa" * 32, "0x" + "bb" * 32, 1, now, now - DAY, now, 24, {}),
        )

    def later(self, seconds: int) -> None:
        """Time passes, prices stay."""
        self.protocol.wait(seconds)
        self.protocol.refresh()

    def town(self, count: int, lots: float, cash_from: int, cash_step: int, instrument: int) -> list[int]:
        """Accounts short of the same option with ever more cash; returns their numbers."""
        p = self.protocol
        rich_owner = address_of("rich")
        rich = p.open_account(rich_owner)
        p.deposit(rich, p.cash, 10**9 * USD, rich_owner)
        numbers = []
        for k in range(count):
            owner = address_of(f"writer{k}")
            number = p.open_account(owner)
            p.deposit(number, p.cash, (cash_from + cash_step * k) * USD, owner)
            p.fill(instrument, rich, number, int(lots * LOTS), p.mark(instrument))
            numbers.append(number)
        return numbers

    def near_the_line(self, number: int, within_usd: int) -> None:
        """ETH rises, pages follow, until an account that is short of calls has less health than this left."""
        p = self.protocol
        while p.health(number) > within_usd * WAD:
            p.wait(60)
            p.refresh()
            p.set_price(ETH, p.quotes[ETH] + max(1, (p.health(number) // WAD - within_usd) // 2))
            p.publish(ETH)

    def store(self, folder: Path) -> Store:
        """A keeper's database."""
        return open_store(f"sqlite:///{folder / 'k.sqlite'}")

    def cycle(self, store: Store, policy: Policy, target: ParameterSet, *, send: bool = True, **extra: Any) -> Cycle:
        """A keeper's cycle; ``send`` gives it an outbox."""
        clock, metrics = ProtocolClock(self.protocol), Metrics("t", CHAIN_ID)
        return Cycle(
            chain=self.hand.chain,
            clock=clock,
            recorder=Recorder(store, CHAIN_ID),
            instruments=Instruments(metrics, HealthBoard(standing_limits(12), clock.now())),
            alerts=Alerts(metrics),
            quotes=NativePrice("ETH"),
            policy=policy,
            outbox=HandOutbox(self.hand) if send else None,
            sender=self.protocol.keeper,
            target=target,
            collateral_names=ASSETS,
            publisher=self.publisher,
            **extra,
        )
