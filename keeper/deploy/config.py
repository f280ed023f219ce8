# SPDX-License-Identifier: Apache-2.0
"""The configuration of a deployment: what somebody wants on a chain, as one TOML file.

Quantities in the file are for people: prices and strikes in USD, caps and seeds in whole tokens, fractions in basis
points. :mod:`keeper.deploy.wire` turns them into chain integers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from eth_utils.address import is_address, is_checksum_address, to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from keeper.errors import ConfigError

# Chains that die with a process: the embedded one, anvil's and hardhat's default, ganache's.
LOCAL_CHAINS = frozenset({1337, 31337})
DEPLOYER = "deployer"
ZERO = "0x" + "00" * 20


def _address(value: str) -> str:
    if value == DEPLOYER:
        return value
    if not is_address(value):
        raise ValueError(f"{value!r} is not an address; write 0x and 40 hexadecimal digits")
    mixed = value[2:] not in {value[2:].lower(), value[2:].upper()}
    if mixed and not is_checksum_address(value):
        raise ValueError(f"{value} has a wrong checksum; copy the address again")
    if int(value, 16) == 0:
        raise ValueError("the zero address can hold no role and no code; name a real one")
    return str(to_checksum_address(value))


Address = Annotated[str, AfterValidator(_address)]
Bps = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[Decimal, Field(gt=0)]
Symbol = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9._-]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Section):
    """Which chain this is meant for."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    chain_id: int = Field(gt=0)
    allow_mocks: bool = False
    confirmations: int = Field(default=1, ge=1, le=64)
    max_fee_gwei: Positive = Decimal(200)
    max_priority_fee_gwei: Positive = Decimal(2)


class Roles(_Section):
    """Who may do what afterwards; the word ``deployer`` stands for the key that deploys."""

    governance: Address
    guardian: Address
    keepers: tuple[Address, ...] = Field(min_length=1)
    listers: tuple[Address, ...] = ()


class MockToken(_Section):
    """A test token, minted by anybody: local chains only. ``rate`` makes it a share worth that many units."""

    decimals: int = Field(default=18, ge=0, le=18)
    rate: Positive | None = None


class MockFeed(_Section):
    """A feed with a settable answer: local chains only. Price in USD."""

    price: Positive
    decimals: int = Field(default=8, ge=0, le=18)


class _Token(_Section):
    symbol: Symbol
    token: Address | None = None
    mock: MockToken | None = None

    @model_validator(mode="after")
    def _one_source(self) -> _Token:
        if (self.token is None) == (self.mock is None):
            raise ValueError(f"{self.symbol} needs exactly one of token (an address) and mock")
        return self


class Feed(_Section):
    """Where a price comes from, and the age in seconds above which it is dead."""

    address: Address | None = None
    mock: MockFeed | None = None
    heartbeat_s: int = Field(default=3_600, ge=60, le=172_800)

    @model_validator(mode="after")
    def _one_source(self) -> Feed:
        if (self.address is None) == (self.mock is None):
            raise ValueError("a feed needs exactly one of address and mock")
        return self


class Rate(_Section):
    """Value of one token in units of what the feed prices: wstETH style or ERC-4626, with believable bounds."""

    source: Address | None = None
    kind: Literal["steth", "erc4626"]
    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Rate:
        if self.low > self.high:
            raise ValueError(f"rate bounds are {self.low}..{self.high}; low must not exceed high")
        return self


class Cash(_Token):
    """The settlement stablecoin."""


class UnderlyingWord(_Section):
    """Lanes of an underlying's parameter word (docs/margin-rule.md, section 3)."""

    scan_bps: Annotated[int, Field(ge=100, le=9_000)]
    vol_up_bps: Bps
    vol_down_bps: Annotated[int, Field(ge=0, lt=10_000)]
    vol_power_bps: Bps
    delta_charge_bps: Bps
    option_charge_bps: Bps
    basis_charge_bps: Bps
    drift_charge_bps: Bps
    depth: Annotated[int, Field(ge=1, le=65_535)]
    short_min_bps: Bps


class CollateralWord(_Section):
    """Lanes of a collateral asset's parameter word."""

    haircut_im_bps: Annotated[int, Field(ge=0, le=10_000)]
    haircut_mm_bps: Annotated[int, Field(ge=0, le=10_000)]
    size_haircut_bps: Bps
    size_unit: Annotated[int, Field(ge=1, le=65_535)]
    use_haircut_bps: Bps

    @model_validator(mode="after")
    def _initial_covers(self) -> CollateralWord:
        if self.haircut_im_bps < self.haircut_mm_bps:
            raise ValueError(f"haircut_im_bps {self.haircut_im_bps} is below haircut_mm_bps {self.haircut_mm_bps}")
        return self


class GlobalWord(_Section):
    """Lanes of the global parameter word."""

    im_scale_bps: Annotated[int, Field(ge=1, le=20_000)]
    mm_scale_bps: Annotated[int, Field(ge=1, le=20_000)]
    im_charge_scale_bps: Annotated[int, Field(ge=10_000, le=65_535)]
    offset_floor_bps: Annotated[int, Field(ge=0, le=10_000)]

    @model_validator(mode="after")
    def _initial_covers(self) -> GlobalWord:
        if self.im_scale_bps < self.mm_scale_bps:
            raise ValueError(f"im_scale_bps {self.im_scale_bps} is below mm_scale_bps {self.mm_scale_bps}")
        return self


class Options(_Section):
    """Options to list: every expiry with every strike, calls and puts.

    ``expiry_days`` counts days from the first run of the deployment, at 08:00 UTC; ``expiries`` are unix seconds.
    ``strikes_percent`` is of the spot price of the first run, rounded to ``strike_step`` USD.
    """

    expiry_days: tuple[Annotated[int, Field(ge=1, le=730)], ...] = ()
    expiries: tuple[int, ...] = ()
    strikes_percent: tuple[Positive, ...] = ()
    strikes: tuple[Positive, ...] = ()
    strike_step: Positive | None = None
    kinds: tuple[Literal["call", "put"], ...] = ("call", "put")

    @field_validator("expiries")
    @classmethod
    def _on_the_hour(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        for value in values:
            if value % 3_600:
                raise ValueError(f"expiry {value} is not on the hour; round it to a multiple of 3600")
        return values


class Underlying(_Section):
    """A risk factor, with or without a perpetual."""

    symbol: Symbol
    has_perp: bool = True
    feed: Feed
    parameters: UnderlyingWord
    options: Options = Options()


class Collateral(_Token):
    """An asset that counts towards equity. Without ``feed`` it is priced by the feed of ``linked``."""

    cap: Positive
    linked: Symbol | None = None
    feed: Feed | None = None
    rate: Rate | None = None
    parameters: CollateralWord


class Bounds(_Section):
    """Hard bounds and largest steps of one kind of word, by lane name; a lane left out is fixed at zero."""

    low: dict[str, Bps]
    high: dict[str, Bps]
    step_up: dict[str, Bps]
    step_down: dict[str, Bps]


class Guards(_Section):
    """Limits in time of parameter pushes."""

    max_age_s: int = 3_600
    min_interval_s: int = 3_600
    ttl_s: int = 172_800
    lapse_step_bps: int = 500
    lapse_interval_s: int = 21_600


class Parameters(_Section):
    """First global word, bounds of each kind, and limits in time."""

    initial: GlobalWord
    bounds_global: Bounds
    bounds_underlying: Bounds
    bounds_collateral: Bounds
    guards: Guards | None = None


class TableLimits(_Section):
    """Limits of risk table epochs; see RiskTable.set_limits."""

    min_interval_s: int = 60
    max_age_s: int = 600
    page_life_s: int = 86_400
    joint_life_s: int = 2_592_000
    price_tolerance_bps: Bps = 200
    vol_up_bps: Bps = 5_000
    vol_down_bps: Bps = 3_500


class Auction(_Section):
    """Terms of liquidation auctions; see LiquidationAuction.set_settings. ``min_slice_usd`` of maintenance margin."""

    start_bps: Bps
    fast_bps: Bps
    slow_bps: Bps
    fast_s: int
    slow_s: int
    insolvent_s: int
    target_buffer_bps: Bps
    end_buffer_bps: Bps
    min_slice_usd: Decimal


class Rates(_Section):
    """Interest curve of borrowed cash: bps a year; kink and reserve in bps."""

    base_bps: Bps
    slope_low_bps: Bps
    slope_high_bps: Bps
    kink_bps: Bps
    reserve_bps: Bps


class Venue(_Section):
    """The reference venue; fee of each side in bps of the traded value."""

    fee_bps: int = Field(default=0, ge=0, le=100)


class Fund(_Section):
    """First deposit into the insurance fund, in whole cash tokens, from the deployer's balance."""

    seed: Decimal = Field(default=Decimal(0), ge=0)


class DeployConfig(_Section):
    """A whole deployment."""

    network: Network
    roles: Roles
    cash: Cash
    underlyings: tuple[Underlying, ...] = Field(min_length=1, max_length=16)
    collateral: tuple[Collateral, ...] = Field(default=(), max_length=16)
    parameters: Parameters
    max_funding_bps_per_day: int | None = Field(default=None, ge=0, le=1_000)
    table: TableLimits | None = None
    auction: Auction | None = None
    rates: Rates | None = None
    venue: Venue = Venue()
    fund: Fund = Fund()
    multicall: Literal["auto", "deploy", "none"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> DeployConfig:
        for what, names in (
            ("underlyings", [item.symbol for item in self.underlyings]),
            ("cash and collateral", [self.cash.symbol, *(item.symbol for item in self.collateral)]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} name {', '.join(twice)} twice; every symbol once")
        for asset in self.collateral:
            self._check_asset(asset)
        self._check_mocks()
        return self

    def _check_asset(self, asset: Collateral) -> None:
        if asset.linked is not None and asset.linked not in {item.symbol for item in self.underlyings}:
            raise ValueError(f"collateral {asset.symbol} is linked to {asset.linked}, which is not an underlying")
        if asset.feed is None and asset.linked is None:
            raise ValueError(f"collateral {asset.symbol} has no price; give it a feed or link it to an underlying")
        if asset.rate is not None and asset.rate.source is None and asset.mock is None:
            raise ValueError(f"collateral {asset.symbol} has a rate without source; name the contract that knows it")

    def _check_mocks(self) -> None:
        used = self.mocks()
        if not used:
            return
        if not self.network.allow_mocks:
            raise ValueError(f"{used[0]} is a mock; set network.allow_mocks on a local chain or give a real address")
        if self.network.chain_id not in LOCAL_CHAINS:
            raise ValueError(f"{used[0]} is a mock and chain {self.network.chain_id} is not local; give a real address")

    def mocks(self) -> list[str]:
        """Names of the tokens and feeds that would be test contracts."""
        tokens = [f"token {item.symbol}" for item in (self.cash, *self.collateral) if item.mock is not None]
        feeds = [f"feed of {item.symbol}" for item in self.underlyings if item.feed.mock is not None]
        more = [f"feed of {item.symbol}" for item in self.collateral if item.feed and item.feed.mock is not None]
        return tokens + feeds + more

    def on_chain(self, chain_id: int) -> DeployConfig:
        """The same deployment on another local chain (anvil or the embedded one).

        Raises
        ------
        ConfigError
            Either chain is not local.
        """
        for found in (self.network.chain_id, chain_id):
            if found not in LOCAL_CHAINS:
                raise ConfigError(f"chain {found} is not a local chain; write a configuration file of its own for it")
        return self.model_copy(update={"network": self.network.model_copy(update={"chain_id": chain_id})})


def parse_config(data: Mapping[str, Any], source: str) -> DeployConfig:
    """Validate parsed TOML; ``source`` is named in the error.

    Raises
    ------
    ConfigError
        One sentence: file, key, value, remedy.
    """
    try:
        return DeployConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
        value = first["input"]
        shown = "" if isinstance(value, dict | BaseModel) or value is None else f" = {str(value)[:60]!r}"
        problem = first["msg"].removeprefix("Value error, ")
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {key}{shown}: {problem}{more}; correct it and run again") from error


def load_config(path: Path) -> DeployConfig:
    """Read and validate a configuration file.

    Raises
    ------
    ConfigError
        Missing, unreadable, no TOML, or invalid.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; give the path of a deployment configuration") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); check the file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML ({error}); correct that line") from error
    return parse_config(data, str(path))
