"""The processes of a deployment, each one role of the same image, and how each is started."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler_dagster import environment
from reconciler_dagster.config import ConfigurationError, project_file, state_dir
from reconciler_dagster.deploying import health
from reconciler_dagster.orchestration.dagster_yaml import MANUAL_QUEUE, ORDINARY_QUEUE

EVERYWHERE = "0.0.0.0"  # nosec B104  # a container's own network


@dataclass(frozen=True)
class Chosen:
    """What may be chosen for a role. ``slots``: runs at a time of a worker; ``manual_only``: it
    takes the runs that a person waits for, and no others.
    """

    host: str
    port: int
    slots: int
    manual_only: bool


@dataclass(frozen=True)
class Role:
    """``command``: for Python's ``-m``. ``check``: raises health.Unwell."""

    what: str
    command: Callable[[Chosen], list[str]]
    check: Callable[[Chosen], None]
    port: int = 0
    needs_home: bool = True


def _webserver(chosen: Chosen) -> list[str]:
    return [
        *("dagster_webserver", "--host", chosen.host, "--port", str(chosen.port)),
        *("--workspace", str(_workspace()), "--dagster-log-level", "warning"),
    ]


def _daemon(chosen: Chosen) -> list[str]:
    return ["dagster._daemon", "run", "--workspace", str(_workspace()), "--log-level", "warning"]


def _code(chosen: Chosen) -> list[str]:
    return [
        *("dagster", "api", "grpc", "--host", chosen.host, "--port", str(chosen.port)),
        *("--module-name", "reconciler_dagster.definitions", "--location-name", "reconciler"),
        *("--log-level", "warning"),
    ]


def _worker(chosen: Chosen) -> list[str]:
    queues = MANUAL_QUEUE if chosen.manual_only else f"{MANUAL_QUEUE},{ORDINARY_QUEUE}"
    if environment.value("RECONCILER_REDIS_URL") is None:
        raise ConfigurationError(
            "RECONCILER_REDIS_URL is not set, and a worker gets its runs from there: set it to "
            "redis://host:6379/0, and RECONCILER_RUN_LAUNCHER=celery."
        )
    return [
        *("celery", "--app", "reconciler_dagster.orchestration.celery_runs.app", "worker"),
        *("--queues", queues, "--concurrency", str(chosen.slots), "--loglevel", "INFO"),
        *("--hostname", worker_name(chosen), "--without-gossip", "--without-mingle"),
    ]


def worker_name(chosen: Chosen) -> str:
    """By which a worker is asked whether it is well."""
    return f"{'manual' if chosen.manual_only else 'runs'}@{socket.gethostname()}"


def _portal(chosen: Chosen) -> list[str]:
    return [
        *("uvicorn", "--factory", "reconciler_dagster.portal.app:create_app"),
        *("--host", chosen.host, "--port", str(chosen.port), "--log-level", "warning"),
        # A proxy of the platform stands before it; the rate limit goes by what that one says.
        *("--proxy-headers", "--timeout-graceful-shutdown", "10"),
    ]


def _listener(chosen: Chosen) -> list[str]:
    return ["reconciler_dagster.orchestration.listener"]


ROLES = {
    "webserver": Role(
        "Dagster's UI",
        _webserver,
        lambda chosen: health.web(chosen.port, "/server_info"),
        port=3000,
    ),
    "daemon": Role(
        "Dagster's schedules, sensors and run queue", _daemon, lambda chosen: health.daemon()
    ),
    "code": Role(
        "the definitions, for webserver and daemon",
        _code,
        lambda chosen: health.code_server(chosen.port),
        port=4000,
    ),
    "worker": Role(
        "executes runs, with RECONCILER_RUN_LAUNCHER=celery",
        _worker,
        lambda chosen: health.worker(worker_name(chosen)),
    ),
    "portal": Role(
        "the HTTP API and the console",
        _portal,
        lambda chosen: health.web(chosen.port, "/health"),
        port=8000,
        needs_home=False,
    ),
    "listener": Role(
        "starts a run as soon as one is asked for", _listener, lambda chosen: health.listener()
    ),
}


def _workspace() -> Path:
    """Where the definitions are: a code server's address, or this very Python."""
    address = environment.value("RECONCILER_CODE_SERVER")
    if address is None:
        return project_file("workspace.yaml")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(f"RECONCILER_CODE_SERVER is {address}: expected host:port.")
    server = {"host": host, "port": int(port), "location_name": "reconciler"}
    path = state_dir() / "workspace.yaml"
    path.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML
    return path


def python_command(arguments: list[str]) -> list[str]:
    """The command line of a role, for this Python."""
    return [sys.executable, "-m", *arguments]
