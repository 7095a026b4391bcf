"""Load: a large base, an hour of edits with faults, a full Postgres, a week without a daemon.

    .venv/bin/python benchmarks/load.py [leads] [edits a side]

125,000 leads and 5,000 edits a side unless given. The sandbox's rate limit is off, so the seconds
are the engine's; calls are counted, and a limit of 4.76 a second adds calls / 4.76. Ends with an
assertion where an edit was lost.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import psycopg

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.postgres import bucket
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster_tests.world import World, world


def main() -> None:
    leads, edits = ([int(n) for n in sys.argv[1:]] + [125_000, 5_000][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="reconciler-load-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        url = server.create_database("load")
        upgrade(engine(url))
        with world(url, leads=leads) as acme:
            acme.settings.retry_seconds, acme.settings.lockout_seconds = 0.01, 0.1
            _first_contact_apart(acme, url, leads)
            ids = [row[0] for row in acme.sql("SELECT airtable_record_id FROM leads ORDER BY 1")]
            acme.sandbox.advance(86_400)
            _timed(acme, "nothing to do")
            _edit(acme, ids, edits, "large")
            _timed(acme, f"{edits:,} edits a side")
            _check(acme, ids, "large")
            _hour(acme, ids)
            _week(acme, ids)
            _full_postgres(acme, url)
            acme.sync(EVERYTHING)
            acme.assert_converged()
        server.stop()
    print("Both sides and the baseline agree; no edit was lost.")


def _timed(acme: World, what: str) -> None:
    started = time.monotonic()
    ran = acme.sync()
    seconds = time.monotonic() - started
    print(
        f"{what}: {seconds:.1f} s, {ran.counts.airtable_calls} calls, "
        f"{ran.counts.local_writes} leads written in Postgres, "
        f"{ran.counts.remote_writes} in Airtable",
        flush=True,
    )


def _first_contact_apart(acme: World, url: str, leads: int) -> None:
    """In a process of its own, as a run is: this one holds the sandbox and its base."""
    own = get_context("spawn").Process(
        target=_first_contact,
        args=(url, acme.sandbox.url, acme.sandbox.token, acme.sandbox.base_id, leads),
    )
    own.start()
    own.join()
    assert own.exitcode == 0


def _first_contact(url: str, endpoint: str, token: str, base_id: str, leads: int) -> None:
    acme = World(url, SandboxClient(endpoint, token, base_id))
    acme.settings.calls_per_second = 1000
    before = _peak_mib()
    with patch.object(bucket, "URGENT_SECONDS", 0.0):
        _timed(acme, f"first contact of {leads:,} leads")
    print(f"its process: {before} MiB before, at most {_peak_mib()} MiB", flush=True)


def _peak_mib() -> int:
    # Not getrusage: a process inherits the peak of the one that started it.
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one]
    return int(line.split()[1]) // 1024


def _edit(acme: World, ids: list[str], count: int, mark: str) -> None:
    """Airtable's people edit the first, the portal's the last of the leads."""
    acme.sandbox.edit_many({r: {"Company": f"{mark} {r}"} for r in ids[:count]})
    acme.sql(
        "UPDATE leads SET sms_stop_reason = :mark || airtable_record_id "
        "WHERE airtable_record_id = ANY(:ids)",
        mark=f"{mark} ",
        ids=ids[-count:],
    )


def _check(acme: World, ids: list[str], mark: str, count: int = 1) -> None:
    for record_id in ids[:count]:
        assert acme.lead(record_id)["company"] == f"{mark} {record_id}"
    for record_id in ids[-count:]:
        assert acme.cell(record_id, "SMS Stop Reason") == f"{mark} {record_id}"


def _hour(acme: World, ids: list[str]) -> None:
    """60 minutes of edits on both sides; every twentieth call fails in one of many ways."""
    chance, failed, last = random.Random(1), 0, {}
    for n, act in enumerate(("status", "status_after_commit", "cut_after_commit", "truncate")):
        acme.sandbox.fault(act, probability=0.0125, times=None, seed=n, status=500)
    for minute in range(60):
        for _ in range(10):
            there, here = chance.sample(ids, 2)
            acme.sandbox.edit(there, {"Company": f"minute {minute}"})
            acme.update(here, sms_stop_reason=f"minute {minute}")
            last[there, "company"] = last[here, "sms_stop_reason"] = f"minute {minute}"
        acme.sandbox.advance(60)
        if minute % 15 == 14:
            try:
                acme.sync()
            except (SourceError, ConfigurationError):
                failed += 1
    acme.sandbox.clear_faults()
    acme.sync()
    lost = sum(acme.lead(r)[column] != value for (r, column), value in last.items())
    assert lost == 0, f"{lost} of {len(last)} edits were lost"
    print(f"an hour of 1,200 edits, 5 % of the calls failing: {failed} of 4 runs failed, 0 lost")


def _week(acme: World, ids: list[str]) -> None:
    for day in range(7):
        _edit(acme, ids[day * 20 : day * 20 + 20], 10, f"day {day}")
        acme.sandbox.advance(86_400)
    _timed(acme, "a week without a daemon")
    for day in range(7):
        _check(acme, ids[day * 20 : day * 20 + 20], f"day {day}", 10)


def _full_postgres(acme: World, url: str) -> None:
    """No connection is left: the run says so, and the next one has lost nothing."""
    ids = sorted(acme.sandbox.records())
    _edit(acme, ids, 5, "full")
    acme.engine.dispose()
    taken: list[psycopg.Connection] = []
    try:
        while True:
            taken.append(psycopg.connect(url))
    except psycopg.OperationalError:
        pass
    try:
        acme.sync()
        raise AssertionError("there was a connection left")
    except ConfigurationError as error:
        print(f"Postgres with no connection left: {error}")
    for connection in taken:
        connection.close()
    acme.sync()
    _check(acme, ids, "full", 5)


if __name__ == "__main__":
    main()
