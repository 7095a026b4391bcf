"""Record ids in ``leads`` as people pasted them: with blanks that no id has."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.normal import identifier
from reconciler_dagster.core.records import LENGTH, WHOLE, is_record_id
from reconciler_dagster.postgres import leads, quarantine
from reconciler_dagster.postgres.attempts import is_of_the_data
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal

# Of ids that are too long, those that may be one with something around it; ``identifier`` judges.
_MAY_BE_ONE = (
    "length(airtable_record_id) > :length "
    "AND regexp_replace(airtable_record_id, '[^A-Za-z0-9]', '', 'g') ~ :whole"
)


def mend(connection: Connection, client_id: str) -> None:
    """Take blanks out of the record ids of leads, so that each meets its record; the lead is noted,
    for its edits were not: to the trigger it was one of the portal's own.

    A lead that somebody has locked is left for the next run. One whose clean id another lead has,
    or that Postgres refuses to correct, is quarantined.
    """
    found = connection.execute(
        text(
            "SELECT l.id::text AS id, l.airtable_record_id AS wrong "  # noqa: S608 - a constant
            f"FROM public.leads l WHERE l.client_id = :client_id AND {_MAY_BE_ONE} "
            "FOR UPDATE OF l SKIP LOCKED"
        ),
        {"client_id": client_id, "length": LENGTH, "whole": WHOLE},
    ).all()
    if found:  # refused at the statement, not at the commit, where it stops all
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    for row in found:
        right = identifier(row.wrong)
        if not is_record_id(right):
            continue
        why = "the clean id is another lead's: remove one of the two"
        try:
            with connection.begin_nested():
                renamed = _rename(connection, client_id, row.id, row.wrong, right)
        except DBAPIError as error:
            if not is_of_the_data(error):
                raise
            renamed, why = False, "Postgres refuses to correct it: correct it by hand"
        if not renamed:
            reason = f"The lead's record id has blanks in it, and {why}"
            quarantine.put(
                connection, client_id, [Refusal(row.wrong, WHOLE_LEAD, "to_airtable", reason)]
            )
    _forget_corrected(connection, client_id)


def pasted(connection: Connection, client_id: str, record_ids: Collection[str]) -> set[str]:
    """Of some record ids those that a lead of the client has, with blanks around."""
    rows = connection.execute(
        text(
            "SELECT airtable_record_id FROM public.leads "  # noqa: S608 - a constant
            f"WHERE client_id = :client_id AND {_MAY_BE_ONE}"
        ),
        {"client_id": client_id, "length": LENGTH, "whole": WHOLE},
    )
    return {identifier(wrong) for wrong in rows.scalars()} & set(record_ids)


def _forget_corrected(connection: Connection, client_id: str) -> None:
    """Refusals of ids that no lead has any more: corrected here, or by a person."""
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine q WHERE client_id = :client_id "
            "AND length(record_id) > :length AND NOT EXISTS "
            "(SELECT FROM public.leads WHERE airtable_record_id = q.record_id)"
        ),
        {"client_id": client_id, "length": LENGTH},
    )


def _rename(connection: Connection, client_id: str, lead_id: str, wrong: str, right: str) -> bool:
    """Whether it could be done."""
    ids = {"client_id": client_id, "lead_id": lead_id, "wrong": wrong, "right": right}
    renamed = connection.execute(
        text(
            "UPDATE public.leads SET airtable_record_id = :right WHERE id = :lead_id "
            "AND NOT EXISTS (SELECT FROM public.leads WHERE airtable_record_id = :right)"
        ),
        ids,
    )
    if not renamed.rowcount:
        return False
    leads.note(connection, client_id, [(lead_id, right)], leads.DEFERRED)
    connection.execute(
        text(
            "UPDATE reconciler.unsettled SET record_id = :right "
            "WHERE client_id = :client_id AND lead_id = :lead_id AND record_id = :wrong"
        ),
        ids,
    )
    return True
