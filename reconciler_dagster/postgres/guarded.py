"""The portal's own triggers on a table, and the guard that keeps one from telling old news.

A guard is one more condition in the trigger's WHEN: it does not fire while the engine writes what
was so long before the two sides first met (``reconciler.writer``, see `connection.writing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.errors import sqlstate
from reconciler_dagster.postgres.names import quoted_name, regclass

CONDITION = "COALESCE(current_setting('reconciler.writer', true), '') <> 'first_contact'"
_INSUFFICIENT_PRIVILEGE = "42501"
_EXECUTE = " EXECUTE FUNCTION "
_STATES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


@dataclass(frozen=True)
class PortalTrigger:
    """A trigger that is not the engine's. ``definition``: as Postgres prints it. ``enabled``: as in
    pg_trigger.tgenabled. ``on_insert``, ``on_update``: what fires it. ``is_guarded``: it tells old
    news from new, by our guard or by a look of its own at the setting.
    """

    table: str
    name: str
    definition: str
    enabled: str
    on_insert: bool
    on_update: bool
    is_guarded: bool

    @property
    def fires_on_leads(self) -> bool:
        """Whether it may tell somebody of a lead: it is switched on, and has its say when the lead
        is written. One that has its say before only shapes the lead.
        """
        return (
            self.enabled in ("O", "A")
            and " AFTER " in self.definition
            and (self.on_insert or self.on_update)
        )

    @property
    def guard_sql(self) -> list[str]:
        """The statements that give it the guard."""
        head, _, function = self.definition.rpartition(_EXECUTE)
        when = head.find(" WHEN (")
        if when >= 0:
            own = head[when + len(" WHEN (") : -1]
            head = f"{head[:when]} WHEN (({own}) AND {CONDITION})"
        else:
            head = f"{head} WHEN ({CONDITION})"
        return _anew(self.table, self.name, f"{head}{_EXECUTE}{function}", self.enabled)


def portal_triggers(connection: Connection, table: Table) -> list[PortalTrigger]:
    """Every trigger of a table that is not the engine's, by name."""
    rows = connection.execute(
        text(
            "SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid), "
            "t.tgenabled::text, (t.tgtype & 4) > 0, (t.tgtype & 16) > 0, "
            "pg_get_triggerdef(t.oid) || p.prosrc LIKE '%reconciler.writer%' "
            "FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE t.tgrelid = to_regclass(:table) AND NOT t.tgisinternal "
            "AND p.pronamespace IS DISTINCT FROM to_regnamespace('reconciler') ORDER BY t.tgname"
        ),
        {"table": regclass(table)},
    )
    return [PortalTrigger(*row) for row in rows]


def guard(connection: Connection, name: str, by: str, tables: Iterable[Table]) -> list[str]:
    """Give a trigger of one of the tables the guard, and remember what it was. Returns the
    statements.

    Raises ConfigurationError where there is no such trigger, or it is not this role's to change.
    """
    synced = list(tables)
    known = {t.name: t for table in synced for t in portal_triggers(connection, table)}
    if name not in known:
        raise ConfigurationError(
            f"{' or '.join(map(str, synced))} has no trigger {name}: name another one "
            f"({', '.join(known) or 'there is none'})."
        )
    trigger = known[name]
    if trigger.is_guarded:
        raise ConfigurationError(
            f"The trigger {name} has this guard already: leave --guard-trigger {name} out."
        )
    _run(connection, trigger.guard_sql)
    connection.execute(
        text(
            "INSERT INTO reconciler.guarded_trigger "
            "(table_name, trigger_name, before, enabled, guarded_by) "
            'VALUES (:table, :name, :before, CAST(:enabled AS "char"), :by) '
            "ON CONFLICT (table_name, trigger_name) DO UPDATE SET before = excluded.before, "
            "enabled = excluded.enabled, guarded_by = excluded.guarded_by, "
            "guarded_at = clock_timestamp()"
        ),
        {
            "table": trigger.table,
            "name": name,
            "before": trigger.definition,
            "enabled": trigger.enabled,
            "by": by,
        },
    )
    return trigger.guard_sql


def take_back(connection: Connection) -> list[str]:
    """Make every trigger that still has our guard as it was before. Returns their names."""
    rows = connection.execute(
        text(
            "SELECT g.table_name, g.trigger_name, g.before, t.tgenabled::text "
            "FROM reconciler.guarded_trigger g JOIN pg_trigger t "
            "ON t.tgrelid = to_regclass(g.table_name) AND t.tgname = g.trigger_name "
            "WHERE pg_get_triggerdef(t.oid) LIKE '%reconciler.writer%'"
        )
    ).all()
    for table, name, before, enabled in rows:
        _run(connection, _anew(table, name, before, enabled))
    connection.execute(text("DELETE FROM reconciler.guarded_trigger"))
    return [row[1] for row in rows]


def as_script(statements: Iterable[str]) -> str:
    """Statements as a person runs them."""
    return "\n".join(f"{statement};" for statement in statements)


def _anew(table: str, name: str, definition: str, enabled: str) -> list[str]:
    """A trigger made anew, as much switched on as it was."""
    quoted = quoted_name(name)
    made = [f"DROP TRIGGER {quoted} ON {table}", definition]
    if enabled != "O":
        made.append(f"ALTER TABLE {table} {_STATES[enabled]} TRIGGER {quoted}")
    return made


def _run(connection: Connection, statements: list[str]) -> None:
    try:
        for statement in statements:
            connection.execute(text(statement.replace(":", "\\:")))
    except ProgrammingError as error:
        if sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise ConfigurationError(
            "This database role does not own the table, so it cannot change its triggers: have the "
            f"owner run\n{as_script(statements)}"
        ) from None
