# SPDX-License-Identifier: Apache-2.0
"""Gas of the margin calls on a real deployment, every account and slot cold; `--json` prints plain numbers.

Contracts are compiled from source and deployed whole (accounts, registry, oracle, parameters, table, engine, feeds,
tokens) into revm (pyrevm, by `keeper.chain.revm_state`, which runs every message with empty access lists, like a
transaction on a node). Except for `publish_253`, which is a whole transaction, a figure is the gas of the call:
transaction gas less the 21,000 and the calldata that every transaction pays.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from eth_abi.abi import decode, encode
from eth_account import Account
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector
from eth_utils.crypto import keccak
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from keeper.chain.revm_state import BlockContext, Message, RevmState  # noqa: E402
from scripts.export_abi import compile_one  # noqa: E402

TARGETS = {
    "assess_16opt_1u": 130_000,
    "assess_128opt_1u": 420_000,
    "assess_16opt_last_day": 300_000,
    "assess_16opt_2u_64j": 200_000,
    "assess_4perp_4coll_4u": 250_000,
    "assess_at_16opt": 90_000,
    "publish_253": 5_700_000,
    "deposit_4coll": 90_000,
    "withdraw_4coll": 250_000,
}

WAD = 10**18
LOTS = 10**6
GAS = 100_000_000
HOUR = 3_600
# an hour boundary, so that expiries need no rounding
NOW = 1_800_000_000 // HOUR * HOUR
SPOT = 3_000
UNDERLYINGS = 4
ROWS = 253
EXPIRY = NOW + 720 * HOUR
ME, ALICE, NOBODY = b"\x11" * 20, b"\x22" * 20, bytes(20)
PUBLISHER = Account.from_key(b"\x01" * 32)
UNDERLYING_WORD = (3_000, 4_000, 3_000, 3_000, 20, 5, 10, 10, 5_000, 50, 100, 500)
COLLATERAL_WORD = (1_500, 1_000, 100, 500, 50)
GLOBAL_WORD = (12_000, 10_000, 12_000, 3_000, 20)
# as the header of a row says it: twelve hours after the observation's
LAST_DAY_HOUR = 13
# a new asset counts fully after this long
RAMPED_S = 4 * 24 * HOUR


def pack(lanes: tuple[int, ...]) -> int:
    """Sixteen-bit lanes from the lowest bits."""
    return sum(lane << (16 * k) for k, lane in enumerate(lanes))


@dataclass(slots=True)
class World:
    """A chain with the contracts on it; every call is a transaction of its own."""

    state: RevmState = field(default_factory=lambda: RevmState(1, GAS))
    now: int = NOW
    compiled: dict[str, dict[str, Any]] = field(default_factory=dict)
    contracts: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    owners: dict[str, bytes] = field(default_factory=dict)
    nonce: int = 0

    def _run(self, sender: bytes, to: bytes, data: bytes, keep: bool) -> tuple[int, bytes]:
        block = BlockContext(number=1, timestamp=self.now, gas_limit=GAS, coinbase=b"\xcc" * 20, prevrandao=bytes(32))
        outcome, diff = self.state.execute(Message(sender, to, data, 0, GAS), block)
        if not outcome.success:
            raise SystemExit(f"a call of the benchmark reverted: {outcome.output!r} {outcome.halt or ''}")
        if keep:
            self.state.apply(diff)
        return outcome.gas_used, outcome.output

    def deploy(self, name: str, artifact: str, *args: Any) -> bytes:
        """Compile (once), create, remember under ``name``; returns the address."""
        if artifact not in self.compiled:
            folder = ROOT / "contracts"
            path = folder / f"{artifact}.vy"
            self.compiled[artifact] = compile_one(path if path.exists() else folder / "testing" / f"{artifact}.vy")
        output = self.compiled[artifact]
        inputs: list[Any] = next((item["inputs"] for item in output["abi"] if item["type"] == "constructor"), [])
        types = [collapse_if_tuple(item) for item in inputs]
        sender = (1000 + self.nonce).to_bytes(20, "big")
        self.nonce += 1
        code = bytes.fromhex(output["bytecode"][2:]) + encode(types, args)
        block = BlockContext(number=1, timestamp=self.now, gas_limit=GAS, coinbase=b"\xcc" * 20, prevrandao=bytes(32))
        outcome, diff = self.state.execute(Message(sender, b"", code, 0, GAS), block)
        if not outcome.success:
            raise SystemExit(f"{artifact} cannot be deployed: {outcome.output!r} {outcome.halt or ''}")
        self.state.apply(diff)
        address = next(a for a, (_, after) in diff.accounts.items() if after.code == outcome.output)
        self.contracts[name] = (address, artifact)
        self.owners[name] = sender
        return address

    def address(self, name: str) -> bytes:
        """Address of a deployed contract."""
        return self.contracts[name][0]

    def item(self, name: str, function: str, count: int) -> Any:
        """ABI item of a function with so many arguments."""
        abi = self.compiled[self.contracts[name][1]]["abi"]
        if name == "accounts":
            # which passes what it does not know on to its extension
            abi = [*abi, *self.compiled["MarginAccountsExtension"]["abi"]]
        return next(i for i in abi if i.get("name") == function and len(i["inputs"]) == count)

    def call(self, name: str, function: str, *args: Any, sender: bytes = ME, keep: bool = True) -> tuple[int, int, Any]:
        """Send a transaction; returns its gas, the gas of the call alone, and what the function returned."""
        item = self.item(name, function, len(args))
        types = [collapse_if_tuple(part) for part in item["inputs"]]
        data = function_abi_to_4byte_selector(item) + encode(types, args)
        gas, output = self._run(sender, self.address(name), data, keep)
        zeros = data.count(0)
        found = decode([collapse_if_tuple(part) for part in item["outputs"]], output)
        return gas, gas - 21_000 - 4 * zeros - 16 * (len(data) - zeros), found[0] if len(found) == 1 else found


def deploy_protocol(world: World) -> None:
    """All contracts that a margin call touches, wired; governance, guardian, keeper and venue are one key."""
    cash = world.deploy("cash", "TestToken", "USD Coin", "USDC", 6)
    oracle = world.deploy("oracle", "PriceOracle", ME, NOBODY, 0)
    registry = world.deploy("registry", "InstrumentRegistry", ME, oracle)
    parameters = world.deploy("parameters", "RiskParameters", ME, ME, oracle)
    table = world.deploy("table", "RiskTable", ME, ME, registry, oracle, parameters, cash)
    extension = world.deploy("extension", "MarginAccountsExtension", cash, registry, oracle)
    accounts = world.deploy("accounts", "MarginAccounts", ME, ME, cash, registry, oracle, extension)
    engine = world.deploy("engine", "MarginEngine", accounts, registry, oracle, parameters, table)
    fund = world.deploy("fund", "InsuranceFund", ME, accounts, cash)
    auction = world.deploy("auction", "LiquidationAuction", ME, accounts, engine, fund, parameters, oracle, 255)
    world.call("registry", "set_accounts", accounts)
    world.call("accounts", "set_auction", auction)
    world.call("accounts", "set_engine", engine)
    world.call("accounts", "set_table", table)
    world.call("accounts", "set_venue", ME, True)
    world.call("table", "set_publisher", PUBLISHER.address, True)
    for kind, word in enumerate((GLOBAL_WORD, UNDERLYING_WORD, COLLATERAL_WORD)):
        world.call("parameters", "set_bounds", kind, pack(word), pack(word), 0, 0)
    world.call("parameters", "initialise", 0, 0, pack(GLOBAL_WORD))


def list_markets(world: World) -> None:
    """Four underlyings with a perpetual and a linked asset each; 253 options on the first, 16 on two others.

    An asset is priced by the feed of the underlying it is linked to, which is what a deployment does by default.
    """
    for u in range(UNDERLYINGS):
        feed = world.deploy(f"feed {u}", "MockAggregator", 8, SPOT * 10**8)
        config = (feed, 24 * HOUR, 48 * HOUR, NOBODY, 0, NOBODY, 0, 0, 0)
        world.call("oracle", "set_feed", 0, u, config)
        world.call("oracle", "share_feed", u, u)
        for kind in (0, 1):
            world.call("parameters", "initialise", kind + 1, u, pack((UNDERLYING_WORD, COLLATERAL_WORD)[kind]))
        world.call("registry", "list_underlying", f"U{u}", True)
        token = world.deploy(f"token {u}", "TestToken", f"Token {u}", f"T{u}", 18)
        world.call("accounts", "list_collateral", token, u + 1, 10**6 * WAD, 10**6 * WAD)
    for u, count in ((0, ROWS), (1, 16), (2, 16)):
        for k in range(count):
            strike = (SPOT + 10 * (k - count // 2)) * WAD
            world.call("registry", "list_option", u, EXPIRY, strike, k % 2 == 0)


def rows(count: int, hour: int = 0) -> bytes:
    """Rows with values of every size; what they mean does not matter to gas, but for the hour of the expiry."""
    rng = Random(7)  # noqa: S311
    words = bytearray(b"".join(rng.randbytes(32) for _ in range(3 * count)))
    for k in range(count):
        words[96 * k + 64] = words[96 * k + 64] & 7 | hour << 3
    return bytes(words)


def refresh(world: World) -> None:
    """Every feed says the same price again, now."""
    for u in range(UNDERLYINGS):
        world.call(f"feed {u}", "set_answer", SPOT * 10**8, world.now, sender=world.owners[f"feed {u}"])
        for kind in (0, 1):
            world.call("oracle", "record", kind, u)


def sign(digest: bytes) -> list[tuple[str, bytes]]:
    """The one publisher's signature, as the table takes it."""
    return [(PUBLISHER.address, bytes(PUBLISHER.unsafe_sign_hash(digest).signature))]


def publish(world: World, underlying: int, count: int, hour: int = 0) -> int:
    """Publish the next page; returns the transaction's gas."""
    header = (
        world.call("table", "last_epoch", underlying, keep=False)[2] + 1, world.now, world.now + 12 * HOUR,
        SPOT * WAD, SPOT * WAD // 60_000, UNDERLYING_WORD[0] * 10**5 // 12, 6_000, *UNDERLYING_WORD[1:4],
        UNDERLYING_WORD[9], b"\x01" * 32, b"\x02" * 32,
    )  # fmt: skip
    surfaces = [(EXPIRY - (7 - k) * HOUR, WAD, WAD, WAD // 100, WAD // 10, -WAD // 2, 0, WAD // 10) for k in range(8)]
    data = rows(count, hour)
    digest = world.call("table", "page_digest", underlying, header, surfaces, keccak(data), keep=False)[2]
    return world.call("table", "publish", underlying, header, surfaces, data, sign(digest))[0]


def publish_joint(world: World) -> None:
    """Sixty-four scenarios over all underlyings."""
    content = (1, world.now, world.now + 24 * HOUR, b"\x01" * 32, b"\x02" * 32, Random(11).randbytes(2_048))  # noqa: S311
    digest = world.call("table", "joint_digest", *content, keep=False)[2]
    world.call("table", "publish_joint", *content, sign(digest))


def fund(world: World, who: bytes, token: str, amount: int) -> None:
    """Give tokens and an allowance."""
    world.call(token, "mint", who, amount)
    world.call(token, "approve", world.address("accounts"), 2**255, sender=who)


def open_account(world: World) -> int:
    """An account of Alice's with 30 million of cash."""
    account = int(world.call("accounts", "open_account", ALICE)[2])
    world.call("accounts", "deposit", account, world.address("cash"), 30 * 10**12, sender=ALICE)
    return account


def trade(world: World, account: int, maker: int, instrument: int) -> None:
    """One unit, bought or sold by turns."""
    long = instrument % 2 == 0
    buyer, seller = (account, maker) if long else (maker, account)
    price = world.call("engine", "price_band", instrument, keep=False)[2][0]
    world.call("accounts", "apply_fill", (instrument, buyer, seller, LOTS, price, 0, 0))


def build() -> tuple[World, dict[str, int], int]:
    """The deployment, the accounts by what they hold, and the gas of publishing a full page again."""
    world = World()
    deploy_protocol(world)
    list_markets(world)
    world.now += RAMPED_S
    refresh(world)
    publish(world, 0, ROWS)
    publish(world, 1, 16)
    publish(world, 2, 16, LAST_DAY_HOUR)
    publish_joint(world)
    world.now += 120
    published = publish(world, 0, ROWS)
    fund(world, ALICE, "cash", 10**18)
    for u in range(UNDERLYINGS):
        fund(world, ALICE, f"token {u}", 1_000 * WAD)
    books = {
        "16 options": range(16),
        "128 options": range(128),
        "16 options in their last day": [2 << 8 | k for k in range(16)],
        "16 options on two": [u << 8 | k for u in (0, 1) for k in range(8)],
        "4 perpetuals": [u << 8 | 255 for u in range(UNDERLYINGS)],
        "debt": [],
    }
    accounts = {name: open_account(world) for name in books}
    for name in ("4 perpetuals", "debt"):
        for u in range(UNDERLYINGS):
            world.call("accounts", "deposit", accounts[name], world.address(f"token {u}"), 10 * WAD, sender=ALICE)
    borrowed = 30_000_000 + 20_000
    world.call("accounts", "withdraw", accounts["debt"], world.address("cash"), borrowed * 10**6, ALICE, sender=ALICE)
    for name, instruments in books.items():
        # an account holds at most 128 positions, so each book has a maker of its own
        maker = open_account(world)
        for instrument in instruments:
            trade(world, accounts[name], maker, instrument)
    return world, accounts, published


def measure() -> Iterator[tuple[str, int]]:
    """Each figure by its key."""
    world, accounts, published = build()
    world.now += 60
    for key, name in (
        ("assess_16opt_1u", "16 options"),
        ("assess_128opt_1u", "128 options"),
        ("assess_16opt_last_day", "16 options in their last day"),
        ("assess_16opt_2u_64j", "16 options on two"),
        ("assess_4perp_4coll_4u", "4 perpetuals"),
    ):
        yield key, world.call("engine", "assess", accounts[name], keep=False)[1]
    yield "assess_at_16opt", world.call("engine", "assess_at", accounts["16 options"], 64, keep=False)[1]
    yield "publish_253", published
    account, token = accounts["debt"], world.address("token 0")
    yield "deposit_4coll", world.call("accounts", "deposit", account, token, WAD, sender=ALICE, keep=False)[1]
    yield "withdraw_4coll", world.call("accounts", "withdraw", account, token, WAD, ALICE, sender=ALICE, keep=False)[1]


def main() -> int:
    """Print the figures; with ``--check``, returns 1 when one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="plain numbers by key")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a figure misses its target")
    options = parser.parse_args()
    figures = dict(measure())
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        table = Table("call", "gas", "target", "", title="Gas, cold state, revm (pyrevm)")
        for key, gas in figures.items():
            verdict = "[green]met[/]" if gas <= TARGETS[key] else "[red]missed[/]"
            table.add_row(key, f"{gas:,}", f"{TARGETS[key]:,}", verdict)
        Console().print(table)
    return 1 if options.check and any(gas > TARGETS[key] for key, gas in figures.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
