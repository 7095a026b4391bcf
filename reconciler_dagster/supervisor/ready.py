"""Whether what was started can be used: ports, sockets, HTTP, and Dagster's own word for it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click

_LOOPBACK = "127.0.0.1"
# Loopback never goes through a proxy of the environment.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_WORKSPACE = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
_DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


def free_port(wanted: int, taken: set[int]) -> int:
    """The first port from the wanted one on that nobody listens on and that is not spoken for."""
    for port in range(wanted, 65536):
        if port in taken:
            continue
        with socket.socket() as probe:
            # A port whose last connections are only fading away is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise OSError(f"no free port from {wanted} on")


def addresses(wanted: dict[str, int], elsewhere: dict[str, str]) -> dict[str, str]:
    """Where each part is to be, by the port wanted; ``elsewhere``: those that are there already.
    Says so where a port is taken.
    """
    found, taken = dict(elsewhere), set[int]()
    for name in (name for name in wanted if name not in elsewhere):
        port = free_port(wanted[name], taken)
        if port != wanted[name]:
            click.echo(f"Port {wanted[name]} is taken: {name} is on {port}.")
        found[name] = f"http://{_LOOPBACK}:{port}"
    return {name: found[name] for name in wanted}


def listens(path: Path) -> bool:
    """Whether somebody takes connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def answers(url: str) -> bool:
    """Whether a page can be had."""
    try:
        with _http.open(url, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def location_problem(dagster_url: str) -> str | None:
    """Why the code location is not loaded; None once it is."""
    data = _ask(dagster_url, _WORKSPACE)
    entries = ((data or {}).get("workspaceOrError") or {}).get("locationEntries") or []
    if not entries or entries[0]["loadStatus"] != "LOADED":
        return "not loaded yet"
    problem: str | None = entries[0]["locationOrLoadError"].get("message")
    return problem


def daemon_is_healthy(dagster_url: str) -> bool:
    """Whether every daemon that this instance needs has given a sign of life."""
    data = _ask(dagster_url, _DAEMONS)
    if data is None:
        return False
    statuses = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    return all(status["healthy"] for status in statuses if status["required"])


def _ask(dagster_url: str, query: str) -> dict[str, Any] | None:
    request = urllib.request.Request(
        f"{dagster_url}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with _http.open(request, timeout=10) as answer:
            data: dict[str, Any] | None = json.load(answer).get("data")
            return data
    except (OSError, ValueError):
        return None
