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
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres import baseline
from reconciler_dagster.postgres.catalogue import columns_of
from reconciler_dagster.postgres.clients import directory
from reconciler_dagster.postgres.connection import snapshot
from reconciler_dagster.postgres.leads import OVERLOOKED, note
from reconciler_dagster.postgres.names import of_row, statement

# Rows that do not hold what was agreed on; what is noted already is not overlooked.
_AGREED = """
    SELECT b.lead_id::text, b.record_id, b.fields || b.placeholders,
        CASE WHEN l.xmin IS NOT NULL THEN (SELECT to_jsonb(x) FROM (SELECT {columns}) x) END
    FROM reconciler.baseline b LEFT JOIN {table} l
        ON {record_id} = b.record_id AND {may_be_own}
    WHERE b.client_id = :client_id AND b.sync = :sync
    AND NOT EXISTS (SELECT FROM reconciler.unsettled u
        WHERE u.client_id = :client_id AND u.sync = :sync AND u.record_id = b.record_id)
"""

# Leads of which nothing is agreed on. What is known to be missing, or refused as a whole, is on its
# way to a person already.
_UNMET = """
    SELECT {row_id}::text, {record_id} FROM {table} l
    WHERE {is_own} AND {active} AND {record_id} ~ :whole
    AND NOT EXISTS (SELECT FROM reconciler.unsettled u
        WHERE u.client_id = :client_id AND u.sync = :sync AND u.record_id = {record_id})
    AND NOT EXISTS (SELECT FROM reconciler.baseline b
        WHERE b.client_id = :client_id AND b.sync = :sync AND b.record_id = {record_id})
    AND NOT EXISTS (SELECT FROM reconciler.tombstone t WHERE t.client_id = :client_id
        AND t.sync = :sync AND t.record_id = {record_id} AND t.state <> 'returned')
"""


@dataclass(frozen=True)
class Overlooked:
    """Leads, as (lead id, record id), whose edits nobody noted. ``compared``: whether there was
    any reason to look.
    """

    compared: bool
    leads: list[tuple[str, str]]


def find(
    engine: Engine, pair: Pair, fields: FieldMap, facts: Facts, *, dry_run: bool = False
) -> Overlooked:
    """Compare the client's leads where edits may have been overlooked, and note those that differ,
    so that the run at hand takes them over. A dry run notes nothing.

    Within the client's lock. ``facts``: from a look before this.
    """
    with snapshot(engine) as connection:
        if not may_have_been(connection, pair, facts):
            return Overlooked(False, [])
        found: list[tuple[str, str]] = []
        compared = baseline.exists(connection, pair)  # else the first contact sees to it
        if compared:
            found = [*_differing(connection, pair, fields), *_unmet(connection, pair)]
        if not dry_run:
            note(connection, pair, found, OVERLOOKED)
            _remember(connection, pair, facts)
    if not dry_run:
        _forget_troubles(engine)
    return Overlooked(compared, found)


def may_have_been(connection: Connection, pair: Pair, facts: Facts) -> bool:
    """Whether there is any reason to compare: edits may not have been noted."""
    if problems(facts):
        return True
    row = connection.execute(
        text(
            "SELECT fingerprint, pg_snapshot_xmin(compared) >= horizon AS final "
            "FROM reconciler.guard WHERE client_id = :client_id AND sync = :sync"
        ),
        pair.keys,
    ).one_or_none()
    return row is None or row.fingerprint != facts.fingerprint or not row.final


def _differing(connection: Connection, pair: Pair, fields: FieldMap) -> Iterator[tuple[str, str]]:
    """Leads that do not hold what was agreed on, or are not there."""
    users = directory(connection, pair)
    known = {column.name for column in columns_of(connection, pair.table)}
    columns = known & set(fields.columns)
    there = fields.only(columns)
    differing_rows = statement(pair.table, _AGREED, columns=of_row(sorted(columns)))
    rows = connection.execute(differing_rows.execution_options(yield_per=2000), pair.keys)
    for lead_id, record_id, agreed, lead in rows:
        if lead is None or any(differing(lead, agreed, there, users)):
            yield lead_id, record_id


def _unmet(connection: Connection, pair: Pair) -> list[tuple[str, str]]:
    rows = connection.execute(statement(pair.table, _UNMET), {**pair.keys, "whole": WHOLE})
    return [(row[0], row[1]) for row in rows]


def _remember(connection: Connection, pair: Pair, facts: Facts) -> None:
    """What was looked at, and what this comparison saw: it is the last one if every transaction
    had ended that was under way when the change was first met.
    """
    connection.execute(
        text(
            "INSERT INTO reconciler.guard AS g (client_id, sync, fingerprint, compared, horizon) "
            "SELECT :client_id, :sync, :fingerprint, s, pg_snapshot_xmax(s) "
            "FROM pg_current_snapshot() AS s ON CONFLICT (client_id, sync) DO UPDATE SET "
            "horizon = CASE WHEN g.fingerprint = excluded.fingerprint THEN g.horizon "
            "ELSE excluded.horizon END, fingerprint = excluded.fingerprint, "
            "compared = excluded.compared, compared_at = clock_timestamp()"
        ),
        {**pair.keys, "fingerprint": facts.fingerprint},
    )


def _forget_troubles(engine: Engine) -> None:
    """Trouble that every active client's runs have made up for."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "DELETE FROM reconciler.trigger_trouble t WHERE NOT EXISTS ("
                "SELECT FROM reconciler.guard g JOIN reconciler.clients() c ON c.id = g.client_id "
                "WHERE c.is_active AND NOT pg_visible_in_snapshot(t.transaction, g.compared))"
            )
        )
