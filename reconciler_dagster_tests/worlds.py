"""The worlds that tests can be run in, by RECONCILER_TEST_DATABASE: each a server for the tests.

`pooled`: every database behind PgBouncer in transaction mode, its few server connections shared
with others who are always at work. `odd`: databases whose settings and encoding are nobody's
default. Unless set: a server as it comes.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
from psycopg import sql

from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.pooler import Pooler, crowded

# What an owner may have set for a database, and what no statement of the engine may depend on.
ODD_SETTINGS = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "0",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "3s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "transaction_timeout": "5s",
}


class PooledServer(PostgresServer):
    """Gives out its databases through a pooler."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self._pooler: Pooler | None = None
        self._crowds: dict[str, ExitStack] = {}

    def start(self) -> None:
        super().start()
        self._pooler = Pooler(self).__enter__()

    def stop(self) -> None:
        if self._pooler is not None:
            self._pooler.__exit__(None, None, None)
        super().stop()

    def create_database(self, name: str, *, template: str = "template1") -> str:
        self._send_away(template)
        url = super().create_database(name, template=template)
        if self._pooler is None:  # the server's own databases
            return url
        url = self._pooler.through(url)
        if name.startswith(CROWDED):
            self._crowds[name] = ExitStack()
            self._crowds[name].enter_context(crowded(url))
        return url

    def drop_database(self, name: str) -> None:
        self._send_away(name)
        super().drop_database(name)

    def _send_away(self, name: str) -> None:
        """The pooler keeps connections that nobody uses any more, and that keep a template busy."""
        if name in self._crowds:
            self._crowds.pop(name).close()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )


# The databases of single tests; those that are made once for many are left in peace.
CROWDED = ("test_", "crash_", "model")


class OddServer(PostgresServer):
    """Makes databases in LATIN1 with settings of their own."""

    def create_database(self, name: str, *, template: str = "template1") -> str:
        if template == "template1":
            odd_database(self, name, "LATIN1", ODD_SETTINGS)
            return self.url(name)
        url = super().create_database(name, template=template)
        _settle(self, name, ODD_SETTINGS)
        return url


def odd_database(
    server: PostgresServer, name: str, encoding: str, settings: dict[str, str]
) -> None:
    """Make a database, where it is missing, with an encoding and settings of its own."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        connection.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING {} "
                "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
            ).format(sql.Identifier(name), sql.Literal(encoding))
        )
    _settle(server, name, settings)


def _settle(server: PostgresServer, name: str, settings: dict[str, str]) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for setting, value in settings.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                )
            )


SERVERS = {"": PostgresServer, "pooled": PooledServer, "odd": OddServer}
