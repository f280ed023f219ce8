# SPDX-License-Identifier: Apache-2.0
"""ERC-777-style hooks: a holder's code runs while its tokens move, and calls every external function there is.

Nothing that it can do in there moves anybody else's money; no view says in there what is true neither before nor after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from eth_abi import encode, is_encodable
from eth_utils import function_abi_to_4byte_selector
from eth_utils.abi import collapse_if_tuple

from tests.support.protocol import DAY, ETH, LOTS, USD, WAD, ZERO, Reverted, address_of
from tests.support.revm import Contract, deploy
from tests.support.token_zoo import ALL, ETH_PERP, Zoo, odd_protocol, populate

STAKER: Final = address_of("staker")
CONTRACTS: Final = (
    "accounts", "auction", "desk", "fund", "table", "engine", "lens", "registry", "parameters", "oracle",
)  # fmt: skip
VIEWS: Final = {"view", "pure"}


@dataclass(frozen=True)
class Stage:
    """The zoo, a holder whose code runs in hooks, and its two accounts."""

    zoo: Zoo
    desk: Contract
    holder: Contract
    mallory: int
    second: int

    def contract(self, name: str) -> Contract:
        return self.desk if name == "desk" else getattr(self.zoo.world, name)

    def execute(self, target: Contract, function: str, *arguments: Any) -> None:
        """The holder calls."""
        self.holder.call("execute", target.address, payload(target, function, arguments))

    def view(self, name: str, function: str) -> bytes | None:
        """What a view says now, raw and cut as the holder remembers it; None = it reverts."""
        contract = self.contract(name)
        try:
            data = self.zoo.world.evm.message_call(
                caller=self.zoo.world.stranger, to=contract.address, is_static=True, gas=30_000_000,
                calldata=payload(contract, function, arguments_of(self, contract, name, function)),
            )  # fmt: skip
        except RuntimeError:
            return None
        return bytes(data)[:512]


def payload(contract: Contract, function: str, arguments: tuple[Any, ...]) -> bytes:
    item = contract.functions[function]
    types = [collapse_if_tuple(dict(i)) for i in item["inputs"]]
    return bytes(function_abi_to_4byte_selector(item)) + encode(types, arguments)


def arguments_of(stage: Stage, contract: Contract, name: str, function: str) -> tuple[Any, ...]:
    """The worst arguments that fit the names, else the dullest that fit the types."""
    zoo, world = stage.zoo, stage.zoo.world
    fill = (ETH_PERP, stage.mallory, zoo.bob, LOTS, 3_000 * WAD, 0, 0)
    known: dict[str, Any] = {
        "account": zoo.alice if name == "auction" else stage.mallory,
        "bidder": stage.mallory, "bidder_account": stage.mallory, "reward_account": stage.mallory,
        "from_account": stage.mallory, "to_account": stage.second, "owner": stage.holder.address,
        "receiver": stage.holder.address, "to": stage.holder.address, "spender": stage.holder.address,
        "token_": zoo.ether.address, "token": zoo.ether.address, "amount_raw": USD, "amount": USD, "assets": 500 * USD,
        "shares": 500 * USD * 10**6, "fraction_wad": WAD, "max_price_wad": 2**255 - 1, "expected_nonce": ALL,
        "fill": fill, "instrument": ETH_PERP, "underlying": ETH, "expires_at": world.now + DAY, "rights": 7,
        "accounts": [zoo.alice], "operator": stage.holder.address, "publisher": stage.holder.address,
    }  # fmt: skip
    if function == "batch":
        withdrawal = (stage.mallory, zoo.ether.address, WAD, stage.holder.address)
        return ([payload(contract, "withdraw", withdrawal)],)
    if (name, function) == ("fund", "transferFrom"):
        known["owner"] = STAKER
    inputs = contract.functions[function]["inputs"]
    return tuple(
        known[i["name"]]
        if i["name"] in known and is_encodable(collapse_if_tuple(dict(i)), known[i["name"]])
        else dull(i)
        for i in inputs
    )


def dull(item: dict[str, Any]) -> Any:
    kind: str = item["type"]
    if kind.endswith("]"):
        fixed = kind[kind.rindex("[") + 1 : -1]
        one = dull({**item, "type": kind[: kind.rindex("[")]})
        return [one] * int(fixed or 0)
    if kind.startswith("tuple"):
        return tuple(dull(part) for part in item["components"])
    zeros: dict[str, Any] = {"address": ZERO, "bool": False, "string": "", "bytes": b"", "bytes32": bytes(32)}
    return zeros.get(kind, bytes(int(kind[5:])) if kind.startswith("bytes") and kind != "bytes" else 0)


@pytest.fixture(scope="module")
def staged() -> Stage:
    zoo = populate(odd_protocol())
    world = zoo.world
    holder = deploy(world.evm, "contracts/testing/ReentrantHolder.vy")
    desk = deploy(
        world.evm, "contracts/SignedTradeVenue.vy", world.governance, world.accounts.address, world.registry.address
    )
    world.govern(world.accounts, "set_venue", desk.address, True)
    mallory, second = (int(world.accounts.call("open_account", holder.address)) for _ in range(2))
    stage = Stage(zoo, desk, holder, mallory, second)
    for token, amount in ((zoo.ether, 50 * WAD), (zoo.cash, 50_000 * USD)):
        token.call("mint", holder.address, 2 * amount)
        for spender in (world.accounts, world.fund, world.table):
            stage.execute(token, "approve", spender.address, ALL)
        stage.execute(world.accounts, "deposit", mallory, token.address, amount)
    world.stake(1_000 * USD, STAKER)
    stage.execute(world.fund, "deposit", 1_000 * USD, holder.address)
    stage.execute(world.fund, "announce_exit", 1_000 * USD * 10**6)
    # alice is insolvent, her auction has run for a while, and the holder's exit is open
    zoo.take_out(zoo.cash, 70_000 * USD)
    zoo.trade()
    world.wait(3 * DAY)
    zoo.crash(1_400)
    return stage


@pytest.fixture
def stage(staged: Stage) -> Iterator[Stage]:
    mark = staged.zoo.world.evm.snapshot()
    yield staged
    staged.zoo.world.evm.revert(mark)


def insolvent(stage: Stage) -> None:
    world = stage.zoo.world
    stage.execute(world.auction, "start", stage.zoo.alice, 0)
    for _ in range(20):
        world.wait(60)
        world.refresh()
        world.auction.call("tick", stage.zoo.alice)


def bid(stage: Stage) -> None:
    stage.zoo.world.auction.call("bid", stage.zoo.alice, stage.zoo.bidder, WAD, 0, 0, ALL, caller=address_of("bidder"))


# a call during which a token with hooks moves, and that token
ENTRIES: Final[dict[str, tuple[str, Callable[[Stage], Any]]]] = {
    "deposit": (
        "ether",
        lambda s: s.execute(s.zoo.world.accounts, "deposit", s.mallory, s.zoo.ether.address, WAD),
    ),
    "deposit of cash": (
        "cash",
        lambda s: s.execute(s.zoo.world.accounts, "deposit", s.mallory, s.zoo.cash.address, USD),
    ),
    "withdrawal": (
        "ether",
        lambda s: s.execute(
            s.zoo.world.accounts, "withdraw", s.mallory, s.zoo.ether.address, WAD, s.holder.address
        ),
    ),
    "withdrawal of cash": (
        "cash",
        lambda s: s.execute(s.zoo.world.accounts, "withdraw", s.mallory, s.zoo.cash.address, USD, s.holder.address),
    ),
    "cover": ("cash", bid),
    "stake": ("cash", lambda s: s.execute(s.zoo.world.fund, "deposit", 100 * USD, s.holder.address)),
    "exit": (
        "cash",
        lambda s: s.execute(
            s.zoo.world.fund, "redeem", 10 * USD * 10**6, s.holder.address, s.holder.address
        ),
    ),
    "bond": ("cash", lambda s: s.execute(s.zoo.world.table, "deposit_bond", s.holder.address, USD)),
}  # fmt: skip


def reenter(stage: Stage, entry: str, when: str, name: str, function: str) -> bytes | None:
    """Run the entry with one call from its hook; returns what that call returned, None if it failed."""
    contract = stage.contract(name)
    token, act = ENTRIES[entry]
    holder = stage.holder
    holder.call("arm", contract.address, payload(contract, function, arguments_of(stage, contract, name, function)))
    hooks = (holder.address, ZERO) if when == "before" else (ZERO, holder.address)
    getattr(stage.zoo, token).call("set_hooks", *hooks)
    act(stage)
    assert holder.call("runs") >= 1
    return bytes(holder.call("returned")) if holder.call("succeeded") else None


def functions(stage: Stage, *, views: bool) -> list[tuple[str, str]]:
    return [
        (name, function)
        for name in CONTRACTS
        for function, item in stage.contract(name).functions.items()
        if (item["stateMutability"] in VIEWS) == views
    ]


def sweep(stage: Stage, entry: str, when: str, *, views: bool) -> Iterator[tuple[str, str, bytes | None]]:
    world = stage.zoo.world
    for name, function in functions(stage, views=views):
        mark = world.evm.snapshot()
        try:
            yield name, function, reenter(stage, entry, when, name, function)
        except Reverted as error:
            yield name, function, str(error).encode()
        finally:
            world.evm.revert(mark)


# ------------------------------------------------------------------ what others have


def wealth(stage: Stage) -> dict[str, int]:
    """What those have who do nothing: equity at mark, and a share of the fund."""
    zoo, fund = stage.zoo, stage.zoo.world.fund
    equities = zoo.audit()["equities"]
    found = {name: int(equities[getattr(zoo, name)]) for name in ("carol", "bob", "lender", "bidder")}
    return found | {"staker": int(fund.call("convertToAssets", fund.call("balanceOf", STAKER)))}


# succeed while the ledger's own tokens move: they change nothing of the ledger. An auction starts on what `state` says,
# which is written before tokens leave and after they came
HARMLESS: Final = {
    "auction.start",
    "desk.cancel_nonces", "fund.approve", "fund.transfer", "fund.deposit", "fund.mint", "fund.announce_exit",
    "fund.withdraw", "fund.redeem", "table.deposit_bond", "parameters.sync_peg", "oracle.record",
}  # fmt: skip
LEDGER_ENTRIES: Final = ("deposit", "deposit of cash", "withdrawal", "withdrawal of cash")


def prepare(stage: Stage, entry: str) -> None:
    if entry == "cover":
        insolvent(stage)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("entry", LEDGER_ENTRIES)
def test_the_ledger_is_locked_while_its_tokens_move(stage: Stage, entry: str, when: str) -> None:
    """No function of the ledger, and none that needs it: neither auction nor venue nor a reading of an account."""
    done = {f"{name}.{f}" for name, f, out in sweep(stage, entry, when, views=False) if out is not None}
    assert done <= HARMLESS
    assert not done & {f"accounts.{name}" for name in stage.contract("accounts").functions}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_call_from_a_hook_takes_from_anybody(stage: Stage, entry: str, when: str) -> None:
    """Each function in each hook: the books hold, and who does nothing has what it has without that call."""
    world = stage.zoo.world
    prepare(stage, entry)
    mark = world.evm.snapshot()
    ENTRIES[entry][1](stage)
    without = wealth(stage)
    world.evm.revert(mark)
    poorer = {}
    for name, function in functions(stage, views=False):
        inner = world.evm.snapshot()
        try:
            reenter(stage, entry, when, name, function)
            have = wealth(stage)
            lost = {who: without[who] - have[who] for who in have if have[who] < without[who] - 1}
            if lost or stage.zoo.faults():
                poorer[f"{name}.{function}"] = lost | stage.zoo.faults()
        except Reverted:
            pass  # the whole call came to nothing
        finally:
            world.evm.revert(inner)
    assert poorer == {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_view_says_in_a_hook_what_is_never_true(stage: Stage, entry: str, when: str) -> None:
    """Read-only re-entry: each view reverts, or says what it says before the call or after it."""
    world = stage.zoo.world
    prepare(stage, entry)
    halfway = []
    views = functions(stage, views=True)
    before = {key: stage.view(*key) for key in views}
    mark = world.evm.snapshot()
    ENTRIES[entry][1](stage)
    after = {key: stage.view(*key) for key in views}
    world.evm.revert(mark)
    for name, function in views:
        inner = world.evm.snapshot()
        said = reenter(stage, entry, when, name, function)
        world.evm.revert(inner)
        if said is not None and said not in {before[name, function], after[name, function]}:
            halfway.append(f"{name}.{function}")
    assert halfway == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("entry", ["stake", "exit", "cover"])
def test_nothing_of_the_fund_can_be_priced_while_its_tokens_move(stage: Stage, entry: str, when: str) -> None:
    """Assets and shares change one after the other: no view tells a price in between, and all do once it is over."""
    views = (
        "totalAssets", "convertToShares", "convertToAssets", "previewDeposit", "previewMint", "previewWithdraw",
        "previewRedeem", "maxWithdraw", "maxRedeem",
    )  # fmt: skip
    prepare(stage, entry)
    for function in views:
        inner = stage.zoo.world.evm.snapshot()
        assert reenter(stage, entry, when, "fund", function) is None
        assert stage.view("fund", function) is not None
        stage.zoo.world.evm.revert(inner)
