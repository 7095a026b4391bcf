"""Rehearsals as they were shown, who approved of them, and what then happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from reconciler_dagster.core.rehearsal import Outcome, Report
from reconciler_dagster.postgres.encoding import storable
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.redaction import redacted_values

# What was shown so long ago nobody has in mind any more.
SHOWN_FOR_DAYS = 7


@dataclass(frozen=True)
class Kept:
    """A rehearsal. ``approved_by``, ``outcome``: None until then."""

    id: int
    rehearsed_at: datetime
    report: Report
    approved_by: str | None
    approved_at: datetime | None
    outcome: Outcome | None


def keep(connection: Connection, client_id: str, report: Report) -> int:
    """Keep what is being shown. Returns its number."""
    told = dump(redacted_values(asdict(report)))
    return int(
        connection.execute(
            text(
                "INSERT INTO reconciler.rehearsal (client_id, report) "
                "VALUES (:client_id, CAST(:report AS jsonb)) RETURNING id"
            ),
            {"client_id": client_id, "report": storable(connection, told)},
        ).scalar_one()
    )


def latest(connection: Connection, client_id: str) -> Kept | None:
    """What was shown last of a client."""
    row = connection.execute(
        text(
            "SELECT id, rehearsed_at, report, approved_by, approved_at, outcome "
            "FROM reconciler.rehearsal WHERE client_id = :client_id ORDER BY id DESC LIMIT 1"
        ),
        {"client_id": client_id},
    ).one_or_none()
    if row is None:
        return None
    return Kept(
        row.id,
        row.rehearsed_at,
        Report.from_json(row.report),
        row.approved_by,
        row.approved_at,
        Outcome(**row.outcome) if row.outcome else None,
    )


def shown(connection: Connection, client_id: str) -> Kept | None:
    """What may be approved of: the last rehearsal, if somebody still has it in mind."""
    fresh = connection.execute(
        text(
            "SELECT max(rehearsed_at) > clock_timestamp() - make_interval(days => :days) "
            "FROM reconciler.rehearsal WHERE client_id = :client_id AND approved_by IS NULL"
        ),
        {"client_id": client_id, "days": SHOWN_FOR_DAYS},
    ).scalar()
    kept = latest(connection, client_id) if fresh else None
    return kept if kept and kept.approved_by is None else None


def waiting(connection: Connection) -> dict[str, datetime]:
    """Since when what was shown waits for approval, by client; not where they were
    adopted since.
    """
    rows = connection.execute(
        text(
            "SELECT client_id::text, rehearsed_at FROM (SELECT DISTINCT ON (client_id) client_id, "
            "rehearsed_at, approved_by FROM reconciler.rehearsal ORDER BY client_id, id DESC) r "
            "WHERE approved_by IS NULL "
            "AND rehearsed_at > clock_timestamp() - make_interval(days => :days) "
            "AND NOT EXISTS (SELECT FROM reconciler.adoption a "
            "WHERE a.client_id = r.client_id AND a.changed_at > r.rehearsed_at)"
        ),
        {"days": SHOWN_FOR_DAYS},
    )
    return {row[0]: row[1] for row in rows}


def approve(connection: Connection, rehearsal_id: int, by: str) -> None:
    """Note who approved."""
    connection.execute(
        text(
            "UPDATE reconciler.rehearsal SET approved_by = :by, approved_at = clock_timestamp() "
            "WHERE id = :id"
        ),
        {"id": rehearsal_id, "by": by},
    )


def approved(connection: Connection, client_id: str) -> Report | None:
    """What a person has approved of and has not been carried out yet."""
    report = connection.execute(
        text(
            "SELECT r.report FROM reconciler.adoption a JOIN reconciler.rehearsal r "
            "ON r.id = a.rehearsal_id WHERE a.client_id = :client_id AND r.outcome IS NULL"
        ),
        {"client_id": client_id},
    ).scalar()
    return Report.from_json(report) if report else None


def conclude(connection: Connection, client_id: str, run_id: str, counts: dict[str, int]) -> None:
    """Note what came of what was approved, once; nothing where that is noted already."""
    approved_of = connection.execute(
        text(
            "SELECT r.id, r.report -> 'syncs' FROM reconciler.adoption a "
            "JOIN reconciler.rehearsal r ON r.id = a.rehearsal_id "
            "WHERE a.client_id = :client_id AND r.outcome IS NULL"
        ),
        {"client_id": client_id},
    ).one_or_none()
    if approved_of is not None:
        rehearsal_id, syncs = approved_of
        outcome = _outcome_of(connection, client_id, syncs, counts)
        connection.execute(
            text(
                "UPDATE reconciler.rehearsal SET run_id = :run_id, "
                "outcome = CAST(:outcome AS jsonb) WHERE id = :id"
            ),
            {"id": rehearsal_id, "run_id": run_id, "outcome": dump(asdict(outcome))},
        )


def _outcome_of(
    connection: Connection, client_id: str, syncs: list[str] | None, counts: dict[str, int]
) -> Outcome:
    """What has happened, as far as it was refused: what is in quarantine now. ``syncs``: those that
    were rehearsed; None: all, of a report from before that was noted.
    """
    found: dict[str, Counter[str]] = {"to_postgres": Counter(), "to_airtable": Counter()}
    rows = connection.execute(
        text(
            "SELECT direction, field, count(*) FROM reconciler.quarantine "
            "WHERE client_id = :client_id "
            "AND coalesce(sync = ANY(CAST(:syncs AS text[])), true) GROUP BY 1, 2"
        ),
        {"client_id": client_id, "syncs": syncs},
    )
    for direction, field, cells in rows:
        found[direction][field] = cells
    return Outcome(counts, dict(found["to_postgres"]), dict(found["to_airtable"]))
