"""Writing many leads so that one bad cell stops alone: all at once, then what was refused one by
one, then without the cells that are to blame.

All leads go side by side: one call tries the next attempt of each, however many are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, DBAPIError

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.left_out import Attempt, LeftOut, Search, Trouble, WriteResult, search
from reconciler_dagster.core.together import waiting
from reconciler_dagster.core.values import printable
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.errors import NOT_THE_DATA, is_of_the_data
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.statements import Statement, without
from reconciler_dagster.postgres.writes import LeadWrite


@dataclass(frozen=True)
class Written:
    """What became of a lead. ``row``: as it is now; None where it was not written, be it that a
    trigger dropped it.
    """

    row: dict[str, Any] | None
    found: WriteResult = field(default_factory=WriteResult)


@dataclass(frozen=True)
class _Answer:
    row: dict[str, Any] | None
    trouble: Trouble | None


def write_each(
    connection: Connection,
    statement: Statement,
    catalogue: Catalogue,
    fields: FieldMap,
    writes: Sequence[LeadWrite],
) -> dict[str, Written]:
    """Write leads within the caller's transaction. By record id, what became of each. ``fields``:
    say which cells are carried over together.
    """
    return _Leads(connection, statement, catalogue, fields, writes).write()


class _Leads:
    def __init__(
        self,
        connection: Connection,
        statement: Statement,
        catalogue: Catalogue,
        fields: FieldMap,
        writes: Sequence[LeadWrite],
    ) -> None:
        self._connection, self._statement, self._catalogue = connection, statement, catalogue
        self._fields = fields
        self._writes = {write.record_id: write for write in writes}
        self._rows = {write.record_id: statement.row(write) for write in writes}

    def write(self) -> dict[str, Written]:
        done: dict[str, Written] = {}
        refused: list[str] = []
        for group in self._statement.groups(self._rows):
            rows = self._all_at_once(group)
            if rows is None:
                refused += group
            else:
                done |= {record_id: Written(rows.get(record_id)) for record_id in group}
        searches: dict[str, Search] = {}
        asked = {record_id: Attempt({}, for_good=True) for record_id in refused}
        while asked:
            answers = self._ask(asked)
            asked, before = {}, asked
            for record_id, answer in answers.items():
                if record_id not in searches:  # the lead alone, with all its cells
                    if answer.trouble is None:
                        done[record_id] = Written(answer.row)
                        continue
                    ways = self._statement.ways(self._writes[record_id], self._rows[record_id])
                    searches[record_id] = search(ways, answer.trouble)
                    asked[record_id] = next(searches[record_id])
                    continue
                try:
                    asked[record_id] = searches[record_id].send(answer.trouble)
                except StopIteration as end:
                    row = answer.row if before[record_id].for_good else None
                    done[record_id] = Written(row, self._whole(record_id, end.value))
        return done

    def _along(self, record_id: str, left_out: LeftOut) -> LeftOut:
        """With the cells that are carried over together with those that are left out."""
        write, row = self._writes[record_id], self._rows[record_id]
        also = waiting(left_out, row, self._fields)
        ways = self._statement.ways(write, row) if also else {}
        return {**left_out, **{column: ways[column][0] for column in also if ways[column]}}

    def _whole(self, record_id: str, found: WriteResult) -> WriteResult:
        """What was found, with why those cells were left out too."""
        left_out = self._along(record_id, found.left_out)
        also = waiting(found.left_out, left_out, self._fields)
        why = {column: Trouble(reason, reason) for column, reason in also.items()}
        return replace(found, left_out=left_out, why=why | dict(found.why))

    def _all_at_once(self, group: Sequence[str]) -> dict[str, dict[str, Any]] | None:
        """The leads by record id; None where Postgres refuses one of them."""
        columns = sorted({column for record_id in group for column in self._rows[record_id]})
        # No name holds a NUL: it marks the place of the parameter while colons are escaped.
        sql = self._statement.sql(columns, "CAST(\0 AS jsonb)")
        statement = text(sql.replace(":", "\\:").replace("\0", ":rows"))
        rows = [self._statement.parameter(self._writes[r], self._rows[r]) for r in group]
        try:
            with self._connection.begin_nested():
                written = self._connection.execute(statement, {"rows": dump(rows)})
                return {row[0]: row[1] for row in written}
        except DBAPIError as error:
            if not is_of_the_data(error):
                raise
            return None

    def _ask(self, asked: Mapping[str, Attempt]) -> dict[str, _Answer]:
        """Where Postgres cannot even read what is asked (a character that it cannot store), in
        parts, until what it cannot read stands alone.
        """
        try:
            with self._connection.begin_nested():
                return self._call(asked)
        except DataError as error:
            items = list(asked.items())
            middle = len(items) // 2
            if middle:
                return self._ask(dict(items[:middle])) | self._ask(dict(items[middle:]))
            message = getattr(getattr(error.orig, "diag", None), "message_primary", None)
            return {items[0][0]: _Answer(None, _trouble(message, None, frozenset()))}

    def _call(self, asked: Mapping[str, Attempt]) -> dict[str, _Answer]:
        numbers: dict[tuple[str, ...], int] = {}
        attempts = []
        for record_id, attempt in asked.items():
            write = self._writes[record_id]
            left_out = self._along(record_id, attempt.left_out)
            row = without(write, self._rows[record_id], left_out)
            number = numbers.setdefault(tuple(sorted(row)), len(numbers) + 1)
            attempts.append(
                {
                    "statement": number,
                    "rows": [self._statement.parameter(write, row)],
                    "for_good": attempt.for_good,
                }
            )
        answers = self._connection.execute(
            text(
                "SELECT * FROM reconciler.attempt(:statements, CAST(:attempts AS jsonb), :trouble)"
            ),
            {
                "statements": [self._statement.sql(columns, "$1") for columns in numbers],
                "attempts": dump(attempts),
                "trouble": list(NOT_THE_DATA),
            },
        )
        return {r: self._answer(answer) for r, answer in zip(asked, answers, strict=True)}

    def _answer(self, answer: Any) -> _Answer:
        if answer.state is None:
            return _Answer(answer.written, None)
        columns = frozenset[str]()
        table = self._catalogue.table
        if (answer.about_schema, answer.about_table) == (table.schema, table.name):
            columns = self._catalogue.by_rule.get(answer.about_constraint, columns)
            if answer.about_column:
                columns = frozenset({answer.about_column})
        elif answer.about_type and not answer.about_table:
            columns = self._catalogue.of_domain(answer.about_type)
        rule = answer.about_constraint or answer.about_column
        return _Answer(None, _trouble(answer.message, rule, columns))


def _trouble(message: str | None, rule: str | None, columns: frozenset[str]) -> Trouble:
    reason = f"Postgres refuses it: {printable(message or 'unknown reason')}"
    return Trouble(reason, f"{rule} {message}", columns)
