"""A definition as the engine takes it: what is in force for one base. Pure."""

from __future__ import annotations

from reconciler_dagster.core.codecs import (
    Checkbox,
    Choice,
    Codec,
    DateTime,
    Flag,
    Integer,
    Text,
    Unchecked,
)
from reconciler_dagster.core.dates import Date
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.links import Link, Links
from reconciler_dagster.core.lists import Attachments, CommaList, Lookup, MultiSelect
from reconciler_dagster.core.numbers import Decimal
from reconciler_dagster.core.people import Collaborator, UserEmail
from reconciler_dagster.core.sync import Derived, SyncMap
from reconciler_dagster.core.table import SwitchLog, Table
from reconciler_dagster.syncs.definition import PostgresTable, SyncDefinition
from reconciler_dagster.syncs.fields import FieldDefinition

TEXT = ("singleLineText", "multilineText", "richText", "email", "url", "phoneNumber", "formula")
SELECT = ("singleSelect", "singleLineText")
NUMBER = ("number", "formula", "count", "rollup", "autoNumber", "percent", "rating", "currency")
LINK = ("multipleRecordLinks",)
LOOKUP = ("multipleLookupValues", "rollup", "formula", "count")
TIME = ("dateTime", "date", "lastModifiedTime", "createdTime", "formula")


def resolve(definition: SyncDefinition, base_id: str | None = None) -> SyncMap:
    """The map for one base, its overrides among it; for none, as the definition has it."""
    own = definition if base_id is None else definition.for_base(base_id)
    fields = FieldMap(_field(column, field) for column, field in own.fields.items())
    derived = tuple(
        Derived(column, one.sql, one.after, fills=column in own.fields)
        for column, one in own.derived.items()
    )
    return SyncMap(
        own.sync,
        own.airtable.table,
        table_of(own.postgres),
        fields,
        every=own.every,
        derived=derived,
        events=own.events,
        constants=own.constants,
    )


def table_of(postgres: PostgresTable) -> Table:
    """The Postgres side."""
    schema, _, name = postgres.table.partition(".")
    return Table(
        schema,
        name,
        postgres.key,
        postgres.record_id,
        postgres.client,
        postgres.active,
        postgres.created_at,
        postgres.updated_at,
        SwitchLog(postgres.log.table, postgres.log.sql) if postgres.log else None,
    )


def _field(column: str, field: FieldDefinition) -> MappedField:
    types, codec = _codec(field)
    first, *also = field.source
    return MappedField(
        first,
        column,
        types,
        codec,
        field.edited == "both",
        Policy(field.policy),
        tuple(also),
        field.optional,
        field.fills,
        field.required,
        field.of,
    )


def _codec(field: FieldDefinition) -> tuple[tuple[str, ...], Codec]:
    """The Airtable types that may feed a field, and what reads them."""
    match field.type:
        case "text" | "rich_text" | "select":
            return (SELECT if field.type == "select" else TEXT), _text(field)
        case "integer" | "rating":
            return NUMBER, Integer(blank=field.blank, rounds=field.rounds)
        case "decimal" | "currency" | "percent" | "duration":
            return (*NUMBER, "duration"), Decimal(blank=field.blank, rounds=field.rounds)
        case "checkbox":
            return ("checkbox",), Unchecked() if field.inverted else Checkbox()
        case "flag":
            return NUMBER, Flag()
        case "date":
            return TIME, Date()
        case "datetime":
            return TIME, DateTime(days=field.edited != "both")
        case "multi_select":
            return ("multipleSelects",), MultiSelect(words=field.values or {})
        case "comma_list":
            return TEXT, CommaList()
        case "user":
            return TEXT, UserEmail()
        case "collaborator":
            return ("singleCollaborator",), Collaborator()
        case "link":
            assert field.to is not None  # the definition's model sees to it
            return (*LINK, *TEXT), Link(to=field.to)
        case "links":
            assert field.to is not None
            return LINK, Links(to=field.to)
        case "lookup":
            return LOOKUP, Lookup()
        case "attachments":
            return ("multipleAttachments",), Attachments()


def _text(field: FieldDefinition) -> Codec:
    if field.values:
        return Choice(portal_by_airtable=field.values)
    instead = field.on_write or {}
    return Text(
        limit=field.length,
        blank=field.blank,
        on_write={value: one.write for value, one in instead.items()},
        never_over={value: one.never_over for value, one in instead.items()},
    )
