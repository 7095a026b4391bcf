"""The two statements that write leads, for any number of rows and any set of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler_dagster.core.left_out import LeftOut, Way, Ways
from reconciler_dagster.core.pairs import CREATED_AT, KEYS
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.leads import quoted_name
from reconciler_dagster.postgres.writes import LeadWrite

# A lead that was not written is missing from the answer.
_ANSWER = "RETURNING l.airtable_record_id, to_jsonb(l)"


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
    """New leads of a client. A record that has a lead already is passed over."""

    client_id: str
    catalogue: Catalogue

    def row(self, write: LeadWrite) -> dict[str, Any]:
        """See Statement: the columns that are there and that may be written."""
        columns = self.catalogue.columns
        row = {c: v for c, v in write.row.items() if c in columns and not columns[c].generated}
        created_at = columns.get(CREATED_AT)
        if write.created_time and created_at and created_at.is_filled and not created_at.generated:
            row.setdefault(CREATED_AT, write.created_time)
        return {column: value for column, value in row.items() if column not in KEYS}

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
        names = [quoted_name(column) for column in columns]
        types = [
            f", {name} {self.catalogue.columns[column].sql_type}"
            for name, column in zip(names, columns, strict=True)
        ]
        return (
            "INSERT INTO public.leads AS l (id, client_id, airtable_record_id"  # noqa: S608 - quoted
            f"{''.join(f', {name}' for name in names)}) "
            "SELECT CASE WHEN EXISTS (SELECT FROM public.leads t WHERE t.id = r.id) "
            "THEN gen_random_uuid() ELSE r.id END, r.client_id, r.airtable_record_id"
            f"{''.join(f', r.{name}' for name in names)} FROM jsonb_to_recordset({rows}) AS r "
            f"(id uuid, client_id uuid, airtable_record_id text{''.join(types)}) "
            f"ON CONFLICT (airtable_record_id) DO NOTHING {_ANSWER}"
        )

    def parameter(self, write: LeadWrite, row: Mapping[str, Any]) -> dict[str, Any]:
        """See Statement."""
        keys = {"id": write.lead_id, "client_id": self.client_id}
        return {**row, **keys, "airtable_record_id": write.record_id}

    def ways(self, write: LeadWrite, row: Mapping[str, Any]) -> Ways:
        """See Statement: by what the lead had, else by the column's default, else empty; not at all
        where it must be given.
        """
        ways = {}
        for column, value in row.items():
            known = self.catalogue.columns[column]
            has_other = column in write.before and write.before[column] != value
            before = [Way.BEFORE] if has_other else []
            default = [Way.DEFAULT] if known.may_be_left_out else []
            empty = [Way.NULL] if known.has_default and known.nullable else []
            ways[column] = before + default + empty
        return ways


@dataclass(frozen=True)
class Update:
    """Leads that are there."""

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
        names = [quoted_name(column) for column in columns]
        if not names:  # all cells were left out
            return "SELECT CAST(NULL AS text), CAST(NULL AS jsonb)"
        new = ", ".join(f"p.{name}" for name in names)
        return (
            f"UPDATE public.leads l SET ({', '.join(names)}) = ROW({new}) "  # noqa: S608 - quoted
            f"FROM jsonb_to_recordset({rows}) AS r (id uuid, changes jsonb), "
            "LATERAL (SELECT (jsonb_populate_record(old, r.changes)).* "
            f"FROM public.leads old WHERE old.id = r.id) p WHERE l.id = r.id {_ANSWER}"
        )

    def parameter(self, write: LeadWrite, row: Mapping[str, Any]) -> dict[str, Any]:
        """See Statement."""
        return {"id": write.lead_id, "changes": dict(row)}

    def ways(self, write: LeadWrite, row: Mapping[str, Any]) -> Ways:
        """See Statement: what the lead has stays."""
        return {column: [Way.DEFAULT] for column in row}


def without(write: LeadWrite, row: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    """A lead's row whose cells are left out in these ways."""
    rest = dict(row)
    for column, way in left_out.items():
        if way is Way.DEFAULT:
            del rest[column]
        else:
            rest[column] = write.before[column] if way is Way.BEFORE else None
    return rest
