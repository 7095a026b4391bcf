"""What is in force of a sync, for people: each field with what it is, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler_dagster.syncs.definition import SyncDefinition
from reconciler_dagster.syncs.fields import FieldDefinition
from reconciler_dagster.syncs.in_force import DEFAULT


@dataclass(frozen=True)
class ShownField:
    """One column. ``rules``: what is not as usual, as the definition spells it; ``why``: where this
    base has it from, `the definition` or `this base`.
    """

    column: str
    sources: tuple[str, ...]
    type: str
    edited: str
    policy: str
    rules: dict[str, object]
    why: str


@dataclass(frozen=True)
class ShownSync:
    """``left_out``: columns whose field this base does not have."""

    sync: str
    airtable: str
    postgres: str
    every_minutes: int
    fields: tuple[ShownField, ...]
    left_out: tuple[str, ...]


_SHOWN = {"source", "type", "edited", "policy"}


def shown(definition: SyncDefinition, base_id: str | None, leads_table: str | None) -> ShownSync:
    """A definition as it holds for a base. ``leads_table``: what AIRTABLE_LEADS_TABLE says."""
    own = definition if base_id is None else definition.for_base(base_id)
    said = definition.clients.get(base_id) if base_id else None
    overridden = said.fields if said else {}
    table = leads_table if own.sync == DEFAULT[0] and leads_table else own.airtable.table
    return ShownSync(
        own.sync,
        table,
        own.postgres.table,
        round(own.every.total_seconds() / 60),
        tuple(
            _field(column, field, "this base" if column in overridden else "the definition")
            for column, field in own.fields.items()
        ),
        tuple(column for column, override in overridden.items() if override is None),
    )


def _field(column: str, field: FieldDefinition, why: str) -> ShownField:
    rules = field.model_dump(exclude_defaults=True, exclude=_SHOWN)
    return ShownField(column, field.source, field.type, field.edited, field.policy, rules, why)


def lines(one: ShownSync) -> Iterator[str]:
    """A sync in words, a line each."""
    yield (
        f"{one.sync}: {one.airtable} in Airtable, {one.postgres} in Postgres, "
        f"every {one.every_minutes} minutes"
    )
    for field in one.fields:
        both = "edited on both sides" if field.edited == "both" else "edited in Airtable"
        policy = [] if field.policy == "airtable_wins" else [f"policy {field.policy}"]
        rules = [f"{name} {value}" for name, value in field.rules.items()]
        own = ["of this base"] if field.why == "this base" else []
        told = ", ".join([field.type, both, *policy, *rules, *own])
        yield f"  {field.column} from {', else '.join(field.sources)}: {told}"
    for column in one.left_out:
        yield f"  {column}: this base has no such field"
