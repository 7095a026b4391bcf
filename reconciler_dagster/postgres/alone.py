"""All of a migration's locks at once, before it does anything, or none of them.

A migration takes strong locks one after the other, in an order of its own, while a portal's
writers and runs hold others in theirs: a deadlock would end one of them, everybody who came later
would wait, and an edit is not noted whose trigger waits too long for a table of the engine. So the
tables are taken together, at a moment when nobody is in the way; who wants them then only waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres.errors import sqlstate
from reconciler_dagster.postgres.listed import LISTED
from reconciler_dagster.postgres.names import regclass
from reconciler_dagster.postgres.trigger import Watched

# Of one try. Postgres looks for deadlocks after a second: until then we are out of everybody's way.
_TRY_MS = 500
_PAUSE_SECONDS = 0.5
MIGRATION_PATIENCE_SECONDS = 300.0
# A statement that took too long, a lock that could not be had, a deadlock all the same.
_IN_THE_WAY = ("57014", "55P03", "40P01")

# Where the clients are listed in the settings, the portal's tables are nobody's business here.
_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'UPDATE') AND (
        n.nspname = 'reconciler'
        OR c.oid IN (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name)
        OR c.oid IN (to_regclass('public.clients'), to_regclass('public.users'))
        AND to_regclass(:listed) IS NULL)
    ORDER BY n.nspname, c.relname
"""


def take_all(
    connection: Connection,
    watched: Iterable[Watched],
    say: Callable[[str], None],
    patience: float = MIGRATION_PATIENCE_SECONDS,
) -> None:
    """Keep everybody else from the engine's tables, those that are watched and those beside them,
    until the transaction ends. ``say``: told once, where it has to wait.

    Raises ConfigurationError where others have been in the way for ``patience`` seconds.
    """
    deadline, waited = time.monotonic() + patience, False
    while not _taken(connection, watched):
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"For {patience:.0f} s some transaction has held tables that a migration needs: "
                "see who in pg_stat_activity, by xact_start. Nothing was changed; run "
                "`reconciler migrate` again when it has ended."
            )
        if not waited:
            say("Waiting for transactions that use the tables ...")
            waited = True
        time.sleep(_PAUSE_SECONDS)


def _taken(connection: Connection, watched: Iterable[Watched]) -> bool:
    try:
        with connection.begin_nested():  # rolled back, it lets go what it has got
            wanted = {"names": [regclass(one.table) for one in watched], "listed": LISTED}
            tables = connection.execute(text(_TABLES), wanted).scalars().all()
            if tables:
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_TRY_MS}")
                connection.exec_driver_sql(
                    f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE".replace("%", "%%")
                )
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    except DBAPIError as error:
        if sqlstate(error) not in _IN_THE_WAY:
            raise
        return False
    return True
