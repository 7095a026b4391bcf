"""What became of a chunk of leads that was written: what is agreed now, what is to be sent, what is
told. From the plan and what Postgres took; pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.reading import Row
from reconciler_dagster.engine.diff import Staged
from reconciler_dagster.postgres.baseline import BaselineRow
from reconciler_dagster.postgres.writes import Applied


def created_time(staged: Staged, record_id: str) -> datetime | None:
    """When the record was created, as it was read now or is remembered."""
    read, known = staged.records.get(record_id), staged.baselines.get(record_id)
    return read.created_time if read else known.created_time if known else None


def sendable(change: LeadChange, applied: Applied, record_id: str) -> Row:
    """What may be sent: a merged text only once the lead holds it too, for what Airtable then
    acknowledges counts as agreed.
    """
    written = applied.written.get(record_id, ())
    return {
        column: value
        for column, value in change.to_airtable.items()
        if column not in change.to_postgres or column in written
    }


def merged_over(
    staged: Staged, changes: Mapping[str, LeadChange], record_id: str, cells: Row
) -> Row:
    """What goes to both sides is a merged text: Airtable's part of it."""
    remote, to_postgres = staged.sides.remote[record_id], changes[record_id].to_postgres
    return {column: remote[column] for column in cells if column in to_postgres}


def agreement(
    staged: Staged, record_id: str, change: LeadChange, owners: Mapping[str, str], applied: Applied
) -> BaselineRow:
    """What both sides hold now."""
    if record_id in applied.inserted:
        fields = _agreed_anew(staged, record_id, applied)
    else:
        fields = _agreed_further(staged, record_id, change, applied)
    created = created_time(staged, record_id)
    assert created is not None
    placeholders = applied.placeholders.get(record_id, {})
    return BaselineRow(record_id, owners[record_id], created, fields, placeholders)


def _agreed_anew(staged: Staged, record_id: str, applied: Applied) -> Row:
    """Of a lead that was inserted: what Airtable says and what was known, as far as it stands."""
    refused = {r.field for r in applied.refused if r.record_id == record_id}
    known = staged.baselines.get(record_id)
    fields = dict(known.fields) if known else {}
    remote = staged.sides.remote[record_id].items()
    fields |= {column: value for column, value in remote if column not in refused}
    return {c: fields[c] for c in fields if c in applied.inserted[record_id]}


def _agreed_further(staged: Staged, record_id: str, change: LeadChange, applied: Applied) -> Row:
    """Of any other: agreed already, or written just now and not on its way out."""
    written = applied.written.get(record_id, set())
    fields = dict(staged.sides.settled_sends.get(record_id, {})) | change.agreed
    return fields | {
        column: value
        for column, value in change.to_postgres.items()
        if column in written and column not in change.to_airtable
    }


def decided(
    changes: Mapping[str, LeadChange],
    done: Collection[str],
    owners: Mapping[str, str],
    applied: Applied,
) -> list[dict[str, Any]]:
    """A conflict is over once the winner is written; until then it will be found again."""
    return [
        conflict | {"record_id": record_id, "lead_id": owners[record_id]}
        for record_id in done
        if record_id in changes
        for conflict in changes[record_id].conflicts
        if conflict["field"] in applied.written.get(record_id, ())
    ]


def won_by_postgres(
    changes: Mapping[str, LeadChange], owners: Mapping[str, str], outbound: Mapping[str, Row]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Conflicts whose winner is on its way to Airtable: they are over once it is there."""
    return {
        (record_id, conflict["field"]): conflict
        | {"record_id": record_id, "lead_id": owners[record_id]}
        for record_id, cells in outbound.items()
        for conflict in changes[record_id].conflicts
        if conflict["field"] in cells and conflict["field"] not in changes[record_id].to_postgres
    }


def written(
    changes: Mapping[str, LeadChange], owners: Mapping[str, str], applied: Applied
) -> list[dict[str, Any]]:
    """The cells that Postgres took, for the history."""
    return [
        {
            "record_id": record_id,
            "lead_id": owners[record_id],
            "field": column,
            "old": changes[record_id].old.get(column),
            "new": changes[record_id].to_postgres[column],
        }
        for record_id, columns in applied.written.items()
        for column in sorted(columns)
    ]


def no_longer_rewritten(staged: Staged, done: Collection[str]) -> list[tuple[str, str]]:
    """Cells that agree, or whose lead somebody has edited."""
    return [
        (record_id, column)
        for record_id, column in staged.own_writes
        if record_id in done
        and (
            bool(record_id in staged.leads and staged.leads[record_id].revisions)
            or (record_id in staged.records and not staged.sides.differ(record_id, column))
        )
    ]


def no_longer_fought(
    staged: Staged, done: Collection[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Cells that somebody has given another value, and those on which both sides agree."""
    read = [cell for cell in staged.fought if cell[0] in done and cell[0] in staged.records]
    apart = [cell for cell in read if staged.sides.differ(*cell)]
    return (
        [cell for cell in apart if not staged.is_fought(*cell)],
        [cell for cell in read if cell not in apart],
    )
