"""Find: read both sides of a scope into staging. Writes nothing that anybody else reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from reconciler_dagster.core.bound import BoundMap
from reconciler_dagster.core.reading import from_airtable, refuse
from reconciler_dagster.core.scope import EVERYTHING, Scope
from reconciler_dagster.core.source import NotAsRemembered, Record
from reconciler_dagster.engine.foreseen import with_options_now
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    cursor,
    derived,
    journal,
    leads,
    overlooked,
    quarantine,
    staging,
)
from reconciler_dagster.postgres.overlooked import Overlooked
from reconciler_dagster.postgres.staging import StagedRecord

# A record left out as seen must not have been edited this shortly before it was seen: Airtable's
# times are whole seconds, and a list may lag behind a write (Airtable facts, section 9).
SEEN_MARGIN = timedelta(seconds=3)


@dataclass(frozen=True)
class Pulled:
    """What the pull found out besides the records. Times are ISO text on Airtable's clock.

    ``moment``: where the next cursor may stand; ``noted_at``: the same on our clock. ``window``:
    start and end where every record of a creation window was listed (None: open), None for a
    delta. ``listed``, ``staged``: records, the latter with those read by id. ``gone``: asked for by
    id, and not there. ``stopped``: fields that the mapping check stopped, and why.
    """

    moment: str
    noted_at: str
    window: tuple[str | None, str | None] | None
    listed: int
    staged: int
    gone: list[str]
    stopped: list[str]
    notes: list[str]

    @property
    def everything(self) -> bool:
        """Whether every record of the base was listed."""
        return self.window is not None and not any(self.window)


def pull_airtable(session: Session, scope: Scope) -> Pulled:
    """Stage the remote side of a scope, and the records that have to be read by id."""
    chosen = scope
    session.bound  # noqa: B018 - before anything that is remembered is used
    session.mend_record_ids()
    missed = overlooked.find(
        session.engine,
        session.pair,
        session.map.fields.refined(session.fields),
        session.guard,
        dry_run=session.dry_run,
    )
    # A dry run notes nothing, so it has to be told.
    also = {record_id for _, record_id in missed.leads} if session.dry_run else set()
    scope = _reach(session, chosen)
    try:
        found = _stage_scope(session, scope, also)
    except NotAsRemembered:
        session.check_mapping(force=True, anew=True)
        scope = _reach(session, chosen)
        found = _stage_scope(session, scope, also)
    else:
        if looks_off(session, session.key, found.bound):
            found = _stage_scope(session, scope, also)
    pulled = Pulled(
        moment=(session.base.clock.earliest or datetime.now(UTC)).isoformat(),
        noted_at=session.base.clock.noted_at.isoformat(),
        window=(_iso(scope.start), _iso(scope.end)) if scope.is_window else None,
        listed=len(found.listed),
        staged=len(found.listed | found.read),
        gone=sorted(found.gone),
        stopped=[*session.bound.problems, *_not_derived(session)],
        notes=[*session.notes, *_told(missed)],
    )
    session.counts.pulled += len(found.listed | found.read)
    with session.engine.begin() as connection:
        staging.stage_pull(connection, session.key, session.client.id, asdict(pulled))
    return pulled


def _reach(session: Session, scope: Scope) -> Scope:
    """The scope; or everything, at first contact and where memory was lost or is of no use."""
    if scope.is_window:
        return scope
    with session.engine.connect() as connection:
        known = cursor.load(connection, session.pair) is not None
        known = known and baseline.exists(connection, session.pair)
    return scope if known and not session.moved else EVERYTHING


def pull_postgres(session: Session) -> None:
    """Stage the local side: the leads of the records that were listed, of every unsettled edit,
    of every open journal entry, and, for a window, of every baseline in it.
    """
    with session.engine.connect() as connection:
        pulled = Pulled(**staging.pull(connection, session.key))
        wanted = {*staging.record_ids(connection, session.key), *pulled.gone}
    window = None
    if pulled.window is not None:
        window = (pulled.window[0] or "-infinity", pulled.window[1] or "infinity")
    leads.stage_leads(
        session.engine,
        session.key,
        session.pair,
        session.fields.columns,
        wanted,
        window=window,
        everything=pulled.everything,
    )


@dataclass(frozen=True)
class _Found:
    bound: BoundMap
    listed: set[str]
    read: set[str]
    gone: set[str]


def _not_derived(session: Session) -> list[str]:
    with session.engine.connect() as connection:
        return derived.problems(connection, session.pair)


def _told(missed: Overlooked) -> list[str]:
    if not missed.compared:
        return []
    return [
        "All leads were compared with what was agreed on, for edits of some may not have been "
        f"noted: {len(missed.leads)} had been overlooked."
    ]


def _stage_scope(session: Session, scope: Scope, also: set[str]) -> _Found:
    with session.engine.begin() as connection:
        staging.clear(connection, session.key)
    listed = _list(session, scope)
    wanted = (_to_read(session) | also) - listed
    read = _read(session, wanted)
    return _Found(session.bound, listed, read, wanted - read)


def looks_off(session: Session, key: str, bound: BoundMap) -> bool:
    """Whether what was staged under a key must be read again, since fields have changed."""
    return is_suspect(session, key) and session.check_mapping(force=True).stops_more_than(bound)


def is_suspect(session: Session, key: str) -> bool:
    """Whether what was staged under a key asks for a look at the metadata.

    Cells that were emptied, or that cannot be read although they are not in quarantine, do: a field
    that was retyped or replaced shows as either, and must never read as "cleared". So do texts that
    end with a line end now: a field that became rich text shows as these, and its texts are
    compared otherwise.
    """
    blanks = {field.column: field.codec.blank for field in session.fields}
    texts = [] if session.mapping_is_fresh else session.bound.plain_texts
    with session.engine.connect() as connection:
        return staging.looks_retyped(connection, session.pair, key, blanks, texts)


def _list(session: Session, scope: Scope) -> set[str]:
    source, table, field_ids = session.base, session.table_id, session.bound.field_ids
    if scope.is_window:
        pages = source.created_between(table, field_ids, scope.start, scope.end)
        return _stage_pages(session, pages, scope)
    with session.engine.connect() as connection:
        start = cursor.load(connection, session.pair)
        left_out = cursor.to_leave_out(connection, session.pair)
    assert start is not None
    since, settled = start.modified_since, start.modified_since - SEEN_MARGIN
    pages = source.changed_since(table, field_ids, since - session.overlap, left_out, settled)
    listed = _stage_pages(session, pages, scope)
    now = source.clock.earliest
    if now is not None and now - start.age < settled:
        # Airtable's clock ran backward: edits since then bear times from before the cursor.
        pages = source.changed_since(table, field_ids, now - start.age - session.overlap)
        listed |= _stage_pages(session, pages, scope)
    return listed


def _stage_pages(session: Session, pages: Iterable[list[Record]], scope: Scope) -> set[str]:
    listed: set[str] = set()
    for page in pages:
        in_scope = [r for r in page if not scope.is_window or scope.holds(r.created_time)]
        listed |= stage(session, in_scope)
    return listed


def _to_read(session: Session) -> set[str]:
    """Records whose remote side must be known although it may not have changed."""
    pair = session.pair
    anew = session.dry_run and bool(session.bound.changed or session.moved)
    with session.engine.connect() as connection:
        columns = session.fields.columns
        edited = set(leads.unsettled_to_read(connection, pair, columns, every=anew))
        if session.moved:
            return edited
        waiting = {
            *journal.open_entries(connection, pair),
            *quarantine.due(connection, pair, session.began),
            *(record_id for record_id, _ in with_options_now(connection, pair, session.bound)),
        }
    return edited | waiting


def _read(session: Session, record_ids: Iterable[str]) -> set[str]:
    read = session.base.read(session.table_id, record_ids, session.bound.field_ids)
    return stage(session, read)


def decode(session: Session, records: Iterable[Record]) -> Iterator[StagedRecord]:
    """Records through the codecs."""
    columns, several = defaultdict[str, list[str]](list), dict[str, list[str]]()
    for column, ids in session.bound.ids_by_column.items():
        if len(ids) == 1:
            columns[ids[0]].append(column)
        else:
            several[column] = ids
    for record in records:
        cells = {
            column: cell
            for field_id, cell in record.cells.items()
            for column in columns.get(field_id, ())
        }
        for column, ids in several.items():
            cells[column] = tuple(record.cells.get(field_id) for field_id in ids)
        row, problems = from_airtable(cells, session.fields, session.users)
        if not session.repertoire.takes_all:
            refuse(row, problems, session.fields, session.repertoire.why_not)
        told = {column: session.repertoire.fit(why) for column, why in problems.items()}
        yield StagedRecord(record.id, record.created_time, row, told)


def stage(session: Session, records: Iterable[Record], key: str | None = None) -> set[str]:
    """Stage records under a key (the session's unless given); returns their ids."""
    staged = list(decode(session, records))
    if staged:
        with session.engine.begin() as connection:
            staging.stage_records(connection, key or session.key, staged)
    return {record.record_id for record in staged}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
