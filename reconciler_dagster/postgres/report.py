"""The drift report: how far Airtable, Postgres and the baseline of a client agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core import reading
from reconciler_dagster.core.binding import bind
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.pairs import Column
from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.postgres import bindings, decisions, derived, held, windows
from reconciler_dagster.postgres.catalogue import columns_of
from reconciler_dagster.postgres.clients import directory
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import quoted, statement
from reconciler_dagster.postgres.outcomes import PURPOSES, success
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD
from reconciler_dagster.postgres.runs import DRY
from reconciler_dagster.redaction import redacted

_FIGURES = f"""
    WITH gone AS (  -- complete listings did not have them, and nothing was done about it yet
        SELECT record_id FROM reconciler.tombstone WHERE client_id = :client_id AND sync = :sync
        AND listings > 0 AND state NOT IN ('returned', 'deleted')
    ), agreed AS (
        SELECT count(*) AS leads, count(g.record_id) AS gone,
            count(*) FILTER (WHERE {{record_id}} IS NULL AND g.record_id IS NULL) AS without_lead
        FROM reconciler.baseline b LEFT JOIN gone g USING (record_id)
        LEFT JOIN {{table}} l ON {{record_id}} = b.record_id AND {{may_be_own}}
        WHERE b.client_id = :client_id AND b.sync = :sync
    ), active AS (
        SELECT count(*) AS leads,
            count(*) FILTER (WHERE b.record_id IS NULL AND g.record_id IS NULL
                AND {{record_id}} ~ :whole) AS unmet,
            count(*) FILTER (WHERE b.record_id IS NULL AND g.record_id IS NOT NULL) AS gone,
            count(*) FILTER (WHERE {{record_id}} ~ :whole IS NOT true) AS portal_only
        FROM {{table}} l LEFT JOIN gone g ON g.record_id = {{record_id}}
        LEFT JOIN reconciler.baseline b ON b.client_id = :client_id AND b.sync = :sync
            AND b.record_id = {{record_id}}
        WHERE {{is_own}} AND {{active}}
    )
    SELECT c.company_name, agreed.leads AS baseline, agreed.leads - agreed.gone AS airtable,
        active.leads AS postgres, agreed.gone + active.gone AS missing,
        agreed.without_lead, active.unmet AS not_in_airtable, active.portal_only,
        (SELECT count(DISTINCT lead_id) FROM reconciler.unsettled
         WHERE client_id = c.id AND sync = :sync) AS unsettled,
        (SELECT count(*) FROM reconciler.conflict
         WHERE client_id = c.id AND sync = :sync AND restored_at IS NULL
           AND happened_at > clock_timestamp() - interval '7 days') AS conflicts,
        {success("last", "c.id", PURPOSES)} AS last_success,
        (SELECT CASE WHEN s.state = 'failed' THEN coalesce(s.message, 'No reason is known.') END
         FROM reconciler.run_summary s
         WHERE s.client_id = c.id AND s.state <> 'started' AND NOT {DRY}
         ORDER BY s.started_at DESC LIMIT 1) AS last_failure
    FROM reconciler.clients() c, agreed, active WHERE c.id = :client_id
"""  # noqa: S608 - a constant


def drift_report(connection: Connection, pair: Pair) -> dict[str, Any]:
    """One client, in plain values; times are datetimes in UTC.

    ``leads``: ``baseline`` agreed on, ``airtable`` as last listed (that is, less what is missing
    since), ``postgres`` active ones. ``without_lead``: agreed on and not missing, and not in
    Postgres. ``not_in_airtable``: active leads of which nothing is agreed on, save those that
    listings are known to lack. ``portal_only``: active leads whose record id is none of Airtable's.
    ``missing``: leads that complete listings did not have.

    By field, in leads: ``differing_fields``: the portal's value is not the agreed one, or not what
    a derived column comes to;
    ``held_back``: the portal has a value and nothing is agreed on, because Airtable's cell is empty
    and nothing blank overwrites. Information, and no drift: a column's default shows up here too.
    ``quarantine_by_field``: its cells; ``quarantined_leads``: refusals of a lead as a whole;
    ``waiting_for_options``: of its cells those that are no option in Airtable, as ``field``,
    ``value`` and ``leads`` that hold it.

    ``unsettled``: leads with portal edits that no run has taken over yet. ``stopped_fields``: why,
    one each. ``moved_at``, ``moved``: since when the client has another base or table, and what was
    said of it, for a week. ``last_failure``: why the last run failed; None where it did not. Dry
    runs do not count as runs.
    """
    found = statement(pair.table, _FIGURES)
    figures = connection.execute(found, {**pair.keys, "whole": WHOLE}).one()
    never, oldest = windows.oldest_verified(connection, pair)
    refused = _quarantine(connection, pair)
    by_field = Counter(field for _, field in refused.elements())
    remembered = bindings.remembered(connection, pair)
    bound = remembered.values()
    listed = [field for binding in bound for field in binding.as_fields()]
    columns = columns_of(connection, pair.table)
    in_use = bind(pair.map, listed, columns, remembered).fields
    moved = bindings.notice(connection, pair)
    differing, held_back = _fields(connection, pair, in_use, refused, columns)
    differing |= derived.stale(connection, pair)
    return {
        "client_id": pair.client_id,
        "company_name": figures.company_name,
        "leads": {
            "airtable": figures.airtable,
            "baseline": figures.baseline,
            "postgres": figures.postgres,
        },
        "differing_fields": differing,
        "held_back": held_back,
        "without_lead": figures.without_lead,
        "not_in_airtable": figures.not_in_airtable,
        "portal_only": figures.portal_only,
        "unsettled": figures.unsettled,
        "quarantine": refused.total(),
        "quarantined_leads": by_field.pop(WHOLE_LEAD, 0),
        "quarantine_by_field": dict(by_field.most_common()),
        "waiting_for_options": [
            asdict(one) | {"airtable": pair.map.fields[one.field].airtable}
            for one in held.waiting_for_options(connection, pair)
            if one.field in pair.map.fields.columns
        ],
        "conflicts_last_7_days": figures.conflicts,
        "missing": figures.missing,
        "deletions_pending": decisions.pending(connection, pair),
        "stopped_fields": [redacted(binding.problem) for binding in bound if binding.problem],
        "moved_at": moved[0] if moved else None,
        "moved": moved[1] if moved else None,
        "never_verified": never,
        "oldest_verified_at": oldest,
        "last_success_at": figures.last_success,
        "last_failure": figures.last_failure and redacted(figures.last_failure),
    }


_OF_THE_CLIENT = ("client_id", "company_name", "last_success_at", "last_failure")


def of_client(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A client's report: that of the leads, or of its first sync where it has none, and under
    ``syncs`` that of each sync, without what is the client's.
    """
    main = reports.get(MAIN) or next(iter(reports.values()))
    syncs = {
        name: {key: value for key, value in report.items() if key not in _OF_THE_CLIENT}
        for name, report in reports.items()
    }
    return {**main, "syncs": syncs}


def _quarantine(connection: Connection, pair: Pair) -> Counter[tuple[str, str]]:
    """Record and field of each refusal; one may be refused both ways."""
    rows = connection.execute(
        text(
            "SELECT record_id, field FROM reconciler.quarantine WHERE client_id = :client_id AND "
            "sync = :sync"
        ),
        pair.keys,
    )
    return Counter((row.record_id, row.field) for row in rows)


# Leads with cells that do not hold, letter by letter, what was agreed on: which a column that holds
# the canonical value certainly does. One that depends on another (``blanks``: what it is without
# that) certainly does only where it is blank; what it depends on (``asked``) comes along. So does
# what was agreed on of a column that is not there any more.
_APART = """
    SELECT b.record_id, d.cells, d.agreed || d.gone
    FROM reconciler.baseline b JOIN {table} l ON {record_id} = b.record_id AND {may_be_own},
    LATERAL (
        SELECT coalesce(jsonb_object_agg(c.key, c.value), '{{}}') AS cells,
            coalesce(jsonb_object_agg(c.key, b.fields -> c.key) FILTER (WHERE b.fields ? c.key),
                '{{}}') AS agreed,
            coalesce(bool_or(c.apart), false) AS apart,
            b.fields - CAST(:read AS text[]) AS gone
        FROM (
            SELECT key, value, value IS DISTINCT FROM b.fields -> key
                OR value <> CAST(:blanks AS jsonb) -> key AS apart
            FROM jsonb_each((SELECT to_jsonb(x) FROM (SELECT {columns}) x))
        ) c
        WHERE c.apart OR c.key = ANY(:asked)
    ) d
    WHERE b.client_id = :client_id AND b.sync = :sync AND {active}
        AND (d.apart OR d.gone <> '{{}}')
"""
# A moment as ``codecs.DateTime`` has it, so that it is compared letter by letter, too.
_MOMENT = """
    CASE WHEN {column} BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 00:00Z'
    THEN to_jsonb(to_char(date_trunc('milliseconds', {column} AT TIME ZONE 'UTC'),
        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    ELSE to_jsonb({column}) END AS {name}
"""


def _fields(
    connection: Connection,
    pair: Pair,
    in_use: FieldMap,
    refused: Counter[tuple[str, str]],
    columns: Sequence[Column],
) -> tuple[dict[str, int], dict[str, int]]:
    """Leads by field that differ from what was agreed on, and whose value is held back; the most
    frequent first. A cell in quarantine has another reason not to be agreed on. ``columns``:
    the table's.
    """
    users = directory(connection, pair)
    differing: Counter[str] = Counter()
    held_back: Counter[str] = Counter()
    mapped = pair.map.fields.refined(in_use)
    blanks = {field.column: field.codec.blank for field in mapped if field.of}
    asked = {field.of for field in mapped if field.of}
    wanted = {*mapped.columns, *asked}
    read = [column for column in columns if column.name in wanted]
    apart = statement(pair.table, _APART, columns=", ".join(map(canonical, read)))
    for record_id, lead, agreed in connection.execute(
        apart.execution_options(yield_per=2000),
        {
            **pair.keys,
            "blanks": dump(blanks),
            "asked": sorted(asked),
            "read": [column.name for column in read],
        },
    ):
        differing.update(reading.differing(lead, agreed, mapped, users))
        for column in lead.keys() - agreed.keys():
            if column in in_use and (record_id, column) not in refused:
                field = in_use[column]
                held_back[column] += reading.held(lead, field, users) != field.codec.blank
    return _counted(differing), _counted(held_back)


def canonical(column: Column) -> str:
    """A column of the table, for a statement in ``sqlalchemy.text``; a moment in canonical form."""
    name = quoted(column.name)
    if column.type == "timestamptz":
        return _MOMENT.format(column=f"l.{name}", name=name)
    return f"l.{name}"


def _counted(count: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in count.most_common() if number}
