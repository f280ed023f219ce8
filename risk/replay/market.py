# SPDX-License-Identifier: Apache-2.0
"""The market of a replay: price paths, what liquidations do to them, instruments, pages, and what margin reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.config import CalibrationConfig, SmileConfig
from risk.errors import BadInput
from risk.factors.fhs import FactorHistory, FhsConfig
from risk.liquidity import DAY_S, Liquidity
from risk.margin import CollateralMarket, Market, UnderlyingMarket
from risk.market.history import FloatArray, IntArray, PriceHistory
from risk.pricing.svi import slices_from_smile
from risk.replay.pushes import IM_SCALE_MAX, ScanModel, ScanPushes, Volatility
from risk.replay.settings import Guards, Impact
from risk.table import RiskRows, risk_rows
from risk.types import SECONDS_PER_YEAR, OptionSpec, ParameterSet


@dataclass(frozen=True, slots=True)
class PricePath:
    """Prices without liquidations: ``ts`` (h + 1,) unix s, ``price`` (h + 1, k) USD; the first row is the start."""

    symbols: tuple[str, ...]
    ts: IntArray
    price: FloatArray

    def __post_init__(self) -> None:
        shape = (self.ts.size, len(self.symbols))
        if self.price.shape != shape or self.ts.size < 2 or not (np.isfinite(self.price) & (self.price > 0)).all():
            raise BadInput(
                f"price path of shape {self.price.shape}: need {shape} positive prices and at least two rows"
            )
        if (np.diff(self.ts) <= 0).any():
            raise BadInput("price path: times do not ascend; sort them")

    @property
    def hours(self) -> float:
        """Length."""
        return float(self.ts[-1] - self.ts[0]) / 3_600.0


def path_from_history(history: PriceHistory, start: int, end: int) -> PricePath:
    """The closes of ``start <= time of close <= end``; a hole in the bars becomes one long step, as a halt is."""
    window = history.window(start - history.interval_s, end - history.interval_s + 1)
    return PricePath(window.symbols, window.ts + window.interval_s, window.close)


def fhs_path(
    factors: FactorHistory,
    fhs: FhsConfig,
    hours: int,
    start_prices: FloatArray,
    start_ts: int,
    rng: np.random.Generator,
    *,
    scale: FloatArray | float = 1.0,
    stressed: tuple[int, int] | None = None,
) -> PricePath:
    """One path of the shipped law: residual vectors of past stretches strung together, volatility carried along.

    Parameters
    ----------
    factors, fhs
        As in ``risk.factors.fhs.simulate_moves``, whose horizon moves are the sums of these bars.
    hours : int
        Bars; a multiple of ``fhs.block_bars``.
    scale : (k,) or float
        Factor on log changes, from ``risk.ranges.law_scale`` and a stress multiple.
    stressed : (int, int), optional
        Draw from this period alone, beginning at the volatility it had.

    Raises
    ------
    BadInput
        Bars that are not hourly, or hours that are no multiple of the block.

    References
    ----------
    Barone-Adesi, Giannopoulos & Vosper (1999), eq. 4-6.
    """
    block, k = fhs.block_bars, len(factors.symbols)
    if hours < block or hours % block or factors.interval_s != 3_600:
        raise BadInput(f"a simulated path of {hours} h: need hourly bars and a multiple of {block}")
    starts = factors.starts(block)
    eligible = np.arange(starts.size)
    if stressed is not None:
        eligible = np.flatnonzero((factors.ts[starts] >= stressed[0]) & (factors.ts[starts] < stressed[1]))
    picks = rng.choice(eligible, size=(1, hours // block))[0]
    sigma, rows = factors.sigma[:, :k], []
    ratio = np.ones(k)
    carried = sigma[-1] if stressed is None else sigma[starts[picks[0]]]
    for pick in picks:
        first = starts[pick]
        ratio = np.clip(ratio * carried / sigma[first], fhs.ratio_low, fhs.ratio_high)
        rows.append(ratio * factors.changes[first : first + block, :k])
        carried = sigma[first + block]
    logs = np.vstack([np.zeros((1, k)), np.cumsum(np.vstack(rows) * scale, axis=0)])
    ts = start_ts + 3_600 * np.arange(hours + 1, dtype=np.int64)
    return PricePath(factors.symbols, ts, start_prices * np.exp(logs))


class ImpactState:
    """How far liquidations have moved prices: a log move for each underlying, added to the path's.

    ``hour_vol`` (k,) is what the price of an hour deviates by at present, as a fraction.
    """

    def __init__(self, impact: Impact, liquidity: tuple[Liquidity, ...]) -> None:
        self._impact = impact
        self._adv = np.array([item.adv_usd for item in liquidity])
        self._vol = np.array([item.daily_vol for item in liquidity])
        self.log_move = np.zeros(len(liquidity))
        self.hour_vol = self._vol / np.sqrt(24.0)

    def pass_time(self, seconds: float) -> None:
        """Let a part of the permanent move fade, where it does."""
        if self._impact.halflife_h > 0:
            self.log_move *= 0.5 ** (seconds / 3_600.0 / self._impact.halflife_h)

    def sold(self, usd: FloatArray) -> None:
        """Move prices by what was sold, (k,) USD; negative for purchases."""
        self.log_move -= self._impact.permanent * self._vol * usd / self._adv

    def cost(self, usd: FloatArray) -> FloatArray:
        """Temporary impact of trading so much, a fraction; any shape ending in k.

        References
        ----------
        ``risk.liquidity.square_root_impact``, for arrays.
        """
        return np.asarray(self._impact.temporary * self._vol * np.sqrt(np.abs(usd) / self._adv), dtype=np.float64)

    def capacity(self, participation: float, seconds: float) -> FloatArray:
        """USD that may be sold in a while at a share of the volume, (k,)."""
        return participation * self._adv * seconds / DAY_S


@dataclass(frozen=True, slots=True)
class Instruments:
    """What can be held: options of each underlying, and collateral assets at a fixed multiple of theirs.

    Attributes
    ----------
    symbols : (k,) tuple of str
    options : (k,) tuple of tuples of OptionSpec
        Slot = place.
    collaterals : (c,) tuple of str
    linked : (c,) tuple of int or None
        Underlying of each; None: a dollar.
    multiple : (c,) tuple of float
        Price over the underlying's.
    """

    symbols: tuple[str, ...]
    options: tuple[tuple[OptionSpec, ...], ...]
    collaterals: tuple[str, ...]
    linked: tuple[int | None, ...]
    multiple: tuple[float, ...]

    def collateral_prices(self, price: FloatArray) -> FloatArray:
        """(c,) USD."""
        pairs = zip(self.linked, self.multiple, strict=True)
        return np.array([m if u is None else m * price[u] for u, m in pairs], dtype=np.float64)

    def links(self) -> NDArray[np.float64]:
        """(c, k) 1 where an asset is linked to an underlying."""
        out = np.zeros((len(self.linked), len(self.symbols)))
        for c, u in enumerate(self.linked):
            if u is not None:
                out[c, u] = 1.0
        return out


def make_instruments(
    symbols: tuple[str, ...], price: FloatArray, now: int, *, days: tuple[int, ...] = (14, 45), staked: bool = True
) -> Instruments:
    """Six strikes of two expiries, both ways, at prices (k,) USD; every underlying as collateral, staked ether too."""
    options = []
    for u in range(len(symbols)):
        specs: list[OptionSpec] = []
        for day in days:
            for moneyness in (0.7, 0.85, 0.95, 1.05, 1.2, 1.4):
                for call in (True, False):
                    specs.append(OptionSpec(len(specs), now + day * DAY_S, float(moneyness * price[u]), call))
        options.append(tuple(specs))
    names, linked, multiple = list(symbols), list(range(len(symbols))), [1.0] * len(symbols)
    if staked and "ETH" in symbols:
        names, linked, multiple = [*names, "wstETH"], [*linked, symbols.index("ETH")], [*multiple, 1.12]
    return Instruments(symbols, tuple(options), tuple(names), tuple(linked), tuple(multiple))


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What a replay knows at its start and cannot know later: calibrated before the first price of the path."""

    parameters: ParameterSet
    scans: ScanModel
    liquidity: tuple[Liquidity, ...]
    instruments: Instruments
    start_ts: int


class LiveMarket:
    """Parameters and pages in force, and the market that the float margin reads.

    ``deltas`` are the dollar deltas of each option per unit, by underlying, as of the last page.
    """

    def __init__(self, inputs: ModelInputs, guards: Guards, multiple: float, price: FloatArray) -> None:
        self.inputs, self._guards, self._multiple = inputs, guards, multiple
        symbols = inputs.instruments.symbols
        self._lanes = [inputs.parameters.underlyings[s] for s in symbols]
        scans = np.array([min(round(lane.scan_bps * multiple), 9_000) for lane in self._lanes], dtype=np.int64)
        self.pushes = ScanPushes(scans, guards, inputs.scans.ranges.fall_per_day, inputs.start_ts)
        self.volatility = Volatility(inputs.scans)
        self.settled: list[dict[int, float]] = [{} for _ in symbols]
        self._rows: list[RiskRows] = []
        self._made_at = 0
        self.deltas: list[FloatArray] = []
        self.make_pages(price, inputs.start_ts)

    def look(self, price: FloatArray, now: int) -> None:
        """What a keeper does when it looks: pushes, then pages that are old."""
        self.pushes.step(self.inputs.scans.raw(self.volatility.fast, self._multiple), now)
        if now - self._made_at >= self._guards.page_s:
            self.make_pages(price, now)

    def make_pages(self, price: FloatArray, now: int) -> None:
        """New rows of every underlying at the live price and the volatility of the last bars."""
        self._rows, self.deltas, self._made_at = [], [], now
        smile, per_year = SmileConfig(), SECONDS_PER_YEAR / 3_600
        for u, symbol in enumerate(self.inputs.instruments.symbols):
            short = float(np.clip(smile.premium * np.sqrt(self.volatility.slow[u] * per_year), smile.low, smile.high))
            surface = replace(self.inputs.parameters.surfaces[symbol], short_vol=short)
            specs = tuple(
                replace(spec, settled_price=self.settled[u].get(spec.expiry))
                for spec in self.inputs.instruments.options[u]
            )
            expiries = sorted({spec.expiry for spec in specs if spec.expiry > now})
            lanes = replace(self._lanes[u], scan_bps=int(self.pushes.target[u]))
            slices = slices_from_smile(surface, expiries, now) if expiries else ()
            rows = risk_rows(specs, float(price[u]), slices, now, lanes, len(specs))
            self._rows.append(rows)
            self.deltas.append((rows.values[:, 1, 8] - rows.values[:, 1, 6]) / (2.0 * rows.step))

    def at(self, price: FloatArray, now: int) -> Market:
        """Everything the rule reads at a moment."""
        force, widen = self.pushes.in_force(now), self.pushes.widen(now)
        parameters = self.inputs.parameters
        underlyings = tuple(
            UnderlyingMarket(
                name=symbol,
                price=float(price[u]),
                parameters=replace(self._lanes[u], scan_bps=int(force[u]), widen_bps=int(widen[u])),
                rows=self._rows[u],
                rows_expire_at=self._made_at + self._guards.page_life_s,
                rows_observed_at=self._made_at,
            )
            for u, symbol in enumerate(self.inputs.instruments.symbols)
        )
        prices = self.inputs.instruments.collateral_prices(price)
        names, links = self.inputs.instruments.collaterals, self.inputs.instruments.linked
        collaterals = tuple(
            CollateralMarket(name, float(prices[c]), parameters.collaterals[name], links[c])
            for c, name in enumerate(names)
        )
        scale = parameters.global_parameters
        lapsed = min(scale.im_scale_bps + self.pushes.lapse_bps(now), max(IM_SCALE_MAX, scale.im_scale_bps))
        return Market(replace(scale, im_scale_bps=lapsed), underlyings, collaterals, parameters.joint, now=now)


def horizon(config: CalibrationConfig) -> FhsConfig:
    """How hourly draws are made under a calibration's settings."""
    return FhsConfig(
        config.horizon_s // 3_600, config.block_s // 3_600, config.ratio_low, config.ratio_high, config.stressed_weight
    )
