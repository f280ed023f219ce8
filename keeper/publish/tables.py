# SPDX-License-Identifier: Apache-2.0
"""Plan the publication of risk pages and joint scenarios from one snapshot and the calibrated surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.actions import PageHeader, PublishJoint, PublishPage
from keeper.domain import OptionInfo, PageStatus, Price, Snapshot, UnderlyingInfo, Unknown
from keeper.publish.triggers import PagePolicy, joint_trigger, page_trigger
from keeper.publish.words import UNDERLYING
from risk.errors import BadInput, RiskError
from risk.onchain import ChainMarket
from risk.onchain_words import Row
from risk.page import build_page
from risk.pricing.svi import slices_from_smile, volatility
from risk.types import (
    SECONDS_PER_DAY,
    SECONDS_PER_YEAR,
    OptionSpec,
    ParameterSet,
    SmileModel,
    SurfaceSlice,
    SviSlice,
    UnderlyingParameters,
)
from risk.units import bps_nearest, float_from_wad, step_e9_from_scan, unpack_underlying, wad_nearest

BPS = 10_000
ATM_TENOR_S = 30 * SECONDS_PER_DAY
PRICE_UNDERLYING = 0
MAX_SURFACES = 16
Surface = tuple[int, int, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class PagePlan:
    """Outcome of planning one page: the action with its trigger, or why there is none (``refused`` needs a person)."""

    underlying: int
    action: PublishPage | None = None
    trigger: str | None = None
    refused: str | None = None


def atm_vol_bps(smile: SmileModel) -> int:
    """At-the-money volatility of a surface at thirty days, bps per sqrt(year)."""
    (item,) = slices_from_smile(smile, [ATM_TENOR_S], 0)
    return bps_nearest(float(volatility(item.svi, 0.0, ATM_TENOR_S / SECONDS_PER_YEAR)))


def within_step(smile: SmileModel, last_bps: int, steps_bps: tuple[int, int]) -> SmileModel:
    """Surface scaled so that its at-the-money volatility is no more than one legal step from the last epoch's.

    ``steps_bps`` are the largest relative steps up and down; ``last_bps`` 0 means that there was no epoch. A larger
    move takes several epochs; the contract would refuse it in one.
    """
    wanted = atm_vol_bps(smile)
    # One bps inside, because scaling and rounding may add half of one.
    high = last_bps * (BPS + steps_bps[0]) // BPS - 1
    low = -(-last_bps * (BPS - steps_bps[1]) // BPS) + 1
    if last_bps == 0 or low <= wanted <= high:
        return smile
    ratio = (high if wanted > high else low) / wanted
    return replace(smile, short_vol=smile.short_vol * ratio, long_vol=smile.long_vol * ratio)


def surface_tuple(item: SurfaceSlice) -> Surface:
    """``IRiskTable.Surface`` of a slice, every number to the nearest wad."""
    svi = item.svi
    a, b, rho, m, sigma = (wad_nearest(value) for value in (svi.a, svi.b, svi.rho, svi.m, svi.sigma))
    return item.expiry, wad_nearest(item.forward_ratio), wad_nearest(item.discount), a, b, rho, m, sigma


def surface_slice(raw: Surface) -> SurfaceSlice:
    """Slice that a published surface says; the rows are built from this, so that anybody can build them again."""
    expiry, forward, discount, *svi = raw
    return SurfaceSlice(
        expiry, float_from_wad(forward), float_from_wad(discount), SviSlice(*(float_from_wad(x) for x in svi))
    )


def option_specs(options: Mapping[int, OptionInfo], underlying: int) -> tuple[OptionSpec, ...]:
    """Options of one underlying as the model wants them, by slot."""
    return tuple(
        OptionSpec(
            slot=item.slot,
            expiry=item.expiry,
            strike=float_from_wad(item.strike_wad),
            is_call=item.is_call,
            settled_price=float_from_wad(item.settlement_wad) if item.settlement_wad else None,
        )
        for _, item in sorted(options.items())
        if item.underlying == underlying and item.expiry
    )


def plan_pages(
    snapshot: Snapshot, target: ParameterSet, policy: PagePolicy, vol_steps_bps: tuple[int, int], interval_s: int = 0
) -> tuple[PagePlan, ...]:
    """Plan every underlying that has options listed, in order of its number.

    ``vol_steps_bps``: largest steps up and down of the at-the-money volatility that the contract takes. ``interval_s``:
    how soon after an epoch it takes the next. It counts from the publication, which follows the observation, so a page
    observed less than that ago is not built: in a crash, building what is refused would cost each cycle its time.
    """
    table, prices, infos = snapshot.table, snapshot.prices, snapshot.underlyings
    if isinstance(table, Unknown) or isinstance(prices, Unknown) or isinstance(infos, Unknown):
        return ()
    plans = []
    for u, info in sorted(infos.items()):
        page = table.pages.get(u)
        if info.option_slots == 0 or (page is not None and page.rows_wanted == 0):
            continue
        if page is not None and page.address is not None and snapshot.block.timestamp < page.observed_at + interval_s:
            continue
        plans.append(_plan(snapshot, info, page, prices.get((PRICE_UNDERLYING, u)), target, policy, vol_steps_bps))
    return tuple(plans)


def _plan(
    snapshot: Snapshot,
    info: UnderlyingInfo,
    page: PageStatus | None,
    price: Price | None,
    target: ParameterSet,
    policy: PagePolicy,
    vol_steps_bps: tuple[int, int],
) -> PagePlan:
    if price is None or not price.fresh:
        return PagePlan(info.id)  # no reference to publish against; the price's own age raises the alert
    smile = target.surfaces.get(info.symbol)
    if smile is None:
        return PagePlan(info.id, refused=f"the calibration has no volatility surface for {info.symbol}; add it")
    now = snapshot.block.timestamp
    trigger = page_trigger(
        page,
        price,
        atm_vol_bps(smile),
        now,
        policy,
        step_e9=_step(snapshot, info.id),
        expiries=_expiries_ahead(snapshot, info.id, now),
        ramp_ends_at=_ramp_ends_at(snapshot, info.id, now),
    ) or _overdue_rows(snapshot, info.id, page)
    if trigger is None:
        return PagePlan(info.id)
    try:
        legal = within_step(smile, 0 if page is None else page.atm_vol_bps, vol_steps_bps)
        action = build(snapshot, info.id, page, price, legal, target, policy.validity_s)
    except RiskError as error:
        return PagePlan(info.id, trigger=trigger, refused=f"page of {info.symbol} cannot be built: {error}")
    return PagePlan(info.id, action, trigger)


def _stored(snapshot: Snapshot, underlying: int) -> UnderlyingParameters | None:
    """Lanes to which the ramps lead; None while unknown or never set."""
    words = snapshot.parameter_words
    word = 0 if isinstance(words, Unknown) else words.get((UNDERLYING, underlying), 0)
    return unpack_underlying(word) if word else None


def _in_force(snapshot: Snapshot, underlying: int) -> UnderlyingParameters | None:
    """Lanes that the margin rule uses at the snapshot's block; None while unknown."""
    market = snapshot.market
    return None if isinstance(market, Unknown) else unpack_underlying(market.underlying_words[underlying])


def _step(snapshot: Snapshot, underlying: int) -> int | None:
    """Grid step (1e-9) that a page must have: that of the stored scan range; None while unknown or never set."""
    stored = _stored(snapshot, underlying)
    return None if stored is None else step_e9_from_scan(stored.scan_bps)


def _ramp_ends_at(snapshot: Snapshot, underlying: int, now: int) -> int:
    """When the shocks of pages reach or reached their targets; 0 where none is or was on its way, or while unknown."""
    stored, in_force, ends = _stored(snapshot, underlying), _in_force(snapshot, underlying), snapshot.ramp_ends
    if stored is None or in_force is None or isinstance(ends, Unknown):
        return 0
    ends_at = ends.get(underlying, 0)
    # before the end, other lanes of the word may be all that moves
    return ends_at if ends_at <= now or _shocks(in_force) != _shocks(stored) else 0


def _shocks(parameters: UnderlyingParameters) -> tuple[int, int, int]:
    """Lanes that reach margin through pages alone, and ramp."""
    return parameters.vol_up_bps, parameters.vol_down_bps, parameters.short_min_bps


def _expiries_ahead(snapshot: Snapshot, underlying: int, now: int) -> tuple[int, ...]:
    """Expiries ahead of an underlying's options (unix s), ascending; no page may outlive the first."""
    options = snapshot.options
    return () if isinstance(options, Unknown) else _expiries(option_specs(options, underlying), now)


def _expiries(specs: Sequence[OptionSpec], now: int) -> tuple[int, ...]:
    """Expiries ahead, ascending."""
    return tuple(sorted({o.expiry for o in specs if o.expiry > now}))


def _overdue_rows(snapshot: Snapshot, underlying: int, page: PageStatus | None) -> str | None:
    """Why rows no longer say what they should: an option newer than the page, or one settled since."""
    options, market = snapshot.options, snapshot.market
    if page is None or isinstance(options, Unknown):
        return None
    mine = [item for _, item in sorted(options.items()) if item.underlying == underlying]
    newer = [item.slot for item in mine if item.listed_at >= page.observed_at]
    if newer:
        return f"{len(newer)} options were listed since the page was made (slots {newer[:8]})"
    living = None if isinstance(market, Unknown) else market.pages.get(underlying)
    if living is None:
        return None
    rows = [(item.slot, living.row(item.slot)) for item in mine if item.settlement_wad]
    open_rows = [slot for slot, row in rows if row is not None and not _is_payoff(row)]
    return (
        f"{len(open_rows)} options were settled since the page was made (slots {open_rows[:8]})" if open_rows else None
    )


def _is_payoff(row: Row) -> bool:
    """Whether a row is that of a settled option: one value at every node, and no risk."""
    values = {value for state in row.lanes for value in state}
    return len(values) == 1 and row.short_minimum == row.absolute_delta == row.tail == 0


def build(
    snapshot: Snapshot,
    underlying: int,
    page: PageStatus | None,
    price: Price,
    smile: SmileModel,
    target: ParameterSet,
    validity_s: int,
) -> PublishPage | None:
    """Price all options of an underlying and pack them; None while the inputs are unknown.

    Uses the parameters on chain, not the target's, as the contract compares them: grid step of the stored scan range,
    volatility shocks and short minimum in force at the snapshot's block. The page ends at the first expiry ahead, as
    the contract demands.

    Raises
    ------
    risk.errors.BadInput
        When an option cannot be priced.
    """
    options, stored, in_force = snapshot.options, _stored(snapshot, underlying), _in_force(snapshot, underlying)
    if isinstance(options, Unknown) or stored is None or in_force is None:
        return None
    now = snapshot.block.timestamp
    specs = option_specs(options, underlying)
    expiries = _expiries(specs, now)
    if len(expiries) > MAX_SURFACES:
        raise BadInput(f"{len(expiries)} expiries are listed, a page has {MAX_SURFACES} surfaces; list fewer expiries")
    surfaces = tuple(surface_tuple(item) for item in slices_from_smile(smile, expiries, now))
    rows = max((o.slot + 1 for o in specs), default=0) if page is None else page.rows_wanted
    parameters = replace(in_force, scan_bps=stored.scan_bps)
    slices = [surface_slice(item) for item in surfaces]
    packed = build_page(specs, price.price_wad, slices, now, parameters, rows)
    header = PageHeader(
        epoch=1 if page is None else page.last_epoch + 1,
        observed_at=now,
        expires_at=min([now + validity_s, *expiries[:1]]),
        reference_price_wad=packed.reference_price_wad,
        lane_unit_wad=packed.lane_unit_wad,
        step_e9=packed.step_e9,
        atm_vol_bps=atm_vol_bps(smile),
        vol_up_bps=parameters.vol_up_bps,
        vol_down_bps=parameters.vol_down_bps,
        vol_power_bps=parameters.vol_power_bps,
        short_min_bps=parameters.short_min_bps,
        model_hash=bytes.fromhex(target.provenance.model_hash.removeprefix("0x")),
        data_hash=bytes.fromhex(target.provenance.data_hash.removeprefix("0x")),
    )
    return PublishPage(underlying, header, surfaces, packed.rows)


def joint_words(target: ParameterSet, infos: Mapping[int, UnderlyingInfo]) -> tuple[int, ...]:
    """Joint scenarios as chain words; an underlying that the calibration does not know does not move in any."""
    if target.joint is None:
        return ()
    ids = {info.symbol: number for number, info in infos.items()}
    columns = [(k, ids[name]) for k, name in enumerate(target.joint_underlyings) if name in ids]
    words = []
    for prices, vols in zip(target.joint.price_bytes.tolist(), target.joint.vol_bytes.tolist(), strict=True):
        word = 0
        for k, u in columns:
            word |= ((prices[k] & 0xFF) | (vols[k] & 0xFF) << 8) << (16 * u)
        words.append(word)
    return tuple(words)


def plan_joint(snapshot: Snapshot, target: ParameterSet, policy: PagePolicy) -> tuple[PublishJoint, str] | None:
    """Publication of the joint scenarios with its trigger, None when none is due."""
    table, infos, market = snapshot.table, snapshot.underlyings, snapshot.market
    if isinstance(table, Unknown) or isinstance(infos, Unknown) or isinstance(market, Unknown):
        return None
    words = joint_words(target, infos)
    if not words:
        return None
    now = snapshot.block.timestamp
    trigger = joint_trigger(table.joint, _living(market) == words, now, policy)
    if trigger is None:
        return None
    action = PublishJoint(
        joint_epoch=table.joint.epoch + 1,
        observed_at=now,
        expires_at=now + policy.validity_s,
        model_hash=bytes.fromhex(target.provenance.model_hash.removeprefix("0x")),
        data_hash=bytes.fromhex(target.provenance.data_hash.removeprefix("0x")),
        scenarios=b"".join(word.to_bytes(32, "big") for word in words),
    )
    return action, trigger


def _living(market: ChainMarket) -> tuple[int, ...]:
    return () if market.joint is None else market.joint.scenarios
