# SPDX-License-Identifier: Apache-2.0
"""The whole protocol, real contracts only, in an EVM in this process: for attacks, replays and fuzzing.

Three underlyings (BTC, ETH, SOL) with perpetuals, the first two with options; ether (linked), bitcoin (linked) and gold
(no link) as collateral; cash with 6 decimals. Governance, guardian, keeper, venue and publisher are separate addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_account import Account
from eth_utils import function_signature_to_4byte_selector
from pyrevm import BlockEnv

from keeper.publish.tables import surface_slice
from risk.page import PackedPage, build_page
from risk.types import OptionSpec, UnderlyingParameters
from risk.units import pack_lanes, unpack_underlying
from tests.support.revm import Contract, Reverted, compiled, deploy, new_evm

WAD, LOTS, USD = 10**18, 10**6, 10**6
HOUR, DAY = 3_600, 86_400
START = 1_800_000_000 // HOUR * HOUR
PERP, FUTURE = 255, 254
ANY_NONCE = 2**256 - 1
ZERO = "0x" + "0" * 40
BTC, ETH, SOL = 0, 1, 2
SPOTS = (60_000, 3_000, 150)
# asset: (symbol, decimals, linked underlying or None, price of an unlinked one)
ASSETS: tuple[tuple[str, int, int | None, int], ...] = (
    ("WETH", 18, ETH, 0),
    ("WBTC", 8, BTC, 0),
    ("XAU", 18, None, 2_000),
)
ROLES = ("governance", "guardian", "keeper", "venue", "stranger")
PUBLISHER_KEY = b"\x07" * 32
#                     scan   up     down   power  delta option basis drift depth short vol  band
UNDERLYING_WORD = (2_400, 4_000, 2_500, 3_000, 20, 10, 25, 10, 5_000, 100, 400, 500)
COLLATERAL_WORD = (800, 500, 50, 500, 300)
GLOBAL_WORD = (12_500, 10_000, 15_000, 2_500, 10)
_WIDEST = 65_535
_HIGHEST = (
    (20_000, 15_000, 30_000, 10_000, 1_000),
    (9_000, 15_000, 9_000, 10_000, 500, 500, 500, 200, _WIDEST, 1_000, 5_000, 5_000),
    (10_000, 10_000, 2_000, _WIDEST, 5_000),
)
_LOWEST = ((10_000, 10_000, 10_000, 500, 0), (500, 500, 500, 0, 1, 0, 0, 0, 1, 0, 50, 50), (50, 0, 0, 1, 0))
ASSESSMENT = (
    "equity_mark", "equity_im", "equity_mm", "im", "mm", "market_risk", "charges", "worst_joint", "flags", "doubt",
    "scans",
)  # fmt: skip


def address_of(name: str) -> str:
    """A fixed address for an actor."""
    return "0x" + name.encode().hex().ljust(40, "1")[:40]


def at(name: str) -> tuple[dict[str, Any], ...]:
    """ABI of a contract."""
    return compiled(f"contracts/{name}.vy")[1]


@dataclass
class Protocol:
    """Every contract as an attribute; ``now`` is the time of the next call."""

    evm: Any = field(default_factory=new_evm)
    now: int = START
    options: dict[int, tuple[int, int, bool]] = field(default_factory=dict)
    quotes: list[int] = field(default_factory=lambda: list(SPOTS))

    def __post_init__(self) -> None:
        self.governance, self.guardian, self.keeper, self.venue, self.stranger = map(address_of, ROLES)
        self.publisher = Account.from_key(PUBLISHER_KEY).address
        self._block()
        self._deploy()
        self._wire()
        self._list()
        # collateral counts in full only when its listing ramp has passed
        self.wait(4 * DAY)
        self.refresh()
        for u in (BTC, ETH):
            self.publish(u)
        self.publish_joint()

    # ------------------------------------------------------------------ set-up

    def _deploy(self) -> None:
        evm, gov = self.evm, self.governance
        self.cash = deploy(evm, "contracts/testing/TestToken.vy", "US Dollar", "USD", 6)
        self.tokens = [deploy(evm, "contracts/testing/TestToken.vy", s, s, d) for s, d, _, _ in ASSETS]
        self.oracle = deploy(evm, "contracts/PriceOracle.vy", gov, ZERO, 0)
        self.registry = deploy(evm, "contracts/InstrumentRegistry.vy", gov, self.oracle.address)
        self.parameters = deploy(evm, "contracts/RiskParameters.vy", gov, self.guardian, self.oracle.address)
        basics = (self.cash.address, self.registry.address, self.oracle.address)
        self.extension = deploy(evm, "contracts/MarginAccountsExtension.vy", *basics)
        main = deploy(evm, "contracts/MarginAccounts.vy", gov, self.guardian, *basics, self.extension.address)
        union = (*at("MarginAccounts"), *at("MarginAccountsExtension"))
        self.accounts = Contract(evm, main.address, union)
        self.table = deploy(
            evm, "contracts/RiskTable.vy", gov, self.guardian, self.registry.address, self.oracle.address,
            self.parameters.address, self.cash.address,
        )  # fmt: skip
        self.verifier = deploy(evm, "contracts/RowVerifier.vy")
        four = (self.registry.address, self.oracle.address, self.parameters.address, self.table.address)
        self.engine = deploy(evm, "contracts/MarginEngine.vy", main.address, *four)
        self.lens = deploy(evm, "contracts/MarginLens.vy", main.address, self.registry.address, self.engine.address)
        self.fund = deploy(evm, "contracts/InsuranceFund.vy", gov, main.address, self.cash.address)
        self.auction = deploy(
            evm, "contracts/LiquidationAuction.vy", gov, main.address, self.engine.address, self.fund.address,
            self.parameters.address, self.oracle.address, ETH,
        )  # fmt: skip
        self.feeds = [deploy(evm, "contracts/testing/MockAggregator.vy", 8, spot * 10**8) for spot in SPOTS]
        self.other_feeds = {
            asset: deploy(evm, "contracts/testing/MockAggregator.vy", 8, price * 10**8)
            for asset, (_, _, linked, price) in enumerate(ASSETS)
            if linked is None
        }

    def _wire(self) -> None:
        for name, target in (("engine", self.engine), ("table", self.table), ("auction", self.auction)):
            self.govern(self.accounts, f"set_{name}", target.address)
        self.govern(self.accounts, "set_venue", self.venue, True)
        self.govern(self.fund, "set_auction", self.auction.address)
        self.govern(self.registry, "set_accounts", self.accounts.address)
        self.govern(self.registry, "set_role", 2, self.keeper, True)
        self.govern(self.parameters, "set_keeper", self.keeper, True)
        self.govern(self.table, "set_publisher", self.publisher, True)
        terms = (self.verifier.address, self.fund.address, 2, 0, 0, 7 * DAY)
        self.govern(self.table, "set_terms", terms)
        for kind, (low, high) in enumerate(zip(_LOWEST, _HIGHEST, strict=True)):
            step = pack_lanes([value // 4 for value in high])
            self.govern(self.parameters, "set_bounds", kind, pack_lanes(list(low)), pack_lanes(list(high)), step, step)
        self.govern(self.parameters, "initialise", 0, 0, pack_lanes(list(GLOBAL_WORD)))

    def _list(self) -> None:
        for u in range(len(SPOTS)):
            self.govern(self.registry, "list_underlying", ("BTC", "ETH", "SOL")[u], True)
            self.govern(self.oracle, "set_feed", 0, u, self.feed_config(self.feeds[u]))
            self.govern(self.oracle, "record", 0, u)
            self.govern(self.parameters, "initialise", 1, u, pack_lanes(list(UNDERLYING_WORD)))
        for asset, (_, decimals, linked, _) in enumerate(ASSETS):
            cap = 10**6 * 10**decimals
            token, plus_one = self.tokens[asset].address, 0 if linked is None else linked + 1
            self.govern(self.accounts, "list_collateral", token, plus_one, cap, cap)
            if linked is None:
                self.govern(self.oracle, "set_feed", 1, asset, self.feed_config(self.other_feeds[asset]))
                self.govern(self.oracle, "record", 1, asset)
            else:
                self.govern(self.oracle, "share_feed", asset, linked)
            self.govern(self.parameters, "initialise", 2, asset, pack_lanes(list(COLLATERAL_WORD)))
        expiry = (self.now // HOUR + 24 * 30) * HOUR
        for u in (BTC, ETH):
            for percent, is_call in ((80, False), (90, False), (100, True), (100, False), (110, True), (120, True)):
                self.list_option(u, expiry, SPOTS[u] * percent // 100, is_call=is_call)
            self.govern(self.registry, "list_future", u, expiry)

    @staticmethod
    def feed_config(feed: Contract, heartbeat_s: int = HOUR, dead_s: int = DAY) -> tuple[Any, ...]:
        """A plain feed: fresh for an hour, dead after a day."""
        return (feed.address, heartbeat_s, dead_s, ZERO, 0, ZERO, 0, 0, 0)

    # ------------------------------------------------------------------ time and prices

    def _block(self) -> None:
        self.evm.set_block_env(BlockEnv(number=1, timestamp=self.now))

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds
        self._block()

    def set_price(self, u: int, usd: float) -> None:
        """Write a feed; the linked collateral moves with it."""
        self.quotes[u] = usd  # type: ignore[call-overload]
        self.feeds[u].call("set_answer", int(usd * 10**8), self.now)

    def refresh(self) -> None:
        """Write every feed's last price again, now."""
        for u, usd in enumerate(self.quotes):
            self.set_price(u, usd)
        for asset, feed in self.other_feeds.items():
            feed.call("set_answer", ASSETS[asset][3] * 10**8, self.now)

    # ------------------------------------------------------------------ governance and keeper

    def govern(self, contract: Contract, function: str, *args: Any) -> Any:
        """A call of governance."""
        return contract.call(function, *args, caller=self.governance)

    def list_option(self, u: int, expiry: int, strike_usd: int, *, is_call: bool) -> int:
        """List an option; returns the instrument."""
        instrument = int(self.govern(self.registry, "list_option", u, expiry, strike_usd * WAD, is_call))
        self.options[instrument] = (expiry, strike_usd * WAD, is_call)
        return instrument

    def page(self, u: int, *, vol: float = 0.6, life_s: int = DAY) -> tuple[tuple[Any, ...], list[Any], PackedPage]:
        """Header, surfaces and rows of an honest page of now; ``vol`` a year, flat."""
        parameters = self.page_parameters(u)
        price = int(self.oracle.call("price", 0, u)[0])
        mine = {i: o for i, o in self.options.items() if i >> 8 == u}
        surfaces = [self._surface(expiry, vol) for expiry in sorted({o[0] for o in mine.values()}) if expiry > self.now]
        packed = self.rows(u, price, surfaces, parameters)
        alive = [surface[0] for surface in surfaces]
        expires_at = min([self.now + life_s, *alive])
        epoch = int(self.table.call("page_info", u)[0]) >> 160 & 0xFFFFFFFF
        header = (
            epoch + 1, self.now, expires_at, price, packed.lane_unit_wad, packed.step_e9, int(vol * 10_000),
            parameters.vol_up_bps, parameters.vol_down_bps, parameters.vol_power_bps, parameters.short_min_bps,
            b"\x01" * 32, b"\x02" * 32,
        )  # fmt: skip
        return header, surfaces, packed

    def page_parameters(self, u: int) -> UnderlyingParameters:
        """What a page of now has to say: shocks and short minimum in force, over the steps of the stored scan range."""
        in_force = unpack_underlying(int(self.parameters.call("in_force", 1, u)))
        return replace(in_force, scan_bps=int(self.parameters.call("word", 1, u)) & 0xFFFF)

    def _surface(self, expiry: int, vol: float) -> tuple[int, ...]:
        variance = int(vol * vol * (expiry - self.now) / (365 * DAY) * WAD)
        return (expiry, WAD, WAD, variance, 0, 0, 0, WAD // 10)

    def rows(self, u: int, price: int, surfaces: list[Any], parameters: UnderlyingParameters) -> PackedPage:
        """The rows an honest keeper would publish."""
        specs = []
        for instrument, (expiry, strike, is_call) in sorted(self.options.items()):
            if instrument >> 8 != u:
                continue
            settled = int(self.registry.call("settlement_price", u, expiry))
            specs.append(
                OptionSpec(instrument & 255, expiry, strike / WAD, is_call, settled / WAD if settled else None)
            )
        slices = [surface_slice(surface) for surface in surfaces]
        return build_page(specs, price, slices, self.now, parameters, int(self.registry.call("row_count", u)))

    def publish(self, u: int, **options: Any) -> None:
        """Publish an honest page with the publisher's signature."""
        header, surfaces, packed = self.page(u, **options)
        self.submit(u, header, surfaces, packed.rows)

    def submit(self, u: int, header: tuple[Any, ...], surfaces: list[Any], rows: bytes) -> None:
        """Sign and publish whatever is given."""
        from eth_utils import keccak

        digest = self.table.call("page_digest", u, header, surfaces, keccak(rows))
        self.table.call("publish", u, header, surfaces, rows, [self.sign(digest)])

    def publish_joint(self, words: Sequence[int] = ()) -> None:
        """Publish joint scenarios, by default eight that move everything together and against each other."""
        joint = int(self.table.call("read", 0)[0])
        epoch = (joint >> 160 & 0xFFFFFFFF) + 1
        chosen = words or [_scenario(*moves) for moves in _MOVES]
        blob = b"".join(word.to_bytes(32, "big") for word in chosen)
        content = (epoch, self.now, self.now + 20 * DAY, b"\x01" * 32, b"\x02" * 32, blob)
        self.table.call("publish_joint", *content, [self.sign(self.table.call("joint_digest", *content))])

    def sign(self, digest: bytes) -> tuple[str, bytes]:
        """The publisher's signature of a digest."""
        signed = Account.unsafe_sign_hash(digest, PUBLISHER_KEY)
        return self.publisher, bytes(signed.signature)

    # ------------------------------------------------------------------ people

    def open_account(self, owner: str) -> int:
        """Open an account; returns its number."""
        return int(self.accounts.call("open_account", owner, caller=owner))

    def deposit(self, account: int, token: Contract, amount_raw: int, owner: str) -> None:
        """Mint, approve, deposit."""
        token.call("mint", owner, amount_raw)
        token.call("approve", self.accounts.address, amount_raw, caller=owner)
        self.accounts.call("deposit", account, token.address, amount_raw, caller=owner)

    def withdraw(self, account: int, token: Contract, amount_raw: int, owner: str) -> None:
        """Withdraw to the owner."""
        self.accounts.call("withdraw", account, token.address, amount_raw, owner, caller=owner)

    def fill(self, instrument: int, buyer: int, seller: int, lots: int, price_wad: int, fee_wad: int = 0) -> None:
        """A fill by the venue."""
        fill = (instrument, buyer, seller, lots, price_wad, fee_wad, fee_wad)
        self.accounts.call("apply_fill", fill, caller=self.venue)

    def mark(self, instrument: int) -> int:
        """Middle of the band in which the instrument trades, wad per unit."""
        return int(self.engine.call("price_band", instrument)[0])

    def stake(self, usd_raw: int, staker: str) -> None:
        """Put cash into the insurance fund."""
        self.cash.call("mint", staker, usd_raw)
        self.cash.call("approve", self.fund.address, usd_raw, caller=staker)
        self.fund.call("deposit", usd_raw, staker, caller=staker)

    def assess(self, account: int) -> dict[str, Any]:
        """The engine's assessment by field."""
        return dict(zip(ASSESSMENT, self.engine.call("assess", account), strict=True))

    def health(self, account: int) -> int:
        """Health under maintenance margin, wad."""
        found = self.assess(account)
        return int(found["equity_mm"] - found["mm"])

    def start(self, account: int, reward_account: int = 0, caller: str | None = None) -> None:
        """Start an auction."""
        self.auction.call("start", account, reward_account, caller=caller or self.stranger)

    def bid(self, account: int, bidder: int, owner: str, fraction: int = WAD, max_price: int = 2**255 - 1) -> Any:
        """Bid with any nonce; returns (fraction, price)."""
        return self.auction.call("bid", account, bidder, fraction, max_price, 0, ANY_NONCE, caller=owner)


# price and volatility byte of each underlying
_MOVES = (
    ((-127, 127), (-127, 127), (-127, 127)), ((127, -64), (127, -64), (127, -64)), ((-127, 64), (0, 0), (64, 0)),
    ((0, 0), (-127, 64), (-64, 0)), ((64, 0), (-64, 0), (127, 0)), ((-64, 0), (64, 0), (-127, 0)),
    ((0, 127), (0, 127), (0, 0)), ((0, -127), (0, -127), (0, 0)),
)  # fmt: skip


def _scenario(*moves: tuple[int, int]) -> int:
    return sum((price & 255 | (vol & 255) << 8) << 16 * u for u, (price, vol) in enumerate(moves))


def selector(signature: str) -> bytes:
    """Four bytes of a function."""
    return bytes(function_signature_to_4byte_selector(signature))


__all__ = ["Protocol", "Reverted", "address_of", "selector"]
