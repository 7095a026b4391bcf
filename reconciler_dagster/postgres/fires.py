"""What the portal's own triggers make of the engine's writes, seen in a transaction that is rolled
back: how often each fires, and how many rows of which tables are written besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres import derived
from reconciler_dagster.postgres.apply import encoded_write
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.connection import BRIEFLY_IDLE, Writer
from reconciler_dagster.postgres.errors import is_of_the_data
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import statement as names_of
from reconciler_dagster.postgres.statements import Insert, Statement, Update
from reconciler_dagster.postgres.writes import Applied, LeadWrite

# Nobody in the portal is to wait for a rehearsal, nor it for somebody's open transaction.
LOCK_TIMEOUT = "2s"
# Rows that were written so far in this transaction; of earlier ones some may be counted too.
_ROWS = """
    SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del
    FROM pg_stat_xact_user_tables WHERE schemaname <> 'reconciler'
"""
_KINDS = ("inserted", "updated", "deleted")


@dataclass
class Fires:
    """``fired``: calls by trigger. ``rows``: by table and kind, without the engine's own; a column
    of a lead that a trigger changes beside what is written counts as a table of its own.
    ``follows``: rows that the definition's derived columns and events write, the same way.
    """

    fired: Counter[str] = field(default_factory=Counter)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    follows: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Fires) -> None:
        """Add what another part of the plan makes fire."""
        self.fired += other.fired
        self.rows += other.rows
        self.follows += other.follows


@contextmanager
def rolled_back(engine: Engine, writer: Writer) -> Iterator[Connection]:
    """A transaction like one of the engine's writes, of which nothing stays."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            connection.exec_driver_sql(
                f"SET LOCAL reconciler.writer = '{writer}'; "
                f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{BRIEFLY_IDLE}'"
            )
            yield connection
        finally:
            transaction.rollback()


def fires(
    connection: Connection,
    pair: Pair,
    writes: Sequence[LeadWrite],
    fields: FieldMap,
    users: Directory,
    names: Collection[str],
    lost: Collection[tuple[str, str]],
) -> Fires:
    """Write leads, of which nothing is expected to be refused, work out what follows from them, and
    count. ``names``: the triggers to count. ``lost``: cells, by record id and column, that will not
    hold what is written.
    """
    catalogue, found = Catalogue(connection, pair.table), Fires()
    encoded = [encoded_write(write, pair.map.fields, fields, users, Applied()) for write in writes]
    updates = [write for write in encoded if write.values and not write.insert]
    inserts = [write for write in encoded if write.insert]
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    before, leads = _rows(connection), _leads(connection, pair, updates)
    for statement, some in (
        (Update(catalogue), updates),
        (Insert(pair.client_id, catalogue), inserts),
    ):
        by_id = {write.record_id: write for write in some}
        rows = {record_id: statement.row(write) for record_id, write in by_id.items()}
        for group in statement.groups(rows) if rows else ():
            found.fired += _explain(connection, statement, by_id, rows, group, names)
    found.rows = _rows(connection)
    found.rows.subtract(before)
    found.rows[str(pair.table), "updated"] -= len(updates)
    found.rows[str(pair.table), "inserted"] -= len(inserts)
    besides = _changed_besides(pair, updates, lost, leads, _leads(connection, pair, updates))
    found.rows = +found.rows + besides
    written = _rows(connection)
    derived.work_out(connection, pair, [write.record_id for write in writes])
    found.follows = _rows(connection)
    found.follows.subtract(written)
    found.follows = +found.follows
    return found


def _leads(
    connection: Connection, pair: Pair, writes: Sequence[LeadWrite]
) -> dict[str, dict[str, Any]]:
    rows = connection.execute(
        names_of(
            pair.table,
            "SELECT CAST({row_id} AS text), to_jsonb(l) FROM {table} l "
            "WHERE {row_id} = ANY(CAST(:ids AS uuid[]))",
        ),
        {"ids": [write.lead_id for write in writes]},
    )
    return {row[0]: row[1] for row in rows}


def _changed_besides(
    pair: Pair,
    writes: Sequence[LeadWrite],
    lost: Collection[tuple[str, str]],
    before: Mapping[str, dict[str, Any]],
    after: Mapping[str, dict[str, Any]],
) -> Counter[tuple[str, str]]:
    return Counter(
        (f"{pair.table}.{column}", "changed")
        for write in writes
        for column, value in after.get(write.lead_id, {}).items()
        if (column not in write.values or (write.record_id, column) in lost)
        and value != before.get(write.lead_id, {}).get(column)
    )


def _explain(
    connection: Connection,
    statement: Statement,
    writes: dict[str, LeadWrite],
    rows: dict[str, dict[str, object]],
    group: Sequence[str],
    names: Collection[str],
) -> Counter[str]:
    """Calls by trigger of one statement; where Postgres refuses it after all, in halves."""
    columns = sorted({column for record_id in group for column in rows[record_id]})
    sql = statement.sql(columns, "CAST(\0 AS jsonb)").replace(":", "\\:").replace("\0", ":rows")
    parameters = [statement.parameter(writes[r], rows[r]) for r in group]
    try:
        with connection.begin_nested():
            plan = connection.execute(
                text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}"),
                {"rows": dump(parameters)},
            ).scalar_one()
    except DBAPIError as error:
        if not is_of_the_data(error):
            raise
        if len(group) == 1:
            return Counter()
        middle = len(group) // 2
        halves = (group[:middle], group[middle:])
        return sum(
            (_explain(connection, statement, writes, rows, half, names) for half in halves),
            Counter[str](),
        )
    return Counter(
        {t["Trigger Name"]: t["Calls"] for t in plan[0]["Triggers"] if t["Trigger Name"] in names}
    )


def _rows(connection: Connection) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for table, *counts in connection.execute(text(_ROWS)):
        for kind, count in zip(_KINDS, counts, strict=True):
            found[table, kind] = count
    return found
