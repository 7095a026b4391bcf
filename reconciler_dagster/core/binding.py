"""The mapping check: the field map held against Airtable's metadata and Postgres' catalogue.

Pure: the metadata comes in as plain values. A field that does not fit is stopped alone and says
why; a stopped field is never read, so it can never read as "cleared".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler_dagster.core.fields import FieldMap, MappedField
from reconciler_dagster.core.normal import PLAIN_TEXTS, pick
from reconciler_dagster.core.pairs import AirtableField, Column, fitted, loss, too_long

COMPUTED = frozenset(
    {
        "formula",
        "rollup",
        "count",
        "multipleLookupValues",
        "createdTime",
        "lastModifiedTime",
        "autoNumber",
        "createdBy",
        "lastModifiedBy",
        "button",
        "aiText",
    }
)


@dataclass(frozen=True)
class Binding:
    """Which Airtable field a column is bound to, and what stands in the way, if anything."""

    column: str
    field_id: str | None
    name: str
    type: str | None = None
    choices: tuple[str, ...] | None = None
    problem: str | None = None
    fingerprint: str = ""
    holds: str | None = None
    precision: int | None = None
    valid: bool = True

    def as_field(self) -> AirtableField:
        """The field as it was when the metadata was last read."""
        return AirtableField(
            self.field_id or "",
            self.name,
            self.type or "",
            self.choices,
            self.holds,
            self.precision,
            self.valid,
        )


@dataclass(frozen=True)
class BoundMap:
    """The usable part of the field map for one client, and what was found out about the rest.

    ``changed``: columns whose baselines were taken under another field or codec, or before the
    field was stopped (meanwhile its cells may have been emptied); they are met again by the
    first-contact rule. ``notes``: renames and the like, in plain words. ``unfilled``: columns that
    a new lead needs and that nobody fills, a sentence each.
    """

    fields: FieldMap
    bindings: tuple[Binding, ...]
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unfilled: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Why each stopped field is stopped."""
        return [binding.problem for binding in self.bindings if binding.problem]

    @property
    def id_by_column(self) -> dict[str, str]:
        """Column to Airtable field id, of the fields in use."""
        return {
            binding.column: binding.field_id
            for binding in self.bindings
            if binding.field_id and not binding.problem
        }

    @property
    def plain_texts(self) -> list[str]:
        """Columns that people edit on either side and whose fields hold text, but no rich text."""
        shared = {field.column for field in self.fields if field.both}
        return [b.column for b in self.bindings if b.type in PLAIN_TEXTS and b.column in shared]

    def stops_more_than(self, earlier: BoundMap) -> bool:
        """Whether fields that an earlier check let through are stopped or bound anew now."""
        return any(
            self.id_by_column.get(column) != field_id
            for column, field_id in earlier.id_by_column.items()
        )

    def choices(self, column: str) -> tuple[str, ...] | None:
        """The options of a select field; None where anything may be written."""
        return next((b.choices for b in self.bindings if b.column == column), None)

    def option(self, column: str, cell: Any) -> Any:
        """A cell that is not empty, as the field takes it: of a select the option that is meant,
        None where it has none.
        """
        choices = self.choices(column)
        return cell if choices is None else pick(cell, choices)


def bind(
    fields: FieldMap,
    airtable: Iterable[AirtableField],
    columns: Iterable[Column],
    remembered: Mapping[str, Binding],
) -> BoundMap:
    """Bind every field: by remembered id first, so that a rename is followed, else by name, else by
    the only name that differs in blanks or case and is nobody else's.
    """
    listed = list(airtable)
    by_id = {field.id: field for field in listed}
    by_name = {field.name: field for field in listed}
    taken = {mapped.airtable for mapped in fields}
    taken |= {by_id[b.field_id].name for b in remembered.values() if b.field_id in by_id}
    free = by_name.keys() - taken
    catalogue = {column.name: column for column in columns}
    bindings, usable, changed, notes = [], [], [], []
    for mapped in fields:
        before = remembered.get(mapped.column)
        found = by_id.get(before.field_id or "") if before else None
        found = found or by_name.get(mapped.airtable)
        if found is None and (name := pick(mapped.airtable, free)):
            found = by_name[name]
            notes.append(f"'{name}' is taken for '{mapped.airtable}', which the table has not.")
        column = catalogue.get(mapped.column)
        problem = _problem(mapped, found, column)
        bindings.append(_binding(mapped, found, before, problem))
        if before and found and before.field_id == found.id and found.name != before.name:
            notes.append(f"'{before.name}' is now called '{found.name}'; followed by its id.")
        if before and found and before.field_id and before.field_id != found.id:
            notes.append(
                f"'{mapped.airtable}' is a new field ({found.id}); met as if for the first time."
            )
        if problem or column is None or found is None:
            continue
        if before and _is_new(mapped, found, before):
            changed.append(mapped.column)
        if before is None or before.choices != found.choices:
            notes += [
                f"'{found.name}' has an option of {len(option)} characters, '{option[:40]}', which "
                f"leads.{column.name} cannot hold: its cells go into quarantine."
                for option in too_long(found, column)
            ]
        usable.append(fitted(mapped, found, column))
    bindings, usable = _stopped_together(fields, bindings, usable)
    without = unfilled(fields, catalogue.values())
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


def unfilled(fields: FieldMap, columns: Iterable[Column]) -> tuple[str, ...]:
    """Columns that a new lead needs and that nobody fills, a sentence each."""
    return tuple(
        f"leads.{column.name} is NOT NULL without default and not mapped: new leads cannot be "
        "inserted; give it a default, allow NULL, or have a trigger fill it."
        for column in columns
        if not column.may_be_left_out and not column.is_filled and column.name not in fields
    )


def _is_new(mapped: MappedField, found: AirtableField, before: Binding) -> bool:
    return (
        before.problem is not None
        or before.field_id != found.id
        or before.fingerprint != mapped.fingerprint
    )


def _problem(mapped: MappedField, found: AirtableField | None, column: Column | None) -> str | None:
    name = f"'{mapped.airtable}'"
    if column is None:
        return f"{name} is stopped: leads has no column {mapped.column}; add it."
    if column.generated:
        return (
            f"{name} is stopped: leads.{mapped.column} is filled by Postgres itself; make it a "
            "plain column."
        )
    if found is None:
        return f"{name} is stopped: the table has no such field; add it or rename it back."
    accepted = set(mapped.types) - (COMPUTED if mapped.both else set())
    if found.type not in accepted:
        expected = " or ".join(t for t in mapped.types if t in accepted)
        return (
            f"{name} is stopped: it is of type {found.type}, expected {expected}; change it back."
        )
    if not column.nullable and mapped.codec.blank is None:
        return (
            f"{name} is stopped: leads.{mapped.column} is NOT NULL and cannot hold an empty cell; "
            "allow NULL."
        )
    lost = loss(mapped, found, column)
    return f"{name} is stopped: {lost}." if lost else None


def _binding(
    mapped: MappedField, found: AirtableField | None, before: Binding | None, problem: str | None
) -> Binding:
    if found is None:  # keep the remembered id: the field may come back by an undo
        remembered = before.field_id if before else None
        return Binding(
            mapped.column,
            remembered,
            mapped.airtable,
            problem=problem,
            fingerprint=before.fingerprint if before else "",
        )
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
    )
