"""What the doctor says of an owner's tables before anything is migrated, each with its remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from reconciler_dagster.cli.doctor import examine
from reconciler_dagster.cli.looking import clients
from reconciler_dagster.config import project_file
from reconciler_dagster.notices import dagster as watched
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster_tests.owner import portal as owner
from reconciler_dagster_tests.test_cli_attention import call

(README,) = re.findall(r'psql -c "(INSERT INTO clients .*)"', project_file("README.md").read_text())
TABLES = owner._TABLES.replace("email varchar(255), phone", "email varchar(255) NOT NULL, phone", 1)


class Database:
    """The owner's tables, not migrated yet."""

    def __init__(self, url: str) -> None:
        self.url = url

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement.encode())

    def told(self, check: str = "portal's tables") -> tuple[str, str]:
        return next((f.state, f.detail) for f in examine() if f.check == check)


@pytest.fixture
def database(empty_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    monkeypatch.setenv("DATABASE_URL", empty_db)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield Database(empty_db)
    engine(empty_db).dispose()


def test_an_empty_database_and_the_owners_tables_are_well(database: Database) -> None:
    assert database.told() == (
        "ok",
        "there is no portal yet: `reconciler migrate` makes its tables, empty",
    )
    database.sql(TABLES)
    assert database.told() == ("ok", "the tables are as a run needs them")
    upgrade(engine(database.url))
    assert database.told() == ("ok", "the tables are as a run needs them")


# What was done to the tables, and by check: its state and what is said of it.
AMISS = {
    "no clients": ("DROP TABLE clients CASCADE", "failed", "There is no table public.clients"),
    "no leads": ("DROP TABLE leads CASCADE", "failed", "There is no table public.leads"),
    "no log": (
        "DROP TABLE lead_activity_log CASCADE",
        "failed",
        "There is no table public.lead_activity_log",
    ),
    "a lead has no is_active": (
        "ALTER TABLE leads DROP is_active",
        "failed",
        "leads.is_active is missing",
    ),
    "a client has no is_active": (
        "ALTER TABLE clients DROP is_active",
        "failed",
        "clients.is_active is missing",
    ),
    "a user has no role": (
        "ALTER TABLE users DROP role",
        "warning",
        "The portal's API cannot work without it",
    ),
    "is_active of another type": (
        "ALTER TABLE leads ALTER is_active DROP DEFAULT, ALTER is_active TYPE int "
        "USING is_active::int",
        "failed",
        "leads.is_active is of type int4, expected bool",
    ),
    "no time zone": (
        "ALTER TABLE leads ALTER claimed_at TYPE timestamp, ALTER updated_at TYPE timestamp",
        "warning",
        "leads.claimed_at, leads.updated_at: timestamp without time zone",
    ),
    "claims are texts": (
        "ALTER TABLE leads ALTER claimed_by TYPE varchar(255)",
        "warning",
        "leads.claimed_by is character varying(255), expected uuid",
    ),
    "a column that nobody fills": (
        "ALTER TABLE leads ADD import_id text NOT NULL",
        "warning",
        "leads.import_id is NOT NULL without default and not mapped",
    ),
    "a column of the log that nobody fills": (
        "ALTER TABLE lead_activity_log ADD actor text NOT NULL",
        "failed",
        "lead_activity_log.actor is NOT NULL without default",
    ),
    "a mapped column is gone": (
        "ALTER TABLE leads DROP hrq_status",
        "warning",
        "leads.hrq_status is missing, so 'HRQ Status' is stopped",
    ),
    "a mapped column of another type": (
        "ALTER TABLE leads ALTER sms_sent_count DROP DEFAULT, ALTER sms_sent_count TYPE text",
        "warning",
        "leads.sms_sent_count is of type text, expected",
    ),
}


@pytest.mark.parametrize(
    ("amiss", "migrated"),
    [*((amiss, False) for amiss in AMISS), ("a client has no is_active", True)],
)
def test_what_is_amiss_is_told_with_its_remedy(
    database: Database, amiss: str, migrated: bool
) -> None:
    """Before and after the migration; a remedy that is a statement puts it right."""
    done, state, sentence = AMISS[amiss]
    database.sql(TABLES)
    if migrated:
        upgrade(engine(database.url))
    database.sql("DROP TRIGGER sms_activity_logger ON leads")
    database.sql(done)
    found = database.told()
    assert found[0] == state
    assert sentence in found[1]
    statements = re.findall(r"(?:ALTER TABLE|UPDATE) public\.[^;]*;", found[1])
    for statement in statements:
        database.sql(statement)
    if statements:
        assert database.told() == ("ok", "the tables are as a run needs them")


def test_claims_that_are_texts_become_users(database: Database) -> None:
    database.sql(TABLES)
    database.sql(
        "ALTER TABLE leads ALTER claimed_by TYPE varchar(255); "
        "INSERT INTO clients (company_name, email, airtable_base_id) VALUES ('A', 'a@b', 'app1'); "
        "INSERT INTO users (email, first_name, last_name) VALUES ('Ann@x.test', 'Ann', 'Lee'); "
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
        "claimed_by) SELECT c.id, u.n, '', '', '', u.by FROM clients c, (SELECT 'rec1' AS n, "
        "'ann@x.test ' AS by UNION SELECT 'rec2', 'Ann Lee' UNION SELECT 'rec3', id::text "
        "FROM users UNION SELECT 'rec4', NULL) AS u"
    )
    _, detail = database.told()
    assert "2 of its values are no user's id" in detail
    for statement in re.findall(r"(?:ALTER TABLE|UPDATE) public\.[^;]*;", detail):
        database.sql(statement)
    with psycopg.connect(database.url) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM leads l JOIN users u ON u.id = l.claimed_by"
        )
        assert rows.fetchone() == (3,)
    assert database.told()[0] == "ok"


@pytest.mark.parametrize("schema", ["portal", "The Portal"])
def test_a_portal_in_another_schema_is_found_and_nothing_is_made_beside_it(
    database: Database, schema: str
) -> None:
    database.sql(f'CREATE SCHEMA "{schema}"; SET search_path = "{schema}"; {TABLES}')
    state, detail = database.told()
    assert state == "failed"
    assert f"The portal's leads are in the schema {schema};" in detail
    migrated = call("migrate")
    assert migrated.exit_code == 2
    assert f"in the schema {schema};" in migrated.stderr
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT to_regclass('public.leads')").fetchone() == (None,)
    statements = re.findall(r"ALTER TABLE [^;]*;", detail)
    assert len(statements) == 5
    for statement in statements:
        database.sql(statement)
    assert database.told() == ("ok", "the tables are as a run needs them")
    assert call("migrate").exit_code == 0


def test_empty_tables_that_were_made_beside_a_portal_are_found_too(database: Database) -> None:
    assert call("migrate").exit_code == 0
    database.sql(f"CREATE SCHEMA portal; SET search_path = portal; {TABLES}")
    state, detail = database.told()
    assert (state, "migrate --down" in detail) == ("failed", True)
    assert call("migrate", "--down", "--yes").exit_code == 0
    for statement in re.findall(r"ALTER TABLE [^;]*;", detail):
        database.sql(statement)
    assert database.told()[0] == "ok"


def test_tables_of_others_that_are_called_leads_are_no_portal(database: Database) -> None:
    database.sql("CREATE SCHEMA crm; CREATE TABLE crm.leads (id int); CREATE TABLE crm.users ()")
    assert database.told()[0] == "ok"
    database.sql(TABLES)
    database.sql(f"CREATE SCHEMA staging; SET search_path = staging; {TABLES}")
    database.sql(
        "INSERT INTO public.clients (company_name, email, airtable_base_id) "
        "VALUES ('A', 'a@b', 'app1'); INSERT INTO public.leads (client_id, airtable_record_id, "
        "first_name, last_name, email) SELECT id, 'rec1', '', '', '' FROM public.clients"
    )
    assert database.told() == ("ok", "the tables are as a run needs them"), (
        "the copy is not looked at"
    )


def test_the_readmes_statement_and_the_doctors_add_a_client(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the owner's table, where an e-mail must be given, and to the one that is made here."""
    database.sql(TABLES)
    upgrade(engine(database.url))
    # What the look at the clients needs, which calls nobody while there is none.
    monkeypatch.setattr(clients, "default_token", lambda *_: ("ok", "not looked at"))
    told = re.search(r'psql -c "(INSERT INTO clients .*)"', database.told("clients")[1])
    assert told
    assert "email" in told[1]
    for statement in (README, told[1]):
        database.sql(statement)
        database.sql("DELETE FROM clients")


def test_the_readmes_statement_adds_a_client_to_our_own_table(portal_db: str) -> None:
    with psycopg.connect(portal_db) as connection:
        connection.execute(README.encode())


def test_what_a_portal_does_not_have_is_no_trouble_of_a_switch_over(database: Database) -> None:
    """Its checks are passed over where there is nothing to look at; all else being well, it is."""
    database.sql(TABLES)
    upgrade(engine(database.url))
    done = call("doctor", "--switch-over", "--json")
    told = json.loads(done.stdout)
    assert "skipped" in {check["state"] for check in told["checks"]}
    assert (done.exit_code, told["healthy"]) == (0, True)


@pytest.mark.parametrize(
    ("ago", "looked", "state"), [(10, 0, "ok"), (100, 0, "warning"), (10, 100, "skipped")]
)
def test_a_daemon_that_is_dead_is_told(
    database: Database, ago: int, looked: int, state: str
) -> None:
    database.sql(TABLES)
    upgrade(engine(database.url))
    assert database.told("Dagster's daemon")[0] == "skipped"
    with engine(database.url).begin() as connection:
        now = datetime.now(UTC)
        heard = {"scheduler": (now - timedelta(seconds=ago)).timestamp()}
        watched.note(connection, watched.Dagster(now - timedelta(seconds=looked), heard))
    found, said = database.told("Dagster's daemon")
    assert found == state
    assert ("no sign of life" in said) == (state == "warning")
