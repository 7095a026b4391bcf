from __future__ import annotations

import psycopg
from sqlalchemy import Engine

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.pooler import Pooling, pooling
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.pooler import Pooler, crowded


def direct(server: PostgresServer) -> Engine:
    return engine(server.url("portal"))


def test_a_pooler_is_known_by_its_connections(postgres_server: PostgresServer) -> None:
    assert pooling(direct(postgres_server)) is Pooling.NONE
    with Pooler(postgres_server) as pooler:
        through = engine(pooler.url("portal"))
        for _ in range(5):
            assert pooling(through) is Pooling.TRANSACTION
        with crowded(pooler.url("portal")):
            assert pooling(through) is Pooling.TRANSACTION
        through.dispose()
    with Pooler(postgres_server, mode="session") as pooler:
        through = engine(pooler.url("portal"))
        assert pooling(through) is Pooling.SESSION
        through.dispose()


def test_a_pooler_whose_server_connections_are_all_taken_is_waited_for(
    postgres_server: PostgresServer,
) -> None:
    with Pooler(postgres_server) as pooler:
        taken = [psycopg.connect(pooler.url("portal")) for _ in range(3)]
        for one in taken:
            one.execute("SELECT 1")
        through = engine(pooler.url("portal"))
        assert pooling(through) is not Pooling.NONE
        through.dispose()
        for one in taken:
            one.close()
