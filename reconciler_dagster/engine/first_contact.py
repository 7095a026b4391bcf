"""Rehearse a client's first contact: list the base, merge, and try everything that can be tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.rehearsal import FiringTrigger, Loses, Report, expected_calls
from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.engine.change_set import EXAMPLES, ChangeSet, combined, short, summarise
from reconciler_dagster.engine.coming import Coming, lasting, linked
from reconciler_dagster.engine.foreseen import foreseen, newly
from reconciler_dagster.engine.listing import Part, Window, list_window
from reconciler_dagster.engine.rehearsal import rehearse
from reconciler_dagster.engine.session import Session
from reconciler_dagster.engine.windows import discard, inserts_of, load_part
from reconciler_dagster.postgres import leads, staging
from reconciler_dagster.postgres.fires import Fires
from reconciler_dagster.postgres.guarded import PortalTrigger, portal_triggers

# Examples of leads without a record.
_SHOWN = 5


def rehearse_client(sessions: Iterable[Session]) -> Report:
    """Rehearse every sync of a client, parents first. The sessions must be dry; nothing is written
    on either side.
    """
    chosen = list(sessions)
    windows: dict[str, Window] = {}
    try:
        for session in chosen:
            session.check_mapping(force=True)
            windows[session.map.name] = list_window(session, EVERYTHING, session.key)
        coming = {s.map.name: inserts_of(s, windows[s.map.name]) for s in linked(chosen)}
        return added_up([_rehearse_sync(s, windows[s.map.name], coming) for s in chosen])
    finally:
        for session in chosen:
            if session.map.name in windows:
                discard(session, windows[session.map.name])


def added_up(reports: Sequence[Report]) -> Report:
    """What the syncs of a client need, as one report."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        listed=sum(r.listed for r in reports),
        leads=sum(r.leads for r in reports),
        without_record=sum(r.without_record for r in reports),
        own=sum(r.own for r in reports),
        change_set=asdict(combined(ChangeSet(**r.change_set) for r in reports)),
        loses=[each for r in reports for each in r.loses],
        examples_without_record=[e for r in reports for e in r.examples_without_record],
        triggers=[each for r in reports for each in r.triggers],
        rows=[each for r in reports for each in r.rows],
        follows=[each for r in reports for each in r.follows],
        unexamined=sum(r.unexamined for r in reports),
        calls=sum(r.calls for r in reports),
        seconds=sum(r.seconds for r in reports),
        stopped=[each for r in reports for each in r.stopped],
        notes=[each for r in reports for each in r.notes],
        syncs=[each for r in reports for each in r.syncs],
    )


def _rehearse_sync(session: Session, window: Window, coming: Coming) -> Report:
    session.counts.pulled += window.listed
    with session.engine.connect() as connection:
        triggers = portal_triggers(connection, session.map.table)
        strays = _strays(connection, session, window.parts)
        here, own = leads.count(connection, session.pair)
    rehearsal = _Rehearsal(session, triggers, coming)
    for part in window.parts:
        rehearsal.add(part)
    change_set = combined(rehearsal.change_sets)
    calls = expected_calls(window.listed, rehearsal.outbound, rehearsal.sendable)
    return Report(
        listed=window.listed,
        leads=here,
        without_record=len(strays),
        own=own,
        change_set=asdict(change_set),
        loses=rehearsal.loses,
        examples_without_record=sorted(strays)[:_SHOWN],
        triggers=list(rehearsal.firing()),
        rows=_by_table(rehearsal.fires.rows),
        follows=_by_table(rehearsal.fires.follows),
        unexamined=rehearsal.unexamined,
        calls=calls,
        seconds=round(calls / session.settings.calls_per_second),
        stopped=session.bound.problems,
        notes=session.notes,
        syncs=[session.map.name],
    )


def _by_table(rows: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"table": table, "kind": kind, "rows": n} for (table, kind), n in sorted(rows.items())]


class _Rehearsal:
    """Adds up the parts."""

    def __init__(self, session: Session, triggers: list[PortalTrigger], coming: Coming) -> None:
        self._session, self._triggers, self._coming = session, triggers, coming
        self.change_sets, self.loses, self.fires = [combined(())], list[Loses](), Fires()
        self.outbound = self.sendable = self.unexamined = 0
        self._lost: Counter[str] = Counter()

    def add(self, part: Part) -> None:
        """Rehearse a part."""
        session = self._session
        staged = load_part(session, part)
        changes = staged.plan(session)
        there = foreseen(session, changes)
        found = rehearse(session, staged, changes, [t.name for t in self._triggers])
        refused = there + lasting(session, found.refused, self._coming)
        self.change_sets.append(summarise(session.fields, changes, refused, newly(session, there)))
        gone = {(r.record_id, r.field) for r in there}
        self.outbound += sum(bool(change.to_airtable) for change in changes.values())
        self.sendable += sum(
            any((record_id, column) not in gone for column in change.to_airtable)
            for record_id, change in changes.items()
        )
        self.unexamined += len(found.unexamined)
        self.fires.add(found.fires)
        self.loses += self._losing(changes)

    def _losing(self, changes: Mapping[str, LeadChange]) -> Iterator[Loses]:
        """Some of each field."""
        for record_id, change in sorted(changes.items()):
            for conflict in change.conflicts:
                column = conflict["field"]
                self._lost[column] += 1
                if self._lost[column] <= EXAMPLES:
                    yield Loses(
                        record_id,
                        column,
                        short(conflict["winning"]),
                        short(conflict["losing"]),
                        str(conflict["kind"]),
                    )

    def firing(self) -> Iterator[FiringTrigger]:
        """The portal's triggers that fired."""
        for trigger in self._triggers:
            if calls := self.fires.fired[trigger.name]:
                guard = [] if trigger.is_guarded else trigger.guard_sql
                yield FiringTrigger(trigger.name, trigger.table, calls, guard)


def _strays(connection: Connection, session: Session, parts: list[Part]) -> set[str]:
    """Record ids of leads that the base does not have."""
    listed = {r for part in parts for r in staging.record_ids(connection, part.key)}
    return leads.whole_record_ids(connection, session.pair) - listed
