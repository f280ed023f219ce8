# SPDX-License-Identifier: Apache-2.0
"""Writes what the keeper saw and did into its database: runs, assessments, epochs, pushes, halted parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, select

from keeper.actions import ParameterBatch, PublishJoint, PublishPage
from keeper.assess import Assessments
from keeper.domain import Unknown
from keeper.judged import SCREEN_FIELDS, Judged
from keeper.publish.approvals import digest_of
from keeper.publish.rebuild import content_hash
from keeper.publish.signing import joint_content_hash
from keeper.store import Store
from keeper.store.models import AssessmentRow, CommitmentRow, EpochRow, MarkRow, PushRow, RunRow
from risk.onchain import Assessment

HALT = "halt:"
JOINT = -1
SENT, SHADOW, WAITING, REFUSED = "sent", "shadow", "waiting", "refused"
IN_TURN = 1_000  # accounts of a large book that a cycle records though nothing happened to them
MOST_AT_ONCE = 500  # numbers in one statement
_EMPTY: dict[str, Any] = dict.fromkeys((*SCREEN_FIELDS, "unknown"))


class Recorder:
    """The keeper's records of one chain."""

    def __init__(self, store: Store, chain_id: int) -> None:
        self._store = store
        self._chain_id = chain_id
        self._turn: int | None = None

    def begin(self, started_at: int) -> int:
        """Open the row of a cycle and return its id; a row without end is a cycle that the process did not survive."""
        with self._store.session() as session:
            row = RunRow(chain_id=self._chain_id, started_at=started_at)
            session.add(row)
            session.flush()
            return row.id

    def finish(
        self, run: int, finished_at: int, block_number: int | None, result: str, detail: Mapping[str, Any]
    ) -> None:
        """Close the row of a cycle."""
        with self._store.session() as session:
            row = session.get_one(RunRow, run)
            row.finished_at, row.block_number, row.result, row.detail = finished_at, block_number, result, dict(detail)

    def runs(self, limit: int = 20) -> list[RunRow]:
        """Newest cycles first."""
        with self._store.session() as session:
            query = select(RunRow).where(RunRow.chain_id == self._chain_id).order_by(RunRow.id.desc()).limit(limit)
            return list(session.scalars(query))

    def assessments(self, found: Assessments, block_number: int, at: int) -> None:
        """Store the assessments of this block in place of earlier ones.

        Of a book too large for that, those that the twin has judged or that changed, and by turns a share of the others
        as the screen shows them; the first time all. Each row tells the block it is of.
        """
        common = {"chain_id": self._chain_id, "block_number": block_number, "assessed_at": at}
        if not isinstance(found, Judged):
            self._replace([{**common, **_exact_row(account, result)} for account, result in found.items()], None)
            return
        exact = {**found.exact(), **found.unknown()}
        first = self._turn is None
        turn = None if first else self._in_turn(found)
        wanted = set(found.numbers.tolist()) if turn is None else {*turn, *found.fresh}
        rows = [{**common, **_exact_row(account, result)} for account, result in exact.items()]
        rows += [
            {**common, **_EMPTY, "account": account, **dict(zip(SCREEN_FIELDS, values, strict=True))}
            for account, values in found.shown(wanted - exact.keys())
        ]
        self._replace(rows, None if first else [row["account"] for row in rows])
        self._turn = self._turn or 0

    def _in_turn(self, found: Judged) -> list[int]:
        """The next share of the accounts."""
        begin = self._turn or 0
        self._turn = begin + IN_TURN if begin + IN_TURN < found.numbers.size else 0
        return list(found.numbers[begin : begin + IN_TURN].tolist())

    def _replace(self, rows: list[dict[str, Any]], accounts: list[int] | None) -> None:
        """Write rows in place of those of the accounts, or of all."""
        mine = AssessmentRow.chain_id == self._chain_id
        with self._store.session() as session:
            if accounts is None:
                session.execute(delete(AssessmentRow).where(mine))
            for k in range(0, len(accounts or ()), MOST_AT_ONCE):
                some = (accounts or [])[k : k + MOST_AT_ONCE]
                session.execute(delete(AssessmentRow).where(mine, AssessmentRow.account.in_(some)))
            if rows:
                session.execute(insert(AssessmentRow), rows)

    def page(self, action: PublishPage, at: int, verdict: str = SENT, **judged: Any) -> None:
        """Keep a page that was sent, or built only, with all it was built from; ``judged`` is what its checks said."""
        content = {
            "header": {name: _json_value(name, value) for name, value in asdict(action.header).items()},
            "surfaces": [[str(value) for value in surface] for surface in action.surfaces],
            "rows": action.rows.hex(),
            **judged,
        }
        hashed = content_hash(action.header.as_tuple(), action.surfaces, action.rows)
        self._epoch(action.underlying, action.epoch, hashed, content, at, verdict)

    def joint(self, action: PublishJoint, at: int, verdict: str = SENT, **judged: Any) -> None:
        """Keep joint scenarios that were sent, or built only."""
        content = {
            "observed_at": action.observed_at,
            "expires_at": action.expires_at,
            "model_hash": action.model_hash.hex(),
            "data_hash": action.data_hash.hex(),
            "scenarios": action.scenarios.hex(),
            **judged,
        }
        self._epoch(JOINT, action.joint_epoch, joint_content_hash(action), content, at, verdict)

    def _epoch(
        self, underlying: int, epoch: int, hashed: bytes, content: dict[str, Any], at: int, verdict: str
    ) -> None:
        with self._store.session() as session:
            if verdict == REFUSED:  # built anew every cycle: the last one says all
                session.execute(
                    delete(EpochRow).where(
                        EpochRow.chain_id == self._chain_id,
                        EpochRow.underlying == underlying,
                        EpochRow.verdict == REFUSED,
                    )
                )
            session.merge(
                EpochRow(
                    chain_id=self._chain_id,
                    underlying=underlying,
                    epoch=epoch,
                    content_hash=hashed,
                    verdict=verdict,
                    built_at=at,
                    content=content,
                )
            )

    def push(self, action: ParameterBatch, at: int, verdict: str = SENT, **judged: Any) -> None:
        """Keep a batch that was sent, or built only."""
        content = {
            "kind": action.kind,
            "observed_at": action.observed_at,
            "model_hash": action.model_hash.hex(),
            "data_hash": action.data_hash.hex(),
            "changes": [[kind, number, hex(word)] for kind, number, word in action.changes],
            **judged,
        }
        with self._store.session() as session:
            session.merge(
                PushRow(
                    chain_id=self._chain_id,
                    nonce=action.nonce,
                    digest=digest_of(action),
                    built_at=at,
                    verdict=verdict,
                    content=content,
                )
            )

    def built(self, underlying: int, epoch: int, hashes: Sequence[bytes]) -> bool:
        """Whether this keeper has sent, or signed for another, a content that goes by one of these hashes."""
        with self._store.session() as session:
            sent = select(EpochRow.epoch).where(
                EpochRow.chain_id == self._chain_id,
                EpochRow.underlying == underlying,
                EpochRow.epoch == epoch,
                EpochRow.verdict == SENT,
                EpochRow.content_hash.in_(hashes),
            )
            signed = select(CommitmentRow.epoch).where(
                CommitmentRow.chain_id == self._chain_id,
                CommitmentRow.underlying == underlying,
                CommitmentRow.epoch == epoch,
                CommitmentRow.content_hash.in_(hashes),
            )
            return any(session.scalars(query).first() is not None for query in (sent, signed))

    def epochs(self, verdict: str, limit: int = 50) -> list[EpochRow]:
        """Tables of one verdict, newest first."""
        with self._store.session() as session:
            query = select(EpochRow).where(EpochRow.chain_id == self._chain_id, EpochRow.verdict == verdict)
            return list(session.scalars(query.order_by(EpochRow.built_at.desc(), EpochRow.underlying).limit(limit)))

    def pushes(self, *verdicts: str, limit: int = 50) -> list[PushRow]:
        """Batches of these verdicts, newest first."""
        with self._store.session() as session:
            query = select(PushRow).where(PushRow.chain_id == self._chain_id, PushRow.verdict.in_(verdicts))
            return list(session.scalars(query.order_by(PushRow.built_at.desc()).limit(limit)))

    def halt(self, part: str, at: int) -> None:
        """Remember that a part is stopped: a restart must not start it again by itself."""
        with self._store.session() as session:
            session.merge(MarkRow(chain_id=self._chain_id, name=HALT + part, value=at))

    def halted(self) -> dict[str, int]:
        """Parts that are stopped, and since when (unix s)."""
        with self._store.session() as session:
            query = select(MarkRow).where(MarkRow.chain_id == self._chain_id, MarkRow.name.startswith(HALT))
            return {row.name.removeprefix(HALT): row.value for row in session.scalars(query)}

    def resume(self, part: str) -> bool:
        """Let a stopped part run again; False when it was not stopped."""
        with self._store.session() as session:
            row = session.get(MarkRow, (self._chain_id, HALT + part))
            if row is None:
                return False
            session.delete(row)
            return True


def _exact_row(account: int, result: Assessment | Unknown) -> dict[str, Any]:
    """Columns of what the twin says."""
    if isinstance(result, Unknown):
        return {**_EMPTY, "account": account, "unknown": result.reason}
    return {**_EMPTY, "account": account, **{name: getattr(result, name) for name in SCREEN_FIELDS}}


def _json_value(name: str, value: int | bytes) -> int | str:
    """Hashes as hex; amounts in wad as text, as they do not fit the integers of most readers of JSON."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if name.endswith("_wad") else value
