"""The trigger on leads: it notes every edit, and never makes a write of the portal fail, whatever
becomes of the table, of the engine's own tables or of the session that writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres import trigger
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.mapping import SYNC

RECORD = "recAAAAAAAAAAAAAA"
LEAD = (
    "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
    "SELECT id, '{}', 'Ada', 'L', 'ada@example.com' FROM clients"
)


@pytest.fixture
def portal(portal_db: str) -> Iterator[Engine]:
    """A migrated portal with one client and one lead."""
    own = engine(portal_db)
    with own.begin() as connection:
        run(
            connection,
            "INSERT INTO clients (company_name, airtable_base_id) "
            "VALUES ('Client', 'appClient00000001')",
        )
        run(connection, LEAD.format(RECORD))
        run(connection, "DELETE FROM reconciler.unsettled")
    yield own
    own.dispose()


def run(connection: Connection, statement: str, **parameters: Any) -> Any:
    result = connection.execute(text(statement), parameters)
    return result.all() if result.returns_rows else result.rowcount


def noted(connection: Connection) -> list[tuple[str, str]]:
    rows = run(connection, "SELECT cause, record_id FROM reconciler.unsettled ORDER BY revision")
    return [tuple(row) for row in rows]


def trouble(connection: Connection) -> list[tuple[str, str]]:
    rows = run(connection, "SELECT table_name, sqlstate FROM reconciler.trigger_trouble")
    return [tuple(row) for row in rows]


# What an ORM's push, or a person, may do to the table: is the edit still noted, is updated_at
# still moved?
MOVES = {
    "a column is dropped": ("ALTER TABLE leads DROP COLUMN company", True, True),
    "a column is added": ("ALTER TABLE leads ADD COLUMN mood text DEFAULT 'warm'", True, True),
    "no updated_at": ("ALTER TABLE leads DROP COLUMN updated_at", True, None),
    "updated_at by another name": (
        "ALTER TABLE leads RENAME COLUMN updated_at TO changed_at",
        True,
        None,
    ),
    "updated_at is text": (
        "ALTER TABLE leads ALTER updated_at DROP DEFAULT, ALTER updated_at TYPE text",
        True,
        False,
    ),
    "updated_at is a number": (
        "ALTER TABLE leads ALTER updated_at DROP DEFAULT, "
        "ALTER updated_at TYPE bigint USING extract(epoch FROM updated_at)",
        True,
        False,
    ),
    "updated_at without time zone": (
        "ALTER TABLE leads ALTER updated_at TYPE timestamp(3)",
        True,
        True,
    ),
    "updated_at is a date": (
        "ALTER TABLE leads ALTER updated_at TYPE date USING '2001-01-01'",
        True,
        True,
    ),
    "updated_at is json": (
        "ALTER TABLE leads ALTER updated_at DROP DEFAULT, "
        "ALTER updated_at TYPE json USING to_json(updated_at)",
        True,
        False,
    ),
    "updated_at of a domain": (
        "CREATE DOMAIN moment AS timestamptz CHECK (VALUE > '2000-01-01Z'); "
        "ALTER TABLE leads ALTER updated_at TYPE moment",
        True,
        True,
    ),
    "updated_at is generated": (
        "ALTER TABLE leads DROP COLUMN updated_at; ALTER TABLE leads ADD COLUMN updated_at "
        "timestamptz GENERATED ALWAYS AS (created_at) STORED",
        True,
        False,
    ),
    "client_id is text": (
        "ALTER TABLE leads DROP CONSTRAINT leads_client_id_fkey, ALTER client_id TYPE text",
        True,
        True,
    ),
    "client_id is another text": (
        "ALTER TABLE leads DROP CONSTRAINT leads_client_id_fkey, "
        "ALTER client_id TYPE text USING 'client 7'",
        "22P02",
        True,
    ),
    "client_id by another name": (
        "ALTER TABLE leads RENAME COLUMN client_id TO customer",
        "RC001",
        True,
    ),
    "no client_id": ("ALTER TABLE leads DROP COLUMN client_id", "RC001", True),
    "id is a number": (
        "ALTER TABLE leads DROP COLUMN id CASCADE; "
        "ALTER TABLE leads ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY",
        True,
        True,
    ),
    "no record id": ("ALTER TABLE leads DROP COLUMN airtable_record_id", "RC001", True),
    "the engine's table is gone": ("DROP TABLE reconciler.unsettled", "42P01", True),
    "the engine's table has another column": (
        "ALTER TABLE reconciler.unsettled RENAME COLUMN cause TO why",
        "42703",
        True,
    ),
    "the engine's table refuses": (
        "ALTER TABLE reconciler.unsettled ADD CHECK (cause = 'never') NOT VALID",
        "23514",
        True,
    ),
    "the engine's table may not be written": (
        "CREATE ROLE keeper; ALTER FUNCTION reconciler.note_edit() OWNER TO keeper; "
        "GRANT USAGE ON SCHEMA reconciler TO keeper; "
        "GRANT INSERT ON reconciler.trigger_trouble TO keeper",
        "42501",
        True,
    ),
}


@pytest.mark.parametrize(("move", "edit", "stamped"), MOVES.values(), ids=MOVES.keys())
def test_a_write_goes_through_whatever_became_of_the_table(
    portal: Engine, move: str, edit: bool | str, stamped: bool | None
) -> None:
    with portal.connect() as connection, connection.begin() as all_of_it:
        run(connection, move)
        before = run(connection, "SELECT to_jsonb(l) -> 'updated_at' FROM leads l")
        assert run(connection, "UPDATE leads SET notes = 'hello'") == 1
        after = run(connection, "SELECT to_jsonb(l) -> 'updated_at' FROM leads l")
        assert run(connection, "SELECT notes FROM leads") == [("hello",)]
        if stamped is not None:
            assert (after != before) is stamped
        if edit is True:
            assert noted(connection) == [("update", RECORD)]
            assert trouble(connection) == []
        else:
            assert trouble(connection) == [("public.leads", edit)]
        assert run(connection, "DELETE FROM leads") == 1
        all_of_it.rollback()  # roles belong to the whole server


def test_a_transaction_that_alters_the_table_between_its_writes(portal: Engine) -> None:
    """What Postgres keeps from one call of the trigger to the next must not stand in its way."""
    with portal.begin() as connection:
        for number, move in enumerate(
            [
                "ALTER TABLE leads ADD COLUMN mood text DEFAULT 'warm'",
                "ALTER TABLE leads DROP COLUMN company",
                "ALTER TABLE leads ALTER click_count TYPE bigint",
                "ALTER TABLE leads ALTER updated_at TYPE text",
                "ALTER TABLE leads ALTER phone TYPE int USING 5",
                "ALTER TABLE leads DROP COLUMN updated_at",
                "ALTER TABLE leads ADD COLUMN updated_at timestamptz DEFAULT '2001-01-01Z'",
            ]
        ):
            run(connection, "UPDATE leads SET notes = :n", n=f"before {number}")
            run(connection, move)
            run(connection, "UPDATE leads SET notes = :n", n=f"after {number}")
        assert run(connection, "SELECT notes, mood, phone FROM leads") == [("after 6", "warm", 5)]
        assert run(connection, "SELECT updated_at > '2020-01-01Z' FROM leads") == [(True,)]
        assert noted(connection) == [("update", RECORD)] * 14
        assert trouble(connection) == []


def test_trouble_is_noted_once_a_transaction_and_with_it(portal: Engine) -> None:
    with portal.begin() as connection:
        for number in range(10, 13):
            run(connection, LEAD.format(f"recBBBBBBBBBBBB{number}"))
        run(connection, "ALTER TABLE reconciler.unsettled RENAME TO elsewhere")
    with portal.begin() as connection:
        run(connection, "UPDATE leads SET notes = 'a'")
        run(connection, "UPDATE leads SET notes = 'b'")
    with portal.connect() as connection:
        run(connection, "UPDATE leads SET notes = 'never was'")
        connection.rollback()
    with portal.begin() as connection:
        nested = connection.begin_nested()
        run(connection, "UPDATE leads SET notes = 'never was'")
        nested.rollback()
        run(connection, "DELETE FROM leads WHERE airtable_record_id LIKE 'recB%'")
    with portal.begin() as connection:
        assert trouble(connection) == [("public.leads", "42P01")] * 2


def test_where_not_even_trouble_can_be_noted(portal: Engine) -> None:
    warnings = []
    with portal.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        raw.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
        run(connection, LEAD.format("recBBBBBBBBBBBBBB"))
        run(connection, "DROP TABLE reconciler.unsettled, reconciler.trigger_trouble")
        run(connection, "UPDATE leads SET notes = 'a'")
        assert run(connection, "SELECT DISTINCT notes FROM leads") == [("a",)]
    assert len(warnings) == 1
    assert "could not note an edit of leads" in warnings[0].replace("public.", "")


def test_a_locked_table_of_the_engine_holds_up_no_write_for_long(portal: Engine) -> None:
    with portal.begin() as holder, portal.begin() as connection:
        run(holder, "LOCK TABLE reconciler.unsettled IN ACCESS EXCLUSIVE MODE")
        run(connection, "UPDATE leads SET notes = 'a'")
        run(connection, "UPDATE leads SET notes = 'b'")
        assert trouble(connection) == [("public.leads", "55P03")]


def test_a_value_that_cannot_be_json(portal: Engine) -> None:
    with portal.begin() as connection:
        run(connection, "ALTER TABLE leads ADD COLUMN extra json")
        run(connection, r"""UPDATE leads SET extra = '{"a": "\\u0000"}'""".replace(r"\\", "\\"))
        assert run(connection, "SELECT count(*) FROM leads WHERE extra IS NOT NULL") == [(1,)]
        assert trouble(connection) == [("public.leads", "22P05")]


def test_generated_columns_alone_make_no_edit(portal: Engine) -> None:
    with portal.begin() as connection:
        run(
            connection,
            "ALTER TABLE leads ADD COLUMN whole_name text "
            "GENERATED ALWAYS AS (first_name || ' ' || last_name) STORED",
        )
        run(connection, "UPDATE leads SET first_name = first_name")
        assert noted(connection) == []
        run(connection, "UPDATE leads SET phone = NULL, first_name = 'Bea'")
        assert noted(connection) == [("update", RECORD)]
        assert run(connection, "SELECT whole_name FROM leads") == [("Bea L",)]
        run(connection, "UPDATE leads SET title = 'x'")
        run(connection, "UPDATE leads SET title = NULL")
        assert len(noted(connection)) == 3, "an emptied cell is an edit"


@pytest.mark.parametrize("role", ["origin", "local", "replica"])
def test_what_replication_and_restores_write_is_noted_and_not_stamped(
    portal: Engine, role: str
) -> None:
    with portal.begin() as connection:
        run(connection, f"SET LOCAL session_replication_role = {role}")
        before = run(connection, "SELECT updated_at FROM leads")
        run(connection, "UPDATE leads SET notes = 'a'")
        assert (run(connection, "SELECT updated_at FROM leads") == before) is (role == "replica")
        run(
            connection,
            "INSERT INTO reconciler.baseline (client_id, record_id, lead_id, "
            "created_time) SELECT client_id, airtable_record_id, id, now() FROM leads",
        )
        run(connection, "TRUNCATE leads CASCADE")
        assert noted(connection) == [("update", RECORD), ("truncated", RECORD)]


@pytest.mark.parametrize("own", ["manual-17", "", "recShort"])
def test_a_lead_of_the_portal_s_own_is_stamped_and_not_noted(portal: Engine, own: str) -> None:
    with portal.begin() as connection:
        run(connection, LEAD.format(own))
        before = run(connection, "SELECT max(updated_at) FROM leads")
        run(connection, "UPDATE leads SET notes = 'a' WHERE airtable_record_id = :own", own=own)
        assert run(connection, "SELECT max(updated_at) FROM leads") > before
        run(connection, "ALTER TABLE leads ALTER airtable_record_id DROP NOT NULL")
        run(
            connection,
            "UPDATE leads SET airtable_record_id = NULL WHERE airtable_record_id = :own",
            own=own,
        )
        run(connection, "DELETE FROM leads WHERE airtable_record_id IS NULL")
        assert (noted(connection), trouble(connection)) == ([], [])


def test_a_lead_that_gets_and_loses_its_record(portal: Engine) -> None:
    with portal.begin() as connection:
        run(connection, "UPDATE leads SET airtable_record_id = 'manual-1'")
        run(connection, "UPDATE leads SET airtable_record_id = :record", record=RECORD)
        assert noted(connection) == [("record id changed", RECORD), ("update", RECORD)]


def test_every_way_to_write(portal: Engine) -> None:
    with portal.begin() as connection:
        ((client,),) = run(connection, "SELECT id FROM clients")
        columns = "client_id, airtable_record_id, first_name, last_name, email"
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY leads ({columns}) FROM STDIN") as copy:
            copy.write_row((client, "recCCCCCCCCCCCCCC", "Cy", "", ""))
        run(
            connection,
            LEAD.format(RECORD) + " ON CONFLICT (airtable_record_id) DO UPDATE SET notes = 'up'",
        )
        run(
            connection,
            "MERGE INTO leads l USING (VALUES ('recCCCCCCCCCCCCCC')) AS v (r) "
            "ON l.airtable_record_id = v.r WHEN MATCHED THEN UPDATE SET notes = 'merged'",
        )
        run(connection, "DELETE FROM leads WHERE first_name = 'Cy'")
        assert trouble(connection) == []
        assert {("insert", "recCCCCCCCCCCCCCC"), ("update", RECORD)} <= set(noted(connection))
        assert noted(connection)[-2:] == [
            ("update", "recCCCCCCCCCCCCCC"),
            ("deleted", "recCCCCCCCCCCCCCC"),
        ]


@pytest.mark.parametrize(("key", "stamped"), [("airtable_record_id", True), ("updated_at", False)])
def test_a_partitioned_table(portal: Engine, key: str, stamped: bool) -> None:
    with portal.begin() as connection:
        run(connection, "ALTER TABLE leads RENAME TO plain")
        run(
            connection,
            f"CREATE TABLE leads (LIKE plain INCLUDING DEFAULTS) PARTITION BY HASH ({key})",
        )
        for number in range(3):
            run(
                connection,
                f"CREATE TABLE leads_{number} PARTITION OF leads "
                f"FOR VALUES WITH (MODULUS 3, REMAINDER {number})",
            )
        for name in trigger.FUNCTION_BY_TRIGGER:
            trigger.put_trigger(connection, trigger.Watched(SYNC.table, SYNC.name), name)
        run(connection, "INSERT INTO leads SELECT * FROM plain")
        before = run(connection, "SELECT updated_at FROM leads")
        assert run(connection, "UPDATE leads SET notes = 'a'") == 1
        assert (run(connection, "SELECT updated_at FROM leads") != before) is stamped
        assert noted(connection) == [("insert", RECORD), ("update", RECORD)]
        assert trouble(connection) == []


def test_a_writer_whose_search_path_and_rights_are_its_own(portal: Engine) -> None:
    with portal.connect() as connection, connection.begin() as all_of_it:
        run(
            connection, "CREATE SCHEMA trap; CREATE TABLE trap.unsettled (x int); CREATE ROLE clerk"
        )
        run(connection, "GRANT SELECT, UPDATE ON leads TO clerk; SET LOCAL ROLE clerk")
        run(connection, "SET LOCAL search_path = trap, reconciler")
        run(connection, "UPDATE public.leads SET notes = 'a'")
        run(connection, "RESET ROLE")
        assert noted(connection) == [("update", RECORD)]
        all_of_it.rollback()


def test_a_trigger_for_another_table(portal: Engine) -> None:
    """It is told its columns; those of the leads stand nowhere in it."""
    things = trigger.Watched(
        Table("public", "things", "key", "record", "owner", updated_at="touched"), "things"
    )
    with portal.begin() as connection:
        run(
            connection,
            "CREATE TABLE things (key uuid DEFAULT gen_random_uuid(), owner uuid, record text, "
            "name text, touched timestamptz DEFAULT '2001-01-01Z')",
        )
        for name in trigger.FUNCTION_BY_TRIGGER:
            trigger.put_trigger(connection, things, name)
        run(
            connection,
            "INSERT INTO things (owner, record) SELECT id, :record FROM clients",
            record=RECORD,
        )
        run(connection, "UPDATE things SET name = 'x'")
        run(connection, "UPDATE things SET touched = now()")
        assert noted(connection) == [("insert", RECORD), ("update", RECORD)]
        assert run(connection, "SELECT touched > '2020-01-01Z' FROM things") == [(True,)]
