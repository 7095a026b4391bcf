"""A deployment whose runs are executed by workers on several hosts: a real Redis, real workers,
each host in a process namespace of its own, so that nobody can see from elsewhere whether its
processes live.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from reconciler_dagster.config import Settings
from reconciler_dagster.definitions import defs
from reconciler_dagster.deploying.roles import ROLES, Chosen, python_command
from reconciler_dagster.orchestration.dagster_yaml import text_for
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster.supervisor.ready import free_port, location_problem
from reconciler_dagster_tests.deployment import Deployment, eventually
from reconciler_dagster_tests.redis import Redis

CODE = "code"
APART = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]


def can_be_apart() -> bool:
    """Whether hosts can have a process namespace of their own here."""
    done = shutil.which("unshare") and subprocess.run(
        [*APART, "true"], check=False, capture_output=True
    )
    return bool(done) and done.returncode == 0


class Spread(Deployment):
    """``slots``: runs at a time, everywhere together."""

    def __init__(self, folder: Path, sandbox: SandboxClient, slots: int = 3, **env: str) -> None:
        (folder / "redis").mkdir()
        self.redis = Redis(folder / "redis")
        super().__init__(
            folder,
            sandbox,
            RECONCILER_RUN_LAUNCHER="celery",
            RECONCILER_REDIS_URL=self.redis.url,
            RECONCILER_RUN_SLOTS=str(slots),
            **env,
        )
        settings = Settings(RECONCILER_RUN_LAUNCHER="celery", RECONCILER_RUN_SLOTS=slots)
        (self.home / "dagster.yaml").write_text(text_for(settings))
        # Of what somebody starts again: workers and code server.
        self._commands: dict[str, list[str]] = {}

    def start_code_server(self) -> None:
        """One for all, as in a cluster. Before the daemon."""
        port = free_port(24000, set())
        self.environment["RECONCILER_CODE_SERVER"] = f"127.0.0.1:{port}"
        self._commands[CODE] = self._command_of(CODE, Chosen("127.0.0.1", port, 0, False))
        self.start(CODE, self._commands[CODE])

    def start_daemon(self) -> subprocess.Popen[bytes]:
        """As its role, where there is a code server."""
        if CODE not in self._commands:
            return super().start_daemon()
        return self.start("daemon", self._command_of("daemon", Chosen("", 0, 0, False)))

    def stop_schedules(self) -> None:
        """Have nothing run by the clock. After the daemon, which makes the workspace."""
        workspace = self.folder / "workspace.yaml"
        eventually(workspace.exists)
        for schedule in defs.get_repository_def().schedule_defs:
            command = ["-m", "dagster", "schedule", "stop", schedule.name, "-w", str(workspace)]
            eventually(lambda command=command: self._is_done(command))

    def _is_done(self, command: list[str]) -> bool:
        done = subprocess.run(
            [sys.executable, *command], env=self.environment, check=False, capture_output=True
        )
        return done.returncode == 0

    def start_webserver(self) -> str:
        """Dagster's UI; its address, once it answers. After the code server."""
        port = free_port(25000, set())
        self.start("webserver", self._command_of("webserver", Chosen("127.0.0.1", port, 0, False)))
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: location_problem(address) is None)
        return address

    def _command_of(self, role: str, chosen: Chosen) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("RECONCILER_REDIS_URL", "RECONCILER_CODE_SERVER", "RECONCILER_STATE_DIR"):
                if name in self.environment:
                    patch.setenv(name, self.environment[name])
            return python_command(ROLES[role].command(chosen))

    def start_worker(
        self, name: str, *, apart: bool = True, slots: int = 2, manual_only: bool = False
    ) -> None:
        """A worker named like `runs@host`; returns when it takes runs."""
        chosen = Chosen("", 0, 1 if manual_only else slots, manual_only)
        command = self._command_of("worker", chosen)
        command[command.index("--hostname") + 1] = name
        self._commands[name] = [*(APART if apart else []), *command]
        self._start_worker(name)

    def _start_worker(self, name: str) -> None:
        log = self.log_of(name)
        before = log.stat().st_size if log.exists() else 0
        self.start(name, self._commands[name])
        eventually(lambda: b" ready." in log.read_bytes()[before:])

    def start_again(self) -> None:
        """Workers and code server that have ended, as systemd, Docker and Kubernetes do."""
        for name in self._commands:
            if self.runs(name):
                continue
            if name == CODE:
                self.start(CODE, self._commands[CODE])
            else:
                self._start_worker(name)

    def kill_any(self, kind: str, choose: random.Random) -> None:
        """kill -9 of a part of that kind, which somebody starts again: of workers and the code
        server, see ``start_again``.
        """
        name = choose.choice([one for one in self._commands if one != CODE and self.runs(one)])
        if kind == "host":
            self.kill(name)
        elif kind == "child":
            choose.choice(self.processes_of(name)[1:]).kill()
        elif kind == CODE:
            self.kill(CODE)
        elif kind == "redis":
            self.redis.kill()
            time.sleep(choose.uniform(0, 3))
            self.redis.start()
        elif kind == "postgres":
            self.postgres.process.kill()
            self.postgres.stop()
            self.postgres.start()
        elif kind == "daemon":
            self.kill("daemon")
            self.start_daemon()
        else:
            raise ValueError(kind)

    def runs(self, name: str) -> bool:
        """Whether a process that was started has not ended."""
        return self._processes[name].poll() is None

    def processes_of(self, name: str) -> list[psutil.Process]:
        """All of a worker's, its own first."""
        return psutil.Process(self._processes[name].pid).children(recursive=True)

    def memory_of(self, name: str) -> int:
        """Bytes that a process and all below it hold; what they share with others in part; 0
        where it was killed and is not started again yet.
        """
        used = 0
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._processes[name].pid)
            for process in [own, *own.children(recursive=True)]:
                with suppress(psutil.Error):
                    used += process.memory_full_info().pss
        return used

    def log_of(self, name: str) -> Path:
        """What a process has said."""
        return self.folder / f"{name}.log"

    def close(self) -> None:
        super().close()
        self.redis.kill()
