"""What Airtable answers to a write of ours becomes the agreed value of both sides, once.

Airtable keeps a value in a form of its own: rich text in its markdown, a text without the blanks
around it, an option in its own spelling. What it says it holds now is therefore written to the
lead, in the transaction that advances the baseline; else the two sides would differ for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import Connection

from reconciler_dagster.core.answer import Verdict, judge
from reconciler_dagster.core.reading import Row, from_postgres
from reconciler_dagster.core.source import NotSent
from reconciler_dagster.core.values import UNKNOWN, Value
from reconciler_dagster.engine.diff import Staged
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    derived,
    fights,
    leads,
    own_writes,
    quarantine,
    record,
)
from reconciler_dagster.postgres.apply import apply_writes
from reconciler_dagster.postgres.baseline import BaselineRow
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.postgres.staging import StagedRecord
from reconciler_dagster.postgres.writes import LeadWrite


@dataclass
class Round:
    """What batches share that are on their way side by side. ``why``: Airtable takes no more for
    now. ``lock``: held by whoever writes to leads, one after the other.
    """

    why: NotSent | None = None
    lock: Lock = field(default_factory=Lock)


@dataclass
class Sent:
    """What became of a hundred's outbound changes, by record id. ``unknown``: no answer came.

    ``unsent``: certainly not carried out, to be read and sent again. ``read_at``: when the records
    were read (``time.monotonic``). ``first``: nothing else was on its way then.
    """

    round: Round
    read_at: float
    first: bool
    acknowledged: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unsent: set[str] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def open(self) -> set[str]:
        """Records that somebody has to come back to."""
        return self.unknown | self.unsent


def acknowledge(
    session: Session,
    staged: Staged,
    batch: Mapping[str, Row],
    answer: Mapping[str, StagedRecord],
    sent: Sent,
) -> None:
    """Agree on what Airtable says it holds now, and have the leads hold it too.

    Where Airtable kept what it had, the cell is refused. Where nothing is agreed on, the next run
    finds what is there.
    """
    sent.unknown |= batch.keys() - answer.keys()
    cells = [_answered(session, staged, answer[r], c, batch[r][c]) for r, c in _keys(batch, answer)]
    kept = [cell for cell in cells if cell.verdict is Verdict.KEPT]
    taken = [cell for cell in cells if cell.verdict is not Verdict.KEPT]
    for cell in kept:
        reason = (
            f"Airtable accepts {session.map.fields[cell.column].airtable} and keeps what it had"
        )
        refusal = Refusal(cell.record_id, cell.column, "to_airtable", reason, cell.sent)
        sent.refused.append(refusal)
    records = batch.keys() & answer.keys()
    sent.acknowledged |= records
    pair = session.pair
    with sent.round.lock, session.writing() as connection:
        respelled = [cell for cell in taken if cell.verdict is Verdict.RESPELLED]
        refused, placeholders = _respell(connection, session, staged, respelled)
        agreed: dict[str, Row] = {record_id: {} for record_id in records}
        for cell in taken:
            if cell.verdict is not Verdict.OPEN and (cell.record_id, cell.column) not in refused:
                agreed[cell.record_id][cell.column] = cell.held
        baseline.advance(
            connection,
            pair,
            [
                BaselineRow(
                    r, _owner(staged, r), answer[r].created_time, row, placeholders.get(r, {})
                )
                for r, row in agreed.items()
            ],
        )
        over = [conflict for (r, c), conflict in staged.to_tell.items() if c in agreed.get(r, ())]
        if over:
            record.add_conflicts(connection, pair, session.run_id, over)
            session.counts.conflicts += len(over)
        quarantine.release_sent(connection, pair, agreed)
        written = [_history(staged, c, c.before, c.told) for c in taken if c.told != c.before]
        record.add_history(connection, pair, session.run_id, "airtable", written)
        fights.count_turns(connection, pair, session.run_id, "airtable", written)
        own_writes.count(connection, pair, session.run_id, _of_nobody(staged, taken))
    session.lags.in_airtable(records)


@dataclass(frozen=True)
class _Cell:
    """One cell that was sent: canonical values, UNKNOWN where they cannot be read."""

    record_id: str
    column: str
    sent: Value
    before: Value
    held: Value
    verdict: Verdict

    @property
    def told(self) -> Value:
        """What people are told that Airtable holds."""
        return self.sent if self.held is UNKNOWN else self.held


def _keys(
    batch: Mapping[str, Row], answer: Mapping[str, StagedRecord]
) -> Iterator[tuple[str, str]]:
    for record_id, row in batch.items():
        if record_id in answer:
            yield from ((record_id, column) for column in row)


def _answered(
    session: Session, staged: Staged, answer: StagedRecord, column: str, value: Value
) -> _Cell:
    before = staged.sides.remote[answer.record_id].get(column, UNKNOWN)
    held = answer.fields.get(column, UNKNOWN)
    verdict = judge(session.fields[column].codec, value, before, held)
    return _Cell(answer.record_id, column, value, before, held, verdict)


def _respell(
    connection: Connection, session: Session, staged: Staged, cells: list[_Cell]
) -> tuple[set[tuple[str, str]], dict[str, Row]]:
    """Write Airtable's form to the leads that still hold what was sent; returns what Postgres
    refuses, and what stands in its place.

    A lead that is locked, or edited since, is left for the next run: its edit is one of what is
    agreed on now, and no conflict.
    """
    if not cells:
        return set(), {}
    pair = session.pair
    found = leads.lock(connection, pair, [cell.record_id for cell in cells])
    writes: dict[str, LeadWrite] = {}
    waiting: set[str] = set()
    for cell in cells:
        lead_id = _owner(staged, cell.record_id)
        version, row = found.get(cell.record_id, (None, {}))
        fields = session.fields.only([cell.column] if row else [])
        here, _ = from_postgres(row, fields, session.users)
        if here.get(cell.column, UNKNOWN) == cell.sent:
            write = LeadWrite(cell.record_id, lead_id, version, {})
            writes.setdefault(cell.record_id, write).values[cell.column] = cell.held
        elif not row or here.get(cell.column, UNKNOWN) != cell.held:
            waiting.add(cell.record_id)
    applied = apply_writes(connection, pair, list(writes.values()), session.fields, session.users)
    waiting |= applied.deferred
    leads.defer(connection, pair, [(_owner(staged, r), r) for r in sorted(waiting)])
    quarantine.put(connection, pair, applied.refused)
    history = [
        _history(staged, cell, cell.sent, cell.held)
        for cell in cells
        if cell.column in applied.written.get(cell.record_id, ())
    ]
    record.add_history(connection, pair, session.run_id, "postgres", history)
    derived.work_out(connection, pair, applied.written, [row for _, row in found.values()])
    session.counts.local_writes += sum(bool(columns) for columns in applied.written.values())
    refused = {(refusal.record_id, refusal.field) for refusal in applied.refused}
    return refused, applied.placeholders


def _of_nobody(staged: Staged, cells: list[_Cell]) -> list[tuple[str, str]]:
    """Cells that were agreed on before, of leads that nobody has edited since."""
    return [
        (cell.record_id, cell.column)
        for cell in cells
        if not staged.leads[cell.record_id].revisions
        and cell.record_id in staged.baselines
        and cell.column in staged.baselines[cell.record_id].fields
    ]


def _history(staged: Staged, cell: _Cell, old: Value, new: Value) -> dict[str, Any]:
    return {
        "record_id": cell.record_id,
        "lead_id": _owner(staged, cell.record_id),
        "field": cell.column,
        "old": None if old is UNKNOWN else old,
        "new": new,
    }


def _owner(staged: Staged, record_id: str) -> str:
    lead_id = staged.leads[record_id].lead_id
    assert lead_id is not None  # what is sent to Airtable was read from a lead
    return lead_id
