"""Dagster's settings for each way to run come from one file, and Dagster takes each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from reconciler_dagster.config import ConfigurationError, Settings, project_file
from reconciler_dagster.orchestration.dagster_yaml import LAUNCHERS, content_for, text_for
from reconciler_dagster.orchestration.home import dagster_home

EXTRAS = {"celery": "dagster_celery", "docker": "dagster_docker", "kubernetes": "dagster_k8s"}
CLASSES = {
    "here": "WatchedRunLauncher",
    "celery": "WatchedCeleryRunLauncher",
    "docker": "DockerRunLauncher",
    "kubernetes": "K8sRunLauncher",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("RECONCILER_REDIS_URL", "redis://127.0.0.1:6379/0")
    monkeypatch.setenv("RECONCILER_IMAGE", "registry.example/reconciler:1")
    monkeypatch.setenv("RECONCILER_NETWORK", "reconciler_default")
    monkeypatch.setenv("RECONCILER_NAMESPACE", "default")
    return tmp_path


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_instance_is_opened_with_the_settings_of_each(
    launcher: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = EXTRAS.get(launcher)
    if extra is not None and find_spec(extra) is None:
        pytest.skip(f"{extra} is not installed")
    if launcher == "kubernetes":  # what only a cluster has
        import kubernetes

        monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    monkeypatch.setenv("RECONCILER_RUN_LAUNCHER", launcher)
    monkeypatch.setenv("RECONCILER_RUN_SLOTS", "9")
    dagster_home()
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_launcher).__name__ == CLASSES[launcher]
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == 9
        keys = [limit["key"] for limit in limits.tag_concurrency_limits]
        assert "dagster/partition" in keys
        # A slot is kept for runs that a person waits for.
        assert ("reconciler/slot" in keys) == (launcher != "here")
        assert instance.run_monitoring_enabled
        assert not instance.run_retries_enabled


def test_where_nothing_is_chosen_it_is_the_projects_file_word_for_word() -> None:
    assert text_for(Settings()) == project_file("dagster.yaml").read_text()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_they_differ_in_what_they_must_and_in_nothing_else(launcher: Any) -> None:
    project = yaml.safe_load(project_file("dagster.yaml").read_text())
    found = content_for(launcher, None, {})
    differing = {key for key in found.keys() | project.keys() if found.get(key) != project.get(key)}
    allowed = {"run_launcher", "run_queue", "compute_logs", "concurrency", "run_monitoring"}
    assert differing <= (set() if launcher == "here" else allowed)


@pytest.mark.parametrize(
    ("launcher", "slots", "wanted"),
    [("here", None, 10), ("here", 3, 3), ("docker", None, 6), ("kubernetes", 12, 12)],
)
def test_so_many_runs_at_a_time(launcher: Any, slots: int | None, wanted: int) -> None:
    limits = content_for(launcher, slots, {})["concurrency"]["runs"]
    assert limits["max_concurrent_runs"] == wanted


def test_a_run_in_a_container_of_its_own_gets_its_settings_by_name() -> None:
    environment = {
        "DATABASE_URL": "postgresql://u:secret@h/d",
        "AIRTABLE_KEY_ACME": "patSecret",
        "RECONCILER_TOKEN_KEYS": "secret",
        "HOME": "/root",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    launcher = content_for("docker", None, environment)["run_launcher"]
    assert launcher["config"]["env_vars"] == [
        "AIRTABLE_KEY_ACME",
        "DATABASE_URL",
        "RECONCILER_TOKEN_KEYS",
    ]
    assert "ecret@" not in str(launcher)


def test_a_launcher_that_there_is_not_is_told_by_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECONCILER_RUN_LAUNCHER", "nomad")
    with pytest.raises(ConfigurationError, match="RECONCILER_RUN_LAUNCHER"):
        Settings.load()
