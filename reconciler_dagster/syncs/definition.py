"""The model of a sync definition: one YAML file says what one Airtable table is in Postgres.

Everything that a definition may say stands here, with the sentence that an editor shows for it; the
JSON schema is made from it. Reading files is `reading.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from reconciler_dagster.syncs.fields import FieldDefinition, FieldOverride, Strict

_COLUMN = r"^[^\x00]{1,63}$"
_BASE_ID = r"^app[A-Za-z0-9]{14}$"
_TABLE = r"^[^.\x00]+\.[^.\x00]+$"
_SYNC = r"^[a-z][a-z0-9_]{0,39}$"
# What a text must be that does not match.
PATTERNS = {
    _COLUMN: "the name of a column, of up to 63 characters",
    _BASE_ID: "a base id: app and 14 letters or digits",
    _TABLE: "a table with its schema, like crm.deals",
    _SYNC: "a name of small letters, digits and underscores",
}
Column = Annotated[str, StringConstraints(pattern=_COLUMN)]
BaseId = Annotated[str, StringConstraints(pattern=_BASE_ID)]
_DURATION = re.compile(r"^(\d+)\s*(m|min|minutes?|h|hours?)$")


def _duration(value: Any) -> Any:
    """`15 minutes`, `15m`, `1 hour`, `1h`."""
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a number of minutes or hours, like '15 minutes' or '1 hour'")
    unit = timedelta(hours=1) if found[2].startswith("h") else timedelta(minutes=1)
    return int(found[1]) * unit


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be at least one minute")
    return value


Every = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str),
    AfterValidator(_positive),
]


class AirtableTable(Strict):
    """The Airtable side."""

    table: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Name or id of the table; it is remembered by id, so that a rename is followed."
    )


class Log(Strict):
    """Where the portal keeps a log of its rows."""

    table: Annotated[str, StringConstraints(pattern=_TABLE)] = Field(
        description="The table with its schema."
    )
    sql: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="What notes rows that were switched off or on: it reads them from `switched`, "
        "and the parameters :event (row_deleted, row_restored), :description and :run_id."
    )


def _statements(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Statements = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...],
    BeforeValidator(_statements, json_schema_input_type=str | list[str]),
]


class PostgresTable(Strict):
    """The Postgres side: the table, and the columns that the engine itself needs to know."""

    table: Annotated[str, StringConstraints(pattern=_TABLE)] = Field(
        description="The table with its schema, like crm.deals."
    )
    key: Column = Field("id", description="The primary key.")
    record_id: Column = Field(
        "airtable_record_id", description="The column that holds Airtable's record id."
    )
    client: Column | None = Field(
        "client_id", description="The column that names the client; null where there is none."
    )
    active: Column | None = Field(
        "is_active",
        description="The column that turns false when a record was deleted in Airtable; null: "
        "deletions are only told.",
    )
    created_at: Column | None = Field(
        "created_at", description="The column that gets Airtable's creation time in a new row."
    )
    updated_at: Column | None = Field(
        "updated_at", description="The column that is stamped with every edit."
    )
    log: Log | None = Field(
        None, description="The portal's log, which is told of deletions in Airtable."
    )


class DerivedColumn(Strict):
    """A column that Postgres works out, in the transaction that writes the row. A field of the same
    column counts where a sync of `after` is not in force; one that `fills` comes first.
    """

    sql: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="An SQL expression; `row` is the row that is written."
    )
    after: tuple[str, ...] = Field(
        (), description="Syncs that point here: their writes work it out anew for this row, too."
    )


class ClientOverrides(BaseModel):
    """What one base has otherwise: its table, and its fields by column (null: not in this base)."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, FieldOverride | None]

    airtable: AirtableTable | None = Field(None, description="This base's table.")

    @property
    def fields(self) -> dict[str, FieldOverride | None]:
        """The fields by column."""
        return dict(self.__pydantic_extra__)


class SyncDefinition(Strict):
    """One sync: an Airtable table and a Postgres table that are the same thing."""

    sync: Annotated[str, StringConstraints(pattern=_SYNC)] = Field(
        description="The sync's name: small letters, digits and underscores."
    )
    airtable: AirtableTable
    postgres: PostgresTable
    title: tuple[Column, ...] = Field(
        (),
        description="The columns by which people know a row, like its name; the first field unless "
        "given.",
    )
    every: Every = Field(
        timedelta(minutes=15),
        description="How often the delta of this sync runs, like '15 minutes' or '1 hour'.",
    )
    fields: dict[Column, FieldDefinition] = Field(
        min_length=1, description="The fields by Postgres column."
    )
    constants: dict[Column, str | int | bool] = Field(
        default_factory=dict, description="What a new row holds in columns that no field feeds."
    )
    derived: dict[Column, DerivedColumn] = Field(
        default_factory=dict, description="Columns that Postgres works out."
    )
    events: Statements = Field(
        (),
        description="SQL that notes rows elsewhere, in the transaction that writes them: it finds "
        "them as `written`. The audit runs it over all rows: what is noted already must stay once.",
    )
    clients: dict[BaseId, ClientOverrides] = Field(
        default_factory=dict, description="By base id, what one base has otherwise."
    )

    @model_validator(mode="after")
    def _names_each_column_once(self) -> SyncDefinition:
        for first, second, named in (
            ("fields", "constants", self.fields.keys() & self.constants.keys()),
            ("constants", "derived", self.constants.keys() & self.derived.keys()),
        ):
            if named:
                raise ValueError(f"{first} and {second} both name {', '.join(sorted(named))}")
        for column in self.fields.keys() & self.derived.keys():
            if self.fields[column].edited == "both":
                raise ValueError(
                    f"fields.{column} is derived as well, and read only: remove `edited: both`"
                )
        columns = self.fields.keys() | self.constants.keys() | self.derived.keys()
        if unknown := [column for column in self.title if column not in columns]:
            raise ValueError(
                f"title names {', '.join(unknown)}, which is no column of this sync: expected one "
                "of its fields"
            )
        own = {self.postgres.record_id, self.postgres.client, self.postgres.active}
        if taken := own & columns:
            raise ValueError(
                f"{', '.join(sorted(str(name) for name in taken))} is the engine's own column: it "
                "cannot be a field as well"
            )
        for base_id in self.clients:
            self.for_base(base_id)  # says what is wrong with an override
        return self

    @property
    def titles(self) -> tuple[str, ...]:
        """The columns by which people know a row."""
        return self.title or (next(iter(self.fields)),)

    def within(self, syncs: Collection[str]) -> SyncDefinition:
        """Without what those syncs alone that are in force cannot keep right: optional links to
        others, and what is derived after others. A field that is derived is not read.
        """
        derived = {c: one for c, one in self.derived.items() if set(one.after) <= set(syncs)}
        fields = {
            column: field
            for column, field in self.fields.items()
            if not (field.optional and field.to and field.to not in syncs)
            and (field.fills or column not in derived)
        }
        return self.model_copy(update={"fields": fields, "derived": derived})

    def for_base(self, base_id: str) -> SyncDefinition:
        """The definition as it holds for one base, without overrides.

        Raises ValueError where an override contradicts the field.
        """
        own = self.clients.get(base_id)
        if own is None:
            return self.model_copy(update={"clients": {}})
        fields: dict[str, FieldDefinition] = dict(self.fields)
        for column, override in own.fields.items():
            if override is None:
                fields.pop(column, None)
                continue
            fields[column] = _overridden(base_id, column, fields.get(column), override)
        return self.model_copy(
            update={"fields": fields, "clients": {}, "airtable": own.airtable or self.airtable}
        )


def _overridden(
    base_id: str, column: str, field: FieldDefinition | None, override: FieldOverride
) -> FieldDefinition:
    said = override.model_dump(exclude_unset=True, by_alias=True)
    if field is None and override.source is None:
        raise ValueError(
            f"clients.{base_id}.{column} is a field of this base alone: say what it is `from`"
        )
    known = field.model_dump(exclude_unset=True, by_alias=True) if field else {}
    try:
        return FieldDefinition.model_validate(known | said)
    except ValidationError as error:
        why = error.errors()[0]
        reason = why.get("ctx", {}).get("error", why["msg"])
        raise ValueError(f"clients.{base_id}.{column} {reason}") from None
