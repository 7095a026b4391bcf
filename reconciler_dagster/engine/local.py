"""Act on Postgres: one transaction that writes leads, baseline, conflicts, history and journal.

Whatever is in it happens together or not at all, so a crash leaves either the old state or the
new one, and the merge goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import uuid4

from sqlalchemy import Connection

from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.reading import Row
from reconciler_dagster.engine import outcome
from reconciler_dagster.engine.diff import Staged
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    derived,
    fights,
    journal,
    leads,
    own_writes,
    quarantine,
    record,
)
from reconciler_dagster.postgres.apply import apply_writes, lead_ids
from reconciler_dagster.postgres.choices import both_values
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.postgres.writes import Applied, LeadWrite

EMPTY = LeadChange()


def write_local(
    session: Session, staged: Staged, changes: Mapping[str, LeadChange], record_ids: Collection[str]
) -> dict[str, Row]:
    """Carry out the local part of some leads' plan. Returns what is now to be sent, by record id.

    A deferred lead (locked, or edited since it was read) keeps its unsettled edits, is noted for
    the next run, and sends nothing.
    """
    pair = session.pair
    owners = owners_of(staged, record_ids)
    writes = [
        write_of(session, staged, record_id, changes.get(record_id, EMPTY), owners[record_id])
        for record_id in record_ids
    ]
    with session.writing() as connection:
        applied = apply_writes(connection, pair, writes, session.fields, session.users)
        owners |= lead_ids(connection, pair, sorted(applied.inserted))
        done = [record_id for record_id in record_ids if record_id not in applied.deferred]
        _note_deferred(connection, session, applied, owners)
        outbound = {
            record_id: cells
            for record_id in done
            if (cells := outcome.sendable(changes.get(record_id, EMPTY), applied, record_id))
        }
        baseline.forget(connection, pair, applied.inserted)
        baseline.advance(
            connection,
            pair,
            [
                outcome.agreement(staged, record_id, changes.get(record_id, EMPTY), owners, applied)
                for record_id in done
                if record_id in staged.records or record_id in staged.baselines
            ],
        )
        journal.close(connection, pair, done)
        merged_over = {r: outcome.merged_over(staged, changes, r, outbound[r]) for r in outbound}
        journal.plan(connection, pair, session.run_id, outbound, owners, merged_over)
        conflicts = outcome.decided(changes, done, owners, applied)
        fought = fights.count(connection, pair, session.run_id, conflicts)
        conflicts = [c for c in conflicts if (c["record_id"], c["field"]) not in fought]
        staged.to_tell.update(outcome.won_by_postgres(changes, owners, outbound))
        record.add_conflicts(connection, pair, session.run_id, conflicts)
        told = outcome.written(changes, owners, applied)
        record.add_history(connection, pair, session.run_id, "postgres", told)
        fights.count_turns(connection, pair, session.run_id, "postgres", told)
        settled = leads.settle(
            connection,
            [n for r in done if r in staged.leads for n in staged.leads[r].revisions],
        )
        _quarantine(connection, session, staged, changes, done, applied, outbound)
        own_writes.forget(connection, pair, outcome.no_longer_rewritten(staged, done))
        fights.end(connection, pair, *outcome.no_longer_fought(staged, done))
        if session.writer != "first_contact":  # which works all of it out once, at its end
            rows = [staged.leads[r].row or {} for r in done if r in staged.leads]
            derived.work_out(connection, pair, done, [*rows, *settled.were])
    updated = {record_id for record_id, columns in applied.written.items() if columns}
    written = len(updated | applied.inserted.keys())
    session.counts.local_writes += written
    session.lags.in_postgres(written)
    session.lags.edited(settled.ago)
    session.counts.conflicts += len(conflicts)
    return outbound


def owners_of(staged: Staged, record_ids: Collection[str]) -> dict[str, str]:
    """Record id to lead id: the lead that is there, the one that was there, or a new one."""
    owners = {}
    for record_id in record_ids:
        lead, known = staged.leads.get(record_id), staged.baselines.get(record_id)
        found = (lead.lead_id if lead else None) or (known.lead_id if known else None)
        owners[record_id] = found or str(uuid4())
    return owners


def write_of(
    session: Session, staged: Staged, record_id: str, change: LeadChange, lead_id: str
) -> LeadWrite:
    """The local part of a lead's plan, as it is written."""
    lead = staged.leads.get(record_id)
    if not change.insert:
        version = lead.row_version if lead else None
        return LeadWrite(record_id, lead_id, version, change.to_postgres)
    remote, known = staged.sides.remote[record_id], staged.baselines.get(record_id)
    return LeadWrite(
        record_id,
        lead_id,
        None,
        {column: remote[column] for column in session.fields.columns if column in remote},
        insert=True,
        remembered=known.fields if known else {},
        blanks=session.map.blanks,
        constants=session.map.constants,
        deleted_row=lead.deleted_row if lead else None,
        created_time=created.isoformat()
        if (created := outcome.created_time(staged, record_id))
        else None,
    )


def _note_deferred(
    connection: Connection, session: Session, applied: Applied, owners: Mapping[str, str]
) -> None:
    pairs = [(owners[record_id], record_id) for record_id in sorted(applied.deferred)]
    leads.defer(connection, session.pair, pairs)


def _held(session: Session, changes: Mapping[str, LeadChange], done: set[str]) -> list[Refusal]:
    """Cells that wait for a person's choice."""
    return [
        Refusal(
            record_id,
            column,
            "to_airtable",
            f"{session.map.fields[column].airtable} was edited on both sides: choose with "
            f"`reconciler quarantine choose {record_id} {column} --take airtable` or postgres",
            both_values(there, here),
        )
        for record_id, change in changes.items()
        if record_id in done
        for column, (there, here) in change.held.items()
    ]


def _quarantine(
    connection: Connection,
    session: Session,
    staged: Staged,
    changes: Mapping[str, LeadChange],
    done: Collection[str],
    applied: Applied,
    outbound: Mapping[str, Row],
) -> None:
    """Put in what was refused; release what went through. What is going to be sent is kept until
    Airtable has taken it, so that its attempts count on.
    """
    done_set = set(done)
    refused = [r for r in staged.sides.refused if r.record_id in done_set] + applied.refused
    refused += _held(session, changes, done_set)
    kept = {(r.record_id, r.field, r.direction) for r in refused}
    kept |= {(r, column, "to_airtable") for r, cells in outbound.items() for column in cells}
    kept |= {
        (record_id, column, "to_airtable")
        for record_id, column in staged.waiting
        if record_id in done_set
        and column not in changes.get(record_id, EMPTY).to_postgres
        and _stands(staged, record_id, column)
    }
    # Until they are worked out anew.
    kept |= {(r, name, "to_postgres") for r in done for name in session.map.followed_by}
    quarantine.put(connection, session.pair, refused)
    unread = staged.sides.assumed & done_set
    quarantine.release(connection, session.pair, done, kept, unread)


def _stands(staged: Staged, record_id: str, column: str) -> bool:
    """Whether both sides still differ in a cell."""
    here, there = staged.sides.local.get(record_id, {}), staged.sides.remote[record_id]
    return column in here and here[column] != there.get(column)
