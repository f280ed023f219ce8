# SPDX-License-Identifier: Apache-2.0
"""The configuration of a deployment: what somebody wants on a chain, as one TOML file.

Quantities in the file are for people: prices and strikes in USD, caps and seeds in whole tokens, fractions in basis
points. :mod:`keeper.deploy.wire` turns them into chain integers.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from keeper.deploy.config_base import DAY_S, Address, Bps, Positive, Section, Symbol
from keeper.deploy.config_market import Bounds, Cash, Collateral, Feed, GlobalWord, Source, Underlying
from keeper.errors import ConfigError

# Chains that die with a process: the embedded one, anvil's and hardhat's default, ganache's.
LOCAL_CHAINS = frozenset({1337, 31337})
MAX_TIMELOCK_S = 30 * DAY_S


class Network(Section):
    """Which chain this is meant for; ``gas_underlying`` is the underlying whose price its gas is paid in."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    chain_id: int = Field(gt=0)
    allow_mocks: bool = False
    confirmations: int = Field(default=1, ge=1, le=64)
    max_fee_gwei: Positive = Decimal(200)
    max_priority_fee_gwei: Positive = Decimal(2)
    gas_underlying: Symbol | None = None


class Roles(Section):
    """Who may do what afterwards; the word ``deployer`` stands for the key that deploys.

    ``governance`` owns every contract, unless a ``[timelock]`` does. Keepers push parameters, funding and basis;
    publishers (default: the keepers) sign risk tables, ``quorum`` of them each; the steward moves collateral caps.
    """

    governance: Address | None = None
    guardian: Address
    keepers: tuple[Address, ...] = Field(min_length=1)
    publishers: tuple[Address, ...] = ()
    quorum: int = Field(default=1, ge=1, le=8)
    listers: tuple[Address, ...] = ()
    steward: Address | None = None

    @property
    def signers(self) -> tuple[str, ...]:
        """Publishers, each once."""
        return tuple(dict.fromkeys(self.publishers or self.keepers))

    @model_validator(mode="after")
    def _enough_publishers(self) -> Roles:
        if self.quorum > len(self.signers):
            raise ValueError(f"quorum {self.quorum} is above the number of publishers, {len(self.signers)}")
        return self


class TimelockTerms(Section):
    """The owner of everything: what a proposer schedules can be executed ``delay_s`` later, by anyone unless named."""

    delay_s: int = Field(ge=0, le=MAX_TIMELOCK_S)
    proposers: tuple[Address, ...] = Field(min_length=1, max_length=255)
    executors: tuple[Address | Literal["anyone"], ...] = Field(default=("anyone",), min_length=1, max_length=255)


class Sequencer(Section):
    """Uptime feed of a roll-up's sequencer; prices stay late for ``grace_s`` after it came back."""

    address: Address
    grace_s: int = Field(default=3_600, ge=0, le=DAY_S)


class Guards(Section):
    """Limits in time of parameter changes, and the least scan range over the volatility of a day."""

    max_age_s: int = Field(default=3_600, ge=60, le=DAY_S)
    min_interval_s: int = Field(default=3_600, ge=60, le=7 * DAY_S)
    ttl_s: int = Field(default=172_800, ge=3_600, le=30 * DAY_S)
    lapse_step_bps: int = Field(default=500, ge=1, le=10_000)
    lapse_interval_s: int = Field(default=21_600, ge=60, le=7 * DAY_S)
    ramp_s: int = Field(default=21_600, ge=1, le=7 * DAY_S)
    loosen_delay_s: int = Field(default=43_200, ge=3_600, le=7 * DAY_S)
    listing_ramp_s: int = Field(default=259_200, ge=0, le=30 * DAY_S)
    min_scan_multiple_bps: int = Field(default=30_000, ge=0, le=100_000)


class Parameters(Section):
    """First global word, bounds of each kind, and limits in time."""

    initial: GlobalWord
    bounds_global: Bounds
    bounds_underlying: Bounds
    bounds_collateral: Bounds
    guards: Guards | None = None


class TableLimits(Section):
    """Limits of risk table epochs; see RiskTable.set_limits."""

    min_interval_s: int = 60
    max_age_s: int = 600
    page_life_s: int = 86_400
    joint_life_s: int = 2_592_000
    price_tolerance_bps: Bps = 200
    vol_up_bps: Bps = 5_000
    vol_down_bps: Bps = 3_500


class Bonds(Section):
    """What publishers lose for a wrong row, in whole cash tokens; see RiskTable.set_terms."""

    min_bond: Decimal = Field(default=Decimal(0), ge=0)
    slash: Decimal = Field(default=Decimal(0), ge=0)
    tolerance_lanes: int = Field(default=2, ge=1, le=16)
    withdrawal_delay_s: int = Field(default=7 * DAY_S, ge=DAY_S, le=30 * DAY_S)


class Auction(Section):
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
    tick_s: int
    reward_gas: int


class Rates(Section):
    """Interest curve of borrowed cash: bps a year; kink and reserve in bps."""

    base_bps: Bps
    slope_low_bps: Bps
    slope_high_bps: Bps
    kink_bps: Bps
    reserve_bps: Bps


class Carry(Section):
    """What keepers may do to funding (bps a day) and to the basis of futures (bps a year, and how often)."""

    max_funding_bps_per_day: int = Field(default=300, ge=0, le=1_000)
    max_basis_step_bps: int = Field(default=200, ge=1, le=1_000)
    min_basis_interval_s: int = Field(default=600, ge=60, le=DAY_S)


class Venue(Section):
    """The reference venue; fee of each side in bps of the traded value."""

    fee_bps: int = Field(default=0, ge=0, le=100)


class Fund(Section):
    """First deposit into the insurance fund, in whole cash tokens, from the deployer's balance."""

    seed: Decimal = Field(default=Decimal(0), ge=0)


class DeployConfig(Section):
    """A whole deployment."""

    network: Network
    roles: Roles
    timelock: TimelockTerms | None = None
    sequencer: Sequencer | None = None
    cash: Cash
    underlyings: tuple[Underlying, ...] = Field(min_length=1, max_length=16)
    collateral: tuple[Collateral, ...] = Field(default=(), max_length=16)
    parameters: Parameters
    carry: Carry | None = None
    withdrawal_limit_bps: int | None = Field(default=None, ge=100, le=10_000)
    table: TableLimits | None = None
    bonds: Bonds = Bonds()
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
            ("feeds", [symbol for symbol, _ in self.feeds()]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} name {', '.join(twice)} twice; every symbol once")
        self._check_owner()
        for asset in self.collateral:
            self._check_asset(asset)
        gas = self.network.gas_underlying
        if gas is not None and gas not in {item.symbol for item in self.underlyings}:
            raise ValueError(f"network.gas_underlying is {gas}, which is not an underlying")
        self._check_mocks()
        return self

    def _check_owner(self) -> None:
        if self.timelock is None and self.roles.governance is None:
            raise ValueError("nobody would own the contracts; name roles.governance or give a [timelock]")
        if self.timelock is not None and self.roles.governance is not None:
            raise ValueError("the [timelock] owns the contracts; leave roles.governance out and name proposers there")

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

    def feeds(self) -> Iterator[tuple[str, Feed]]:
        """Every feed that something has of its own, by symbol."""
        yield from ((item.symbol, item.feed) for item in self.underlyings)
        yield from ((item.symbol, item.feed) for item in self.collateral if item.feed is not None)
        if self.cash.feed is not None:
            yield self.cash.symbol, self.cash.feed

    def aggregators(self) -> Iterator[tuple[str, Source]]:
        """Every aggregator by its name in the manifest: ``feed:SYMBOL`` and ``secondary:SYMBOL``."""
        for symbol, feed in self.feeds():
            yield f"feed:{symbol}", feed
            if feed.secondary is not None:
                yield f"secondary:{symbol}", feed.secondary

    def mocks(self) -> list[str]:
        """Names of the tokens and feeds that would be test contracts."""
        tokens = [f"token {item.symbol}" for item in (self.cash, *self.collateral) if item.mock is not None]
        return tokens + [described(name) for name, source in self.aggregators() if source.mock is not None]

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


def described(name: str) -> str:
    """An aggregator's name in the manifest, for a person.

    Examples
    --------
    >>> described("secondary:ETH")
    'secondary feed of ETH'
    """
    kind, symbol = name.split(":", 1)
    return f"{'secondary ' if kind == 'secondary' else ''}feed of {symbol}"


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
        errors = error.errors()
        # a misspelt key comes with the complaint that the right one is missing
        first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
        key = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
        value = first["input"]
        shown = "" if isinstance(value, dict | BaseModel) or value is None else f" = {str(value)[:60]!r}"
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            problem = f"no such setting; {_suggestion(first['loc'], DeployConfig)}"
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {key}{shown}: {problem}{more}; correct it and run again") from error


def _suggestion(loc: tuple[int | str, ...], section: type[BaseModel]) -> str:
    """The setting that a misspelt one was meant to be, or all that its section knows."""
    for part in loc[:-1]:
        field = section.model_fields.get(str(part))
        section = section if field is None else _section_of(field.annotation) or section
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the settings here are {', '.join(names)}"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation such as ``tuple[Underlying, ...]`` or ``Feed | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


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
