"""The mapping check: the field map held against Airtable's metadata and Postgres' catalogue.

Pure: the metadata comes in as plain values. A field that does not fit is stopped alone and says
why; a stopped field is never read, so it can never read as "cleared".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler_dagster.core.bound import Binding, BoundMap, Source
from reconciler_dagster.core.fields import FieldMap, MappedField
from reconciler_dagster.core.normal import pick
from reconciler_dagster.core.pairs import COMPUTED, AirtableField, Column, fitted, loss, too_long
from reconciler_dagster.core.sync import SyncMap


def bind(
    declared: SyncMap,
    airtable: Iterable[AirtableField],
    columns: Iterable[Column],
    remembered: Mapping[str, Binding],
) -> BoundMap:
    """Bind every field: by remembered id first, so that a rename is followed, else by name, else by
    the only name that differs in blanks or case and is nobody else's.
    """
    fields, table = declared.fields, declared.table.name
    find = _Finder(fields, airtable, remembered.values())
    catalogue = {column.name: column for column in columns}
    bindings, usable, changed, notes = [], [], [], find.notes
    for mapped in fields:
        before = remembered.get(mapped.column)
        alone = not mapped.also
        sources = [s for name in mapped.sources if (s := find(name, before, alone=alone))]
        found = sources[0].field if sources else None
        column = catalogue.get(mapped.column)
        known = before is not None and before.field_id is not None
        # One that was there and is gone is no field that the base does not have.
        if found is None and mapped.optional and column is not None and not known:
            bindings.append(Binding(mapped.column, None, mapped.airtable))
            continue
        problem = _problem(mapped, [source.field for source in sources], column, table)
        bindings.append(_binding(mapped, sources, before, problem))
        if problem or column is None or found is None:
            continue
        if before and _is_new(mapped, found, before):
            changed.append(mapped.column)
        if before is None or before.choices != found.choices:
            notes += [
                f"'{found.name}' has an option of {len(option)} characters, '{option[:40]}', which "
                f"{table}.{column.name} cannot hold: its cells go into quarantine."
                for option in too_long(found, column)
            ]
        usable.append(fitted(mapped, found, column))
    bindings, usable = _stopped_together(fields, bindings, usable)
    without = unfilled(fields, catalogue.values(), table)
    return BoundMap(FieldMap(usable), tuple(bindings), tuple(changed), tuple(notes), without)


def _stopped_together(
    fields: FieldMap, bindings: list[Binding], usable: list[MappedField]
) -> tuple[list[Binding], list[MappedField]]:
    """Stop the fields that mean nothing without one that is stopped."""
    whys = {
        field.column: f"'{field.airtable}' is stopped, as '{fields[field.of or ''].airtable}' is."
        for field in fields.dependent
        if any(binding.column == field.of and binding.problem for binding in bindings)
    }
    stopped = [
        replace(b, problem=b.problem or whys[b.column]) if b.column in whys else b for b in bindings
    ]
    return stopped, [field for field in usable if field.column not in whys]


def unfilled(fields: FieldMap, columns: Iterable[Column], table: str) -> tuple[str, ...]:
    """Columns of a table that a new row needs and that nobody fills, a sentence each."""
    return tuple(
        f"{table}.{column.name} is NOT NULL without default and not mapped: new leads cannot be "
        "inserted; give it a default, allow NULL, or have a trigger fill it."
        for column in columns
        if not column.may_be_left_out and not column.is_filled and column.name not in fields.columns
    )


class _Finder:
    """Finds fields, and notes what a person should know of it."""

    def __init__(
        self, fields: FieldMap, airtable: Iterable[AirtableField], remembered: Iterable[Binding]
    ) -> None:
        listed = list(airtable)
        self._by_id = {field.id: field for field in listed}
        self._by_name = {field.name: field for field in listed}
        known = [field.id for binding in remembered for field in binding.as_fields()]
        taken = {name for mapped in fields for name in mapped.sources}
        taken |= {self._by_id[i].name for i in known if i in self._by_id}
        self._free = self._by_name.keys() - taken
        self.notes: list[str] = []

    def __call__(self, declared: str, before: Binding | None, *, alone: bool) -> Source | None:
        """The field that a definition means."""
        known = before.id_of(declared, alone=alone) if before else None
        found = self._by_id.get(known or "") or self._by_name.get(declared)
        found = found or self._by_id.get(declared)
        if found is None and (name := pick(declared, self._free)):
            found = self._by_name[name]
            self.notes.append(f"'{name}' is taken for '{declared}', which the table has not.")
        if found is None:
            return None
        if known == found.id and before and (was := _name_of(before, declared)) != found.name:
            self.notes.append(f"'{was}' is now called '{found.name}'; followed by its id.")
        if known and known != found.id:
            self.notes.append(
                f"'{declared}' is a new field ({found.id}); met as if for the first time."
            )
        return Source(declared, found)


def _name_of(before: Binding, declared: str) -> str:
    named = (source.field.name for source in before.also if source.declared == declared)
    return next(named, before.name)


def _is_new(mapped: MappedField, found: AirtableField, before: Binding) -> bool:
    return (
        before.problem is not None
        or before.field_id != found.id
        or before.fingerprint != mapped.fingerprint
    )


def _problem(
    mapped: MappedField, sources: list[AirtableField], column: Column | None, table: str
) -> str | None:
    name = f"'{mapped.airtable}'"
    if column is None:
        return f"{name} is stopped: {table} has no column {mapped.column}; add it."
    if column.generated:
        return (
            f"{name} is stopped: {table}.{mapped.column} is filled by Postgres itself; make it a "
            "plain column."
        )
    if not sources:
        return f"{name} is stopped: the table has no such field; add it or rename it back."
    accepted = set(mapped.types) - (COMPUTED if mapped.both else set())
    for found in sources:
        if found.type not in accepted:
            expected = " or ".join(t for t in mapped.types if t in accepted)
            return (
                f"{name} is stopped: it is of type {found.type}, expected {expected}; change it "
                "back."
            )
    if not column.nullable and mapped.codec.blank is None and not mapped.required:
        return (
            f"{name} is stopped: {table}.{mapped.column} is NOT NULL and cannot hold an empty "
            "cell; allow NULL."
        )
    lost = next(filter(None, (loss(mapped, found, column, table) for found in sources)), None)
    return f"{name} is stopped: {lost}." if lost else None


def _binding(
    mapped: MappedField, sources: list[Source], before: Binding | None, problem: str | None
) -> Binding:
    if not sources:  # keep the remembered id: the field may come back by an undo
        remembered = before.field_id if before else None
        return Binding(
            mapped.column,
            remembered,
            mapped.airtable,
            problem=problem,
            fingerprint=before.fingerprint if before else "",
        )
    found = sources[0].field
    return Binding(
        mapped.column,
        found.id,
        found.name,
        found.type,
        found.choices,
        problem,
        mapped.fingerprint,
        found.holds,
        found.precision,
        found.valid,
        tuple(sources),
    )
