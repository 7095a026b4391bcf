"""Changing records: everything is checked and staged first, then takes effect at once, or not."""

from collections.abc import Mapping
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.acceptance import Acceptance, Draft
from reconciler_dagster.sandbox.model.base import (
    Actor,
    Base,
    Change,
    Commit,
    Person,
    SchemaChange,
)
from reconciler_dagster.sandbox.model.cells import Unacceptable
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.switches import Switches


class MissingRecord(Exception):
    """The table has no record of this id."""

    def __init__(self, record_id: str) -> None:
        super().__init__(record_id)
        self.record_id = record_id


class Transaction:
    """One act on a base. Any method may raise; without `commit` nothing has happened."""

    def __init__(self, base: Base, actor: Actor, now: int, switches: Switches) -> None:
        self._base = base
        self._actor = actor
        self._now = now
        self._switches = switches
        self._drafts: dict[str, Draft] = {}
        self._acceptance = Acceptance(
            base,
            self._drafts,
            lambda table, name: self.create(table, {table.primary: name}, True),
            switches,
        )

    def create(self, table: Table, cells: Mapping[str, Any], typecast: bool = False) -> str:
        """Stage a new record and return its id. Keys are field names or ids. Raises Refusal."""
        draft = Draft(table, new_id("rec"), None, {})
        self._drafts[draft.record_id] = draft
        self._write(draft, cells, typecast)
        return draft.record_id

    def update(
        self,
        table: Table,
        record_id: str,
        cells: Mapping[str, Any],
        replace: bool = False,
        typecast: bool = False,
    ) -> None:
        """Stage an edit; `replace` clears every other writable cell. Raises MissingRecord."""
        draft = self._draft(table, record_id)
        given = _by_field(table, cells)
        if replace:
            for field_ in table.fields.values():
                if not field_.computed and field_.id not in given and field_.id in draft.cells:
                    given[field_.id] = None
        self._write(draft, given, typecast)

    def delete(self, table: Table, record_id: str) -> None:
        """Stage a deletion. Raises MissingRecord."""
        draft = self._draft(table, record_id)
        for field_ in table.fields.values():
            if field_.type == "multipleRecordLinks" and draft.cells.get(field_.id):
                self._link(draft, field_, [])
        draft.deleted = True

    def restore(self, table: Table, record_id: str) -> None:
        """Stage the return of a deleted record from the trash. Raises MissingRecord."""
        trashed = table.trash.get(record_id)
        if trashed is None:
            raise MissingRecord(record_id)
        draft = Draft(table, record_id, None, {})
        self._drafts[record_id] = draft
        for field_id, value in trashed.cells.items():
            self._put_back(draft, field_id, value)

    def undo(self, commit: Commit) -> None:
        """Stage the reverse of a commit. Raises MissingRecord where it no longer applies."""
        for change in commit.changes:
            table = self._base.tables[change.table_id]
            if change.before is None:
                self.delete(table, change.record_id)
            elif change.after is None:
                self.restore(table, change.record_id)
            else:
                draft = self._draft(table, change.record_id)
                for field_id in change.fields:
                    self._put_back(draft, field_id, change.before.cells.get(field_id))

    def commit(self) -> None:
        """Let everything staged take effect. Raises Refusal if the base is full."""
        limit = self._switches.record_limit
        added = sum(d.before is None and not d.deleted for d in self._drafts.values())
        if limit is not None and added and self._base.count_records() + added > limit:
            raise errors.bad_parameters("This base has reached its limit of records.")
        schema = self._add_choices()
        applied = [self._apply(draft) for draft in self._drafts.values()]
        changes = tuple(change for change in applied if change is not None)
        if changes or schema:
            self._base.announce(self._now, self._actor, changes=changes, schema=schema)

    def _add_choices(self) -> tuple[SchemaChange, ...]:
        changes, new = [], self._acceptance.new_choices
        for table in self._base.tables.values():
            for field_ in table.fields.values():
                if field_.id in new:
                    before = field_.shown()
                    field_.options["choices"] = [*field_.choices, *new[field_.id]]
                    changes.append(SchemaChange(table.id, field_.id, before, field_.shown()))
        return tuple(changes)

    def _draft(self, table: Table, record_id: str) -> Draft:
        draft = self._drafts.get(record_id)
        if draft is not None and draft.table is table and not draft.deleted:
            return draft
        before = table.records.get(record_id) if draft is None else None
        if before is None:
            raise MissingRecord(record_id)
        draft = Draft(table, record_id, before, dict(before.cells))
        self._drafts[record_id] = draft
        return draft

    def _put_back(self, draft: Draft, field_id: str, value: Any) -> None:
        """Set a cell to what it held before, as far as the field and linked records still exist."""
        field_ = draft.table.fields.get(field_id)
        if field_ is None:
            return
        draft.written.add(field_id)
        if field_.type == "multipleRecordLinks":
            other = self._base.tables[field_.options["linkedTableId"]]
            alive = [one for one in value or () if one in other.records or one in self._drafts]
            self._link(draft, field_, alive)
        elif value is None:
            draft.cells.pop(field_id, None)
        else:
            draft.cells[field_id] = value

    def _write(self, draft: Draft, cells: Mapping[str, Any], typecast: bool) -> None:
        for field_id, value in _by_field(draft.table, cells).items():
            field_ = draft.table.fields[field_id]
            if field_.computed:
                raise errors.computed_field(field_.name)
            draft.written.add(field_id)
            try:
                kept = self._acceptance.accept(draft, field_, value, typecast)
            except Unacceptable as error:
                if error.args:
                    raise errors.invalid_value(str(error)) from None
                raise errors.unacceptable(field_.name) from None
            if field_.type == "multipleRecordLinks":
                self._link(draft, field_, kept or [])
            elif kept is None:
                draft.cells.pop(field_id, None)
            else:
                draft.cells[field_id] = kept

    def _link(self, draft: Draft, field_: Field, ids: list[str]) -> None:
        """Set a link cell and keep the inverse field of the linked records in step."""
        other = self._base.tables[field_.options["linkedTableId"]]
        inverse = field_.options.get("inverseLinkFieldId")
        before = draft.cells.get(field_.id, [])
        _set(draft, field_.id, ids)
        if inverse is None or inverse not in other.fields:
            return
        for gone in [one for one in before if one not in ids]:
            linked = self._draft(other, gone)
            linked.linked.add(inverse)
            _set(
                linked, inverse, [i for i in linked.cells.get(inverse, ()) if i != draft.record_id]
            )
        for new in [one for one in ids if one not in before]:
            linked = self._draft(other, new)
            linked.linked.add(inverse)
            _set(linked, inverse, [*linked.cells.get(inverse, ()), draft.record_id])

    def _apply(self, draft: Draft) -> Change | None:
        table, before = draft.table, draft.before
        if draft.deleted:
            if before is None:
                return None
            table.remove(draft.record_id)
            return Change(table.id, draft.record_id, before, None, ())
        resolution = self._switches.time_resolution_ms
        time = self._now // resolution * resolution
        person = self._actor.person
        self._base.people.setdefault(person.id, person)
        if before is None:
            return self._apply_new(draft, time, person)
        changed = {
            field_id
            for field_id in draft.written | draft.linked
            if before.cells.get(field_id) != draft.cells.get(field_id)
        }
        bumping = changed & draft.written
        if self._switches.same_value_bumps:
            bumping |= draft.written
        if self._switches.inverse_link_bumps:
            bumping |= changed & draft.linked
        if not changed and not bumping:
            return None
        after = Record(
            id=before.id,
            created=before.created,
            modified=time if bumping else before.modified,
            created_by=before.created_by,
            modified_by=person.id if bumping else before.modified_by,
            cells=draft.cells,
            touched={**before.touched, **dict.fromkeys(bumping, time)},
        )
        table.put(after)
        return Change(table.id, before.id, before, after, tuple(changed))

    def _apply_new(self, draft: Draft, time: int, person: Person) -> Change:
        table = draft.table
        trashed = table.trash.pop(draft.record_id, None)
        for field_ in table.fields.values():
            if field_.type == "autoNumber" and trashed is None:
                draft.cells[field_.id] = table.next_number
        table.next_number += trashed is None
        after = Record(
            id=draft.record_id,
            created=trashed.created if trashed else time,
            modified=time,
            created_by=trashed.created_by if trashed else person.id,
            modified_by=person.id,
            cells=draft.cells,
            touched=trashed.touched if trashed else dict.fromkeys(draft.cells, time),
        )
        table.put(after)
        return Change(table.id, after.id, None, after, tuple(draft.cells))


def _by_field(table: Table, cells: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in cells.items():
        field_ = table.find(name)
        if field_ is None:
            raise errors.unknown_field(name)
        given[field_.id] = value
    return given


def _set(draft: Draft, field_id: str, ids: list[str]) -> None:
    if ids:
        draft.cells[field_id] = ids
    else:
        draft.cells.pop(field_id, None)
