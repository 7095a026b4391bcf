"""The two statements that write rows, for any number of rows and any set of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler_dagster.core.left_out import LeftOut, Way, Ways
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.names import qualified_name, quoted_name
from reconciler_dagster.postgres.writes import LeadWrite


class Statement(Protocol):
    """How leads are written. A *row* here: column to encoded value, of one lead."""

    def row(self, write: LeadWrite) -> dict[str, Any]:
        """What is to be written of a lead."""

    def groups(self, rows: Mapping[str, dict[str, Any]]) -> Iterable[list[str]]:
        """The leads (by record id) that one statement can write together."""

    def sql(self, columns: Iterable[str], rows: str) -> str:
        """The statement for rows of these columns; ``rows``: the expression of them, one jsonb
        array. It answers the record ids and the leads as they are then.
        """

    def parameter(self, write: LeadWrite, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as the statement takes it."""

    def ways(self, write: LeadWrite, row: Mapping[str, Any]) -> Ways:
        """How each cell of a row can be left out."""


@dataclass(frozen=True)
class Insert:
    """New rows of a client. A record that has a row already is passed over."""

    client_id: str
    catalogue: Catalogue

    def row(self, write: LeadWrite) -> dict[str, Any]:
        """See Statement: the columns that are there and that may be written."""
        table, columns = self.catalogue.table, self.catalogue.columns
        row = {c: v for c, v in write.row.items() if c in columns and not columns[c].generated}
        created_at = columns.get(table.created_at or "")
        if write.created_time and created_at and created_at.is_filled and not created_at.generated:
            row.setdefault(created_at.name, write.created_time)
        return {column: value for column, value in row.items() if column not in table.keys}

    def groups(self, rows: Mapping[str, dict[str, Any]]) -> Iterable[list[str]]:
        """See Statement: those of the same columns, for a column that is not named has its default.
        Where that is NULL anyway, it is named.
        """
        named = {column for row in rows.values() for column in row}
        without = {c for c in named if not self.catalogue.columns[c].has_default}
        groups: dict[frozenset[str], list[str]] = {}
        for record_id, row in rows.items():
            for column in without - row.keys():
                row[column] = None
            groups.setdefault(frozenset(row), []).append(record_id)
        return groups.values()

    def sql(self, columns: Iterable[str], rows: str) -> str:
        """See Statement."""
        table, known = self.catalogue.table, self.catalogue.columns
        given = self._keys() | {c: f"r.{quoted_name(c)}" for c in columns}
        types = {c: "uuid" if c in table.keys else known[c].sql_type for c in given}
        types[table.record_id] = "text"
        declared = ", ".join(f"{quoted_name(name)} {type_}" for name, type_ in types.items())
        return (
            f"INSERT INTO {qualified_name(table)} AS l ({', '.join(map(quoted_name, given))}) "  # noqa: S608
            f"SELECT {', '.join(given.values())} FROM jsonb_to_recordset({rows}) AS r ({declared}) "
            f"ON CONFLICT ({quoted_name(table.record_id)}) DO NOTHING {_answer(table)}"
        )

    def _keys(self) -> dict[str, str]:
        """Key, client and record id, and what each is given. A key that is a text without a default
        is the record id; any other that is no uuid is left to Postgres.
        """
        table = self.catalogue.table
        keys = {c: f"r.{quoted_name(c)}" for c in (table.client, table.record_id) if c is not None}
        known = self.catalogue.columns[table.key]
        if known.type in ("text", "varchar") and not known.has_default:
            keys[table.key] = f"r.{quoted_name(table.record_id)}"
        if known.type == "uuid":
            key = quoted_name(table.key)
            keys[table.key] = (
                f"CASE WHEN EXISTS (SELECT FROM {qualified_name(table)} t WHERE t.{key} = r.{key}) "
                f"THEN gen_random_uuid() ELSE r.{key} END"
            )
        return keys

    def parameter(self, write: LeadWrite, row: Mapping[str, Any]) -> dict[str, Any]:
        """See Statement."""
        table = self.catalogue.table
        keys = {table.key: write.lead_id, table.client: self.client_id}
        return {**row, **{c: v for c, v in keys.items() if c}, table.record_id: write.record_id}

    def ways(self, write: LeadWrite, row: Mapping[str, Any]) -> Ways:
        """See Statement: by what the lead had, else by the column's default, else empty; not at all
        where it must be given.
        """
        ways, had = {}, write.before
        for column, value in row.items():
            known = self.catalogue.columns[column]
            before = [Way.BEFORE] if column in had and had[column] != value else []
            default = [Way.DEFAULT] if known.may_be_left_out else []
            empty = [Way.NULL] if known.has_default and known.nullable else []
            ways[column] = before + default + empty
        return ways


@dataclass(frozen=True)
class Update:
    """Rows that are there."""

    catalogue: Catalogue

    def row(self, write: LeadWrite) -> dict[str, Any]:
        """See Statement."""
        return dict(write.values)

    def groups(self, rows: Mapping[str, dict[str, Any]]) -> Iterable[list[str]]:
        """See Statement: all of them; what a row does not name is written as it is. But no column
        is named for a lead that does not change it where a trigger would fire for that.
        """
        groups: dict[frozenset[str], list[str]] = {}
        for record_id, row in rows.items():
            groups.setdefault(self.catalogue.watched.intersection(row), []).append(record_id)
        return groups.values()

    def sql(self, columns: Iterable[str], rows: str) -> str:
        """See Statement."""
        table, names = self.catalogue.table, [quoted_name(column) for column in columns]
        if not names:  # all cells were left out
            return "SELECT CAST(NULL AS text), CAST(NULL AS jsonb)"
        new = ", ".join(f"p.{name}" for name in names)
        record_id = quoted_name(table.record_id)
        return (
            f"UPDATE {qualified_name(table)} l SET ({', '.join(names)}) = ROW({new}) "  # noqa: S608
            f"FROM jsonb_to_recordset({rows}) AS r (record_id text, changes jsonb), "
            "LATERAL (SELECT (jsonb_populate_record(old, r.changes)).* "
            f"FROM {qualified_name(table)} old WHERE old.{record_id} = r.record_id) p "
            f"WHERE l.{record_id} = r.record_id {_answer(table)}"
        )

    def parameter(self, write: LeadWrite, row: Mapping[str, Any]) -> dict[str, Any]:
        """See Statement."""
        return {"record_id": write.record_id, "changes": dict(row)}

    def ways(self, write: LeadWrite, row: Mapping[str, Any]) -> Ways:
        """See Statement: what the lead has stays."""
        return {column: [Way.DEFAULT] for column in row}


def _answer(table: Table) -> str:
    """A row that was not written is missing from the answer."""
    return f"RETURNING l.{quoted_name(table.record_id)}, to_jsonb(l)"


def without(write: LeadWrite, row: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    """A lead's row whose cells are left out in these ways."""
    rest, had = dict(row), write.before
    for column, way in left_out.items():
        if way is Way.DEFAULT:
            del rest[column]
        else:
            rest[column] = had[column] if way is Way.BEFORE else None
    return rest
