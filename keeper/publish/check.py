# SPDX-License-Identifier: Apache-2.0
"""Judge one's own page before it is published: from its bytes alone, and by what it would do to the accounts.

Three questions, each with an answer of its own. Do the bytes say what header and surfaces say (rebuilt, bit for bit)?
Are the surfaces and the values free of static arbitrage? How many accounts would the page put below maintenance margin?
What the integer verifier says of each row is asked of the chain, in `keeper.publish.verifier`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from keeper.actions import PageHeader, PublishJoint, PublishPage
from keeper.assess import Assessments
from keeper.domain import OptionInfo, Snapshot, Unknown
from keeper.publish.impact import Impact, measure, with_joint, with_page
from keeper.publish.rebuild import content_hash, row_problems
from keeper.publish.tables import option_specs, surface_slice
from risk.errors import RiskError
from risk.onchain_words import JointSet, Page
from risk.page import ROW_BYTES
from risk.pricing.svi import calendar_gap, has_butterfly_arbitrage
from risk.table import NODES
from risk.types import OptionSpec

BPS = 10_000
AT_REFERENCE = NODES.index(0)
BASE = 1
# A lane is rounded to the nearest: two of them are at most one apart from what they stand for.
ROUNDING = 1.0
CALENDAR_TOLERANCE = 1e-12  # total variance; a parameter is rounded to 1e-18


@dataclass(frozen=True, slots=True)
class PageGuard:
    """How many accounts a page or a set of scenarios may put below maintenance margin without a person's word.

    Refused are ``newly_bps`` of all accounts or more, if they are more than ``newly_accounts``: in a book of ten
    accounts one is no sign of a wrong page.
    """

    newly_bps: int = 500
    newly_accounts: int = 4

    def refusal(self, impact: Impact, accounts: int) -> str | None:
        """Why the page must not be published, None when it may; an account nobody can judge counts as harmed."""
        harmed = (*impact.newly_liquidatable, *impact.unknown)
        if len(harmed) <= self.newly_accounts or len(harmed) * BPS < self.newly_bps * accounts:
            return None
        return (
            f"{len(impact.newly_liquidatable)} of {accounts} accounts would become liquidatable and "
            f"{len(impact.unknown)} cannot be judged (limit {self.newly_bps / 100:g} %): accounts "
            f"{', '.join(map(str, harmed))}; look at 'ballast table diff', then approve"
        )


@dataclass(frozen=True, slots=True)
class PageCheck:
    """``problems`` are faults of the page itself, ``refused`` why its impact needs a person; both empty: publish."""

    problems: tuple[str, ...]
    impact: Impact | None
    refused: str | None = None


def page_of(action: PublishPage) -> Page:
    """The page that readers would be served."""
    # the address is of no contract yet; it tells two pages apart
    hashed = content_hash(action.header.as_tuple(), action.surfaces, action.rows)
    return page_from(action.header, f"0x{hashed[:20].hex()}", action.rows)


def page_from(header: PageHeader, address: str, rows: bytes) -> Page:
    """A page as the margin rule reads it."""
    return Page(
        address=address,
        epoch=header.epoch,
        observed_at=header.observed_at,
        expires_at=header.expires_at,
        reference_price=header.reference_price_wad,
        lane_unit=header.lane_unit_wad,
        step_e9=header.step_e9,
        rows=rows,
    )


def joint_of(action: PublishJoint) -> JointSet:
    """The scenarios that readers would be served."""
    data = action.scenarios
    words = tuple(int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32))
    return JointSet(f"0x{keccak(data)[:20].hex()}", action.joint_epoch, action.expires_at, words)


def check_page(snapshot: Snapshot, assessments: Assessments, action: PublishPage, guard: PageGuard) -> PageCheck:
    """Judge a page that was built at this snapshot."""
    options, market = snapshot.options, snapshot.market
    if isinstance(options, Unknown) or isinstance(market, Unknown):
        return PageCheck(("options or market could not be read, so the page was not checked",), None)
    page = page_of(action)
    problems = tuple(content_problems(action, page, options))
    if problems:
        return PageCheck(problems, None)
    impact = measure(snapshot, assessments, with_page(market, action.underlying, page))
    return PageCheck((), impact, guard.refusal(impact, len(snapshot.accounts)))


def impact_of(snapshot: Snapshot, assessments: Assessments, action: PublishPage) -> Impact:
    """What a page would do to the accounts; where the market is unknown, nobody can judge any of them."""
    market = snapshot.market
    if isinstance(market, Unknown):
        return Impact((), 0, (), tuple(snapshot.accounts))
    return measure(snapshot, assessments, with_page(market, action.underlying, page_of(action)))


def check_joint(snapshot: Snapshot, assessments: Assessments, action: PublishJoint, guard: PageGuard) -> PageCheck:
    """Judge joint scenarios by what they would do to the accounts."""
    market = snapshot.market
    if isinstance(market, Unknown):
        return PageCheck(("the market could not be read, so the scenarios were not checked",), None)
    impact = measure(snapshot, assessments, with_joint(market, joint_of(action)))
    return PageCheck((), impact, guard.refusal(impact, len(snapshot.accounts)))


def content_problems(
    action: PublishPage, page: Page, options: Mapping[int, OptionInfo], *, exact: bool = True
) -> Iterator[str]:
    """Yield what is wrong with the bytes, the surfaces and the values of a page.

    ``exact`` compares with a rebuild bit for bit: for a page of this machine, where another's may round otherwise.
    """
    specs = option_specs(options, action.underlying)
    header, rows = action.header, len(action.rows) // ROW_BYTES
    missing = [spec.slot for spec in specs if spec.slot >= rows]
    if missing or len(action.rows) % ROW_BYTES:
        yield f"the page has {len(action.rows)} bytes, slots {missing[:8]} have no row"
        return
    try:
        if exact:
            yield from row_problems(page, specs, action.surfaces, header, rows)
    except RiskError as error:
        yield f"the page cannot be rebuilt from its header and surfaces: {error}"
        return
    yield from _surface_problems(action.surfaces)
    lanes = _lanes(action.rows)
    yield from _node_problems(lanes, specs)
    yield from _strike_problems(lanes, specs, action)


def _surface_problems(surfaces: Sequence[Sequence[int]]) -> Iterator[str]:
    slices = [surface_slice(tuple(item)) for item in surfaces]  # type: ignore[arg-type]
    for item in slices:
        if has_butterfly_arbitrage(item.svi):
            yield f"the surface of expiry {item.expiry} has butterfly arbitrage"
    for near, far in pairwise(slices):
        if calendar_gap(near.svi, far.svi) < -CALENDAR_TOLERANCE:
            yield f"the surfaces of expiries {near.expiry} and {far.expiry} have calendar arbitrage"


def _lanes(rows: bytes) -> NDArray[np.int64]:
    """Lanes of a page, shape (rows, 3, 16)."""
    return np.frombuffer(rows, dtype=">u2").reshape(-1, 3, 16)[:, :, ::-1].astype(np.int64)


def _node_problems(lanes: NDArray[np.int64], specs: Sequence[OptionSpec]) -> Iterator[str]:
    """A call rises with the price and a put falls; both rise with volatility."""
    wrong = []
    for spec in specs:
        values = lanes[spec.slot, :, : len(NODES)]
        along = np.diff(values, axis=1) * (1 if spec.is_call else -1)
        if (along < 0).any() or (np.diff(values, axis=0) < 0).any():
            wrong.append(spec.slot)
    if wrong:
        yield f"values of slots {wrong[:8]} are not monotone in price or volatility"


def _strike_problems(lanes: NDArray[np.int64], specs: Sequence[OptionSpec], action: PublishPage) -> Iterator[str]:
    """At the reference price a chain of strikes is monotone, convex, and no steeper than its discount."""
    discounts = {item[0]: item[2] / 10**18 for item in action.surfaces}
    unit = action.header.lane_unit_wad / 10**18
    for expiry in sorted(discounts):
        for is_call in (True, False):
            chain = sorted((s for s in specs if s.expiry == expiry and s.is_call == is_call), key=lambda s: s.strike)
            if len(chain) < 2:
                continue
            strikes = np.array([spec.strike for spec in chain])
            values = lanes[[spec.slot for spec in chain], BASE, AT_REFERENCE].astype(np.float64)
            if not _is_chain(strikes, values if is_call else values[::-1], discounts[expiry] / unit, is_call=is_call):
                kind = "calls" if is_call else "puts"
                yield f"the {kind} of expiry {expiry} have static arbitrage between strikes"


def _is_chain(strikes: NDArray[np.float64], falling: NDArray[np.float64], steepest: float, *, is_call: bool) -> bool:
    """Whether values in lanes, in the order in which they fall, do so convexly, by at most ``steepest`` a USD."""
    gaps = np.diff(strikes) if is_call else np.diff(strikes)[::-1]
    steps = -np.diff(falling)
    if (steps < -ROUNDING).any() or (steps > steepest * gaps + ROUNDING).any():
        return False
    # the middle of three lies at most two half lanes above the line through its neighbours
    share = gaps[1:] / (gaps[:-1] + gaps[1:])
    line = falling[:-2] * share + falling[2:] * (1.0 - share)
    return bool((falling[1:-1] <= line + ROUNDING).all())
