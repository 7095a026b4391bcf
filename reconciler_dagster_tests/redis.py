"""A real Redis for tests, on a free loopback port, with its data in a folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from reconciler_dagster.supervisor.ready import free_port

PROGRAM = shutil.which("redis-server")
needed = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


class Redis:
    """Killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port(26400, set())
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "--port", str(self._port), "--bind", "127.0.0.1"),
                *("--dir", str(self._folder), "--appendonly", "yes", "--save", ""),
                *("--logfile", str(self._folder / "redis.log")),
            ]
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _answers(self) -> bool:
        import redis

        try:
            return bool(redis.Redis.from_url(self.url).ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
