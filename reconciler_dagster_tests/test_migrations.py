"""The migrations, up and down, on an empty database and on portals that already hold leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.connection import engine, writing
from reconciler_dagster.postgres.migrate import downgrade, is_current, upgrade

LEADS = 11_000

# A portal with habits of its own: other defaults, extra columns, indexes and triggers.
PORTAL = """
CREATE TYPE lead_mood AS ENUM ('warm', 'cold');
CREATE TABLE clients (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), company_name varchar(255) NOT NULL,
    airtable_base_id varchar(255) NOT NULL UNIQUE, is_active boolean DEFAULT true,
    last_sync_at timestamptz, shoe_size int DEFAULT 42
);
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(255) UNIQUE);
CREATE TABLE campaigns (id uuid PRIMARY KEY, client_id uuid, name varchar(255));
CREATE TABLE leads (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES clients (id),
    airtable_record_id varchar(255) NOT NULL UNIQUE,
    first_name varchar(255) NOT NULL DEFAULT 'Friend',
    status varchar(50) NOT NULL DEFAULT 'Brand new',
    notes text, claimed_by uuid REFERENCES users (id), mood lead_mood DEFAULT 'cold',
    is_active boolean NOT NULL DEFAULT true, created_at timestamptz NOT NULL DEFAULT now(){extra}
);
CREATE INDEX leads_by_mood ON leads (mood, lower(first_name)) WHERE is_active;
CREATE TABLE audit (lead_id uuid, what text);
CREATE FUNCTION note_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit VALUES (NEW.id, TG_OP); RETURN NEW; END $$;
CREATE TRIGGER leads_audit AFTER UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION note_audit();
INSERT INTO clients (company_name, airtable_base_id) VALUES ('Old Client', 'appOldClient00001');
INSERT INTO leads (client_id, airtable_record_id, notes)
    SELECT c.id, 'rec' || lpad(n::text, 14, '0'), 'note ' || n
    FROM clients c, generate_series(1, {leads}) n;
"""
STAMP = ", updated_at timestamptz NOT NULL DEFAULT '2001-01-01 00:00Z'"
# What the portal has for itself: columns with defaults, indexes, triggers, constraints, comments.
CATALOGUE = """
SELECT 'column', table_name, column_name, data_type, column_default, is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '' FROM pg_indexes
WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid),
tgenabled::text, '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid),
'', '' FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'comment', objoid::regclass::text, objsubid::text, description, '', ''
FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid >= 16384
"""
OURS = {"zz_reconciler_note_edit", "zz_reconciler_note_truncate"}


@pytest.fixture
def empty(empty_db: str) -> Iterator[Engine]:
    own = engine(empty_db)
    yield own
    own.dispose()


@pytest.fixture
def portal(portal_db: str) -> Iterator[Engine]:
    """A migrated portal with one client and one lead."""
    own = engine(portal_db)
    with own.begin() as connection:
        connection.execute(
            text(
                "WITH c AS (INSERT INTO clients (company_name, airtable_base_id) "
                "VALUES ('Client', 'appClient00000001') RETURNING id) "
                "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
                "SELECT id, 'recAAAAAAAAAAAAAA', 'Ada', 'L', 'ada@example.com' FROM c"
            )
        )
        connection.execute(text("TRUNCATE reconciler.unsettled"))
    yield own
    own.dispose()


def build(own: Engine, extra: str = "", leads: int = LEADS) -> None:
    with own.begin() as connection:
        connection.exec_driver_sql(PORTAL.format(extra=extra, leads=leads))


def catalogue(own: Engine) -> set[tuple[Any, ...]]:
    with own.connect() as connection:
        return {tuple(row) for row in connection.execute(text(CATALOGUE))}


def fingerprint(own: Engine, leave_out: str = "") -> tuple[Any, ...]:
    """All rows of leads in one value."""
    with own.connect() as connection:
        row = connection.execute(
            text(
                "SELECT count(*), md5(string_agg((to_jsonb(l) - :leave_out)::text, '' "
                "ORDER BY id)) FROM leads l"
            ),
            {"leave_out": leave_out},
        ).one()
    return tuple(row)


def schemas(own: Engine) -> set[str]:
    with own.connect() as connection:
        return set(connection.execute(text("SELECT nspname FROM pg_namespace")).scalars())


# Up and down


def test_an_empty_database_gets_everything_and_loses_it_again(empty: Engine) -> None:
    before = catalogue(empty)
    assert not is_current(empty)
    upgrade(empty)
    assert is_current(empty)
    tables = {row[1] for row in catalogue(empty) if row[0] == "column"}
    assert tables >= {"clients", "users", "campaigns", "leads", "lead_activity_log"}
    upgrade(empty)  # again: nothing to do
    downgrade(empty)
    assert catalogue(empty) == before
    assert "reconciler" not in schemas(empty)
    assert not is_current(empty)
    upgrade(empty)
    assert is_current(empty)


@pytest.mark.parametrize("extra", ["", STAMP], ids=["without updated_at", "with updated_at"])
def test_a_portal_with_leads_is_adopted_untouched(empty: Engine, extra: str) -> None:
    build(empty, extra)
    before, rows = catalogue(empty), fingerprint(empty)

    upgrade(empty)

    after = catalogue(empty)
    assert before <= after, "something of the portal's own is gone or altered"
    of_its_tables = {row for row in after - before if row[1] in {"clients", "users", "leads"}}
    added = {row[2] for row in of_its_tables}
    stamp = set() if extra else {"updated_at"}
    not_nulls = {name for name in added if name.endswith("_not_null")}
    comments = {row[2] for row in of_its_tables if row[0] == "comment"}
    assert added - not_nulls - comments == OURS | stamp
    assert fingerprint(empty, "" if extra else "updated_at") == rows

    downgrade(empty)
    assert catalogue(empty) >= before
    assert {row for row in catalogue(empty) - before if row[1] == "leads"} == set()
    assert fingerprint(empty) == rows


def test_updated_at_is_added_as_promised(empty: Engine) -> None:
    build(empty, leads=3)
    upgrade(empty)
    columns = {row[2:] for row in catalogue(empty) if row[:2] == ("column", "leads")}
    assert ("updated_at", "timestamp with time zone", "now()", "NO") in columns


def test_the_way_down_keeps_tables_of_ours_that_hold_rows(portal: Engine) -> None:
    downgrade(portal)
    with portal.connect() as connection:
        assert connection.execute(text("SELECT first_name FROM leads")).scalars().all() == ["Ada"]
        # and the lead can still be edited: no trigger points into nothing
        connection.execute(text("UPDATE leads SET notes = 'still here'"))
    assert "reconciler" not in schemas(portal)
    upgrade(portal)
    assert is_current(portal)


@pytest.mark.parametrize(
    "happened",
    [
        "SELECT",
        "DROP TRIGGER zz_reconciler_note_edit ON leads",
        "ALTER TABLE leads RENAME TO leads_before",
        "ALTER TABLE leads DROP COLUMN updated_at, ALTER airtable_record_id DROP NOT NULL",
        "DROP TABLE reconciler.unsettled, reconciler.guard",
    ],
)
def test_from_0005_up_and_down_with_leads(empty: Engine, happened: str) -> None:
    """Whatever became of the trigger and its table meanwhile."""
    build(empty, STAMP, leads=30)
    upgrade(empty, "0005")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause) "
                "SELECT client_id, id, airtable_record_id, 'update' FROM leads "
                "UNION ALL (SELECT client_id, id, 'manual-1', 'insert' FROM leads LIMIT 1)"
            )
        )
    rows = fingerprint(empty)
    assert upgrade(empty) == []
    with empty.begin() as connection:
        assert {key for _, key in noted(connection)} == {f"rec{n:014}" for n in range(1, 31)}
    assert fingerprint(empty) == rows
    with empty.begin() as connection:
        connection.execute(text(happened))
    downgrade(empty, "0005")
    downgrade(empty)
    assert "reconciler" not in schemas(empty)
    assert OURS & {row[2] for row in catalogue(empty)} == set()


@pytest.mark.parametrize(
    "type_",
    [
        "text",
        "bigint DEFAULT 0",
        "date",
        "timestamp",
        "timestamptz GENERATED ALWAYS AS (created_at) STORED",
    ],
)
def test_a_portal_whose_updated_at_is_of_another_type(empty: Engine, type_: str) -> None:
    build(empty, f", updated_at {type_}", leads=1)
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE leads SET notes = 'x'"))
        assert [cause for cause, _ in noted(connection)] == ["update"]


def test_down_on_a_database_that_never_went_up_changes_nothing(empty: Engine) -> None:
    build(empty, leads=3)
    before = catalogue(empty)
    downgrade(empty)
    assert catalogue(empty) == before
    assert "reconciler" not in schemas(empty)


def test_a_dead_database_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        upgrade(engine("postgresql://nobody:secret@127.0.0.1:1/nothing"))


# The trigger on leads


def noted(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(
        text("SELECT cause, record_id FROM reconciler.unsettled ORDER BY revision")
    )
    return [(row.cause, row.record_id) for row in rows]


def stamp(connection: Connection) -> Any:
    return connection.execute(text("SELECT updated_at FROM leads")).scalar_one()


def test_an_edit_is_noted_and_stamped(portal: Engine) -> None:
    with portal.begin() as connection:
        before = stamp(connection)
    with portal.begin() as connection:
        connection.execute(text("UPDATE leads SET notes = 'hello'"))
    with portal.begin() as connection:
        assert noted(connection) == [("update", "recAAAAAAAAAAAAAA")]
        assert stamp(connection) > before


def test_the_engine_is_neither_noted_nor_stamped(portal: Engine) -> None:
    with portal.connect() as connection:
        before = stamp(connection)
        connection.rollback()
        with writing(connection):
            connection.execute(text("UPDATE leads SET notes = 'from Airtable'"))
            connection.execute(
                text(
                    "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, "
                    "email) SELECT client_id, 'recBBBBBBBBBBBBBB', 'B', '', '' FROM leads"
                )
            )
            connection.execute(text("DELETE FROM leads WHERE airtable_record_id LIKE 'recB%'"))
        assert noted(connection) == []
        assert stamp(connection) == before
        assert connection.execute(text("SELECT notes FROM leads")).scalar() == "from Airtable"


def test_the_engine_s_silence_ends_with_its_transaction(portal: Engine) -> None:
    with portal.connect() as connection:
        with writing(connection):
            connection.execute(text("UPDATE leads SET notes = 'a'"))
        with connection.begin():
            connection.execute(text("UPDATE leads SET notes = 'b'"))
        assert noted(connection) == [("update", "recAAAAAAAAAAAAAA")]


def test_an_update_that_changes_nothing_is_not_noted(portal: Engine) -> None:
    with portal.begin() as connection:
        before = stamp(connection)
        connection.execute(text("UPDATE leads SET first_name = first_name, notes = NULL"))
        assert noted(connection) == []
        assert stamp(connection) == before


def test_insert_and_delete_are_noted_and_the_deleted_row_kept(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
                "SELECT client_id, 'recBBBBBBBBBBBBBB', 'Bea', '', '' FROM leads"
            )
        )
        connection.execute(text("DELETE FROM leads WHERE first_name = 'Bea'"))
        assert noted(connection) == [
            ("insert", "recBBBBBBBBBBBBBB"),
            ("deleted", "recBBBBBBBBBBBBBB"),
        ]
        kept = connection.execute(
            text("SELECT deleted_row FROM reconciler.unsettled WHERE cause = 'deleted'")
        ).scalar_one()
        assert kept["first_name"] == "Bea"
        assert connection.execute(text("SELECT count(*) FROM leads")).scalar() == 1


def test_truncate_notes_every_lead_that_was_agreed_on(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.baseline (client_id, record_id, lead_id, created_time) "
                "SELECT client_id, airtable_record_id, id, now() FROM leads"
            )
        )
        connection.execute(text("TRUNCATE leads CASCADE"))
        assert noted(connection) == [("truncated", "recAAAAAAAAAAAAAA")]


def test_a_new_record_id_notes_the_old_one_too(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.execute(text("UPDATE leads SET airtable_record_id = 'recCCCCCCCCCCCCCC'"))
        assert noted(connection) == [
            ("record id changed", "recAAAAAAAAAAAAAA"),
            ("update", "recCCCCCCCCCCCCCC"),
        ]


def test_a_writer_without_rights_on_the_engine_s_schema_can_edit(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.execute(text("CREATE ROLE clerk"))
        try:
            connection.execute(text("GRANT SELECT, UPDATE ON leads TO clerk"))
            connection.execute(text("SET LOCAL ROLE clerk"))
            connection.execute(text("UPDATE leads SET notes = 'by a clerk'"))
            connection.execute(text("RESET ROLE"))
            assert noted(connection) == [("update", "recAAAAAAAAAAAAAA")]
        finally:
            connection.rollback()  # roles belong to the whole server


def test_a_portal_with_its_own_stamp_trigger(empty: Engine) -> None:
    build(empty, STAMP, leads=1)
    with empty.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.updated_at := '2042-01-01 00:00Z'; RETURN NEW; END $$; "
            "CREATE TRIGGER set_updated_at BEFORE UPDATE ON leads "
            "FOR EACH ROW EXECUTE FUNCTION touch()"
        )
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE leads SET notes = 'x'"))
        assert stamp(connection).year == 2042, "the portal's own stamp stays"
        assert [cause for cause, _ in noted(connection)] == ["update"]
        assert connection.execute(text("SELECT what FROM audit")).scalars().all() == ["UPDATE"]


def test_a_touch_that_moves_only_the_stamp_is_no_edit(empty: Engine) -> None:
    build(empty, STAMP, leads=1)
    with empty.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$; "
            "CREATE TRIGGER set_updated_at BEFORE UPDATE ON leads "
            "FOR EACH ROW EXECUTE FUNCTION touch()"
        )
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE leads SET notes = notes"))
        assert noted(connection) == []
        connection.execute(text("UPDATE leads SET notes = 'x'"))
        assert [cause for cause, _ in noted(connection)] == ["update"]


def test_a_column_of_a_type_that_cannot_be_compared(empty: Engine) -> None:
    build(empty, ", extra json DEFAULT '{}'", leads=1)
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE leads SET notes = notes"))
        assert noted(connection) == []
        connection.execute(text("UPDATE leads SET extra = '{\"a\": 1}'"))
        assert [cause for cause, _ in noted(connection)] == ["update"]


@pytest.mark.parametrize(
    ("leads", "complaint"),
    [
        ("id bigint, client_id uuid, airtable_record_id text", "leads.id is bigint, expected uuid"),
        ("id uuid, client_id uuid", "leads.airtable_record_id is missing"),
    ],
)
def test_a_leads_table_of_something_else_is_left_as_it_is(
    empty: Engine, leads: str, complaint: str
) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE leads ({leads})")
    before = catalogue(empty)
    with pytest.raises(ConfigurationError, match=complaint):
        upgrade(empty)
    assert catalogue(empty) == before
    assert "reconciler" not in schemas(empty)


def test_two_transactions_that_note_do_not_wait_for_each_other(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
                "SELECT client_id, 'recBBBBBBBBBBBBBB', 'Bea', '', '' FROM leads"
            )
        )
    with portal.begin() as first, portal.begin() as second:
        first.execute(text("UPDATE leads SET notes = '1' WHERE first_name = 'Ada'"))
        second.execute(text("SET LOCAL lock_timeout = '10s'"))
        second.execute(text("UPDATE leads SET notes = '2' WHERE first_name = 'Bea'"))


def test_syncs_that_were_in_use_count_as_adopted(empty: Engine) -> None:
    upgrade(empty, "0030")
    with empty.begin() as connection:
        connection.execute(
            text("INSERT INTO clients (company_name, airtable_base_id) VALUES ('Acme', 'app1')")
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.adoption (client_id, state, changed_by) "
                "SELECT id, 'adopted', 'ann' FROM clients"
            )
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.cursor (client_id, sync, modified_since, run_id) "
                "SELECT id, 'tasks', now(), 'r' FROM clients"
            )
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.baseline "
                "(client_id, sync, record_id, lead_id, created_time, fields) "
                "SELECT id, 'campaigns', 'rec1', id, now(), '{}' FROM clients"
            )
        )
    upgrade(empty)
    with empty.connect() as connection:
        (stands,) = adoption.standings(connection).values()
    assert stands.new_syncs(["leads", "campaigns", "tasks", "blockers"]) == ["blockers"]


def test_clients_that_were_in_use_count_as_adopted(empty: Engine) -> None:
    """By a cursor, or by anything that was agreed on; the others are new."""
    upgrade(empty, "0011")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO clients (company_name, airtable_base_id) "
                "VALUES ('Listed', 'app1'), ('Agreed', 'app2'), ('New', 'app3')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.cursor (client_id, modified_since, run_id) "
                "SELECT id, now(), 'r' FROM clients WHERE company_name = 'Listed'"
            )
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.baseline "
                "(client_id, record_id, lead_id, created_time, fields) "
                "SELECT id, 'rec1', id, now(), '{}' FROM clients WHERE company_name = 'Agreed'"
            )
        )
    upgrade(empty)
    with empty.connect() as connection:
        found = {s.name: s.state.value for s in adoption.standings(connection).values()}
        syncs = {s.name: s.syncs for s in adoption.standings(connection).values() if s.syncs}
    assert found == {"Listed": "adopted", "Agreed": "adopted", "New": "new"}
    assert syncs == {"Listed": {"leads"}, "Agreed": {"leads"}}
    downgrade(empty, "0011")
    upgrade(empty)
    assert is_current(empty)
