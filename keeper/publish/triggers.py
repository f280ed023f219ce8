# SPDX-License-Identifier: Apache-2.0
"""When a page of risk arrays, or the joint scenarios, must be published again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.domain import JointStatus, PageStatus, Price
from risk.expiry_hours import HOUR_MAX
from risk.types import SECONDS_PER_DAY

BPS = 10_000
E9 = 10**9
HOUR_S = 3_600
# So long before the last day of an option begins its page is renewed, for the page to be there when it does.
LAST_DAY_LEAD_S = HOUR_S


@dataclass(frozen=True, slots=True)
class PagePolicy:
    """What makes a page too old.

    ``drift_steps_bps``: distance of the live price from the reference, in 1e-4 of a grid step (20,000 = two steps);
    ``drift_bps``: the same distance as a share of the reference, whichever is reached first; ``vol_bps``: change of the
    at-the-money volatility, as a share of the published one; ``heartbeat_s``: age; ``ramp_s``: age while the shocks are
    on their way to where a push sent them, since margin feels of them what its page says; ``validity_s``: life of a new
    page. A page with less than a quarter of its life left is replaced whatever its age, unless it ends at an expiry,
    which a new one could not outlive.
    """

    drift_bps: int
    vol_bps: int
    heartbeat_s: int
    validity_s: int
    drift_steps_bps: int = 20_000
    ramp_s: int = 3_600


def drift_steps(page: PageStatus, price_wad: int) -> float:
    """Live price against the page's reference price, in grid steps (for a metric; decisions use integers)."""
    if page.reference_price_wad == 0 or page.step_e9 == 0:
        return 0.0
    return (price_wad / page.reference_price_wad - 1) * E9 / page.step_e9


def page_trigger(
    page: PageStatus | None,
    price: Price,
    atm_vol_bps: int,
    now: int,
    policy: PagePolicy,
    *,
    step_e9: int | None = None,
    expiries: Sequence[int] = (),
    ramp_ends_at: int = 0,
) -> str | None:
    """Why the page must be published now, None when it need not.

    Parameters
    ----------
    page
        The living page, None where the table knows none.
    atm_vol_bps
        At-the-money volatility that a new page would have.
    now
        Unix seconds.
    step_e9
        Grid step of the stored scan range, None while unknown. The engine scans with the range in force over the
        page's own steps: once the range has grown by a quarter, its ends lie beyond the grid.
    expiries
        Those ahead (unix s), ascending. A new page may not outlive the first either.
    ramp_ends_at
        When the shocks reach or reached their targets (unix s); 0 where they never were on their way.
    """
    if page is None or page.address is None:
        return "there is no page"
    if page.rows < page.rows_wanted:
        return f"the page has {page.rows} rows, {page.rows_wanted} options are listed"
    if step_e9 is not None and step_e9 != page.step_e9:
        return f"the page has grid step {page.step_e9}e-9, the scan range asks for {step_e9}e-9"
    if ramp_ends_at > page.observed_at and now >= ramp_ends_at:
        return "the shocks have reached their targets since the page was made"
    if ramp_ends_at > page.observed_at and now - page.observed_at >= policy.ramp_s:
        return f"the shocks are on their way to their targets, and the page is {now - page.observed_at} s old"
    untold = _untold(page, expiries, now + LAST_DAY_LEAD_S)
    if untold:
        return f"the page does not tell the hour of the expiry at {untold[0]}, {untold[0] - now} s ahead"
    capped = bool(expiries) and page.expires_at >= expiries[0]
    if not capped and page.expires_at - now < (page.expires_at - page.observed_at) // 4:
        return f"the page expires in {page.expires_at - now} s"
    move = abs(price.price_wad - page.reference_price_wad)
    if move * BPS > policy.drift_bps * page.reference_price_wad:
        return f"the price moved {move * BPS // page.reference_price_wad} bps from the reference"
    if move * E9 * BPS > policy.drift_steps_bps * page.step_e9 * page.reference_price_wad:
        return f"the price moved {move * E9 / (page.reference_price_wad * page.step_e9):.1f} grid steps"
    change = abs(atm_vol_bps - page.atm_vol_bps)
    if change * BPS > policy.vol_bps * page.atm_vol_bps:
        return f"the at-the-money volatility moved from {page.atm_vol_bps} to {atm_vol_bps} bps"
    if now - page.observed_at >= policy.heartbeat_s:
        return f"the page is {now - page.observed_at} s old"
    return None


def _untold(page: PageStatus, expiries: Sequence[int], until: int) -> list[int]:
    """Expiries whose last day begins by ``until`` and whose hour the page is too old to tell.

    Margin would not feel that day: docs/margin-rule.md, section 4. An hour reaches thirty hours ahead.
    """
    near = (expiry for expiry in expiries if expiry - SECONDS_PER_DAY <= until)
    return [expiry for expiry in near if expiry // HOUR_S - page.observed_at // HOUR_S >= HOUR_MAX]


def joint_trigger(joint: JointStatus, same_scenarios: bool, now: int, policy: PagePolicy) -> str | None:
    """Why the joint scenarios must be published now, None when they need not.

    Parameters
    ----------
    same_scenarios
        The living blob holds exactly what would be published.
    """
    if joint.address is None:
        return "there are no joint scenarios"
    if joint.expires_at - now < policy.validity_s // 4:
        return f"the joint scenarios expire in {joint.expires_at - now} s"
    return None if same_scenarios else "the calibration chose other joint scenarios"
