"""Reading the portal's leads: values, versions and unsettled edits in one snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.postgres.connection import snapshot
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD

# The cause of an entry that a run makes for a lead that it could not write, and for one whose
# edit was not noted by the trigger.
DEFERRED, OVERLOOKED = "busy or edited during a run", "found by comparing"

# The column names come from the field map; they are quoted all the same.
_STAGE = """
    WITH wanted AS (
        SELECT unnest(CAST(:record_ids AS text[])) AS record_id
        UNION
        SELECT record_id FROM reconciler.unsettled WHERE client_id = :client_id AND :edited
        UNION  -- edited as another client's: the lead was moved there
        SELECT u.record_id FROM reconciler.unsettled u JOIN reconciler.baseline b
        ON b.client_id = :client_id AND b.record_id = u.record_id
        WHERE u.client_id <> :client_id AND :edited
        UNION
        SELECT record_id FROM reconciler.baseline
        WHERE client_id = :client_id AND :windowed
          AND created_time >= :created_from AND created_time < :created_to
        UNION
        SELECT airtable_record_id FROM public.leads
        WHERE client_id = :client_id AND :everything AND airtable_record_id ~ :whole
    ), edits AS (
        SELECT record_id, array_agg(revision) AS revisions,
            (array_agg(deleted_row ORDER BY revision DESC)
                FILTER (WHERE deleted_row IS NOT NULL))[1] AS deleted_row
        FROM reconciler.unsettled WHERE client_id = :client_id GROUP BY record_id
    )
    INSERT INTO reconciler.staged_lead
        (run_id, record_id, lead_id, row_version, row, revisions, deleted_row)
    SELECT :run_id, w.record_id, coalesce(l.id, t.lead_id), l.xmin::text, {row},
        coalesce(e.revisions, '{{}}'), coalesce(e.deleted_row, t.archived)
    FROM wanted w
    LEFT JOIN public.leads l
        ON l.airtable_record_id = w.record_id AND l.client_id = :client_id
    LEFT JOIN edits e ON e.record_id = w.record_id
    LEFT JOIN reconciler.tombstone t ON t.client_id = :client_id AND t.record_id = w.record_id
"""


def quoted(name: str) -> str:
    """A Postgres identifier, quoted, for a statement in ``sqlalchemy.text``."""
    return quoted_name(name).replace(":", "\\:")


def quoted_name(name: str) -> str:
    """A Postgres identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def stage_leads(
    engine: Engine,
    run_id: str,
    client_id: str,
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
    pairs = ", ".join(f"l.{quoted(column)}" for column in columns)
    row = f"CASE WHEN l.id IS NOT NULL THEN (SELECT to_jsonb(x) FROM (SELECT {pairs}) x) END"  # noqa: S608
    created_from, created_to = window or ("-infinity", "-infinity")
    with snapshot(engine) as connection:
        connection.execute(
            text("DELETE FROM reconciler.staged_lead WHERE run_id = :run_id"), {"run_id": run_id}
        )
        connection.execute(
            text(_STAGE.format(row=row)),
            {
                "run_id": run_id,
                "client_id": client_id,
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
    connection: Connection, lead_ids: Iterable[str]
) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Version (xmin) and row, as JSON, of leads as they are now, by id; without those that somebody
    else has locked. They stay as they are to the end of the transaction.
    """
    rows = connection.execute(
        text(
            "SELECT l.id::text AS id, l.xmin::text AS version, to_jsonb(l) AS row "
            "FROM public.leads l WHERE l.id = ANY(CAST(:ids AS uuid[])) "
            "FOR NO KEY UPDATE SKIP LOCKED"
        ),
        {"ids": list(lead_ids)},
    )
    return {row.id: (row.version, row.row) for row in rows}


def unsettled_to_read(
    connection: Connection, client_id: str, columns: list[str], *, every: bool = False
) -> list[str]:
    """Unsettled leads whose record must be read: some field has no baseline or a placeholder, or a
    run that had read the record could not write the lead. ``every``: all unsettled leads.
    """
    rows = connection.execute(
        text(
            "SELECT DISTINCT u.record_id FROM reconciler.unsettled u "
            "LEFT JOIN reconciler.baseline b USING (client_id, record_id) "
            "WHERE u.client_id = :client_id "
            "AND (:every OR u.cause = :deferred OR b.record_id IS NULL "
            "OR b.placeholders <> '{}' OR NOT b.fields ?& CAST(:columns AS text[]))"
        ),
        {"client_id": client_id, "columns": columns, "every": every, "deferred": DEFERRED},
    )
    return [row.record_id for row in rows]


def note_moved(connection: Connection, client_id: str, record_ids: Iterable[str]) -> dict[str, str]:
    """Of leads that this client's base does not have: those that another client's base is known to
    have, with its name. They were moved here, and are noted for that client too.
    """
    rows = connection.execute(
        text(
            "WITH moved AS (SELECT b.client_id, b.lead_id, b.record_id "
            "FROM reconciler.baseline b WHERE b.client_id <> :client_id "
            "AND b.record_id = ANY(:record_ids)), noted AS ("
            "INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause) "
            "SELECT client_id, lead_id, record_id, 'moved to another client' FROM moved m "
            "WHERE NOT EXISTS (SELECT FROM reconciler.quarantine q WHERE q.field = :whole_lead "
            "AND q.client_id = m.client_id AND q.record_id = m.record_id)) "
            "SELECT m.record_id, c.company_name FROM moved m "
            "JOIN public.clients c ON c.id = m.client_id"
        ),
        {"client_id": client_id, "record_ids": list(record_ids), "whole_lead": WHOLE_LEAD},
    )
    return {row.record_id: row.company_name for row in rows}


def elsewhere(connection: Connection, client_id: str, record_ids: Iterable[str]) -> dict[str, str]:
    """Those of the records that another client's base is known to have, with that client's name:
    one that has met it, or could not insert it because the lead is here.
    """
    rows = connection.execute(
        text(
            "SELECT k.record_id, c.company_name FROM ("
            "SELECT client_id, record_id FROM reconciler.baseline UNION ALL "
            "SELECT client_id, record_id FROM reconciler.quarantine "
            "WHERE field = :whole_lead AND direction = 'to_postgres') k "
            "JOIN public.clients c ON c.id = k.client_id "
            "WHERE k.client_id <> :client_id AND k.record_id = ANY(:record_ids)"
        ),
        {"client_id": client_id, "record_ids": list(record_ids), "whole_lead": WHOLE_LEAD},
    )
    return {row.record_id: row.company_name for row in rows}


def settle(connection: Connection, revisions: Iterable[int]) -> None:
    """Settle exactly the edits that were read; later ones stay."""
    connection.execute(
        text("DELETE FROM reconciler.unsettled WHERE revision = ANY(:revisions)"),
        {"revisions": list(revisions)},
    )


def note(
    connection: Connection, client_id: str, leads: Iterable[tuple[str, str]], cause: str
) -> None:
    """Note (lead id, record id) pairs to be looked at."""
    lead_ids, record_ids = zip(*leads, strict=True) if (leads := list(leads)) else ((), ())
    connection.execute(
        text(
            "INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause) "
            "SELECT :client_id, l, r, :cause "
            "FROM unnest(CAST(:lead_ids AS uuid[]), CAST(:record_ids AS text[])) AS n (l, r)"
        ),
        {
            "client_id": client_id,
            "lead_ids": list(lead_ids),
            "record_ids": list(record_ids),
            "cause": cause,
        },
    )


def never_met(
    connection: Connection, client_id: str, record_ids: Iterable[str], *, at_first_contact: bool
) -> set[str]:
    """Those of the records that nothing was ever agreed on and nobody has edited: all that noted
    them was a comparison of everything. ``at_first_contact``: what was edited before that was not
    edited for anybody to carry over.
    """
    rows = connection.execute(
        text(
            "SELECT u.record_id FROM reconciler.unsettled u WHERE u.client_id = :client_id "
            "AND u.record_id = ANY(:record_ids) AND NOT EXISTS (SELECT FROM reconciler.baseline b "
            "WHERE b.client_id = u.client_id AND b.record_id = u.record_id) "
            "GROUP BY u.record_id HAVING bool_and(:at_first_contact OR u.cause = :overlooked)"
        ),
        {
            "client_id": client_id,
            "record_ids": list(record_ids),
            "overlooked": OVERLOOKED,
            "at_first_contact": at_first_contact,
        },
    )
    return set(rows.scalars())


def defer(connection: Connection, client_id: str, leads: Iterable[tuple[str, str]]) -> None:
    """Note (lead id, record id) pairs for the next run, which reads their records again."""
    note(connection, client_id, leads, DEFERRED)


def whole_record_ids(connection: Connection, client_id: str) -> set[str]:
    """The record ids of a client's leads that are of Airtable's form."""
    rows = connection.execute(
        text(
            "SELECT airtable_record_id FROM public.leads "
            "WHERE client_id = :client_id AND airtable_record_id ~ :whole"
        ),
        {"client_id": client_id, "whole": WHOLE},
    )
    return set(rows.scalars())


def count(connection: Connection, client_id: str) -> tuple[int, int]:
    """How many leads a client has, and how many of them are the portal's own."""
    row = connection.execute(
        text(
            "SELECT count(*), count(*) FILTER (WHERE airtable_record_id ~ :whole IS NOT true) "
            "FROM public.leads WHERE client_id = :client_id"
        ),
        {"client_id": client_id, "whole": WHOLE},
    ).one()
    return row[0], row[1]
