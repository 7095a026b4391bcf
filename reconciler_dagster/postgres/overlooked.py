"""Edits that were not noted, found by comparing every lead with what was last agreed on.

Needed where table and trigger are not what they were when they were last looked at: disabled and
enabled again, made anew, replaced, restored from a dump; or where the trigger had trouble.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.guard import Facts, problems
from reconciler_dagster.core.reading import differing
from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.postgres import baseline
from reconciler_dagster.postgres.clients import directory, leads_columns
from reconciler_dagster.postgres.connection import snapshot
from reconciler_dagster.postgres.leads import OVERLOOKED, note, quoted

# What is noted already is not overlooked.
_NOT_NOTED = """NOT EXISTS (SELECT FROM reconciler.unsettled u
    WHERE u.client_id = :client_id AND u.record_id = {record_id})"""

_AGREED = """
    SELECT b.lead_id::text, b.record_id, b.fields || b.placeholders,
        CASE WHEN l.id IS NOT NULL THEN (SELECT to_jsonb(x) FROM (SELECT {columns}) x) END
    FROM reconciler.baseline b LEFT JOIN public.leads l
        ON l.client_id = b.client_id AND l.airtable_record_id = b.record_id
    WHERE b.client_id = :client_id AND {not_noted}
"""

# Leads of which nothing is agreed on. What is known to be missing, or refused as a whole, is on its
# way to a person already.
_UNMET = """
    SELECT l.id::text, l.airtable_record_id FROM public.leads l
    WHERE l.client_id = :client_id AND l.is_active AND l.airtable_record_id ~ :whole
    AND {not_noted}
    AND NOT EXISTS (SELECT FROM reconciler.baseline b
        WHERE b.client_id = l.client_id AND b.record_id = l.airtable_record_id)
    AND NOT EXISTS (SELECT FROM reconciler.tombstone t WHERE t.client_id = l.client_id
        AND t.record_id = l.airtable_record_id AND t.state <> 'returned')
"""


@dataclass(frozen=True)
class Overlooked:
    """Leads, as (lead id, record id), whose edits nobody noted. ``compared``: whether there was
    any reason to look.
    """

    compared: bool
    leads: list[tuple[str, str]]


def find(
    engine: Engine, client_id: str, fields: FieldMap, facts: Facts, *, dry_run: bool = False
) -> Overlooked:
    """Compare the client's leads where edits may have been overlooked, and note those that differ,
    so that the run at hand takes them over. A dry run notes nothing.

    Within the client's lock. ``facts``: from a look before this.
    """
    with snapshot(engine) as connection:
        if not _may_have_been(connection, client_id, facts):
            return Overlooked(False, [])
        found: list[tuple[str, str]] = []
        compared = baseline.exists(connection, client_id)  # else the first contact sees to it
        if compared:
            found = [*_differing(connection, client_id, fields), *_unmet(connection, client_id)]
        if not dry_run:
            note(connection, client_id, found, OVERLOOKED)
            _remember(connection, client_id, facts)
    if not dry_run:
        _forget_troubles(engine)
    return Overlooked(compared, found)


def _may_have_been(connection: Connection, client_id: str, facts: Facts) -> bool:
    if problems(facts):
        return True
    row = connection.execute(
        text(
            "SELECT fingerprint, pg_snapshot_xmin(compared) >= horizon AS final "
            "FROM reconciler.guard WHERE client_id = :client_id"
        ),
        {"client_id": client_id},
    ).one_or_none()
    return row is None or row.fingerprint != facts.fingerprint or not row.final


def _differing(
    connection: Connection, client_id: str, fields: FieldMap
) -> Iterator[tuple[str, str]]:
    """Leads that do not hold what was agreed on, or are not there."""
    users = directory(connection)
    columns = {column.name for column in leads_columns(connection)} & set(fields.columns)
    chosen = ", ".join(f"l.{quoted(column)}" for column in sorted(columns))
    not_noted = _NOT_NOTED.format(record_id="b.record_id")
    rows = connection.execute(
        text(_AGREED.format(columns=chosen, not_noted=not_noted)).execution_options(yield_per=2000),
        {"client_id": client_id},
    )
    for lead_id, record_id, agreed, lead in rows:
        if lead is None or any(differing(lead, agreed, fields.only(columns), users)):
            yield lead_id, record_id


def _unmet(connection: Connection, client_id: str) -> list[tuple[str, str]]:
    not_noted = _NOT_NOTED.format(record_id="l.airtable_record_id")
    rows = connection.execute(
        text(_UNMET.format(not_noted=not_noted)), {"client_id": client_id, "whole": WHOLE}
    )
    return [(row[0], row[1]) for row in rows]


def _remember(connection: Connection, client_id: str, facts: Facts) -> None:
    """What was looked at, and what this comparison saw: it is the last one if every transaction
    had ended that was under way when the change was first met.
    """
    connection.execute(
        text(
            "INSERT INTO reconciler.guard AS g (client_id, fingerprint, compared, horizon) "
            "SELECT :client_id, :fingerprint, s, pg_snapshot_xmax(s) "
            "FROM pg_current_snapshot() AS s ON CONFLICT (client_id) DO UPDATE SET "
            "horizon = CASE WHEN g.fingerprint = excluded.fingerprint THEN g.horizon "
            "ELSE excluded.horizon END, fingerprint = excluded.fingerprint, "
            "compared = excluded.compared, compared_at = clock_timestamp()"
        ),
        {"client_id": client_id, "fingerprint": facts.fingerprint},
    )


def _forget_troubles(engine: Engine) -> None:
    """Trouble that every active client's runs have made up for."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "DELETE FROM reconciler.trigger_trouble t WHERE NOT EXISTS ("
                "SELECT FROM reconciler.guard g JOIN public.clients c ON c.id = g.client_id "
                "WHERE c.is_active AND NOT pg_visible_in_snapshot(t.transaction, g.compared))"
            )
        )
