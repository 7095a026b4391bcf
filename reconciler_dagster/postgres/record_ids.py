"""Record ids in ``leads`` as people pasted them: with blanks that no id has."""

from __future__ import annotations

from sqlalchemy import Connection, text

from reconciler_dagster.core.normal import identifier
from reconciler_dagster.core.records import LENGTH, is_record_id
from reconciler_dagster.postgres import leads


def mend(connection: Connection, client_id: str) -> None:
    """Take blanks out of the record ids of leads, so that each meets its record; the lead is noted,
    for its edits were not: to the trigger it was one of the portal's own.

    An id that another lead has is left as it is, and so is a lead that somebody has locked.
    """
    found = connection.execute(
        text(
            "SELECT l.id::text AS id, l.airtable_record_id AS wrong FROM public.leads l "
            "WHERE l.client_id = :client_id AND length(l.airtable_record_id) > :length "
            "FOR UPDATE OF l SKIP LOCKED"
        ),
        {"client_id": client_id, "length": LENGTH},
    ).all()
    for row in found:
        right = identifier(row.wrong)
        if is_record_id(right):
            _rename(connection, client_id, row.id, row.wrong, right)


def _rename(connection: Connection, client_id: str, lead_id: str, wrong: str, right: str) -> None:
    ids = {"client_id": client_id, "lead_id": lead_id, "wrong": wrong, "right": right}
    renamed = connection.execute(
        text(
            "UPDATE public.leads SET airtable_record_id = :right WHERE id = :lead_id "
            "AND NOT EXISTS (SELECT FROM public.leads WHERE airtable_record_id = :right)"
        ),
        ids,
    )
    if not renamed.rowcount:
        return
    leads.note(connection, client_id, [(lead_id, right)], leads.DEFERRED)
    connection.execute(
        text(
            "UPDATE reconciler.unsettled SET record_id = :right "
            "WHERE client_id = :client_id AND lead_id = :lead_id AND record_id = :wrong"
        ),
        ids,
    )
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine WHERE client_id = :client_id AND record_id = :wrong"
        ),
        ids,
    )
