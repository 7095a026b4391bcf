"""Runs on databases that are not as the engine would have made them: behind a pooler, with settings
and encodings of their own. RECONCILER_TEST_DATABASE runs all tests there (worlds.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from reconciler_dagster.config import ConfigurationError, project_file
from reconciler_dagster.postgres import quarantine, runs
from reconciler_dagster.postgres.connection import SETTINGS, engine
from reconciler_dagster.postgres.migrate import downgrade, is_current, upgrade
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.crash.busy import end_state, make_busy
from reconciler_dagster_tests.pooler import Pooler, crowded
from reconciler_dagster_tests.windows import audited, next_hour, sweep
from reconciler_dagster_tests.world import World, world
from reconciler_dagster_tests.worlds import ODD_SETTINGS, odd_database

READ_ONLY = {"default_transaction_read_only": "on"}


@contextmanager
def odd(
    server: PostgresServer, encoding: str, settings: dict[str, str] | None = None
) -> Iterator[World]:
    """A client in a database of that encoding, migrated from nothing."""
    name = f"odd_{uuid4().hex}"
    odd_database(server, name, encoding, ODD_SETTINGS if settings is None else settings)
    url = server.url(name)
    upgrade(engine(url))
    with world(url, leads=20) as acme:
        acme.sync()
        yield acme
    engine(url).dispose()
    server.drop_database(name)


def at_work(acme: World) -> None:
    """Runs of every kind with everything to do."""
    make_busy(acme)
    for _ in range(2):
        acme.sync()
    state = end_state(acme)
    assert (state["open"], state["unsettled"]) == (0, 0)
    assert state["lost"]
    assert state["held"]
    sweep(acme)
    next_hour(acme)
    audited(acme)
    moment = "SELECT claimed_at FROM leads WHERE airtable_record_id = :id"
    record_id = next(r for r, row in acme.sides()[0].items() if row["claimed_at"])
    assert acme.value(moment, id=record_id).utcoffset().total_seconds() == 0


def test_everything_works_behind_a_pooler(
    postgres_server: PostgresServer, migrated_template: str
) -> None:
    postgres_server.create_database("behind_a_pooler", template=migrated_template)
    with Pooler(postgres_server) as pooler:
        url = pooler.url("behind_a_pooler")
        with crowded(url), world(url) as acme:
            at_work(acme)
            downgrade(acme.engine)
            upgrade(acme.engine)
            assert is_current(acme.engine)
            left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert acme.value(left) == 0
            acme.engine.dispose()
    postgres_server.drop_database("behind_a_pooler")


def test_no_setting_of_a_database_matters(postgres_server: PostgresServer) -> None:
    with odd(postgres_server, "UTF8", ODD_SETTINGS | READ_ONLY) as acme:
        at_work(acme)


def test_no_setting_of_a_role_matters(portal_db: str) -> None:
    with world(portal_db) as acme:
        make_busy(acme)
        acme.sql(project_file("migrations/least_privilege.sql").read_text().replace(":", "\\:"))
        settings = ODD_SETTINGS | READ_ONLY
        settings |= {"search_path": "nowhere", "client_encoding": "LATIN1"}
        for name, value in settings.items():
            acme.sql(f"ALTER ROLE reconciler_engine SET {name} = '{value}'")
        try:
            url = portal_db.replace("://postgres@", "://reconciler_engine@")
            limited = World(url, acme.sandbox)
            limited.settings.calls_per_second = 1000
            for _ in range(2):
                limited.sync()
            sweep(limited)
            limited.engine.dispose()
        finally:
            acme.sql("ALTER ROLE reconciler_engine RESET ALL")
        state = end_state(acme)
        assert (state["open"], state["unsettled"]) == (0, 0)


def test_what_the_engine_needs_holds_in_each_of_its_transactions(
    postgres_server: PostgresServer,
) -> None:
    with odd(postgres_server, "UTF8") as acme, acme.engine.connect() as connection:
        for _ in range(2):
            with connection.begin():
                found = {
                    name: connection.execute(text(f"SHOW {name}")).scalar() for name in SETTINGS
                }
            assert found == SETTINGS
        plain = psycopg.connect(acme.settings.require_database_url())
        with plain:
            assert plain.execute("SHOW datestyle").fetchone() == ("SQL, DMY",)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII", "EUC_JP"])
def test_migrations_go_up_and_down_on_any_database(
    postgres_server: PostgresServer, encoding: str
) -> None:
    name = f"odd_{uuid4().hex}"
    settings = ODD_SETTINGS | READ_ONLY | {"search_path": "nowhere"}
    odd_database(postgres_server, name, encoding, settings)
    own = engine(postgres_server.url(name))
    upgrade(own)
    assert is_current(own)
    downgrade(own)
    assert not is_current(own)
    own.dispose()
    postgres_server.drop_database(name)


ROCKET, SMILE = "\N{ROCKET}", "\N{GRINNING FACE}"


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "EUC_JP"])
def test_a_text_that_the_database_cannot_store_stops_alone(
    postgres_server: PostgresServer, encoding: str
) -> None:
    with odd(postgres_server, encoding) as acme:
        bad, good, *_ = sorted(acme.sandbox.records())
        before = acme.lead(bad)["company"]
        acme.sandbox.edit(bad, {"Company": f"To the moon {ROCKET}", "Job Title": "Goes through"})
        acme.sandbox.edit(good, {"Company": "Caf\N{LATIN SMALL LETTER E WITH ACUTE}"})
        new = acme.sandbox.add({"First Name": "New", "Company": f"Smiles {SMILE}"})
        acme.update(good, notes="to Airtable")
        assert acme.sync().counts.quarantined == 2
        assert (acme.lead(bad)["company"], acme.lead(bad)["title"]) == (before, "Goes through")
        assert acme.lead(good)["company"] == acme.cell(good, "Company")
        assert acme.cell(good, "Notes") == "to Airtable"
        assert (acme.lead(new)["first_name"], acme.lead(new)["company"]) == ("New", None)
        reasons = acme.sql("SELECT reason FROM reconciler.quarantine WHERE record_id = :id", id=bad)
        assert f"encoded in {encoding}, cannot store (U+1F680 ROCKET)" in reasons[0][0]
        acme.sandbox.edit_many({bad: {"Company": "To the moon"}, new: {"Company": "Smiles"}})
        assert acme.sync().counts.quarantined == 0
        acme.assert_converged()
        acme.assert_quiet()


def test_what_comes_back_as_another_character_is_not_stored(
    postgres_server: PostgresServer,
) -> None:
    """Postgres is asked, not Python: their tables of EUC_JP differ in the dashes."""
    with odd(postgres_server, "EUC_JP") as acme:
        first, second, *_ = sorted(acme.sandbox.records())
        acme.sandbox.edit(first, {"Company": "\N{WAVE DASH}"})
        acme.sandbox.edit(second, {"Company": "\N{FULLWIDTH TILDE}"})
        acme.sync()
        held = {row[0] for row in acme.sql("SELECT record_id FROM reconciler.quarantine")}
        for record_id in (first, second):
            kept = acme.lead(record_id)["company"] == acme.cell(record_id, "Company")
            assert kept is (record_id not in held)


def test_names_and_reasons_that_the_database_cannot_store_hold_nothing_up(
    postgres_server: PostgresServer,
) -> None:
    with odd(postgres_server, "LATIN1") as acme:
        record_id, other, *_ = sorted(acme.sandbox.records())
        acme.sandbox.rename_field("Company", f"Firm {ROCKET}")
        acme.sandbox.add_option("HRQ Status", f"Seen {SMILE}")
        acme.sandbox.edit(record_id, {f"Firm {ROCKET}": "Renamed Ltd", "Claimed By": f"{SMILE}@x"})
        acme.sandbox.edit(other, {"HRQ Status": f"Seen {SMILE}"})
        notes = acme.session().check_mapping(force=True).notes
        assert notes == ("'Company' is now called 'Firm ?'; followed by its id.",)
        acme.sync()
        assert acme.lead(record_id)["company"] == "Renamed Ltd"
        assert acme.session().check_mapping(force=True).notes == ()
        acme.update(other, company=None)
        with acme.engine.begin() as connection:
            run = acme.session()
            runs.start(connection, acme.client.id, run.run_id, "delta", "", answers_requests=False)
            runs.add_findings(connection, acme.client.id, run.run_id, {"doubts": [ROCKET]})
            runs.finish(
                connection, acme.client.id, run.run_id, state="failed", message=f"No {SMILE}"
            )
            refused = Refusal(record_id, "title", "to_airtable", f"Airtable says {SMILE}")
            quarantine.put(connection, acme.pair, [refused])
        told = acme.sql("SELECT message, findings FROM reconciler.run_summary")
        assert told == [("No ?", {"doubts": ["?"]})]


def test_a_table_may_have_any_name(postgres_server: PostgresServer) -> None:
    with odd(postgres_server, "LATIN1") as acme:
        acme.settings.airtable_leads_table = f"Leads {ROCKET}"
        with pytest.raises(ConfigurationError, match="has no table"):
            acme.session().check_mapping()


def test_a_database_without_an_encoding_keeps_every_text(postgres_server: PostgresServer) -> None:
    with odd(postgres_server, "SQL_ASCII") as acme:
        first, broken, *_ = sorted(acme.sandbox.records())
        acme.sandbox.edit(first, {"Company": f"To the moon {ROCKET}"})
        assert acme.sync().counts.quarantined == 0
        assert acme.lead(first)["company"] == f"To the moon {ROCKET}"
        acme.update(first, notes=f"back {SMILE}")
        acme.sync()
        assert acme.cell(first, "Notes") == f"back {SMILE}"
        # what another program has written in another encoding
        acme.sql(
            "UPDATE leads SET company = convert_from(decode('e9', 'hex'), 'SQL_ASCII'), "
            "hrq_status = 'Archive' WHERE airtable_record_id = :id",
            id=broken,
        )
        acme.update(first, hrq_status="Archive")
        assert acme.sync().counts.quarantined == 1
        assert acme.cell(first, "HRQ Status") == acme.cell(broken, "HRQ Status") == "Archive"
        assert "holds bytes that are no UTF-8" in acme.value(
            "SELECT reason FROM reconciler.quarantine"
        )
