"""Starting the whole system, watching it, and taking it down in order."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from reconciler_dagster.config import (
    RUNNING,
    ConfigurationError,
    Settings,
    environment_name,
    starts_by_itself,
    state_dir,
    usable_folder,
)
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.portal.tables import require_public
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.account import EmbeddedPostgresError
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.supervisor import commands, demo, ready, words
from reconciler_dagster.supervisor.anew import Anew
from reconciler_dagster.supervisor.child import MARK, Child, is_marked, kill_marked, tail
from reconciler_dagster.supervisor.plan import (
    PORTS,
    Asked,
    Plan,
    has_token_key,
    substitutes,
    write_running,
)
from reconciler_dagster.syncs.in_force import maps

DEMO_LEADS = 2000
_READY_CEILING = 180
_LONGEST_SOCKET = 100


class AlreadyRunning(ConfigurationError):
    """Another `up` holds the state folder."""


class ChildDied(Exception):
    """A part ended by itself. The message names it and shows the end of its log."""


class Stopped(Exception):
    """Somebody asked for the end."""


class Stack:
    """Everything that one `reconciler up` started."""

    def __init__(
        self, ports: dict[str, int], leads: int = DEMO_LEADS, may_migrate: Asked = lambda: False
    ) -> None:
        self._wanted, self._leads, self._may_migrate = PORTS | ports, leads, may_migrate
        self._state = state_dir().resolve()
        self._logs = self._state / "logs"
        self._children: dict[str, Child] = {}
        self._postgres: PostgresServer | None = None
        self._lock = -1
        self._signals = 0
        self._temporary: Path | None = None
        self._home: Path | None = None
        self._anew = Anew()
        self._env: dict[str, str] = {}

    def run(self) -> None:
        """Start, tell, watch. Returns after Ctrl-C or SIGTERM, with everything taken down.

        Raises ConfigurationError where it cannot start, ChildDied where a part ends by itself.
        """
        # Also where a shell has set SIGINT to be ignored, as it does for `reconciler up &`.
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, self._on_signal)
        self._take_lock()
        try:
            self._start()
            while True:
                self._look()
                time.sleep(0.2)
        except Stopped:
            click.echo("\nStopping ...")
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: object) -> None:
        # Only noted: nothing may be interrupted between starting a process and knowing of it.
        self._signals += 1

    def _take_lock(self) -> None:
        self._lock = os.open(self._state / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"`reconciler up` already runs on {self._state}: stop that one first, or set "
                "RECONCILER_STATE_DIR to another folder."
            ) from None

    def _start(self) -> None:
        began = time.monotonic()
        (self._state / RUNNING).unlink(missing_ok=True)
        if kill_marked(self._state):
            click.echo("Ended what an earlier `reconciler up` had left running.")
        settings = Settings.load()
        plan = Plan.of(settings)
        plan.check_real(settings)
        migrating = plan.is_to_be_migrated(settings, self._may_migrate)
        elsewhere = {} if plan.sandbox else {"sandbox": settings.airtable_endpoint_url}
        addresses = ready.addresses(self._wanted, elsewhere)
        usable_folder(self._logs, "RECONCILER_STATE_DIR")

        urls = {"sandbox": addresses["sandbox"], "ui": addresses["dagster"]}
        urls["console"] = addresses["portal"]
        if plan.postgres:
            click.echo("Starting Postgres ...")
            urls |= self._start_postgres()
        found = substitutes(plan, self._state, urls)
        os.environ.update(found)
        self._home = dagster_home()
        self._env = os.environ | {
            MARK: str(self._state),
            "RECONCILER_STATE_DIR": str(self._state),
            "DAGSTER_DISABLE_TELEMETRY": "true",
            "PYTHONUNBUFFERED": "1",
        }
        click.echo("Starting the rest ...")
        if plan.sandbox:
            self._spawn("sandbox", commands.sandbox(addresses["sandbox"], self._leads, self._state))
        code_socket = self._spawn_code_server()
        self._prepare_portal(plan, migrating)

        self._wait("code server", lambda: ready.listens(code_socket))
        self._spawn_dagster(code_socket, addresses["dagster"])
        if starts_by_itself():
            self._spawn("listener", commands.LISTENER)
        with_portal = self._spawn_portal(plan, addresses["portal"])
        if plan.sandbox:
            self._wait("sandbox", lambda: ready.answers(addresses["sandbox"]))
        self._wait("webserver", lambda: ready.location_problem(addresses["dagster"]) is None)
        if with_portal:
            self._wait("portal", lambda: ready.answers(f"{addresses['portal']}/health"))
        self._wait("daemon", lambda: ready.daemon_is_healthy(addresses["dagster"]))
        write_running(self._state, found)
        shown = {
            name: url
            for name, url in addresses.items()
            if name == "dagster" or name in self._children
        }
        click.echo(words.ready(plan, shown, self._logs, time.monotonic() - began))
        if not starts_by_itself():
            click.echo(words.nothing_starts(environment_name()))

    def _start_postgres(self) -> dict[str, str]:
        self._postgres = PostgresServer(self._state / "postgres")
        try:
            self._postgres.start()
        except EmbeddedPostgresError as error:
            raise ConfigurationError(str(error)) from None
        return {name: self._postgres.url(name) for name in ("portal", "dagster")}

    def _prepare_portal(self, plan: Plan, migrating: bool) -> None:
        settings = Settings.load()
        portal = engine(settings.require_database_url())
        if migrating:
            require_public(portal, settings.listed_clients)
            upgrade(portal, syncs=maps(settings).values(), listed=settings.listed_clients)
        if plan.is_demo:
            demo.seed(portal, DEMO_BASE_ID)
        portal.dispose()
        self._look()

    def _spawn(self, name: str, arguments: Sequence[str], **env: str) -> None:
        self._look()
        self._children[name] = Child(
            name,
            [sys.executable, "-m", *arguments],
            self._env | env,
            self._logs / f"{name.replace(' ', '-')}.log",
            self._state,
        )

    def _spawn_code_server(self) -> Path:
        # A socket in a private folder: over TCP any local user could run code through it.
        path = self._state / "code.sock"
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            self._temporary = Path(tempfile.mkdtemp(prefix="reconciler-"))
            path = self._temporary / "code.sock"
        path.unlink(missing_ok=True)
        self._spawn(
            "code server",
            commands.code_server(path),
            # For calls in flight; runs are waited for besides.
            DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD="2",
        )
        return path

    def _spawn_dagster(self, code_socket: Path, url: str) -> None:
        workspace = self._state / "workspace.yaml"
        workspace.write_text(
            "load_from:\n- grpc_server:\n"
            f"    socket: {code_socket}\n    location_name: reconciler\n"
        )
        self._spawn("webserver", commands.webserver(url, workspace))
        self._spawn("daemon", commands.daemon(workspace))

    def _spawn_portal(self, plan: Plan, url: str) -> bool:
        if not has_token_key():
            click.echo("The portal is not started: set PORTAL_JWT_SECRET or PORTAL_JWKS_URL.")
            return False
        self._spawn(
            "portal",
            commands.portal(url),
            **({"PORTAL_DEMO": "1"} if plan.is_demo else {}),
        )
        return True

    def _look(self) -> None:
        """Raise if somebody asked for the end, or if a part has ended."""
        if self._signals:
            raise Stopped
        for child in list(self._children.values()):
            if child.exit_code is None:
                continue
            if child.name == "listener":
                self._look_at_listener(child, child.exit_code)
            else:
                raise ChildDied(words.died(child.name, child.exit_code, child.log, child.tail()))
        if self._postgres is not None:
            code = self._postgres.process.poll()
            if code is not None:
                log = self._postgres.log
                raise ChildDied(words.died("Postgres", code, log, tail(log)))

    def _look_at_listener(self, child: Child, code: int) -> None:
        if self._anew.given_up:
            return
        if self._anew.is_due(code, time.monotonic() - child.started):
            self._children.pop(child.name)
            self._spawn(child.name, commands.LISTENER)
        if self._anew.given_up:
            click.echo(words.no_listener(child.tail()), err=True)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_CEILING
        while not is_ready():
            self._look()
            if time.monotonic() > deadline:
                child = self._children[name]
                raise ChildDied(words.not_ready(name, _READY_CEILING, child.log, child.tail()))
            time.sleep(0.1)

    def _stop(self) -> None:
        """Take everything down. Whatever fails on the way, the rest of it is done."""
        with ExitStack() as rest:  # the last one first
            rest.callback(os.close, self._lock)
            if self._temporary is not None:
                rest.callback(shutil.rmtree, self._temporary, ignore_errors=True)
            rest.callback((self._state / RUNNING).unlink, missing_ok=True)
            if self._postgres is not None:
                rest.callback(self._postgres.stop)
            rest.callback(kill_marked, self._state)
            self._stop_children()

    def _stop_children(self) -> None:
        """In order: who asks, who runs, what they run on. A second signal hurries it."""
        for names, seconds in (
            (("portal", "webserver", "daemon", "listener"), 5),
            (("code server",), 10),
            (("sandbox",), 3),
        ):
            children = [self._children[name] for name in names if name in self._children]
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.wait_until_gone(seconds, lambda: self._signals > 1)
            if "daemon" in names and self._home is not None and self._signals < 2:
                # Nobody launches any more. Another deployment on this home keeps its own.
                client.stop(self._home, 10, lambda process: is_marked(process, self._state))
