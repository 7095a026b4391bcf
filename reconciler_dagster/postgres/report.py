"""The drift report: how far Airtable, Postgres and the baseline of a client agree."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.fields import LEADS
from reconciler_dagster.core.values import Unreadable
from reconciler_dagster.postgres import tombstones, windows
from reconciler_dagster.postgres.clients import directory


def drift_report(connection: Connection, client_id: str) -> dict[str, Any]:
    """One client, in plain values; times are datetimes in UTC.

    ``leads.airtable``: as last listed, that is, what is agreed on less what is missing since.
    ``leads.postgres``: active leads. ``differing_fields``: leads by field whose portal value is
    not the agreed one. ``unsettled``: leads with portal edits that no run has taken over yet.
    """
    figures = connection.execute(
        text("""
        SELECT c.company_name,
            (SELECT count(*) FROM reconciler.baseline WHERE client_id = c.id) AS baseline,
            (SELECT count(*) FROM reconciler.tombstone t
             JOIN reconciler.baseline b USING (client_id, record_id)
             WHERE client_id = c.id AND t.state <> 'returned' AND t.listings > 0) AS missing,
            (SELECT count(*) FROM public.leads WHERE client_id = c.id AND is_active) AS postgres,
            (SELECT count(DISTINCT lead_id) FROM reconciler.unsettled
             WHERE client_id = c.id) AS unsettled,
            (SELECT count(*) FROM reconciler.quarantine WHERE client_id = c.id) AS quarantine,
            (SELECT count(*) FROM reconciler.conflict
             WHERE client_id = c.id AND restored_at IS NULL
               AND happened_at > clock_timestamp() - interval '7 days') AS conflicts,
            (SELECT max(finished_at) FROM reconciler.run_summary
             WHERE client_id = c.id AND state = 'succeeded') AS last_success
        FROM public.clients c WHERE c.id = :client_id
    """),
        {"client_id": client_id},
    ).one()
    never, oldest = windows.oldest_verified(connection, client_id)
    return {
        "client_id": str(client_id),
        "company_name": figures.company_name,
        "leads": {
            "airtable": figures.baseline - figures.missing,
            "baseline": figures.baseline,
            "postgres": figures.postgres,
        },
        "differing_fields": _differing_fields(connection, client_id),
        "unsettled": figures.unsettled,
        "quarantine": figures.quarantine,
        "conflicts_last_7_days": figures.conflicts,
        "missing": figures.missing,
        "deletions_pending": tombstones.pending(connection, client_id),
        "never_verified": never,
        "oldest_verified_at": oldest,
        "last_success_at": figures.last_success,
    }


def _differing_fields(connection: Connection, client_id: str) -> dict[str, int]:
    """Leads by field whose portal value is not what was agreed on, the most frequent first."""
    users = directory(connection)
    count: Counter[str] = Counter()
    rows = connection.execute(
        text(
            "SELECT to_jsonb(l), b.fields FROM reconciler.baseline b "
            "JOIN public.leads l ON l.client_id = b.client_id "
            "AND l.airtable_record_id = b.record_id WHERE b.client_id = :client_id AND l.is_active"
        ).execution_options(yield_per=2000),
        {"client_id": client_id},
    )
    for lead, agreed in rows:
        for field in LEADS:
            if field.column in agreed:
                try:
                    value = field.codec.from_postgres(lead.get(field.column), users)
                except Unreadable:
                    value = lead.get(field.column)
                count[field.column] += value != agreed[field.column]
    return {name: number for name, number in count.most_common() if number}
