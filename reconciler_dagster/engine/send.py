"""Act on Airtable: patch by tens, halve what is refused, hand on what was answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler_dagster import tracing
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.source import BATCH, Forbidden, NotSent, OutcomeUnknown, Refused
from reconciler_dagster.core.values import Value
from reconciler_dagster.engine.answer import Sent, acknowledge
from reconciler_dagster.engine.diff import Staged
from reconciler_dagster.engine.foreseen import refusals_of, refused_with
from reconciler_dagster.engine.pull import decode
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import journal, quarantine
from reconciler_dagster.postgres.quarantine import Refusal

# What was read this long ago is read again before more is sent: whoever edits a record between
# the reading and the writing is overwritten, and Airtable has no way to prevent it.
FRESH_SECONDS = 10.0
# Cells of one field that may be refused as forbidden before the field counts as forbidden: a
# token that lost its right to write would else cost dozens of calls a record.
FORBIDDEN_AFTER = 3
# Batches on their way at a time: what the call rate asks for where an answer takes a second.
SENDERS = 5


@dataclass(frozen=True)
class OnItsWay:
    """Up to 100 leads whose cells are being sent. ``outbound``: canonical values, by record id."""

    outbound: Mapping[str, Row]
    sent: Sent
    batches: list[Future[None]]


@contextmanager
def senders(session: Session) -> Iterator[ThreadPoolExecutor]:
    """Send batches side by side, or each would wait for the answer to the one before; but no more
    than the call rate has room for, or they would wait for their slots until what was read is old.
    """
    number = max(1, min(SENDERS, int(session.settings.calls_per_second)))
    with ThreadPoolExecutor(number, thread_name_prefix="send") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def begin(
    session: Session,
    pool: ThreadPoolExecutor,
    staged: Staged,
    outbound: Mapping[str, Row],
    sent: Sent,
) -> OnItsWay:
    """Have the senders send what the journal has planned. Values are canonical.

    The first batch goes however old its reading is, where nothing else is on its way: so each round
    settles something.
    """
    sendable = {
        record_id: cells
        for record_id, row in outbound.items()
        if (cells := _writable(session, record_id, row, sent))
    }
    batches = [{i: sendable[i] for i in ids} for ids in in_parts(list(sendable), BATCH)]
    futures = [
        pool.submit(
            tracing.carried(_send_fresh),
            session,
            staged,
            batch,
            sent,
            at_any_age=sent.first and not number,
        )
        for number, batch in enumerate(batches)
    ]
    return OnItsWay(outbound, sent, futures)


def end(session: Session, on_its_way: OnItsWay) -> None:
    """Wait for the answers, and close what they have settled."""
    sent = on_its_way.sent
    for batch in on_its_way.batches:
        batch.result()
    with sent.round.lock, session.writing() as connection:
        quarantine.put(connection, session.pair, sent.refused)
        settled = [i for i in on_its_way.outbound if i not in sent.open]
        journal.close(connection, session.pair, settled)
    session.counts.remote_writes += len(sent.acknowledged)


def _send_fresh(
    session: Session,
    staged: Staged,
    batch: Mapping[str, Row],
    sent: Sent,
    *,
    at_any_age: bool = False,
) -> None:
    """Send a batch, unless what was read is old by now."""
    if not at_any_age and time.monotonic() - sent.read_at > FRESH_SECONDS:
        sent.unsent |= set(batch)
    else:
        _send(session, staged, batch, sent)


def _writable(session: Session, record_id: str, row: Row, sent: Sent) -> Row:
    """The cells that Airtable can take as far as is known here; the others are refused."""
    return _left(row, refusals_of(session, record_id, row), sent)


def _left(row: Row, refused: list[Refusal], sent: Sent) -> Row:
    """The row without what is refused."""
    sent.refused += refused
    columns = {refusal.field for refusal in refused}
    return {column: value for column, value in row.items() if column not in columns}


def _allowed(session: Session, batch: Mapping[str, Row], sent: Sent) -> dict[str, Row]:
    """The batch without fields that are forbidden, or that were stopped since it was planned."""
    allowed: dict[str, Row] = {}
    for record_id, row in batch.items():
        reasons = {column: why for column in row if (why := _why_forbidden(session, column))}
        if cells := _left(row, refused_with(session, record_id, row, reasons), sent):
            allowed[record_id] = cells
    return allowed


def _why_forbidden(session: Session, column: str) -> str | None:
    name = session.map.fields[column].airtable
    if column not in session.bound.id_by_column:
        return f"{name} was stopped while the run was sending"
    if session.forbidden[column] >= FORBIDDEN_AFTER:
        return f"Airtable refuses {name}, as for other leads before"
    return None


def _send(session: Session, staged: Staged, batch: Mapping[str, Row], sent: Sent) -> None:
    batch = _allowed(session, batch, sent)
    if sent.round.why is not None:
        sent.unsent |= set(batch)
        return
    if not batch:
        return
    cells = {
        record_id: {
            session.bound.id_by_column[column]: _spelled(session, column, value)
            for column, value in row.items()
        }
        for record_id, row in batch.items()
    }
    with session.writing() as connection:
        journal.mark_sent(connection, session.pair, batch)
    try:
        with session.borrowed_base() as base:
            answer = base.write(session.table_id, cells)
    except OutcomeUnknown:
        sent.unknown |= set(batch)
        return
    except NotSent as error:
        sent.unsent |= set(batch)
        sent.round.why = error
        return
    except Refused as error:  # about the data: halving finds the cell
        # Down to one cell in any case, so that each round settles something.
        parts = _halves(batch, session.map.fields)
        for number, part in enumerate(parts):
            _send_fresh(session, staged, part, sent, at_any_age=not number)
        if not parts:
            _refuse(session, batch, error, sent)
        return
    acknowledge(session, staged, batch, {r.record_id: r for r in decode(session, answer)}, sent)


def _spelled(session: Session, column: str, value: Value) -> Any:
    """The cell to write, an option as Airtable spells it."""
    cell = session.fields[column].codec.to_airtable(value)
    return cell if cell is None else session.bound.option(column, cell) or cell


def _halves(batch: Mapping[str, Row], fields: FieldMap) -> list[dict[str, Row]]:
    """A batch in two: by records, and a single record by cells; those that are carried over
    together stay so. None of one cell.
    """
    if len(batch) > 1:
        items = list(batch.items())
        middle = len(items) // 2
        return [dict(items[:middle]), dict(items[middle:])]
    ((record_id, row),) = batch.items()
    groups = list(dict.fromkeys(frozenset({c, *fields.partners(c)} & row.keys()) for c in row))
    middle = len(groups) // 2
    halves = (frozenset().union(*half) for half in (groups[:middle], groups[middle:]))
    return [{record_id: {c: row[c] for c in row if c in half}} for half in halves if middle]


def _refuse(session: Session, batch: Mapping[str, Row], error: Refused, sent: Sent) -> None:
    ((record_id, row),) = batch.items()
    if isinstance(error, Forbidden):
        with sent.round.lock:
            session.forbidden.update(row.keys())
    for column, value in row.items():
        name = session.fields[column].airtable
        reason = f"Airtable refuses {name}: {error.reason}"
        sent.refused.append(Refusal(record_id, column, "to_airtable", reason, value))
