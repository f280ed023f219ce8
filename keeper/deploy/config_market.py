# SPDX-License-Identifier: Apache-2.0
"""What a deployment lists: tokens, feeds, underlyings, instruments, collateral, and the first parameter words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from keeper.deploy.config_base import DAY_S, Address, Bps, Positive, Section, Symbol

MAX_DEAD_S = 7 * DAY_S
MAX_EXPIRY_DAYS = 730


class MockToken(Section):
    """A test token, minted by anybody: local chains only. ``rate`` makes it a share worth that many units."""

    decimals: int = Field(default=18, ge=0, le=18)
    rate: Positive | None = None


class MockFeed(Section):
    """A feed with a settable answer: local chains only. Price in USD."""

    price: Positive
    decimals: int = Field(default=8, ge=0, le=18)


class _Token(Section):
    symbol: Symbol
    token: Address | None = None
    mock: MockToken | None = None

    @model_validator(mode="after")
    def _one_source(self) -> _Token:
        if (self.token is None) == (self.mock is None):
            raise ValueError(f"{self.symbol} needs exactly one of token (an address) and mock")
        return self


class Source(Section):
    """An aggregator in Chainlink's shape: one that exists, or a mock."""

    address: Address | None = None
    mock: MockFeed | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Source:
        if (self.address is None) == (self.mock is None):
            raise ValueError("a feed needs exactly one of address and mock")
        return self


class Feed(Source):
    """Where a price comes from.

    It is fresh up to an age of ``heartbeat_s`` and dead above ``dead_s`` (default: two heartbeats, a day at least, a
    week at most). With a ``secondary`` feed it is dead too where the two differ by more than ``max_deviation_bps``.
    """

    heartbeat_s: int = Field(default=3_600, ge=60, le=2 * DAY_S)
    dead_s: int | None = Field(default=None, ge=60, le=MAX_DEAD_S)
    secondary: Source | None = None
    max_deviation_bps: int | None = Field(default=None, ge=10, le=5_000)

    @model_validator(mode="after")
    def _consistent(self) -> Feed:
        if self.dead_s is not None and self.dead_s < self.heartbeat_s:
            raise ValueError(
                f"dead_s {self.dead_s} is below heartbeat_s {self.heartbeat_s}; a price is late before dead"
            )
        if (self.secondary is None) != (self.max_deviation_bps is None):
            raise ValueError("secondary and max_deviation_bps belong together; give both or neither")
        return self

    @property
    def dead_after_s(self) -> int:
        """``dead_s``, or its default."""
        return self.dead_s or min(max(DAY_S, 2 * self.heartbeat_s), MAX_DEAD_S)


class Rate(Section):
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
    """The settlement stablecoin. With ``feed``, a loss of its peg raises initial margin."""

    feed: Feed | None = None


class UnderlyingWord(Section):
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
    vol_day_bps: Bps
    band_bps: Annotated[int, Field(ge=1, le=5_000)]


class CollateralWord(Section):
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


class GlobalWord(Section):
    """Lanes of the global parameter word."""

    im_scale_bps: Annotated[int, Field(ge=1, le=20_000)]
    mm_scale_bps: Annotated[int, Field(ge=1, le=20_000)]
    im_charge_scale_bps: Annotated[int, Field(ge=10_000, le=65_535)]
    offset_floor_bps: Annotated[int, Field(ge=0, le=10_000)]
    reserve_usd: Annotated[int, Field(ge=0, le=1_000)]

    @model_validator(mode="after")
    def _initial_covers(self) -> GlobalWord:
        if self.im_scale_bps < self.mm_scale_bps:
            raise ValueError(f"im_scale_bps {self.im_scale_bps} is below mm_scale_bps {self.mm_scale_bps}")
        return self


class Bounds(Section):
    """Hard bounds and largest steps of one kind of word, by lane name; a lane left out is fixed at zero."""

    low: dict[str, Bps]
    high: dict[str, Bps]
    step_up: dict[str, Bps]
    step_down: dict[str, Bps]


Days = Annotated[int, Field(ge=1, le=MAX_EXPIRY_DAYS)]


class Options(Section):
    """Options to list: every expiry with every strike, calls and puts.

    ``expiry_days`` counts days from the first run of the deployment, at 08:00 UTC; ``expiries`` are unix seconds.
    ``strikes_percent`` is of the spot price of the first run, rounded to ``strike_step`` USD.
    """

    expiry_days: tuple[Days, ...] = ()
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


class Underlying(Section):
    """A risk factor, with or without a perpetual; ``futures`` are expiries in days, counted as those of options."""

    symbol: Symbol
    has_perp: bool = True
    feed: Feed
    parameters: UnderlyingWord
    options: Options = Options()
    futures: tuple[Days, ...] = Field(default=(), max_length=2)

    @field_validator("futures")
    @classmethod
    def _distinct(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("two futures of one expiry are one instrument; name it once")
        return values


class Collateral(_Token):
    """An asset that counts towards equity.

    Without ``feed`` it is priced by the feed of ``linked``. ``cap`` is what may be deposited at first, in whole tokens;
    a steward raises it up to ``hard_cap`` (default: ``cap``).
    """

    cap: Positive
    hard_cap: Positive | None = None
    linked: Symbol | None = None
    feed: Feed | None = None
    rate: Rate | None = None
    parameters: CollateralWord

    @model_validator(mode="after")
    def _caps(self) -> Collateral:
        if self.hard_cap is not None and self.hard_cap < self.cap:
            raise ValueError(f"hard_cap {self.hard_cap} of {self.symbol} is below its cap {self.cap}")
        return self
