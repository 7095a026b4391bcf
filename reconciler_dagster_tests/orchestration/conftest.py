"""A real Dagster instance, runs that find a world through the environment, and their words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage

from reconciler_dagster.orchestration.ahead import Choice, begin
from reconciler_dagster.orchestration.execute import ClientResult
from reconciler_dagster.orchestration.great_sync import Progress, sync_windows
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster_tests.world import World


@pytest.fixture(autouse=True)
def definitions_of_no_instance() -> Iterator[None]:
    """Dagster loads definitions with the instance that was opened last, also when that is gone."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """In memory: the same SQL as on disk, at a fifth of the time."""
    with dg.DagsterInstance.ephemeral() as real:
        yield real


@pytest.fixture
def kept_instance() -> Iterator[dg.DagsterInstance]:
    """On disk, for what opens its instance by a reference."""
    with dg.DagsterInstance.local_temp() as real:
        yield real


def point_at(monkeypatch: pytest.MonkeyPatch, url: str, sandbox: SandboxClient) -> None:
    """Have every run from here on use this database and this sandbox."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("AIRTABLE_API_KEY", sandbox.token)
    monkeypatch.setenv("AIRTABLE_ENDPOINT_URL", sandbox.url)


@dataclass
class Told:
    """What a person in front of a Great Sync is told."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    last: Progress | None = None
    said: list[str] = field(default_factory=list)

    def progress(self, client: Client, progress: Progress) -> None:
        self.steps.append((progress.windows_done, progress.windows))
        self.last = progress

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def great_sync(
    acme: World, instance: dg.DagsterInstance, **choice: object
) -> tuple[ClientResult, Told]:
    """Of the only client."""
    told = Told()
    clients = begin(acme.settings, None, Choice(**choice))  # type: ignore[arg-type]
    (result,) = sync_windows(instance, clients, told)
    return result, told


def checks(instance: dg.DagsterInstance) -> list[dg.AssetCheckEvaluation]:
    """What the checks said, of all runs, the latest last."""
    runs = sorted(instance.get_run_records(), key=lambda record: record.create_timestamp)
    entries = [
        entry
        for record in runs
        for entry in instance.all_logs(
            record.dagster_run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
    ]
    return [entry.dagster_event.event_specific_data for entry in entries]  # type: ignore[union-attr,misc]


def failed_checks(instance: dg.DagsterInstance) -> dict[str, str]:
    """Name and description of the checks that failed, of all runs."""
    return {e.check_name: e.description or "" for e in checks(instance) if not e.passed}


def latest_checks(instance: dg.DagsterInstance) -> dict[str, str | None]:
    """What the UI shows: the latest word of each check, None where it is green."""
    return {e.check_name: None if e.passed else e.description for e in checks(instance)}
