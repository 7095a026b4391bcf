"""Rows that a dry run would make: a link to one is no refusal, for the run itself would fill it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.quarantine import Refusal

# By sync, the records whose rows the run would make.
Coming = Mapping[str, Collection[str]]


def linked(sessions: Sequence[Session]) -> list[Session]:
    """The syncs that fields of a run link to."""
    wanted = {sync for session in sessions for sync in session.pair.links.values()}
    return [session for session in sessions if session.map.name in wanted]


def inserts(changes: Mapping[str, LeadChange]) -> set[str]:
    """The records of a plan that get a row."""
    return {record_id for record_id, change in changes.items() if change.insert}


def lasting(session: Session, refused: Iterable[Refusal], coming: Coming) -> list[Refusal]:
    """The refusals that the end of the run would not have done away with."""
    return [refusal for refusal in refused if not _is_filled(session, refusal, coming)]


def _is_filled(session: Session, refusal: Refusal, coming: Coming) -> bool:
    sync = session.pair.links.get(refusal.field)
    if sync is None or refusal.direction != "to_postgres" or not refusal.value:
        return False
    linked = refusal.value if isinstance(refusal.value, list) else [refusal.value]
    rows, made = session.users.rows(sync), coming.get(sync, ())
    return all(one in made or rows.key_of_record(str(one)) is not None for one in linked)
