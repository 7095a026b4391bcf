"""A definition that changes while a warm process is at hand: the next run has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.syncs.reading import SHIPPED
from reconciler_dagster_tests.orchestration.launching import dagster_home
from reconciler_dagster_tests.orchestration.test_warm_command import Console
from reconciler_dagster_tests.world import world


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Definitions of one's own: the leads, as they are shipped."""
    (tmp_path / "leads.yaml").write_text((SHIPPED / "leads.yaml").read_text())
    monkeypatch.setenv("RECONCILER_SYNCS_FOLDER", str(tmp_path))
    return tmp_path


@pytest.fixture
def warm(portal_db: str, folder: Path) -> Iterator[Console]:
    with world(portal_db, leads=3) as acme, dagster_home() as home:
        acme.settings.syncs_folder = str(folder)
        acme.sync()
        client.ensure(home)
        yield Console(home, acme)


def test_a_field_that_is_added_is_live_with_the_next_run_without_a_restart(
    warm: Console, folder: Path
) -> None:
    """And a definition that cannot be used any more is refused by the next run, not by a later."""
    acme, definition = warm.world, folder / "leads.yaml"
    parent = client.parent_of(warm.home)
    record = min(acme.sandbox.records())
    acme.sql("ALTER TABLE leads ADD COLUMN tier text")
    assert warm.call("run").returncode == 0

    before = definition.read_text()
    added = "  tier: {from: Coaching Tier, type: select}\n"
    definition.write_text(before.replace("fields:\n", f"fields:\n{added}"))
    (field,) = [f for f in acme.sandbox.fields() if f["name"] == "Coaching Tier"]
    tier = field["options"]["choices"][-1]["name"]
    acme.sandbox.edit(record, {"Coaching Tier": tier})
    ran = warm.call("run")
    assert (ran.returncode, ran.stderr) == (0, "light"), "a warm process has run it"
    assert acme.lead(record)["tier"] == tier

    definition.write_text("sync: leads\n")
    assert warm.call("run").returncode == 2
    definition.write_text(before)
    assert warm.call("run").returncode == 0
    assert client.parent_of(warm.home) == parent
