# SPDX-License-Identifier: Apache-2.0
"""How the keeper itself is doing: jobs, alerts, endpoints, its last turns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from keeper.logging import scrub
from keeper.observe.alerts import EVENT
from keeper.page.view import Source
from keeper.store.models import AlertRow, RunRow

RUNS = 30
ALERTS_SHOWN = 50
RAISED = "ballast_keeper_alerts"


def operations(source: Source) -> dict[str, Any]:
    """Answer of ``/api/operations``."""
    with source.database.session() as session:
        query = select(RunRow).where(RunRow.chain_id == source.chain_id).order_by(RunRow.id.desc()).limit(RUNS)
        runs = [_run(row) for row in session.scalars(query)]
        told = select(AlertRow).where(AlertRow.chain_id == source.chain_id).order_by(AlertRow.last_at.desc())
        troubles = [_trouble(row) for row in session.scalars(told.limit(ALERTS_SHOWN))]
    return {
        "now": source.clock(),
        "jobs": [asdict(job) for job in source.jobs()],
        "alerts": _alerts(source, troubles),
        "endpoints": [asdict(item) for item in source.endpoints()],
        "runs": runs,
    }


def _alerts(source: Source, troubles: list[dict[str, Any]]) -> dict[str, Any]:
    """What is wrong now, what the operator was told of, and how often each alert was raised since the start."""
    now = source.clock()
    wrong = [{"name": part, "text": f"{part} is halted: {why}"} for part, why in source.health.halts().items()]
    failed = [c for c in source.health.report(now).checks if not c.ok and not c.name.startswith("halt:")]
    wrong += [{"name": c.name, "text": c.text or f"{c.name} is not well"} for c in failed]
    view = source.feed.view
    if view is not None:
        wrong += [{"name": note.name, "text": note.text} for note in view.report.decision.notes if note.alarm]
    counts = {
        sample.labels["name"]: int(sample.value)
        for metric in source.metrics.registry.collect()
        if metric.name == RAISED
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    return {"now": [{**item, "text": scrub(item["text"])} for item in wrong], "told": troubles, "counts": counts}


def _trouble(row: AlertRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "severity": row.severity,
        "text": scrub(row.text),
        "first_at": row.first_at,
        "last_at": row.last_at,
        "told_at": row.told_at,
        "recovered_at": row.recovered_at,
        "event": row.source == EVENT,
    }


def _run(row: RunRow) -> dict[str, Any]:
    detail = row.detail or {}
    return {
        "id": row.id,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "block": row.block_number,
        "result": row.result,
        "duration_s": detail.get("duration_s"),
        "accounts": detail.get("accounts"),
        "actions": [scrub(str(text)) for text in detail.get("actions", [])],
        "error": scrub(str(detail["error"])) if "error" in detail else None,
    }
