# SPDX-License-Identifier: Apache-2.0
"""Watch what others publish: rebuild every epoch in force, challenge a wrong row, name surfaces far from one's own.

A page is rebuilt from its event with floats; only rows that differ are put to the contract, whose word decides. So an
honest page of another machine, a rounding apart, is never challenged, and a challenge never reverts for being wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.actions import ChallengeRow
from keeper.decide import Note
from keeper.domain import ContractCall, OptionInfo, PageStatus, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.index.publications import PublishedPage
from keeper.ports import Chain
from keeper.publish.check import page_from
from keeper.publish.compare import MOST, Tolerance, surface_differences
from keeper.publish.rebuild import differing_rows, knowledge, rebuild
from keeper.publish.tables import option_specs, surface_slice
from keeper.publish.verifier import TABLE, WrongRow, read_terms, rows_hash, wrong_rows_in_force
from risk.errors import RiskError
from risk.page import ROW_BYTES
from risk.pricing.svi import slices_from_smile
from risk.types import ParameterSet

FRESH_S = 2 * 3_600  # a page observed longer ago says nothing about today's calibration
NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Watched:
    """Challenges to send, and what a person should know."""

    actions: tuple[ChallengeRow, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(slots=True)
class Watch:
    """Judges each epoch in force once.

    Attributes
    ----------
    pages
        Gives the published pages that events tell of.
    own
        Address of this keeper's publisher key, None without one.
    ours
        Whether this keeper has a record of having built or signed a content (underlying, epoch, hashes it may go by).
    challenges
        Send challenges; else only alert.
    """

    chain: Chain
    pages: Callable[[], Sequence[PublishedPage]]
    own: str | None
    ours: Callable[[int, int, Sequence[bytes]], bool]
    tolerance: Tolerance = field(default_factory=Tolerance)
    challenges: bool = True
    _judged: set[bytes] = field(default_factory=set)

    def look(self, snapshot: Snapshot, target: ParameterSet | None) -> Watched:
        """Judge what is in force at the snapshot's block, each content once; asks nothing where nothing is new."""
        table, options = snapshot.table, snapshot.options
        if isinstance(table, Unknown) or isinstance(options, Unknown):
            return Watched()
        new = [page for _, page in sorted(table.pages.items()) if page.content_hash not in {NO_HASH, *self._judged}]
        if not new:
            return Watched()
        actions: list[ChallengeRow] = []
        notes: list[Note] = []
        known = self.pages()
        for status in new:
            try:
                for page in self._in_force(snapshot, status, known):
                    actions += self._judge(snapshot, page, options, target, notes)
            except KeeperError as error:
                notes.append(Note("watch_failed", f"{snapshot.symbol(status.underlying)}: not judged yet ({error})"))
        return Watched(tuple(actions), tuple(notes))

    def _in_force(self, snapshot: Snapshot, status: PageStatus, known: Sequence[PublishedPage]) -> list[PublishedPage]:
        """Events of the living epoch and the one before it, which can be challenged too."""
        before = self.chain.call(ContractCall(TABLE, "previous_page", (status.underlying,)), block=snapshot.block)
        wanted = {status.content_hash, bytes(before[2])} - {NO_HASH, *self._judged}
        return [item for item in known if item.underlying == status.underlying and item.content_hash in wanted]

    def _judge(
        self,
        snapshot: Snapshot,
        page: PublishedPage,
        options: Mapping[int, OptionInfo],
        target: ParameterSet | None,
        notes: list[Note],
    ) -> list[ChallengeRow]:
        name = f"{snapshot.symbol(page.underlying)}, epoch {page.header.epoch}"
        mine = self.own is not None and self.own.lower() in {signer.lower() for signer in page.signers}
        rows = self.chain.code(page.page, snapshot.block)[1:]
        slots = suspicious(page, rows, options)
        claim = (page.underlying, page.header.as_tuple(), page.surfaces, rows_hash(rows))
        wrong = wrong_rows_in_force(self.chain, snapshot.block, claim, slots) if slots else ()
        if isinstance(wrong, Unknown):
            text = f"{name}: {len(slots)} rows differ from a rebuild and could not be judged ({wrong.reason})"
            notes.append(Note("page_unjudged", text, True, name))
            return []
        if wrong:
            return self._accuse(snapshot, page, claim, wrong, notes, name=name, mine=mine)
        self._judged.add(page.content_hash)
        # rows of a database of before went by the hash of the rows alone
        if mine and not self.ours(page.underlying, page.header.epoch, (page.content_hash, claim[3])):
            text = f"{name} bears this keeper's signature and is not in its records: find out who else holds the key"
            notes.append(Note("page_not_ours", text, True, name))
        notes += self._far(snapshot, page, target, name)
        return []

    def _accuse(
        self,
        snapshot: Snapshot,
        page: PublishedPage,
        claim: tuple[int, tuple[Any, ...], Sequence[Any], bytes],
        wrong: Sequence[WrongRow],
        notes: list[Note],
        *,
        name: str,
        mine: bool,
    ) -> list[ChallengeRow]:
        """Challenge the first wrong row; never one's own signature, which would cost one's own bond."""
        what = f"{name}: {len(wrong)} rows are wrong ({wrong[0]})"
        if mine:
            self._judged.add(page.content_hash)
            notes.append(Note("own_page_wrong", f"{what}, and this keeper signed it: stop publishing", True, name))
            return []
        reward = self._reward(snapshot, page.signers)
        said = "it is challenged" if self.challenges else "publisher.challenge is off: challenge it by hand"
        text = f"{what}, signed by {', '.join(page.signers)}; {said}, half of the penalty is {reward} raw units"
        notes.append(Note("page_challenged", text, True, name))
        underlying, header, surfaces, hashed = claim
        found = ChallengeRow(underlying, wrong[0].slot, header, tuple(surfaces), hashed, reward)
        return [found] if self.challenges else []

    def _reward(self, snapshot: Snapshot, signers: Sequence[str]) -> int:
        """Half of what the signers would lose, raw units."""
        slash = read_terms(self.chain, snapshot.block).slash_raw
        bonds = [self.chain.call(ContractCall(TABLE, "bond", (who,)), block=snapshot.block) for who in signers]
        return sum(min(int(bond[0]), slash) for bond in bonds) // 2

    def _far(self, snapshot: Snapshot, page: PublishedPage, target: ParameterSet | None, name: str) -> list[Note]:
        """Alert of surfaces that lie far from one's own calibration; the chain cannot judge them."""
        smile = None if target is None else target.surfaces.get(snapshot.symbol(page.underlying))
        now = page.header.observed_at
        if smile is None or snapshot.block.timestamp - now > FRESH_S:
            return []
        theirs = [surface_slice(item) for item in page.surfaces]  # type: ignore[arg-type]
        expiries = [item.expiry for item in theirs if item.expiry > now]
        ours = slices_from_smile(smile, expiries, now)
        found = list(surface_differences(snapshot.symbol(page.underlying), ours, theirs, now, self.tolerance))
        if not found:
            return []
        text = f"{name}: {len(found)} differences from our calibration: {'; '.join(map(str, found[:MOST]))}"
        return [Note("page_far", text, True, name)]


def suspicious(page: PublishedPage, rows: bytes, options: Mapping[int, OptionInfo]) -> list[int]:
    """Slots whose row is not, bit for bit, what its event gives; all that count where it cannot be rebuilt.

    An option that was not listed before the observation is of no use to anybody and is not judged.
    """
    header = page.header
    listed = {number: item for number, item in options.items() if item.listed_at < header.observed_at}
    count = len(rows) // ROW_BYTES
    specs = [spec for spec in option_specs(listed, page.underlying) if spec.slot < count]
    slots, content = [spec.slot for spec in specs], page_from(header, page.page, rows)
    try:
        rebuilt = [rebuild(content, specs, page.surfaces, header, count, known) for known in knowledge(specs, content)]
    except RiskError:
        return slots
    # with another lane unit the same lanes say something else
    apart = [
        differing_rows(rows, item.rows, slots) if item.lane_unit_wad == header.lane_unit_wad else slots
        for item in rebuilt
    ]
    return min(apart, key=len)
