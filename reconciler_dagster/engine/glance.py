"""A glance: whether a delta would find nothing to do. Reads both sides; it notes its calls, and
writes nothing else.

It asks what a delta asks before it has read anything, so that what shows nothing a delta would
leave as it is. Where anything is otherwise than on a quiet day, it is for a run to say what.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from reconciler_dagster.core.bound import BoundMap
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine import remembered
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.foreseen import with_options_now
from reconciler_dagster.engine.pull import SEEN_MARGIN
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    cursor,
    decisions,
    derived,
    overlooked,
    quarantine,
    record_ids,
    rest,
)


def shows_nothing(session: Session) -> bool:
    """Whether neither side has anything for a delta. One call to Airtable at most.

    The cursor stays where it is: the next listing reaches back as far. Raises what a run raises
    that cannot read.
    """
    pair = session.pair
    session.guard  # noqa: B018 - before a connection is taken, as it takes one itself
    configured, now = session.repertoire.fit(session.map.airtable), session.began
    with session.engine.connect() as connection:
        memory = remembered.load(connection, pair, configured)
        mapping = memory.as_it_is(session.map, session.client.base_id, remembered.KEPT)
        start = cursor.load(connection, pair)
        if memory.bound is None or mapping is None or start is None:
            return False
        if not _is_as_left(connection, session, mapping, now):
            return False
        seen = cursor.seen(connection, pair)
    source, settled = session.base, start.modified_since - SEEN_MARGIN
    since = start.modified_since - session.overlap
    table_id, field_ids = memory.bound.place.table_id, mapping.field_ids
    if any(source.changed_since(table_id, field_ids, since, seen, settled)):
        return False
    there = source.clock.earliest
    # Else Airtable's clock ran backward: see engine.pull.
    return there is not None and there - start.age >= settled


def what_stands(connection: Connection, pair: Pair) -> Counts:
    """What waits for a person, as a run counts it."""
    return Counts(
        quarantined=len(quarantine.records(connection, pair)),
        deletions_pending=decisions.pending(connection, pair),
    )


def _is_as_left(connection: Connection, session: Session, mapping: BoundMap, now: datetime) -> bool:
    """Whether Postgres has nothing for the next run, and every edit there has been noted."""
    pair = session.pair
    return (
        not overlooked.may_have_been(connection, pair, session.guard)
        and baseline.exists(connection, pair)
        and rest.is_at_rest(connection, pair)
        and not _is_any_due(connection, pair, mapping, now)
        and not record_ids.any_to_mend(connection, pair)
        and not derived.problems(connection, pair)
    )


def _is_any_due(connection: Connection, pair: Pair, mapping: BoundMap, now: datetime) -> bool:
    """Whether anything in quarantine is to be tried again."""
    return bool(quarantine.records(connection, pair)) and bool(
        quarantine.due(connection, pair, now)
        or with_options_now(connection, pair, mapping)
        or quarantine.resolvable(connection, pair)
    )
