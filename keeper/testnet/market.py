# SPDX-License-Identifier: Apache-2.0
"""Prices that move: a recorded or simulated path, played at a chosen speed, and crashes on demand."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from eth_account.signers.local import LocalAccount
from web3 import Web3

from keeper.artifacts import load
from keeper.demo.market import HOUR, MarketPath, recorded_path
from keeper.errors import Permanent
from risk.market.history import PriceHistory
from risk.market.synthetic import simulate, warmup

SYMBOLS = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 140.0}
PAST_HOURS = 24 * 180
AHEAD_HOURS = 24 * 30
DECIMALS = 8  # of Chainlink's USD feeds
UNDERLYING = 0
GAS = 300_000
Clock = Callable[[], float]


def simulated(seed: int, now: int, start: dict[str, float]) -> MarketPath:
    """Six simulated months up to ``now`` (unix s), and a month ahead without a scripted crash."""
    rng = np.random.default_rng(seed)
    end_ts = now // HOUR * HOUR - HOUR
    prices = list(start.values())
    past = warmup(tuple(start), PAST_HOURS, prices, rng, end_ts=end_ts)
    ahead = simulate(tuple(start), AHEAD_HOURS, prices, rng, start_ts=end_ts + HOUR)
    return MarketPath(past, ahead, f"simulated, seed {seed}: stochastic volatility with jumps")


def recorded(folder: Path, now: int) -> MarketPath:
    """The worst days of a folder of hourly prices, their times moved so that they begin now."""
    path = recorded_path(folder)
    shift = now // HOUR * HOUR - int(path.hours.ts[0])
    return MarketPath(_moved(path.past, shift), _moved(path.hours, shift), f"{path.source}, moved to now")


def _moved(history: PriceHistory, shift: int) -> PriceHistory:
    return PriceHistory(history.symbols, history.ts + shift, history.close, history.volume, history.interval_s)


@dataclass(frozen=True, slots=True)
class Fall:
    """Every price falls by ``size`` (0..1) in ``seconds``, and stays there; a negative size is a rise."""

    size: float
    seconds: float
    began: float

    def factor(self, now: float) -> float:
        """What prices are multiplied by at a time."""
        done = min(1.0, max(0.0, (now - self.began) / self.seconds)) if self.seconds > 0 else 1.0
        return math.exp(math.log1p(-self.size) * done)


@dataclass
class Tape:
    """A path as a function of real time.

    Attributes
    ----------
    speed : hours of the path in one real hour.
    start : where the path was picked up, USD by underlying in their order; the path is scaled to begin there.
    """

    hours: PriceHistory
    start: Sequence[float]
    speed: float
    falls: list[Fall] = field(default_factory=list)

    def prices(self, began: float, now: float) -> list[float]:
        """Prices at a real time, USD: the path's logarithm straight between its bars, its last price after its end."""
        position = min(max(0.0, (now - began) / HOUR * self.speed), len(self.hours.ts) - 1.0)
        left = min(int(position), len(self.hours.ts) - 2)
        logs = np.log(self.hours.close)
        level = logs[left] + (position - left) * (logs[left + 1] - logs[left]) - logs[0]
        falls = math.prod(fall.factor(now) for fall in self.falls)
        return [float(price * math.exp(move) * falls) for price, move in zip(self.start, level, strict=True)]


class Feeds:
    """Writes rounds of the test aggregators, all of them in one block where it may be."""

    def __init__(self, web3: Web3, addresses: dict[tuple[int, int], str], operator: LocalAccount) -> None:
        abi = load("MockAggregator").abi
        self._web3 = web3
        self._operator = operator
        self._chain_id = web3.eth.chain_id
        self._feeds = [
            web3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)
            for (kind, _), address in sorted(addresses.items())
            if kind == UNDERLYING
        ]

    def last(self) -> list[float]:
        """The prices written last, USD."""
        return [feed.functions.latestRoundData().call()[1] / 10**DECIMALS for feed in self._feeds]

    def write(self, prices: Sequence[float]) -> None:
        """Write one round of each feed and wait until they are mined."""
        eth = self._web3.eth
        nonce = eth.get_transaction_count(self._operator.address, "pending")
        base = eth.get_block("latest").get("baseFeePerGas", 10**9)
        sent = []
        for k, (feed, price) in enumerate(zip(self._feeds, prices, strict=True)):
            call = feed.functions.set_answer(round(price * 10**DECIMALS))
            fields = {
                "chainId": self._chain_id,
                "nonce": nonce + k,
                "gas": GAS,
                "maxFeePerGas": 2 * base + 10**9,
                "maxPriorityFeePerGas": 10**9,
                "value": 0,
                "to": feed.address,
                "data": call._encode_transaction_data(),
            }
            sent.append(eth.send_raw_transaction(self._operator.sign_transaction(fields).raw_transaction))
        for item in sent:
            if eth.wait_for_transaction_receipt(item, timeout=60)["status"] != 1:
                raise Permanent(f"a feed refused its price in transaction {item.to_0x_hex()}; look at the node's log")


class Driver:
    """Plays a tape to the feeds in a thread of its own until stopped; takes orders to crash from a file."""

    def __init__(self, tape: Tape, feeds: Feeds, orders: Path, tick_s: float, clock: Clock) -> None:
        self._tape, self._feeds, self._orders = tape, feeds, orders
        self._tick_s, self._clock = tick_s, clock
        self._stop = threading.Event()
        self.error: Exception | None = None
        self.last: list[float] = list(tape.start)
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round in progress."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        began = self._clock()
        try:
            while not self._stop.is_set():
                now = self._clock()
                order = take_order(self._orders, now)
                if order is not None:
                    self._tape.falls.append(order)
                self.last = self._tape.prices(began, now)
                self._feeds.write(self.last)
                self._stop.wait(self._tick_s)
        except Exception as error:  # noqa: BLE001  (raised again by whoever watches the processes)
            self.error = error


def take_order(path: Path, now: float) -> Fall | None:
    """The order in the file, which is removed; None without one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
    except FileNotFoundError:
        return None
    return Fall(float(data["size"]), float(data["seconds"]), now)
