"""The command line of each part that `reconciler up` starts, for Python's `-m`."""

from __future__ import annotations

from pathlib import Path

LISTENER = ("reconciler_dagster.orchestration.listener",)


def sandbox(url: str, leads: int, state: Path) -> tuple[str, ...]:
    """The Airtable sandbox; it keeps its records in the state folder."""
    return (
        *("reconciler_dagster.sandbox", "--port", _port(url)),
        *("--leads", str(leads), "--state", str(state / "sandbox.sqlite")),
    )


def code_server(socket: Path) -> tuple[str, ...]:
    """Dagster's server of the project's definitions."""
    return (
        *("dagster", "api", "grpc", "--socket", str(socket), "--log-level", "warning"),
        *("--module-name", "reconciler_dagster.definitions", "--location-name", "reconciler"),
    )


def webserver(url: str, workspace: Path) -> tuple[str, ...]:
    """Dagster's UI."""
    return (
        *("dagster_webserver", "--host", "127.0.0.1", "--port", _port(url)),
        *("--workspace", str(workspace), "--dagster-log-level", "warning"),
    )


def daemon(workspace: Path) -> tuple[str, ...]:
    """Dagster's daemon: schedules, sensors, the queue, run monitoring."""
    return ("dagster._daemon", "run", "--workspace", str(workspace), "--log-level", "warning")


def portal(url: str) -> tuple[str, ...]:
    """The portal's API and console."""
    return (
        *("uvicorn", "--factory", "reconciler_dagster.portal.app:create_app"),
        *("--host", "127.0.0.1", "--port", _port(url), "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "2"),
    )


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1]
