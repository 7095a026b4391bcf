"""Runs in processes that a warm parent has forked: real ones, and each of them killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

import reconciler_dagster
from reconciler_dagster import processes
from reconciler_dagster.config import project_file
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.alive import NOBODY, WARM_TAG, process_of, warm_tag
from reconciler_dagster.orchestration.warm import client, parent
from reconciler_dagster.orchestration.warm.protocol import (
    GO,
    LOG,
    STALE,
    Request,
    fingerprint,
    place,
    read_line,
)
from reconciler_dagster.processes import this_process
from reconciler_dagster_tests.orchestration.launching import (
    System,
    dagster_home,
    eventually,
    place_of,
)
from reconciler_dagster_tests.processes import has_ended

pytestmark = pytest.mark.minutes

SETTINGS = yaml.safe_load(project_file("dagster.yaml").read_text())
SLOTS = SETTINGS["concurrency"]["runs"]["max_concurrent_runs"]
SUCCESS, FAILURE, CANCELED, STARTED, QUEUED = (
    getattr(dg.DagsterRunStatus, name)
    for name in ("SUCCESS", "FAILURE", "CANCELED", "STARTED", "QUEUED")
)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with dagster_home() as home:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            own = System(home, instance)
            try:
                yield own
            finally:
                own.close()


def parent_of(system: System) -> psutil.Process:
    pid = client.parent_of(system.home)
    assert pid is not None
    return psutil.Process(pid)


def worker_of(system: System, run_id: str) -> psutil.Process:
    worker = system.worker(run_id)
    assert worker is not None
    return worker


def raising(error: Exception) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def tags_of(system: System, run_id: str) -> Mapping[str, str]:
    run = system.instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags


# What a run gets, and what it leaves


def test_a_run_is_forked_by_a_parent_with_one_thread_and_no_connection(system: System) -> None:
    run_id = system.launch()
    warm = parent_of(system)
    worker = worker_of(system, run_id)
    assert worker.ppid() == warm.pid
    assert os.getsid(worker.pid) == worker.pid
    assert warm.num_threads() == 1
    assert warm.net_connections("inet") == []
    listening = [one.laddr for one in warm.net_connections("unix") if one.laddr]
    assert [Path(one).name.split(".")[0] for one in listening] == ["socket"]
    assert {Path(one.path).name for one in warm.open_files()} == {LOG}
    system.monitor()
    assert system.status(run_id) is STARTED
    system.go.touch()
    assert system.ends(run_id) is SUCCESS


def test_a_run_leaves_nothing_to_the_next_one(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a setting that has changed reaches it without a new parent."""
    system.go.touch()
    seen = []
    for greeting in ("hello", "good morning"):
        monkeypatch.setenv("GREETING", greeting)
        run_id = system.create_and_launch()
        assert system.ends(run_id) is SUCCESS
        assert f"left behind: [], greeting: {greeting}" in system.told(run_id)
        seen.append(parent_of(system).pid)
    assert seen[0] == seen[1]


def test_the_socket_is_the_user_s_alone(system: System) -> None:
    client.ensure(system.home)
    folder = place(system.home)
    assert (folder.stat().st_mode & 0o777, (folder / "socket").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )


def test_a_folder_that_others_can_write_to_is_not_used(system: System) -> None:
    place(system.home).chmod(0o777)
    system.go.touch()
    run_id = system.create_and_launch()
    assert system.ends(run_id) is SUCCESS
    assert "No warm process can be had" in system.told(run_id)
    assert "is not a folder private to this user" in system.told(run_id)
    place_of(system.home).chmod(0o700)


def test_a_link_to_a_folder_is_not_used(system: System, tmp_path: Path) -> None:
    """In /tmp anybody may have laid it, to a folder whose sockets this user did not make."""
    tmp_path.chmod(0o700)
    place_of(system.home).symlink_to(tmp_path)
    with pytest.raises(client.NoWarmProcess, match="is not a folder private to this user"):
        client.ensure(system.home)
    place_of(system.home).unlink()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("fingerprint", raising(FileNotFoundError("a file that git is just exchanging"))),
        ("fingerprint", raising(PackageNotFoundError("reconciler"))),
        ("START_WITHIN_SECONDS", 0),
    ],
)
def test_whatever_keeps_a_warm_process_away_the_run_is_started(
    system: System, monkeypatch: pytest.MonkeyPatch, name: str, what: object
) -> None:
    monkeypatch.setattr(client, name, what)
    system.go.touch()
    run_id = system.create_and_launch()
    assert system.ends(run_id) is SUCCESS
    assert "No warm process can be had" in system.told(run_id)


def test_a_secret_is_struck_out_of_what_a_run_dies_of(system: System) -> None:
    """One that came with the run, and that the parent has never seen."""
    client.ensure(system.home)
    secret = "patSecretOfThisRun.0123456789"
    here = dict(os.environ) | {"AIRTABLE_API_KEY": secret}
    request = Request(fingerprint(), "run", "instance", here, f"/no such folder {secret}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place(system.home) / "socket"))
        connection.sendall(request.as_line())
        number = processes.number_of(read_line(connection).decode())
        connection.sendall(GO)
    eventually(lambda: not psutil.pid_exists(number))
    printed = (place(system.home) / LOG).read_text()
    assert "no such folder" in printed
    assert secret not in printed


def test_a_child_keeps_nothing_open_but_what_it_needs() -> None:
    code = (
        "import os; from reconciler_dagster.orchestration.warm import child\n"
        "kept, other = os.open('/', os.O_RDONLY), os.open('/', os.O_RDONLY)\n"
        "high = os.dup2(other, 900)\n"
        "child._close_all_but([kept])\n"
        "def lives(n):\n"
        "    try: return bool(os.fstat(n))\n"
        "    except OSError: return False\n"
        "print(*map(lives, (0, 1, 2, kept, other, high)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 4 + ["False"] * 2


def test_what_runs_print_does_not_grow_for_ever(system: System) -> None:
    client.ensure(system.home)
    log = place(system.home) / LOG
    with log.open("a") as output:
        output.write("x" * parent.LOG_BYTES)
    system.go.touch()
    assert system.ends(system.create_and_launch()) is SUCCESS
    assert log.stat().st_size < parent.LOG_BYTES
    assert log.with_suffix(".previous").stat().st_size >= parent.LOG_BYTES


# Ending a run


def test_a_run_can_be_terminated(system: System) -> None:
    run_id = system.launch()
    assert system.instance.run_launcher.terminate(run_id)
    assert system.ends(run_id) is CANCELED


def test_a_run_on_another_host_sees_by_itself_that_it_is_to_end(system: System) -> None:
    run_id = system.launch()
    there = process_of(run_id, tags_of(system, run_id), WARM_TAG)
    assert there is not None
    elsewhere = f"elsewhere {there.split(' ', 1)[1]}"
    system.instance.add_run_tags(run_id, warm_tag(run_id, elsewhere))
    assert system.instance.run_launcher.terminate(run_id)
    assert system.ends(run_id) is CANCELED


def test_a_run_that_is_gone_cannot_be_terminated(system: System) -> None:
    run_id = system.launch()
    worker = worker_of(system, run_id)
    parent_of(system).kill()
    worker.kill()
    eventually(lambda: has_ended(worker))
    assert not system.instance.run_launcher.terminate(run_id)


# kill -9


def test_a_killed_run_is_failed_at_once(system: System) -> None:
    """By the parent: nobody has to look."""
    run_id = system.launch()
    worker_of(system, run_id).kill()
    assert system.ends(run_id) is FAILURE
    assert "was ended by signal 9 (SIGKILL)" in system.told(run_id)


def test_a_killed_parent_takes_no_run_with_it_and_is_started_anew(system: System) -> None:
    run_id = system.launch()
    first = parent_of(system)
    first.kill()
    first.wait()
    system.monitor()
    assert system.status(run_id) is STARTED
    second = system.launch()
    assert worker_of(system, second).ppid() == parent_of(system).pid != first.pid
    system.go.touch()
    assert {system.ends(run_id), system.ends(second)} == {SUCCESS}


def test_a_parent_and_its_run_killed_together_are_seen_in_one_poll(system: System) -> None:
    run_id = system.launch()
    worker = worker_of(system, run_id)
    parent_of(system).kill()
    worker.kill()
    eventually(lambda: has_ended(worker))
    system.monitor()
    assert system.status(run_id) is FAILURE
    assert "the process that executed it is gone" in system.told(run_id)


def test_a_parent_that_hangs_is_not_waited_for_long(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it goes on, what it forks for the launcher that has gone harms nobody's run."""
    monkeypatch.setattr(client, "ANSWER_WITHIN_SECONDS", 1)
    client.ensure(system.home)
    warm = parent_of(system)
    warm.suspend()
    try:
        run_id = system.launch()
        assert "No warm process can be had" in system.told(run_id)
    finally:
        warm.resume()
    # It answers in turn: by then it has forked for the first one.
    assert asked(system, Request("another", "run", "instance", {}, "/")) == STALE
    warm.wait(60)  # it goes, after what it has forked and what that has to report
    assert system.status(run_id) is STARTED
    system.go.touch()
    assert system.ends(run_id) is SUCCESS
    assert system.told(run_id).count("Started process for run") == 1


def test_a_run_that_was_given_to_another_process_is_not_failed(system: System) -> None:
    """The first one may have been killed before it had the word."""
    run_id = system.launch()
    there = process_of(run_id, tags_of(system, run_id), WARM_TAG)
    assert there is not None
    number = worker_of(system, run_id).pid
    reference = internals.reference(system.instance)
    internals.fail_run(run_id, reference, number + 1, "another one has ended")
    assert system.status(run_id) is STARTED
    worker_of(system, run_id).suspend()
    internals.fail_run(run_id, reference, number, "this one has ended")
    assert system.status(run_id) is FAILURE
    worker_of(system, run_id).kill()


def test_a_run_that_goes_the_ordinary_way_names_no_warm_process(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that failed must not be what run monitoring judges it by."""

    def fail(home: Path, run_id: str, instance: str, note: Callable[[str], None]) -> None:
        note(this_process())
        raise client.NoWarmProcess("it died")

    monkeypatch.setattr(client, "launch", fail)
    run_id = system.launch()
    assert tags_of(system, run_id)[WARM_TAG] == NOBODY
    system.go.touch()
    assert system.ends(run_id) is SUCCESS


def test_a_launcher_that_goes_costs_the_parent_nothing(system: System) -> None:
    """It may go before it is answered, whatever the answer is."""
    client.ensure(system.home)
    warm = parent_of(system)
    warm.suspend()
    for code in (fingerprint(), "another"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(place(system.home) / "socket"))
            line = Request(code, "run", "instance", {}, "/").as_line()
            connection.sendall(line)
    warm.resume()
    run_id = system.launch()
    system.go.touch()
    assert system.ends(run_id) is SUCCESS
    assert "Traceback" not in (place(system.home) / LOG).read_text()


# Who starts it, and when it goes


def test_launchers_that_race_share_one_parent(system: System) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.ensure(system.home), range(4)))
    folder = str(place(system.home))
    there = [p for p in psutil.process_iter(["cmdline"]) if folder in (p.info["cmdline"] or [])]
    assert len(there) == 1


def test_a_parent_of_other_code_goes_and_a_new_one_comes(system: System) -> None:
    run_id = system.launch()
    first = parent_of(system)
    assert asked(system, Request("another", "run", "instance", {}, "/")) == STALE
    second = system.launch()
    assert worker_of(system, second).ppid() == parent_of(system).pid != first.pid
    assert worker_of(system, run_id).is_running(), "what it had started goes on"
    system.go.touch()
    assert {system.ends(run_id), system.ends(second)} == {SUCCESS}
    first.wait(60)


def asked(system: System, request: Request) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place(system.home) / "socket"))
        connection.sendall(request.as_line())
        return read_line(connection).decode().strip()


def test_the_fingerprint_changes_with_every_file_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("__init__.py", "inner/one.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(reconciler_dagster, "__file__", str(tmp_path / "__init__.py"))
    before = fingerprint()
    assert fingerprint() == before
    (tmp_path / "inner/one.py").write_text("x = 2\n")
    assert fingerprint() != before


def test_a_launcher_that_dies_before_its_word_has_started_nothing(system: System) -> None:
    """So whoever launches in its place cannot start the run a second time."""
    client.ensure(system.home)
    system.go.touch()
    request = Request(
        fingerprint(), "no such run", internals.reference(system.instance), dict(os.environ), "/"
    )
    child = int(asked(system, request).split()[-2])
    eventually(lambda: not psutil.pid_exists(child))
    assert "no such run" not in (place(system.home) / LOG).read_text()


def test_it_goes_when_it_is_told_to_and_ends_its_runs(system: System) -> None:
    run_id = system.launch()
    worker = worker_of(system, run_id)
    client.stop(system.home, 30)
    assert client.parent_of(system.home) is None
    assert not worker.is_running()
    assert system.ends(run_id) in (FAILURE, CANCELED)


def test_who_stops_may_spare_another_s(system: System) -> None:
    client.ensure(system.home)
    warm = parent_of(system)
    client.stop(system.home, 30, lambda process: process.pid != warm.pid)
    assert client.parent_of(system.home) == warm.pid
    client.stop(system.home, 30, lambda process: process.pid == warm.pid)
    assert client.parent_of(system.home) is None


def test_it_goes_when_its_folder_is_gone(system: System) -> None:
    client.ensure(system.home)
    warm = parent_of(system)
    (place(system.home) / "socket").unlink()
    warm.wait(60)


# The queue's limits


def test_a_run_for_which_there_is_no_room_goes_back_into_the_queue(system: System) -> None:
    """Two launchers may both have seen the last free place."""
    first = [system.launch() for _ in range(SLOTS)]
    one_more = system.create_and_launch()
    assert system.status(one_more) is QUEUED
    system.go.touch()
    for run_id in first:
        assert system.ends(run_id) is SUCCESS
    run = system.instance.get_run_by_id(one_more)
    assert run is not None
    assert internals.fits_the_queue(system.instance, run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_run_itself_interrupts_it(system: System, number: int) -> None:
    run_id = system.launch()
    worker_of(system, run_id).send_signal(number)
    assert system.ends(run_id) in (FAILURE, CANCELED)
