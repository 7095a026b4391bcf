"""Which Airtable fields the columns of a sync are bound to, as the mapping check found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.normal import PLAIN_TEXTS, pick
from reconciler_dagster.core.pairs import AirtableField


@dataclass(frozen=True)
class Source:
    """One of several Airtable fields of a column: its name in the definition, and what it is."""

    declared: str
    field: AirtableField


@dataclass(frozen=True)
class Binding:
    """Which Airtable field a column is bound to, and what stands in the way, if anything.

    ``field_id`` and what follows: the first one that the table has. ``also``: all that it has of
    those that the definition names; empty where there is none, and of an older version's binding.
    """

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
    also: tuple[Source, ...] = ()

    def as_fields(self) -> list[AirtableField]:
        """The fields as they were when the metadata was last read."""
        if self.also:
            return [source.field for source in self.also]
        if not self.field_id or not self.type:
            return []
        kept = (self.choices, self.holds, self.precision, self.valid)
        return [AirtableField(self.field_id, self.name, self.type, *kept)]

    def id_of(self, declared: str, *, alone: bool = True) -> str | None:
        """The id that a source was bound to; ``alone``: the definition names no other. A source
        that the definition did not name then is bound to nothing: somebody has edited it.
        """
        if self.also:
            return next((s.field.id for s in self.also if s.declared == declared), None)
        return self.field_id if alone else None


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
            if binding.field_id and binding.column in self.fields
        }

    @property
    def ids_by_column(self) -> dict[str, list[str]]:
        """Column to the ids of its Airtable fields, of which the first that is not empty counts."""
        bindings = {binding.column: binding for binding in self.bindings}
        return {
            column: [s.field.id for s in bindings[column].also] or [field_id]
            for column, field_id in self.id_by_column.items()
        }

    @property
    def field_ids(self) -> list[str]:
        """The Airtable fields in use, each once."""
        return list(dict.fromkeys(i for ids in self.ids_by_column.values() for i in ids))

    @property
    def plain_texts(self) -> list[str]:
        """Columns that people edit on either side and whose fields hold text, but no rich text."""
        shared = {field.column for field in self.fields if field.both}
        return [b.column for b in self.bindings if b.type in PLAIN_TEXTS and b.column in shared]

    def stops_more_than(self, earlier: BoundMap) -> bool:
        """Whether fields that an earlier check let through are stopped or bound anew now."""
        return any(
            self.ids_by_column.get(column) != ids for column, ids in earlier.ids_by_column.items()
        )

    def choices(self, column: str) -> tuple[str, ...] | None:
        """The options of a select field; None where anything may be written."""
        return next((b.choices for b in self.bindings if b.column == column), None)

    def option(self, column: str, cell: Any) -> Any:
        """A cell that is not empty, as the field takes it: of a select the option that is meant,
        None where it has none.
        """
        choices = self.choices(column)
        if choices is None:
            return cell
        if isinstance(cell, list):
            options = [pick(one, choices) for one in cell]
            return None if None in options else options
        return pick(cell, choices)
