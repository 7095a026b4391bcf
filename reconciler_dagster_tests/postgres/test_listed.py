"""Where the clients come from: the portal's table, or a list in the settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.listed import listed_clients
from reconciler_dagster.postgres import listed
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import downgrade, upgrade, would_do

ACME, GLOBEX = "Acme=appAAAAAAAAAAAAAA", "Globex=appBBBBBBBBBBBBBB"
# What has nothing to do with a portal but the names.
STRANGERS = """
CREATE TABLE clients (number int); CREATE TABLE users (login text);
CREATE TABLE leads (id text, smell text);
"""
PUBLIC = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
    "UNION ALL SELECT 'trigger', t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2"
)


@pytest.fixture
def own(empty_db: str) -> Iterator[Engine]:
    there = engine(empty_db)
    yield there
    there.dispose()


def public(own: Engine) -> list[tuple[str, str]]:
    with own.connect() as connection:
        return [tuple(row) for row in connection.execute(text(PUBLIC))]


def names(own: Engine, words: str) -> list[str]:
    with own.begin() as connection:
        listed.follow(connection, listed_clients(words) if words else ())
        return [client.name for client in active_clients(connection)]


@pytest.mark.parametrize("before", ["SELECT", STRANGERS], ids=["empty", "strangers"])
def test_nothing_of_a_portal_is_made_or_touched(own: Engine, before: str) -> None:
    with own.begin() as connection:
        connection.execute(text(before))
    there = public(own)
    clients = listed_clients(ACME)
    assert "Nothing else is made" in " ".join(would_do(own, [], clients))
    for _ in range(2):  # up, down and up again
        upgrade(own, syncs=[], listed=clients)
        assert public(own) == there
        assert names(own, ACME) == ["Acme"]
        downgrade(own)
        assert public(own) == there


def test_the_list_is_followed_and_what_is_gone_from_it_is_inactive(own: Engine) -> None:
    upgrade(own, syncs=[], listed=listed_clients(ACME))
    assert names(own, f"{ACME}, {GLOBEX}") == ["Acme", "Globex"]
    assert names(own, GLOBEX) == ["Globex"]
    assert names(own, f"{GLOBEX}, {ACME.replace('Acme', 'Acme Ltd')}") == ["Acme Ltd", "Globex"]
    with pytest.raises(ConfigurationError, match="RECONCILER_CLIENTS is not set"):
        names(own, "")
    with pytest.raises(ConfigurationError, match="RECONCILER_CLIENTS is not set"):
        upgrade(own, syncs=[])


def test_a_portal_may_go_over_to_a_list_and_back(portal_db: str) -> None:
    own = engine(portal_db)
    with own.begin() as connection:
        connection.execute(
            text("INSERT INTO clients (company_name, airtable_base_id) VALUES ('Old', 'appO')")
        )
    assert names(own, "") == ["Old"]
    with pytest.raises(ConfigurationError, match="run `reconciler migrate`"):
        names(own, ACME)
    clients = listed_clients(ACME)
    assert would_do(own, [], clients)[0] == (
        "The clients come from RECONCILER_CLIENTS from then on."
    )
    upgrade(own, listed=clients)
    assert names(own, ACME) == ["Acme"]
    upgrade(own)
    assert names(own, "") == ["Old"]
    own.dispose()
