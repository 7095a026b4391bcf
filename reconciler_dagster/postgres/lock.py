"""At most one writing run per client, whoever started it.

A session-level advisory lock decides: Postgres lets it go when the process dies. The lease row
names the holder, so that a later step of a run can prove that nobody wrote in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

POLL_SECONDS = 0.5


class ClientBusy(Exception):
    """Another run writes for this client."""


class LeaseLost(Exception):
    """Another run wrote for this client between two steps of this one: pull again."""


@contextmanager
def client_lock(
    engine: Engine, client_id: str, run_id: str, patience: float, *, yielding: bool = False
) -> Iterator[None]:
    """Hold the client for the length of the block, waiting up to ``patience`` seconds for it.

    ``yielding``: let everybody go ahead who does not yield; for a run that comes back for the
    lock again and again. Raises ClientBusy when the wait was in vain.
    """
    deadline = time.monotonic() + patience
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        _waiting(connection, client_id, yielding),
    ):
        key = {"key": f"reconciler client {client_id}"}
        while not _try_lock(connection, client_id, yielding):
            if time.monotonic() >= deadline:
                holder = connection.execute(
                    text("SELECT run_id FROM reconciler.lease WHERE client_id = :client_id"),
                    {"client_id": client_id},
                ).scalar()
                raise ClientBusy(
                    f"Run {holder} is writing for client {client_id}: try again when it is done."
                )
            time.sleep(POLL_SECONDS / 5 if yielding else POLL_SECONDS)
        try:
            connection.execute(
                text(
                    "INSERT INTO reconciler.lease (client_id, run_id) "
                    "VALUES (:client_id, :run_id) ON CONFLICT (client_id) DO UPDATE "
                    "SET run_id = excluded.run_id, taken_at = clock_timestamp()"
                ),
                {"client_id": client_id, "run_id": run_id},
            )
            yield
        finally:
            _let_go(connection, "pg_advisory_unlock", key)


@contextmanager
def _waiting(connection: Connection, client_id: str, yielding: bool) -> Iterator[None]:
    """Be seen by those who yield, for as long as the client is wanted or held."""
    key = {"key": f"reconciler waiting {client_id}"}
    if not yielding:
        connection.execute(text("SELECT pg_advisory_lock_shared(hashtextextended(:key, 0))"), key)
    try:
        yield
    finally:
        if not yielding:
            _let_go(connection, "pg_advisory_unlock_shared", key)


def _let_go(connection: Connection, unlock: str, key: Mapping[str, str]) -> None:
    """A connection that is gone has let go already, and must not hide why the run ended."""
    if connection.invalidated:
        return
    try:
        connection.execute(text(f"SELECT {unlock}(hashtextextended(:key, 0))"), key)
    except DBAPIError:
        if not connection.invalidated:
            raise


def _try_lock(connection: Connection, client_id: str, yielding: bool) -> bool:
    key = {"key": f"reconciler client {client_id}", "waiting": f"reconciler waiting {client_id}"}
    if yielding:
        if not connection.execute(
            text("SELECT pg_try_advisory_lock(hashtextextended(:waiting, 0))"), key
        ).scalar():
            return False
        connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:waiting, 0))"), key)
    return bool(
        connection.execute(
            text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"), key
        ).scalar()
    )


def require_lease(connection: Connection, client_id: str, run_id: str) -> None:
    """Raise LeaseLost unless this run was the last to hold the client."""
    holder = connection.execute(
        text("SELECT run_id FROM reconciler.lease WHERE client_id = :client_id FOR SHARE"),
        {"client_id": client_id},
    ).scalar()
    if holder != run_id:
        raise LeaseLost(
            f"Run {holder} wrote for client {client_id} after this run had read it: run again."
        )
