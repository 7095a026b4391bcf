"""Dagster's settings for each way to run: one source, the project's `dagster.yaml`.

RECONCILER_RUN_LAUNCHER chooses where runs start, RECONCILER_RUN_SLOTS how many at a time. Whoever
starts a process with no DAGSTER_HOME gets the file by that; `reconciler deploy dagster-yaml` prints
it. Needs no Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

import yaml

from reconciler_dagster.config import Settings, project_file

Launcher = Literal["here", "celery", "docker", "kubernetes"]
LAUNCHERS: tuple[Launcher, ...] = get_args(Launcher)

# The queues of the workers: a slot is kept for the second one.
ORDINARY_QUEUE, MANUAL_QUEUE = "dagster", "manual"
# Whatever is not asked for by a person carries it.
SLOT_TAG = "reconciler/slot"
ORDINARY = {SLOT_TAG: "ordinary"}
RUNS_CONFIG_MAP, SECRET, SERVICE_ACCOUNT = "reconciler-instance", "reconciler", "reconciler-runs"
HOME = "/run/reconciler/dagster"
# Of a container of its own, where the rest cannot be written.
SCRATCH = "/tmp"  # nosec B108
# Variables of a run in a container of its own.
_PASSED_ON = ("AIRTABLE_", "DATABASE_URL", "DAGSTER_POSTGRES_URL", "RECONCILER_", "PORTAL_JWT_")


def text_for(settings: Settings) -> str:
    """The file. As it stands in the project, with its comments, where nothing is chosen."""
    project = project_file("dagster.yaml").read_text()
    if settings.run_launcher == "here" and settings.run_slots is None:
        return project
    return as_yaml(content_for(settings.run_launcher, settings.run_slots, os.environ))


class _Plain(yaml.SafeDumper):
    """Says everything where it stands, rather than referring to where it stood before."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(content: object) -> str:
    """For a file that people read."""
    return yaml.dump(content, Dumper=_Plain, sort_keys=False)


def content_for(
    launcher: Launcher, slots: int | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The settings. ``slots``: runs at a time; unless given the project's, and fewer where runs do
    not start here. ``environment``: whose variables a run in a container of its own gets, by name.
    """
    content: dict[str, Any] = yaml.safe_load(project_file("dagster.yaml").read_text())
    limits = content["concurrency"]["runs"]
    if slots is None and launcher != "here":
        slots = _SLOTS_APART
    if slots is not None:
        limits["max_concurrent_runs"] = slots
    if launcher == "here":
        return content
    content |= _APART
    ordinary = max(1, limits["max_concurrent_runs"] - 1)
    limits["tag_concurrency_limits"].append(
        {"key": SLOT_TAG, "value": "ordinary", "limit": ordinary}
    )
    content["run_launcher"] = {
        "celery": _celery,
        "docker": _docker,
        "kubernetes": _kubernetes,
    }[launcher](environment)
    if launcher == "celery":
        # There is a slot of a worker for each run that is launched: one that has not begun by then
        # is lost, with the broker or with a worker.
        content["run_monitoring"] |= {"start_timeout_seconds": 45, "poll_interval_seconds": 10}
    return content


# A container that starts is as much work as several warm runs; a worker has few slots of its own.
_SLOTS_APART = 6
# Where runs are on other machines their output goes to their own log.
_APART: dict[str, Any] = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


def _celery(_: Mapping[str, str]) -> dict[str, Any]:
    redis = {"env": "RECONCILER_REDIS_URL"}
    return {
        "module": "reconciler_dagster.orchestration.celery_runs.launcher",
        "class": "WatchedCeleryRunLauncher",
        "config": {"broker": redis, "backend": redis, "default_queue": ORDINARY_QUEUE},
    }


def _docker(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "module": "dagster_docker",
        "class": "DockerRunLauncher",
        "config": {
            "image": {"env": "RECONCILER_IMAGE"},
            "network": {"env": "RECONCILER_NETWORK"},
            "env_vars": sorted(n for n in environment if n.startswith(_PASSED_ON)),
            "container_kwargs": {
                "auto_remove": True,
                "read_only": True,
                "cap_drop": ["ALL"],
                "tmpfs": {"/run/reconciler": "uid=10001,gid=10001,mode=0700", SCRATCH: ""},
            },
        },
    }


def _kubernetes(_: Mapping[str, str]) -> dict[str, Any]:
    return {
        "module": "dagster_k8s",
        "class": "K8sRunLauncher",
        "config": {
            "service_account_name": SERVICE_ACCOUNT,
            "job_image": {"env": "RECONCILER_IMAGE"},
            "job_namespace": {"env": "RECONCILER_NAMESPACE"},
            "instance_config_map": RUNS_CONFIG_MAP,
            "dagster_home": HOME,
            "env_secrets": [SECRET],
            "run_k8s_config": RUN_K8S_CONFIG,
        },
    }


_NOT_ROOT: dict[str, Any] = {
    "run_as_non_root": True,
    "run_as_user": 10001,
    "read_only_root_filesystem": True,
    "allow_privilege_escalation": False,
    "capabilities": {"drop": ["ALL"]},
}
RUN_K8S_CONFIG: dict[str, Any] = {
    "container_config": {
        "security_context": _NOT_ROOT,
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"memory": "2Gi"},
        },
        "volume_mounts": [{"name": "scratch", "mount_path": SCRATCH}],
    },
    "pod_spec_config": {
        "volumes": [{"name": "scratch", "empty_dir": {}}],
        # As long as a part of a run may take to end.
        "termination_grace_period_seconds": 60,
    },
    "job_spec_config": {"ttl_seconds_after_finished": 3600, "backoff_limit": 0},
}
