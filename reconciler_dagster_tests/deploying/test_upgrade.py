"""The next release's migration while runs are active and people edit on both sides: nobody fails,
nothing is lost. All are real processes but for the people.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from reconciler_dagster.cli.migrate import migrate
from reconciler_dagster.config import ConfigurationError, project_file
from reconciler_dagster.postgres import alone
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import (
    downgrade,
    is_ahead,
    is_current,
    newest,
    tables_of,
    upgrade,
    would_do,
)
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.world import World, world

ROUNDS = 3
# It only adds, and takes its locks in the worst order: those that a writer's trigger and a run want
# last come first, and are held for longer than a trigger waits.
MIGRATION = '''
"""Made up."""

from alembic import op

revision, down_revision = "{revision}", "{before}"


def upgrade():
    for table in ("reconciler.unsettled", "reconciler.lease", "reconciler.trigger_trouble"):
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN made_up_{revision} int DEFAULT 1")
    op.execute("SELECT pg_sleep(3)")
    for table in ("reconciler.journal", "reconciler.baseline", "public.leads"):
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN made_up_{revision} int DEFAULT 1")
    op.execute("CREATE TABLE reconciler.made_up_{revision} "
               "(client_id uuid PRIMARY KEY REFERENCES public.clients (id))")
    op.execute("CREATE INDEX ON public.leads (made_up_{revision})")


def downgrade():
    pass
'''


class NextRelease:
    """This release with a migration more, as an image of its own; and with one more again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        package = project_file("reconciler_dagster")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, folder / "reconciler_dagster", ignore=ignored)
        shutil.copytree(project_file("migrations"), folder / "migrations", ignore=ignored)
        self._newest = newest()

    def add(self) -> None:
        """A migration."""
        self._number += 1
        revision = f"9{self._number:03}"
        path = self._folder / "migrations" / "versions" / f"{revision}_made_up.py"
        path.write_text(MIGRATION.format(revision=revision, before=self._newest))
        self._newest = revision

    def migrate(self, url: str) -> subprocess.CompletedProcess[str]:
        """`reconciler migrate`, in a process."""
        program = "from reconciler_dagster.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", program, "migrate"],
            env=os.environ | {"PYTHONPATH": str(self._folder), "DATABASE_URL": url},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )


class People:
    """They edit without a break, each record on one side alone, and see every error."""

    def __init__(self, here: World) -> None:
        records = sorted(here.sandbox.records())
        self._here, self._over = here, threading.Event()
        self._remote, self._local = records[:10], records[10:20]
        self.said: dict[str, str] = {}
        self.errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._edit, args=(act, records, side))
            for act, records, side in (
                (self._in_airtable, self._remote, "there"),
                (self._in_the_portal, self._local[:5], "here"),
                (self._in_the_portal, self._local[5:], "here too"),
            )
        ]

    def __enter__(self) -> People:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _edit(self, act: Any, records: list[str], side: str) -> None:
        number = 0
        while not self._over.wait(0.02):
            number += 1
            record = records[number % len(records)]
            said = f"edit {number}, {side}"
            try:
                act(record, said)
                self.said[record] = said
            except Exception as error:
                self.errors.append(error)

    def _in_airtable(self, record: str, said: str) -> None:
        self._here.sandbox.edit(record, {"Notes": said})

    def _in_the_portal(self, record: str, said: str) -> None:
        url = self._here.settings.require_database_url()
        with psycopg.connect(url) as connection:
            # One who works for a while in a transaction, as a portal's request does.
            connection.execute("SELECT count(*) FROM leads")
            connection.execute(
                "UPDATE leads SET notes = %s WHERE airtable_record_id = %s", (said, record)
            )
            connection.execute("SELECT count(*) FROM reconciler.unsettled")


class Runs:
    """One after the other, each in a process, of the release that is there already."""

    def __init__(self, here: World) -> None:
        self._here, self._over = here, threading.Event()
        self.ended: list[int] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Runs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        sandbox = self._here.sandbox
        with Nursery() as nursery:
            while not self._over.is_set():
                status, _ = nursery.run(
                    AIRTABLE_API_KEY=sandbox.token,
                    AIRTABLE_ENDPOINT_URL=sandbox.url,
                    DATABASE_URL=self._here.settings.require_database_url(),
                )
                self.ended.append(status)

    def wait_for_another(self) -> None:
        """Until one more has ended."""
        before = len(self.ended)
        while len(self.ended) == before:
            self._over.wait(0.1)


@pytest.fixture
def here(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=40) as own:
        own.sync()
        yield own


def test_a_migration_while_runs_are_active_fails_nobody_and_loses_no_edit(
    here: World, tmp_path: Path
) -> None:
    release = NextRelease(tmp_path)
    with Runs(here) as runs, People(here) as people:
        for _ in range(ROUNDS):
            runs.wait_for_another()
            release.add()
            done = release.migrate(here.settings.require_database_url())
            assert done.returncode == 0, done.stdout + done.stderr
        runs.wait_for_another()
    assert people.errors == []
    assert set(runs.ended) == {0}
    # What the trigger could not note would be found all the same, by comparing every lead.
    assert here.value("SELECT count(*) FROM reconciler.trigger_trouble") == 0
    assert is_ahead(here.engine)
    here.sync()
    here.sync()
    for record, said in people.said.items():
        assert here.cell(record, "Notes") == said
        assert here.lead(record)["notes"] == said
    here.assert_converged()
    here.assert_quiet()


def test_a_release_works_on_a_database_that_a_later_one_has_migrated(
    portal_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = engine(portal_db)
    with own.begin() as connection:
        connection.execute(text("UPDATE reconciler.alembic_version SET version_num = '9001'"))
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION reconciler.note_edit() RETURNS trigger "
                "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
            )
        )
    assert is_current(own)
    assert would_do(own, []) == []
    assert upgrade(own) == []  # the way back, too: an older image's `migrate` comes first
    with own.connect() as connection:
        source = "SELECT prosrc FROM pg_proc WHERE proname = 'note_edit'"
        assert connection.execute(text(source)).scalar() == "BEGIN RETURN NEW; END"
    with pytest.raises(ConfigurationError, match="later release"):
        downgrade(own)
    monkeypatch.setenv("DATABASE_URL", portal_db)
    done = CliRunner().invoke(migrate, [])
    assert (done.exit_code, "nothing was changed" in done.output) == (0, True)
    told = json.loads(CliRunner().invoke(migrate, ["--json"]).stdout)
    assert told == {"direction": "up", "changed": False, "mended": []}


def test_a_migration_stands_back_where_somebody_keeps_a_table(portal_db: str) -> None:
    own = engine(portal_db)
    told: list[str] = []
    with psycopg.connect(portal_db) as somebody:
        somebody.execute("SELECT count(*) FROM leads")
        with own.begin() as connection, pytest.raises(ConfigurationError, match="pg_stat_activity"):
            alone.take_all(connection, tables_of(), told.append, patience=0)
        assert len(told) <= 1
        # It has let go what it had got: nobody waits for it.
        with own.begin() as connection:
            with pytest.raises(ConfigurationError):
                alone.take_all(connection, tables_of(), told.append, patience=0)
            with psycopg.connect(portal_db) as other:
                other.execute("SET lock_timeout = '1s'")
                other.execute("INSERT INTO users (email) VALUES ('free@portal.example')")
    with own.begin() as connection:
        alone.take_all(connection, tables_of(), told.append, patience=0)
