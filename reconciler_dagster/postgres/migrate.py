"""Alembic, run from Python: the way up, the way down, and what version a database is at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.config import ConfigurationError, project_file
from reconciler_dagster.core.listed import ListedClient
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.postgres import alone, guard
from reconciler_dagster.postgres.errors import sqlstate
from reconciler_dagster.postgres.listed import are_listed, settle
from reconciler_dagster.postgres.trigger import Watched
from reconciler_dagster.syncs.in_force import DEFAULT
from reconciler_dagster.syncs.reading import read_all
from reconciler_dagster.syncs.resolve import resolve

if TYPE_CHECKING:  # imported where something is migrated: every command asks `is_current`
    from alembic.config import Config

_INSUFFICIENT_PRIVILEGE = "42501"
# One migration at a time, whoever starts it.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('reconciler migrate', 0))"


def _config(connection: Connection, listed: bool) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(project_file("migrations")))
    config.attributes["connection"] = connection
    config.attributes["listed"] = listed  # whose tables a migration makes, and puts triggers on
    return config


def upgrade(
    engine: Engine,
    revision: str = "head",
    syncs: Iterable[SyncMap] | None = None,
    listed: Sequence[ListedClient] = (),
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Bring a database up: an empty one gets the portal's tables, an existing one is adopted. Where
    clients are ``listed`` there is no portal, and nothing is made outside the engine's own schema.

    The tables of the syncs (those that run where nothing is set) are watched: what keeps their
    edits from being noted is mended, whatever version the database was at. Returns what that was.
    A database that a later release has migrated is left as it is. Runs and writers of the portal
    may be at work: they wait while something is done (see ``alone``; ``say``: told that others are
    waited for). Raises ConfigurationError where the role does not own the table.
    """
    watched = tables_of(syncs)
    with engine.begin() as connection:
        connection.execute(text(_LOCK))
        if _revision(connection) > newest():
            return []
        try:
            if not _is_newest(connection) or guard.to_install(connection, watched):
                alone.take_all(connection, watched, say)
            if revision != "head" or not _is_newest(connection):
                from alembic import command  # slow to import, and seldom needed

                command.upgrade(_config(connection, bool(listed)), revision)
            if revision != "head":
                return []
            settle(connection, listed)
            return _watch(connection, watched)
        except ProgrammingError as error:
            if sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
                raise
            raise ConfigurationError(
                "This database role may not do what a migration needs: run `reconciler migrate` "
                "as the owner of the portal's tables."
            ) from None


def tables_of(syncs: Iterable[SyncMap] | None = None) -> list[Watched]:
    """The tables that triggers belong on."""
    chosen = [resolve(read_all()[name]) for name in DEFAULT] if syncs is None else syncs
    return [Watched(sync.table, sync.name) for sync in chosen]


def would_do(
    engine: Engine, syncs: Iterable[SyncMap], listed: Sequence[ListedClient] = ()
) -> list[str]:
    """What ``upgrade`` would do, a sentence each; empty where it would do nothing."""
    if is_ahead(engine):
        return []
    source = "RECONCILER_CLIENTS" if listed else "public.clients"
    with engine.connect() as connection:
        if not _is_newest(connection):
            return [
                "The engine's tables in the schema reconciler are brought up to date.",
                "Nothing else is made: the clients come from RECONCILER_CLIENTS."
                if listed
                else "Tables of the portal that are missing are made.",
                *(f"Triggers are put on {one.table}." for one in tables_of(syncs)),
            ]
        moved = are_listed(connection) != bool(listed)
        return [
            *([f"The clients come from {source} from then on."] if moved else []),
            *guard.to_install(connection, tables_of(syncs)),
        ]


def _watch(connection: Connection, wanted: list[Watched]) -> list[str]:
    mended = [what for one in wanted for what in guard.mend(connection, one)]
    if all(guard.is_table(connection, one) for one in wanted):
        guard.remove_strays(connection, wanted)
    return mended


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the engine's schema away again. Leads, and every table that holds rows, stay.

    Raises ConfigurationError where a later release has migrated the database.
    """
    from alembic import command

    with engine.begin() as connection:
        connection.execute(text(_LOCK))
        if _revision(connection) > newest():
            raise ConfigurationError(
                "A later release has migrated the database, and only that one can take it down: "
                "run `reconciler migrate --down` of that release. Nothing was changed."
            )
        command.downgrade(_config(connection, are_listed(connection)), revision)
        if revision == "base":
            connection.execute(text("DROP SCHEMA reconciler CASCADE"))


def newest() -> str:
    """The newest migration: each file's name begins with its revision, and they are in a row."""
    files = project_file("migrations").glob("versions/[0-9]*.py")
    return max(file.stem.partition("_")[0] for file in files)


def is_current(engine: Engine) -> bool:
    """Whether the database is at this release's newest migration, or a later release's: those add,
    so that a release goes on while the next one is being put in its place, and may come back.
    """
    with engine.connect() as connection:
        return _revision(connection) >= newest()


def is_ahead(engine: Engine) -> bool:
    """Whether a later release has migrated the database."""
    with engine.connect() as connection:
        return _revision(connection) > newest()


def _is_newest(connection: Connection) -> bool:
    return _revision(connection) == newest()


def _revision(connection: Connection) -> str:
    """Where the database is; empty where it has not been migrated."""
    if connection.execute(text("SELECT to_regclass('reconciler.alembic_version')")).scalar():
        at = connection.execute(text("SELECT version_num FROM reconciler.alembic_version"))
        return max(at.scalars(), default="")
    return ""
