# SPDX-License-Identifier: Apache-2.0
"""What this publisher thinks of another's table: computed again from its own data, its own chain and its own book."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from keeper.act import guard
from keeper.actions import PublishJoint, PublishPage
from keeper.assess import assess_all
from keeper.cosign.messages import Table
from keeper.domain import Block, ContractCall, PageStatus, Snapshot, Unknown
from keeper.errors import Reverted, Transient
from keeper.ports import Chain
from keeper.publish.check import PageGuard, check_joint, content_problems, impact_of, page_of
from keeper.publish.compare import (
    MOST,
    Difference,
    Tolerance,
    header_differences,
    joint_differences,
    row_differences,
    surface_differences,
)
from keeper.publish.rebuild import knowledge, rebuild
from keeper.publish.tables import (
    PRICE_UNDERLYING,
    atm_vol_bps,
    joint_words,
    option_specs,
    surface_tuple,
    within_step,
)
from keeper.publish.tables import surface_slice as published_slice
from keeper.publish.verifier import TABLE, wrong_rows_before
from risk.errors import RiskError
from risk.page import ROW_BYTES
from risk.pricing.svi import slices_from_smile
from risk.types import ParameterSet, SmileModel

MAX_AGE, JOINT_LIFE, VOL_UP, VOL_DOWN = 1, 3, 5, 6  # fields of RiskTable.limits


@dataclass(frozen=True, slots=True)
class Judgement:
    """``differences`` empty: it may be signed; ``now`` is the chain's time, ``max_age_s`` the contract's limit."""

    differences: tuple[Difference, ...]
    now: int
    max_age_s: int


@dataclass(slots=True)
class Judge:
    """Judges proposed tables.

    Attributes
    ----------
    target
        This publisher's own calibration; None until there is one.
    validity_s
        Life that this publisher would give a page.
    """

    chain: Chain
    target: Callable[[], ParameterSet | None]
    validity_s: int
    tolerance: Tolerance = field(default_factory=Tolerance)
    guard: PageGuard = field(default_factory=PageGuard)

    def look(self, table: Table) -> Judgement:
        """Judge a table at the head.

        Raises
        ------
        Transient
            There is no calibration yet, or something cannot be read: ask again later.
        """
        target = self.target()
        if target is None:
            raise Transient("there is no calibration yet; ask again later")
        snapshot = self.chain.snapshot()
        limits = self._limits(snapshot.block)
        found = (
            self._page(snapshot, target, table, limits)
            if isinstance(table, PublishPage)
            else self._joint(snapshot, target, table, limits)
        )
        return Judgement(tuple(islice(found, MOST)), snapshot.block.timestamp, limits[MAX_AGE])

    def _limits(self, block: Block) -> tuple[int, ...]:
        return tuple(self.chain.call(ContractCall(TABLE, "limits"), block=block))

    # ------------------------------------------------------------------ pages

    def _page(
        self, snapshot: Snapshot, target: ParameterSet, page: PublishPage, limits: tuple[int, ...]
    ) -> Iterator[Difference]:
        symbol, table, options = snapshot.symbol(page.underlying), snapshot.table, snapshot.options
        if isinstance(table, Unknown) or isinstance(options, Unknown):
            raise Transient("table or options cannot be read; ask again later")
        status, smile = table.pages.get(page.underlying), target.surfaces.get(symbol)
        if status is None or smile is None:
            yield Difference(symbol, None, "underlying", "unknown", str(page.underlying))
            return
        refused = self._refused(snapshot, page, status)
        if refused is not None:
            yield Difference(symbol, None, *refused)
            return
        legal = within_step(smile, status.atm_vol_bps, (limits[VOL_UP], limits[VOL_DOWN]))
        yield from self._against_ours(snapshot, page, legal, symbol)
        yield from self._in_itself(snapshot, page, symbol)
        assessments = assess_all(snapshot)
        why = self.guard.refusal(impact_of(snapshot, assessments, page), len(snapshot.accounts))
        if why is not None:
            yield Difference(symbol, None, "accounts", why, "published")

    def _refused(self, snapshot: Snapshot, page: PublishPage, status: PageStatus) -> tuple[str, str, str] | None:
        """(field, ours, theirs) where the contract would not take the page now."""
        if page.header.epoch != status.last_epoch + 1:
            return "epoch", str(status.last_epoch + 1), str(page.header.epoch)
        check = guard(page)
        try:
            if check is not None:
                self.chain.call(check, block=snapshot.block)
        except Reverted as error:
            return "contract", error.reason, "publishes"
        return None

    def _against_ours(
        self, snapshot: Snapshot, page: PublishPage, smile: SmileModel, symbol: str
    ) -> Iterator[Difference]:
        """Differences from the page that this publisher would make of the same observation and price."""
        header, options, prices = page.header, snapshot.options, snapshot.prices
        price = None if isinstance(prices, Unknown) else prices.get((PRICE_UNDERLYING, page.underlying))
        if price is None or isinstance(options, Unknown):
            raise Transient("prices or options cannot be read; ask again later")
        now = header.observed_at
        listed = {number: item for number, item in options.items() if item.listed_at < now}
        specs = [s for s in option_specs(listed, page.underlying) if s.slot < len(page.rows) // ROW_BYTES]
        expiries = sorted({spec.expiry for spec in specs if spec.expiry > now})
        surfaces = tuple(surface_tuple(item) for item in slices_from_smile(smile, expiries, now))
        ours = replace(header, atm_vol_bps=atm_vol_bps(smile), expires_at=min([now + self.validity_s, *expiries[:1]]))
        yield from header_differences(symbol, ours, header, price.price_wad, self.tolerance)
        theirs = [published_slice(item) for item in page.surfaces]  # type: ignore[arg-type]
        yield from surface_differences(symbol, [published_slice(s) for s in surfaces], theirs, now, self.tolerance)
        content, rows = page_of(page), len(page.rows) // ROW_BYTES
        candidates = [
            list(
                row_differences(
                    symbol, rebuild(content, specs, surfaces, header, rows, known), page, specs, self.tolerance
                )
            )
            for known in knowledge(specs, content)
        ]
        yield from min(candidates, key=len)

    def _in_itself(self, snapshot: Snapshot, page: PublishPage, symbol: str) -> Iterator[Difference]:
        """Rows that do not follow from the page's own surfaces by the contracts' integers, and static arbitrage."""
        options = snapshot.options
        if isinstance(options, Unknown):
            raise Transient("options cannot be read; ask again later")
        wrong = wrong_rows_before(self.chain, snapshot.block, page, options)
        if isinstance(wrong, Unknown):
            raise Transient(f"rows cannot be verified ({wrong.reason})")
        for row in wrong:
            yield Difference(
                symbol, None, f"row of slot {row.slot}, lane {row.lane}", str(row.expected), str(row.published)
            )
        try:
            for problem in content_problems(page, page_of(page), options, exact=False):
                yield Difference(symbol, None, "page", problem, "published")
        except RiskError as error:
            yield Difference(symbol, None, "page", str(error), "published")

    # ------------------------------------------------------------------ joint scenarios

    def _joint(
        self, snapshot: Snapshot, target: ParameterSet, joint: PublishJoint, limits: tuple[int, ...]
    ) -> Iterator[Difference]:
        table, infos, now = snapshot.table, snapshot.underlyings, snapshot.block.timestamp
        if isinstance(table, Unknown) or isinstance(infos, Unknown):
            raise Transient("the table cannot be read; ask again later")
        if joint.joint_epoch != table.joint.epoch + 1:
            yield Difference("joint", None, "epoch", str(table.joint.epoch + 1), str(joint.joint_epoch))
            return
        if not now - limits[MAX_AGE] <= joint.observed_at <= now:
            yield Difference("joint", None, "observed_at", str(now), str(joint.observed_at))
        wanted = joint.observed_at + min(self.validity_s, limits[JOINT_LIFE])
        if joint.expires_at > now + limits[JOINT_LIFE] or 2 * (joint.expires_at - now) < wanted - now:
            yield Difference("joint", None, "expires_at", str(wanted), str(joint.expires_at))
        words = joint_words(target, infos)
        ours = replace(joint, scenarios=b"".join(word.to_bytes(32, "big") for word in words))
        yield from joint_differences(ours, joint, self.tolerance)
        check = check_joint(snapshot, assess_all(snapshot), joint, self.guard)
        if check.problems or check.refused:
            yield Difference("joint", None, "accounts", check.refused or check.problems[0], "published")
