from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reconciler_dagster.processes import has_ended, this_process

SAY = "from reconciler_dagster.processes import *; print(this_process(), flush=True); input()"


def test_a_process_is_known_for_as_long_as_it_is_there() -> None:
    assert not has_ended(this_process())
    with subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        line = other.stdout.readline()
        assert not has_ended(line.strip())
        other.kill()
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert has_ended(line.strip()), "nobody has waited for it yet"
    assert has_ended(line.strip())


def test_a_number_used_again_is_another_process() -> None:
    before, started = this_process().rsplit(" ", 1)
    assert has_ended(f"{before} 1{started}")


@pytest.mark.parametrize(
    "line", ["", "nonsense", "host 4711 815.00", "host place x 815", "host elsewhere 4711 815"]
)
def test_of_other_places_and_of_what_cannot_be_read_nothing_is_certain(line: str) -> None:
    assert not has_ended(line)


def test_a_host_name_is_no_place() -> None:
    """Two machines, or two containers, may bear the same."""
    host, _, pid, _ = this_process().rsplit(" ", 3)
    assert not has_ended(f"{host} another-boot/pid:[4026531836] {pid} 1")


def test_a_process_that_is_not_shown_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """`/proc` mounted with hidepid shows nothing of another user's process."""
    identity = this_process()

    def hidden(path: Path) -> str:
        if path == Path(f"/proc/{os.getpid()}/stat"):
            raise FileNotFoundError
        return read(path)

    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", hidden)
    assert not has_ended(identity)
