# SPDX-License-Identifier: Apache-2.0
"""Every choice a replay makes, in frozen records; the defaults of the auction and of the guards are the contracts'."""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.errors import BadInput


@dataclass(frozen=True, slots=True)
class AuctionTerms:
    """Settings of the auction: discounts and buffers as fractions, times in s, ``min_slice_usd`` of an account's size.

    References
    ----------
    ``contracts/modules/auction_terms.vy``, ``__init__``.
    """

    start: float = 0.01
    fast: float = 0.20
    slow: float = 1.00
    fast_s: float = 900.0
    slow_s: float = 43_200.0
    insolvent_s: float = 3_600.0
    target_buffer: float = 0.15
    end_buffer: float = 0.10
    min_slice_usd: float = 100.0
    tick_s: float = 900.0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.fast <= self.slow <= 1:
            raise BadInput(f"discounts {self.start}, {self.fast}, {self.slow} must rise within 0..1")
        if min(self.fast_s, self.slow_s, self.insolvent_s, self.tick_s) <= 0:
            raise BadInput("the times of the auction must be positive, in s")
        if not 0.01 <= self.end_buffer <= self.target_buffer - 0.01 <= 0.49:
            raise BadInput(f"target buffer {self.target_buffer} must exceed the end buffer {self.end_buffer} by 0.01")

    @property
    def solvent_s(self) -> float:
        """How much of its clock an account with equity is for sale, s."""
        return self.fast_s + self.slow_s


@dataclass(frozen=True, slots=True)
class Impact:
    """What sales do to the price.

    Attributes
    ----------
    temporary : float
        Coefficient of the square-root law, paid by the seller alone.
    permanent : float
        Coefficient of the linear law: the log price moves by ``permanent * daily volatility * size / daily volume``.
    halflife_h : float
        After which half of a permanent move is gone; 0 = it stays.

    References
    ----------
    Toth et al. (2011), eq. 1; Almgren, Thum, Hauptmann & Li (2005), *Direct estimation of equity market impact*:
    permanent impact linear with 0.314; Huberman & Stanzl (2004): only a linear one excludes quasi-arbitrage.
    """

    temporary: float = 1.0
    permanent: float = 0.314
    halflife_h: float = 0.0

    def __post_init__(self) -> None:
        if min(self.temporary, self.permanent, self.halflife_h) < 0:
            raise BadInput(f"impact {self.temporary}, {self.permanent}, half-life {self.halflife_h} h: none below 0")


@dataclass(frozen=True, slots=True)
class LiquidatorPolicy:
    """All liquidators as one account.

    Attributes
    ----------
    capital_usd : float
        What they begin with: it has to carry the initial margin of what they take, like everybody's.
    replenish_per_hour : float
        Share of that capital that may be deposited anew in an hour, while what is free is below it.
    warehouse : float
        What holding must earn, as a share of the initial margin taken over; the keeper's
        ``liquidator.warehouse_bps``.
    risk : float
        What holding must earn besides, in deviations of the price over the time that selling takes.
    spread, option_spread : float
        Half spread of a sale; cost of selling options, a share of their gross notional.
    gas_usd : float
        Cost of a bid.
    participation : float
        Share of the market's volume they sell at most.
    """

    capital_usd: float = 20e6
    replenish_per_hour: float = 0.05
    warehouse: float = 0.01
    risk: float = 0.5
    spread: float = 0.0005
    option_spread: float = 0.002
    gas_usd: float = 5.0
    participation: float = 0.05

    def __post_init__(self) -> None:
        values = (self.capital_usd, self.replenish_per_hour, self.warehouse, self.spread, self.option_spread)
        if min(*values, self.gas_usd, self.risk) < 0 or not 0 < self.participation <= 1:
            raise BadInput("a liquidator policy has no negative amount, and a participation of the volume in (0, 1]")


@dataclass(frozen=True, slots=True)
class Guards:
    """What RiskParameters allows in time, s, and how the keeper uses it.

    ``ramp_s``, ``loosen_delay_s``, ``ttl_s``, ``lapse_step_bps`` and ``lapse_interval_s`` as
    ``contracts/modules/push_guard.vy``; ``push_s`` between two pushes, ``page_s`` between two pages of option rows,
    ``page_life_s`` their life.
    """

    ramp_s: int = 6 * 3_600
    loosen_delay_s: int = 12 * 3_600
    ttl_s: int = 2 * 86_400
    lapse_step_bps: int = 500
    lapse_interval_s: int = 6 * 3_600
    push_s: int = 3_600
    page_s: int = 3_600
    page_life_s: int = 86_400

    def __post_init__(self) -> None:
        if min(self.ramp_s, self.loosen_delay_s, self.ttl_s, self.lapse_interval_s) < 1:
            raise BadInput("ramp, delay, life and lapse interval of parameters must be positive, in s")
        if self.push_s < 3_600 or self.page_s < 1 or self.page_life_s <= self.page_s:
            raise BadInput("pushes come an hour apart at least, and a page must outlive the time to the next one")


@dataclass(frozen=True, slots=True)
class Outage:
    """No liquidation, no push and no page from hour ``start_h`` of the replay for ``hours``; 0 hours = none."""

    start_h: float = 0.0
    hours: float = 0.0

    def __post_init__(self) -> None:
        if self.start_h < 0 or self.hours < 0:
            raise BadInput(f"outage from hour {self.start_h} for {self.hours}: neither may be negative")

    def covers(self, hour: float) -> bool:
        """Whether a moment, in hours since the start, lies inside (half open)."""
        return self.start_h <= hour < self.start_h + self.hours


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """One replay.

    Attributes
    ----------
    scan_multiple : float
        Factor on every scan range that the model pushes.
    fund_usd : float
        The insurance fund at the start.
    blocks_per_hour : int
        Moments in an hour at which the book is judged and bid for; between hourly closes prices run straight in logs.
    auctions_per_block : int
        Most starts and bids in one such moment; 0 = no limit.
    outages : tuple of Outage
    """

    auction: AuctionTerms = field(default_factory=AuctionTerms)
    impact: Impact = field(default_factory=Impact)
    liquidators: LiquidatorPolicy = field(default_factory=LiquidatorPolicy)
    guards: Guards = field(default_factory=Guards)
    scan_multiple: float = 1.0
    fund_usd: float = 5e6
    blocks_per_hour: int = 4
    auctions_per_block: int = 0
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        if not 0.1 <= self.scan_multiple <= 5 or self.fund_usd < 0:
            raise BadInput(f"scan multiple {self.scan_multiple} must lie in 0.1..5, the fund {self.fund_usd} above 0")
        if not 1 <= self.blocks_per_hour <= 300 or self.auctions_per_block < 0:
            raise BadInput(f"{self.blocks_per_hour} blocks an hour: need 1..300, and a limit on auctions of at least 0")

    def is_out(self, hour: float) -> bool:
        """Whether keepers and liquidators are out at a moment, hours since the start."""
        return any(outage.covers(hour) for outage in self.outages)
