"""Reading the portal's leads: values, versions and unsettled edits in one snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.connection import snapshot
from reconciler_dagster.postgres.names import of_row, statement
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD

# The cause of an entry that a run makes for a lead that it could not write, and for one whose
# edit was not noted by the trigger.
DEFERRED, OVERLOOKED = "busy or edited during a run", "found by comparing"

# The column names come from the definition; they are quoted all the same.
_STAGE = """
    WITH wanted AS (
        SELECT unnest(CAST(:record_ids AS text[])) AS record_id
        UNION
        SELECT record_id FROM reconciler.unsettled
        WHERE client_id = :client_id AND sync = :sync AND :edited
        UNION  -- edited as another client's: the row was moved there, or does not say whose it is
        SELECT u.record_id FROM reconciler.unsettled u JOIN reconciler.baseline b
        ON b.client_id = :client_id AND b.sync = :sync AND b.record_id = u.record_id
        WHERE u.client_id IS DISTINCT FROM :client_id AND u.sync = :sync AND :edited
        UNION
        SELECT record_id FROM reconciler.baseline
        WHERE client_id = :client_id AND sync = :sync AND :windowed
          AND created_time >= :created_from AND created_time < :created_to
        UNION
        SELECT {record_id} FROM {table} l
        WHERE {is_own} AND :everything AND {record_id} ~ :whole
    ), edits AS (
        SELECT record_id, array_agg(revision) AS revisions,
            (array_agg(deleted_row ORDER BY revision DESC)
                FILTER (WHERE deleted_row IS NOT NULL))[1] AS deleted_row
        FROM reconciler.unsettled WHERE sync = :sync AND (client_id = :client_id OR (
            client_id IS NULL AND record_id IN (SELECT record_id FROM wanted)))
        GROUP BY record_id
    )
    INSERT INTO reconciler.staged_lead
        (run_id, record_id, lead_id, row_version, row, revisions, deleted_row)
    SELECT :run_id, w.record_id, coalesce({row_id}, t.lead_id), l.xmin::text,
        CASE WHEN l.xmin IS NOT NULL THEN (SELECT to_jsonb(x) FROM (SELECT {columns}) x) END,
        coalesce(e.revisions, '{{}}'), coalesce(e.deleted_row, t.archived)
    FROM wanted w
    LEFT JOIN {table} l ON {record_id} = w.record_id AND {may_be_own}
    LEFT JOIN edits e ON e.record_id = w.record_id
    LEFT JOIN reconciler.tombstone t
        ON t.client_id = :client_id AND t.sync = :sync AND t.record_id = w.record_id
"""


def stage_leads(
    engine: Engine,
    run_id: str,
    pair: Pair,
    columns: Iterable[str],
    record_ids: Iterable[str],
    *,
    edited: bool = True,
    window: tuple[str, str] | None = None,
    everything: bool = False,
) -> None:
    """Stage the leads of some records for the diff.

    ``edited``: also every lead with unsettled edits.
    ``window``: also every lead whose baseline lies in that creation window (two timestamps).
    ``everything``: also every lead of the client.

    One REPEATABLE READ snapshot: a revision that it shows comes with the edit that it stands for,
    and an edit that it does not show leaves its revision unsettled.
    """
    created_from, created_to = window or ("-infinity", "-infinity")
    with snapshot(engine) as connection:
        connection.execute(
            text("DELETE FROM reconciler.staged_lead WHERE run_id = :run_id"), {"run_id": run_id}
        )
        connection.execute(
            statement(pair.table, _STAGE, columns=of_row(columns)),
            {
                "run_id": run_id,
                **pair.keys,
                "record_ids": list(record_ids),
                "edited": edited,
                "everything": everything,
                "whole": WHOLE,
                "windowed": window is not None,
                "created_from": created_from,
                "created_to": created_to,
            },
        )


def lock(
    connection: Connection, pair: Pair, record_ids: Iterable[str]
) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Version (xmin) and row, as JSON, of rows as they are now, by record id; without those that
    somebody else has locked. They stay as they are to the end of the transaction.
    """
    rows = connection.execute(
        statement(
            pair.table,
            "SELECT {record_id} AS record_id, l.xmin::text AS version, to_jsonb(l) AS row "
            "FROM {table} l WHERE {record_id} = ANY(:record_ids) AND {may_be_own} "
            "FOR NO KEY UPDATE SKIP LOCKED",
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
    return {row.record_id: (row.version, row.row) for row in rows}


def unsettled_to_read(
    connection: Connection, pair: Pair, columns: list[str], *, every: bool = False
) -> list[str]:
    """Unsettled leads whose record must be read: some field has no baseline or a placeholder, or a
    run that had read the record could not write the lead. ``every``: all unsettled leads.
    """
    rows = connection.execute(
        text(
            "SELECT DISTINCT u.record_id FROM reconciler.unsettled u "
            "LEFT JOIN reconciler.baseline b ON b.client_id = :client_id "
            "AND b.sync = u.sync AND b.record_id = u.record_id WHERE u.sync = :sync "
            "AND (u.client_id = :client_id OR (u.client_id IS NULL AND b.record_id IS NOT NULL)) "
            "AND (:every OR u.cause = :deferred OR b.record_id IS NULL "
            "OR b.placeholders <> '{}' OR NOT b.fields ?& CAST(:columns AS text[]))"
        ),
        {**pair.keys, "columns": columns, "every": every, "deferred": DEFERRED},
    )
    return [row.record_id for row in rows]


def note_moved(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> dict[str, str]:
    """Of leads that this client's base does not have: those that another client's base is known to
    have, with its name. They were moved here, and are noted for that client too.
    """
    rows = connection.execute(
        text(
            "WITH moved AS (SELECT b.client_id, b.sync, b.lead_id, b.record_id "
            "FROM reconciler.baseline b WHERE b.client_id <> :client_id AND b.sync = :sync "
            "AND b.record_id = ANY(:record_ids)), noted AS ("
            "INSERT INTO reconciler.unsettled (client_id, sync, lead_id, record_id, cause) "
            "SELECT client_id, sync, lead_id, record_id, 'moved to another client' FROM moved m "
            "WHERE NOT EXISTS (SELECT FROM reconciler.quarantine q WHERE q.field = :whole_lead "
            "AND q.client_id = m.client_id AND q.sync = m.sync AND q.record_id = m.record_id)) "
            "SELECT m.record_id, c.company_name FROM moved m "
            "JOIN reconciler.clients() c ON c.id = m.client_id"
        ),
        {**pair.keys, "record_ids": list(record_ids), "whole_lead": WHOLE_LEAD},
    )
    return {row.record_id: row.company_name for row in rows}


def elsewhere(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> dict[str, str]:
    """Those of the records that another client's base is known to have, with that client's name:
    one that has met it, or could not insert it because the lead is here.
    """
    rows = connection.execute(
        text(
            "SELECT k.record_id, c.company_name FROM ("
            "SELECT client_id, record_id FROM reconciler.baseline WHERE sync = :sync UNION ALL "
            "SELECT client_id, record_id FROM reconciler.quarantine "
            "WHERE sync = :sync AND field = :whole_lead AND direction = 'to_postgres') k "
            "JOIN reconciler.clients() c ON c.id = k.client_id "
            "WHERE k.client_id <> :client_id AND k.record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids), "whole_lead": WHOLE_LEAD},
    )
    return {row.record_id: row.company_name for row in rows}


@dataclass(frozen=True)
class Settled:
    """Edits of rows that are taken over. ``ago``: how many seconds ago the first one of each record
    was made, without those that a run has noted; ``were``: what rows held before them.
    """

    ago: dict[str, float]
    were: list[dict[str, Any]]


def settle(connection: Connection, revisions: Iterable[int]) -> Settled:
    """Settle exactly the edits that were read; later ones stay."""
    rows = connection.execute(
        text(
            "WITH settled AS (DELETE FROM reconciler.unsettled WHERE revision = ANY(:revisions) "
            "RETURNING record_id, noted_at, cause, coalesce(was, deleted_row) AS was) "
            "SELECT record_id, extract(epoch FROM clock_timestamp() - min(noted_at) "
            "FILTER (WHERE cause <> ALL(:noted_by_runs)))::float AS ago, "
            "coalesce(jsonb_agg(was) FILTER (WHERE was IS NOT NULL), '[]') AS were "
            "FROM settled GROUP BY record_id"
        ),
        {"revisions": list(revisions), "noted_by_runs": [DEFERRED, OVERLOOKED]},
    ).all()
    return Settled(
        {row.record_id: row.ago for row in rows if row.ago is not None},
        [was for row in rows for was in row.were],
    )


def note(connection: Connection, pair: Pair, leads: Iterable[tuple[str, str]], cause: str) -> None:
    """Note (lead id, record id) pairs to be looked at."""
    lead_ids, record_ids = zip(*leads, strict=True) if (leads := list(leads)) else ((), ())
    connection.execute(
        text(
            "INSERT INTO reconciler.unsettled (client_id, sync, lead_id, record_id, cause) "
            "SELECT :client_id, :sync, l, r, :cause "
            "FROM unnest(CAST(:lead_ids AS uuid[]), CAST(:record_ids AS text[])) AS n (l, r)"
        ),
        {
            **pair.keys,
            "lead_ids": list(lead_ids),
            "record_ids": list(record_ids),
            "cause": cause,
        },
    )


def never_met(
    connection: Connection, pair: Pair, record_ids: Iterable[str], *, at_first_contact: bool
) -> set[str]:
    """Those of the records that nothing was ever agreed on and nobody has edited: all that noted
    them was a comparison of everything. ``at_first_contact``: what was edited before that was not
    edited for anybody to carry over.
    """
    rows = connection.execute(
        text(
            "SELECT u.record_id FROM reconciler.unsettled u "
            "WHERE u.client_id = :client_id AND u.sync = :sync AND u.record_id = ANY(:record_ids) "
            "AND NOT EXISTS (SELECT FROM reconciler.baseline b "
            "WHERE b.client_id = u.client_id AND b.sync = u.sync AND b.record_id = u.record_id) "
            "GROUP BY u.record_id HAVING bool_and(:at_first_contact OR u.cause = :overlooked)"
        ),
        {
            **pair.keys,
            "record_ids": list(record_ids),
            "overlooked": OVERLOOKED,
            "at_first_contact": at_first_contact,
        },
    )
    return set(rows.scalars())


def defer(connection: Connection, pair: Pair, leads: Iterable[tuple[str, str]]) -> None:
    """Note (lead id, record id) pairs for the next run, which reads their records again."""
    note(connection, pair, leads, DEFERRED)


def whole_record_ids(connection: Connection, pair: Pair) -> set[str]:
    """The record ids of a client's leads that are of Airtable's form."""
    rows = connection.execute(
        statement(
            pair.table, "SELECT {record_id} FROM {table} l WHERE {is_own} AND {record_id} ~ :whole"
        ),
        {**pair.keys, "whole": WHOLE},
    )
    return set(rows.scalars())


def count(connection: Connection, pair: Pair) -> tuple[int, int]:
    """How many leads a client has, and how many of them are the portal's own."""
    row = connection.execute(
        statement(
            pair.table,
            "SELECT count(*), count(*) FILTER (WHERE {record_id} ~ :whole IS NOT true) "
            "FROM {table} l WHERE {is_own}",
        ),
        {**pair.keys, "whole": WHOLE},
    ).one()
    return row[0], row[1]
