"""Writing many leads so that one bad cell stops alone: all at once, then what was refused one by
one, then without the cells that are to blame.

All leads go side by side: one call tries the next attempt of each, however many are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from reconciler_dagster.core.left_out import Attempt, Found, Search, Trouble, search
from reconciler_dagster.core.values import printable
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.staging import dump
from reconciler_dagster.postgres.statements import Statement, without
from reconciler_dagster.postgres.writes import LeadWrite

# What says nothing about a row. Classes of SQLSTATE: connection, transaction, deadlock, privileges,
# syntax, resources, operator, system, internal (PostgreSQL's appendix A); of limits, all but the
# one that a long text in an index goes beyond; and a lock that was not to be had.
NOT_THE_DATA = (
    *("08", "25", "26", "28", "40", "42", "53", "57", "58", "F0", "XX"),
    *("54001", "54011", "54023", "55P03"),
)


@dataclass(frozen=True)
class Written:
    """What became of a lead. ``row``: as it is now; None where it was not written, be it that a
    trigger dropped it.
    """

    row: dict[str, Any] | None
    found: Found = field(default_factory=Found)


@dataclass(frozen=True)
class _Try:
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    for_good: bool


@dataclass(frozen=True)
class _Answer:
    rows: Mapping[str, dict[str, Any]]
    trouble: Trouble | None


def write_each(
    connection: Connection, statement: Statement, catalogue: Catalogue, writes: Sequence[LeadWrite]
) -> dict[str, Written]:
    """Write leads within the caller's transaction. By record id, what became of each."""
    return _Leads(connection, statement, catalogue, writes).write()


class _Leads:
    def __init__(
        self,
        connection: Connection,
        statement: Statement,
        catalogue: Catalogue,
        writes: Sequence[LeadWrite],
    ) -> None:
        self._connection, self._statement, self._catalogue = connection, statement, catalogue
        self._writes = {write.record_id: write for write in writes}
        self._rows = {write.record_id: statement.row(write) for write in writes}

    def write(self) -> dict[str, Written]:
        done: dict[str, Written] = {}
        groups = list(self._statement.groups(self._rows))
        refused: list[str] = []
        for group, answer in zip(groups, self._ask([self._whole(g) for g in groups]), strict=True):
            if answer.trouble is None:
                done |= {record_id: Written(answer.rows.get(record_id)) for record_id in group}
            else:
                refused += group
        searches: dict[str, Search] = {}
        asked = {record_id: Attempt({}, for_good=True) for record_id in refused}
        while asked:
            answers = self._try(asked)
            asked, before = {}, asked
            for record_id, answer in answers.items():
                if record_id not in searches:  # the lead alone, with all its cells
                    if answer.trouble is None:
                        done[record_id] = Written(answer.rows.get(record_id))
                        continue
                    ways = self._statement.ways(self._writes[record_id], self._rows[record_id])
                    searches[record_id] = search(ways, answer.trouble)
                    asked[record_id] = next(searches[record_id])
                    continue
                try:
                    asked[record_id] = searches[record_id].send(answer.trouble)
                except StopIteration as end:
                    row = answer.rows.get(record_id) if before[record_id].for_good else None
                    done[record_id] = Written(row, end.value)
        return done

    def _whole(self, group: Sequence[str]) -> _Try:
        columns = {column for record_id in group for column in self._rows[record_id]}
        rows = [
            self._statement.parameter(self._writes[record_id], self._rows[record_id])
            for record_id in group
        ]
        return _Try(tuple(sorted(columns)), rows, for_good=True)

    def _try(self, asked: Mapping[str, Attempt]) -> dict[str, _Answer]:
        tries: dict[str, _Try] = {}
        for record_id, attempt in asked.items():
            write = self._writes[record_id]
            row = without(write, self._rows[record_id], attempt.left_out)
            parameter = self._statement.parameter(write, row)
            tries[record_id] = _Try(tuple(sorted(row)), [parameter], attempt.for_good)
        return dict(zip(tries, self._ask(list(tries.values())), strict=True))

    def _ask(self, tries: Sequence[_Try]) -> list[_Answer]:
        """Where Postgres cannot even read what is asked (a character that it cannot store), in
        parts, until what it cannot read stands alone.
        """
        if not tries:
            return []
        try:
            with self._connection.begin_nested():
                return self._call(tries)
        except DataError as error:
            if len(tries) > 1:
                middle = len(tries) // 2
                return self._ask(tries[:middle]) + self._ask(tries[middle:])
            message = getattr(getattr(error.orig, "diag", None), "message_primary", None)
            return [_Answer({}, _trouble(message, None, frozenset()))]

    def _call(self, tries: Sequence[_Try]) -> list[_Answer]:
        numbers = {columns: n for n, columns in enumerate({t.columns: 0 for t in tries}, start=1)}
        answers = self._connection.execute(
            text(
                "SELECT * FROM reconciler.attempt(:statements, CAST(:attempts AS jsonb), :trouble)"
            ),
            {
                "statements": [self._statement.sql(columns) for columns in numbers],
                "attempts": dump(
                    [
                        {
                            "statement": numbers[each.columns],
                            "rows": each.rows,
                            "for_good": each.for_good,
                        }
                        for each in tries
                    ]
                ),
                "trouble": list(NOT_THE_DATA),
            },
        )
        return [self._answer(row) for row in answers]

    def _answer(self, answer: Any) -> _Answer:
        if answer.state is None:
            return _Answer(answer.written or {}, None)
        columns = frozenset[str]()
        if (answer.about_schema, answer.about_table) == ("public", "leads"):
            columns = self._catalogue.by_rule.get(answer.about_constraint, columns)
            if answer.about_column:
                columns = frozenset({answer.about_column})
        elif answer.about_type and not answer.about_table:
            columns = self._catalogue.of_domain(answer.about_type)
        rule = answer.about_constraint or answer.about_column
        return _Answer({}, _trouble(answer.message, rule, columns))


def _trouble(message: str | None, rule: str | None, columns: frozenset[str]) -> Trouble:
    reason = f"Postgres refuses it: {printable(message or 'unknown reason')}"
    return Trouble(reason, f"{rule} {message}", columns)
