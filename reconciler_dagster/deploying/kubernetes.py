"""For Kubernetes: values for Dagster's Helm chart, and manifests for what the chart does not have.

The chart brings webserver, daemon and code server, with Dagster's storage in its own terms; runs
are Jobs (K8sRunLauncher). Limits and monitoring come from the project's `dagster.yaml`, so that
they are the same everywhere.
"""

from __future__ import annotations

from typing import Any

from reconciler_dagster.deploying.roles import ROLES
from reconciler_dagster.orchestration.dagster_yaml import (
    RUN_K8S_CONFIG,
    SCRATCH,
    SECRET,
    content_for,
)

CONFIG_MAP = "reconciler"
_NOT_ROOT = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_SCRATCH = {
    "volumes": [{"name": name, "emptyDir": {}} for name in ("run", "tmp")],
    "mounts": [
        {"name": "run", "mountPath": "/run/reconciler"},
        {"name": "tmp", "mountPath": SCRATCH},
    ],
}
_FROM = [{"configMapRef": {"name": CONFIG_MAP}}, {"secretRef": {"name": SECRET}}]
_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def values(image: str, slots: int | None = None) -> dict[str, Any]:
    """Values for the chart `dagster/dagster` of the version that the project pins."""
    content = content_for("kubernetes", slots, {})
    runs, queue = content["concurrency"]["runs"], content["run_queue"]
    monitoring, threads = content["run_monitoring"], content["sensors"]
    repository, _, tag = image.rpartition(":")
    where = {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}
    secrets = {"envSecrets": [{"name": SECRET}], "envConfigMaps": [{"name": CONFIG_MAP}]}
    return {
        "dagsterWebserver": {"image": where, **secrets, "securityContext": {}},
        "dagster-user-deployments": {
            "enabled": True,
            "deployments": [
                {
                    "name": "reconciler",
                    "image": where,
                    "dagsterApiGrpcArgs": [
                        *("--module-name", "reconciler_dagster.definitions"),
                        *("--location-name", "reconciler"),
                    ],
                    "port": ROLES["code"].port,
                    **secrets,
                    "includeConfigInLaunchedRuns": {"enabled": True},
                    "resources": _RESOURCES,
                }
            ],
        },
        "runLauncher": {
            "type": "K8sRunLauncher",
            "config": {
                "k8sRunLauncher": {
                    "imagePullPolicy": "IfNotPresent",
                    **secrets,
                    "runK8sConfig": _camel(RUN_K8S_CONFIG),
                }
            },
        },
        "dagsterDaemon": {
            "image": where,
            **secrets,
            "runCoordinator": {
                "enabled": True,
                "type": "QueuedRunCoordinator",
                "config": {
                    "queuedRunCoordinator": {
                        "maxConcurrentRuns": runs["max_concurrent_runs"],
                        "tagConcurrencyLimits": runs["tag_concurrency_limits"],
                        "dequeueIntervalSeconds": queue["dequeue_interval_seconds"],
                        "dequeueUseThreads": queue["dequeue_use_threads"],
                        "dequeueNumWorkers": queue["dequeue_num_workers"],
                    }
                },
            },
            "runMonitoring": {
                "enabled": True,
                "pollIntervalSeconds": monitoring["poll_interval_seconds"],
                "startTimeoutSeconds": 300,  # a node may have to come first
                "cancelTimeoutSeconds": monitoring["cancel_timeout_seconds"],
                "maxRuntimeSeconds": monitoring["max_runtime_seconds"],
                "freeSlotsAfterRunEndSeconds": monitoring["free_slots_after_run_end_seconds"],
            },
            "runRetries": {"enabled": False},
            "sensors": {"useThreads": True, "numWorkers": threads["num_workers"]},
            "schedules": {"useThreads": True, "numWorkers": content["schedules"]["num_workers"]},
        },
        "postgresql": {"enabled": False},
        "computeLogManager": {"type": "NoOpComputeLogManager"},
        "pythonLogs": {"pythonLogLevel": content["python_logs"]["python_log_level"]},
        "telemetry": {"enabled": False},
        "retention": {
            "enabled": True,
            "sensor": {"purgeAfterDays": content["retention"]["sensor"]["purge_after_days"]},
            "schedule": {"purgeAfterDays": content["retention"]["schedule"]["purge_after_days"]},
        },
    }


def manifests(image: str) -> list[dict[str, Any]]:
    """Settings, the migration as a Job, portal and listener."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "labels": _labels("settings")},
            "data": {
                "RECONCILER_ENVIRONMENT": "production",
                "RECONCILER_RUN_LAUNCHER": "kubernetes",
                "RECONCILER_IMAGE": image,
                "RECONCILER_NAMESPACE": "default",
                "RECONCILER_STATE_DIR": "/run/reconciler",
            },
        },
        _migration(image),
        _deployment("portal", image, replicas=2),
        _service("portal"),
        # Two of them would do no harm; one is enough.
        _deployment("listener", image, replicas=1),
    ]


def _migration(image: str) -> dict[str, Any]:
    container = _container("migrate", image, ["reconciler", "migrate"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        # Another one with each image: a Job's template cannot be changed.
        "metadata": {"generateName": "reconciler-migrate-", "labels": _labels("migrate")},
        "spec": {
            "backoffLimit": 3,
            "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {"labels": _labels("migrate")},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": _SCRATCH["volumes"],
                },
            },
        },
    }


def _deployment(role: str, image: str, *, replicas: int) -> dict[str, Any]:
    of_role = ROLES[role]
    container = _container(role, image, ["reconciler", "serve", role])
    probe: dict[str, Any] = {"exec": {"command": ["reconciler", "serve", role, "--check"]}}
    if of_role.port:
        probe = {"httpGet": {"path": "/health", "port": of_role.port}}
        container["ports"] = [{"containerPort": of_role.port}]
    container |= {
        "livenessProbe": probe | {"periodSeconds": 30, "timeoutSeconds": 15, "failureThreshold": 4},
        "startupProbe": probe | {"periodSeconds": 5, "timeoutSeconds": 15, "failureThreshold": 24},
    }
    if of_role.port:
        container["readinessProbe"] = probe | {"periodSeconds": 10, "timeoutSeconds": 10}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"reconciler-{role}", "labels": _labels(role)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _labels(role)},
            "template": {
                "metadata": {"labels": _labels(role)},
                "spec": {
                    # The listener opens Dagster's instance, whose launcher wants to be in a
                    # cluster; it asks nothing of it.
                    "automountServiceAccountToken": of_role.needs_home,
                    "containers": [container],
                    "volumes": _SCRATCH["volumes"],
                },
            },
        },
    }


def _service(role: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"reconciler-{role}", "labels": _labels(role)},
        "spec": {
            "selector": _labels(role),
            "ports": [{"port": 80, "targetPort": ROLES[role].port}],
        },
    }


def _container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "command": command,
        "envFrom": _FROM,
        "securityContext": _NOT_ROOT,
        "resources": _RESOURCES,
        "volumeMounts": _SCRATCH["mounts"],
    }


def _labels(part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "reconciler", "app.kubernetes.io/component": part}


def _camel(value: Any) -> Any:
    """Keys as Kubernetes writes them; those of the first two levels are Dagster's own."""
    if isinstance(value, dict):
        return {_camel_word(key): _camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_camel(item) for item in value]
    return value


def _camel_word(word: str) -> str:
    first, *others = word.split("_")
    return first + "".join(other.title() for other in others)
