"""Notices in Postgres: their states, and what each channel was told and answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.notices.decide import Cause, Event, Notice, State, Step
from reconciler_dagster.notices.routes import wait_after
from reconciler_dagster.notices.words import Message
from reconciler_dagster.postgres.encoding import storable
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.redaction import redacted, redacted_values

# One at a time looks and writes, whichever process it is in.
_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('reconciler notices'))"
# What was not taken for so long is not tried again.
GIVEN_UP_AFTER = "7 days"


@dataclass(frozen=True)
class Delivery:
    """Something that a channel is to be told. ``attempts``: with the one that begins now."""

    id: int
    channel: str
    message: Message
    attempts: int


def has_turn(connection: Connection) -> bool:
    """Whether no other process is looking; until the transaction ends."""
    return bool(connection.execute(text(_TURN)).scalar())


def load(connection: Connection) -> list[Notice]:
    """The notices that are not over, and of each cause the last one that is."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (kind, key, state = 'over') id, kind, key, state, since, "
            "changed_at, told_at, returns, present, affected FROM reconciler.notice "
            "WHERE state <> 'over' OR changed_at > clock_timestamp() - interval '1 day' "
            "ORDER BY kind, key, state = 'over', changed_at DESC"
        )
    ).mappings()
    return [notice_of(row) for row in rows]


def notice_of(row: RowMapping) -> Notice:
    """A notice as stored."""
    present = tuple(
        Cause(
            row["kind"],
            row["key"],
            each["subject"],
            datetime.fromisoformat(each["since"]),
            each["detail"],
        )
        for each in row["present"]
    )
    return Notice(
        row["kind"],
        row["key"],
        row["since"],
        State(row["state"]),
        row["changed_at"],
        present,
        tuple(row["affected"]),
        row["told_at"],
        row["returns"],
        row["id"],
    )


def save(connection: Connection, before: Iterable[Notice], step: Step) -> list[Event]:
    """Store what has changed. Returns the events, their notices with their numbers."""
    known = {notice.id: notice for notice in before}
    ids: dict[int, int] = {}
    # Those that are over first: of each cause only one may not be.
    for notice in sorted(step.notices, key=lambda each: each.state is not State.OVER):
        if notice.id is None or known.get(notice.id) != notice:
            ids[id(notice)] = _put(connection, notice)
    kept = {notice.id for notice in step.notices}
    dropped = [n.id for n in known.values() if n.id not in kept and n.state is State.BREWING]
    if dropped:
        connection.execute(
            text("DELETE FROM reconciler.notice WHERE id = ANY(:ids)"), {"ids": dropped}
        )
    return [
        replace(event, notice=replace(event.notice, id=ids[id(event.notice)]))
        for event in step.events
    ]


def _put(connection: Connection, notice: Notice) -> int:
    present = [
        {"subject": each.subject, "since": each.since.isoformat(), "detail": each.detail}
        for each in notice.present
    ]
    values = {
        "id": notice.id,
        "kind": notice.kind,
        "key": storable(connection, redacted(notice.key)),
        "state": notice.state.value,
        "since": notice.since,
        "changed_at": notice.changed_at,
        "told_at": notice.told_at,
        "returns": notice.returns,
        "present": storable(connection, dump(redacted_values(present))),
        "affected": [storable(connection, redacted(name)) for name in notice.affected],
    }
    if notice.id is None:
        statement = (
            "INSERT INTO reconciler.notice (kind, key, state, since, changed_at, told_at, returns, "
            "present, affected) VALUES (:kind, :key, :state, :since, :changed_at, :told_at, "
            ":returns, CAST(:present AS jsonb), :affected) RETURNING id"
        )
    else:
        statement = (
            "UPDATE reconciler.notice SET state = :state, since = :since, "
            "changed_at = :changed_at, told_at = :told_at, returns = :returns, "
            "present = CAST(:present AS jsonb), affected = :affected WHERE id = :id RETURNING id"
        )
    return int(connection.execute(text(statement), values).scalar_one())


def enqueue(
    connection: Connection, channel: str, message: Message, now: datetime, due: datetime
) -> None:
    """Have a channel told. What it was to be told of the same notice before is overtaken."""
    connection.execute(
        text(
            "UPDATE reconciler.notice_delivery SET ended_at = :now, answer = 'overtaken' "
            "WHERE notice_id = :notice AND channel = :channel AND ended_at IS NULL"
        ),
        {"now": now, "notice": message.notice, "channel": channel},
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.notice_delivery (notice_id, what, channel, message, said_at, "
            "due_at) VALUES (:notice, :what, :channel, CAST(:message AS jsonb), :now, :due)"
        ),
        {
            "notice": message.notice,
            "what": message.what,
            "channel": channel,
            "message": storable(connection, dump(redacted_values(message.as_json()))),
            "now": now,
            "due": due,
        },
    )


def claim(connection: Connection, channel: str) -> Delivery | None:
    """The oldest delivery of a channel that is due. It counts as tried from here on: a process that
    dies with it in its hands has it tried again after the pause.
    """
    row = connection.execute(
        text(
            "SELECT id, channel, message, attempts FROM reconciler.notice_delivery "
            "WHERE ended_at IS NULL AND channel = :channel AND due_at <= clock_timestamp() "
            "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
        ),
        {"channel": channel},
    ).first()
    if row is None:
        return None
    connection.execute(
        text(
            "UPDATE reconciler.notice_delivery SET attempts = attempts + 1, "
            "due_at = clock_timestamp() + make_interval(secs => :pause) WHERE id = :id"
        ),
        {"id": row.id, "pause": wait_after(row.attempts + 1).total_seconds()},
    )
    return Delivery(row.id, row.channel, Message(**row.message), row.attempts + 1)


def note_answer(connection: Connection, delivery_id: int, *, taken: bool, answer: str) -> None:
    """Note what the channel said."""
    connection.execute(
        text(
            "UPDATE reconciler.notice_delivery SET delivered = :taken, answer = :answer, ended_at "  # noqa: S608 - a constant
            f"= CASE WHEN :taken OR said_at < clock_timestamp() - interval '{GIVEN_UP_AFTER}' "
            "THEN clock_timestamp() END WHERE id = :id"
        ),
        {"id": delivery_id, "taken": taken, "answer": storable(connection, redacted(answer)[:500])},
    )


def end_of_other_channels(connection: Connection, channels: Iterable[str]) -> None:
    """Give up what waits for channels that are not set any more."""
    connection.execute(
        text(
            "UPDATE reconciler.notice_delivery SET ended_at = clock_timestamp(), "
            "answer = 'the channel is not set any more' "
            "WHERE ended_at IS NULL AND NOT channel = ANY(:channels)"
        ),
        {"channels": list(channels)},
    )


def latest(connection: Connection, limit: int = 100) -> list[tuple[Notice, list[dict[str, Any]]]]:
    """What people are shown: notices that were told, those that stand first, with their
    deliveries (what, channel, said_at, ended_at, delivered, attempts, answer).
    """
    rows = connection.execute(
        text(
            "SELECT n.*, coalesce((SELECT jsonb_agg(jsonb_build_object('what', d.what, "
            "'channel', d.channel, 'said_at', d.said_at, 'ended_at', d.ended_at, "
            "'delivered', d.delivered, 'attempts', d.attempts, 'answer', d.answer) ORDER BY d.id) "
            "FROM reconciler.notice_delivery d WHERE d.notice_id = n.id), '[]') AS deliveries "
            "FROM reconciler.notice n WHERE n.state <> 'brewing' "
            "ORDER BY n.state = 'over', n.changed_at DESC, n.id DESC LIMIT :limit"
        ),
        {"limit": limit},
    ).mappings()
    return [(notice_of(row), list(row["deliveries"])) for row in rows]


def undelivered(connection: Connection) -> int:
    """Deliveries that were tried, and that no channel has taken yet."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.notice_delivery "
                "WHERE ended_at IS NULL AND attempts > 0"
            )
        ).scalar_one()
    )


def standing(connection: Connection) -> dict[str, int]:
    """How many notices stand, by kind."""
    rows = connection.execute(
        text(
            "SELECT kind, count(*) FROM reconciler.notice "
            "WHERE state IN ('open', 'fading') GROUP BY kind"
        )
    )
    return {row[0]: row[1] for row in rows}
