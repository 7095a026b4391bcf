"""Many clients in workers on several hosts: nothing lost, nothing twice, and how long a tick takes.

    python benchmarks/fleet.py [--clients 10] [--ticks 4] [--hosts 2] [--slots 2] [--leads 20]
                               [--flags 5] [--kill PART] [--seed 1]

Starts Postgres, PgBouncer in transaction mode, Redis, a sandbox with a base for each client, the
code server, the daemon, the listener and the workers, each host in a process namespace of its own
where that can be had. In each tick people edit leads on both sides, every client is to be synced
once, and meanwhile people ask for syncs of single clients and wait. With --kill one such part
(host, child of a worker, code server, daemon, redis, pooler, postgres, or each in its turn) is
ended by kill -9 at a random moment of each tick but the last, and started again where somebody
would see to that.

Prints a line a tick: how long it took (to create its runs), when they had all ended, from a flag
row to both sides equal, the most connections to Postgres, and memory (shared pages counted once).
Then how long pages of Dagster's UI take, and what was proved. Exit code 1 where anything of that
does not hold. Needs the extra `celery`, redis-server and pgbouncer.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
from fleet_checks import of_flags, pages, what_is_wrong  # beside this file

EDITS = 3
POOL = 20  # as compose.yaml has it
KILLED = ("host", "child", "code", "daemon", "redis", "pooler", "postgres")
SEEN_SECONDS = 60  # the longest until what was under way at a kill has ended, or is seen as dead
UNFINISHED = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
SAY = (
    "UPDATE leads SET notes = %s WHERE airtable_record_id = %s "
    "AND client_id = (SELECT id FROM clients WHERE airtable_base_id = %s)"
)
SAID = (
    "SELECT notes FROM leads WHERE airtable_record_id = %s "
    "AND client_id = (SELECT id FROM clients WHERE airtable_base_id = %s)"
)
ASK = (
    "INSERT INTO reconciler.manual_sync_request (client_id) "
    "SELECT id FROM clients WHERE airtable_base_id = %s RETURNING id"
)


def main() -> None:
    chosen = arguments()
    if importlib.util.find_spec("dagster_celery") is None:
        print("The extra `celery` is not installed: nothing was measured.")
        return
    with ExitStack() as held:
        name = held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-fleet-"))
        Path(name).chmod(0o755)
        fleet = Fleet(Path(name), chosen, held)
        for tick in range(chosen.ticks):
            kinds = KILLED if chosen.kill == "each" else [chosen.kill]
            fleet.tick(tick, kinds[tick % len(kinds)] if tick < chosen.ticks - 1 else None)
        print(f"UI: {pages(fleet.host)}")
        wrong = what_is_wrong(fleet)
        print(f"all ticks: {of_flags(fleet.waited)}")
    print("\n".join(wrong) or "Proved: nothing lost, nothing twice, no call over the budget.")
    sys.exit(1 if wrong else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    numbers = {"clients": 10, "ticks": 4, "hosts": 2, "slots": 2, "leads": 20, "flags": 5}
    for name, number in {**numbers, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--kill", choices=[*KILLED, "each"])
    chosen = parser.parse_args()
    if chosen.leads < 2 * EDITS + 2:
        parser.error(f"--leads {chosen.leads}: {2 * EDITS + 2} or more are edited.")
    return chosen


class Fleet:
    """A deployment of many clients, and people who edit."""

    def __init__(self, folder: Path, chosen: argparse.Namespace, held: ExitStack) -> None:
        from dagster import DagsterInstance

        from reconciler_dagster.sandbox.testing import running_sandbox
        from reconciler_dagster_tests.pooler import Pooler
        from reconciler_dagster_tests.spread import Spread, can_be_apart

        self.chosen, self.random = chosen, random.Random(chosen.seed)
        self.bases = [f"appFleet{n:09d}" for n in range(chosen.clients)]
        self.sandbox = held.enter_context(running_sandbox(chosen.leads, self.bases))
        # One slot more is kept for those who wait.
        self.host = Spread(folder, self.sandbox, slots=chosen.hosts * chosen.slots + 1)
        held.callback(self.host.close)
        direct = self.host.environment["DATABASE_URL"]
        self.dagster_url = self.host.environment["DAGSTER_POSTGRES_URL"]
        self.pooler = held.enter_context(Pooler(self.host.postgres, size=POOL))
        for name in ("DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            self.host.environment[name] = self.pooler.through(self.host.environment[name])
        self._make_clients()
        self.records = {base: sorted(self.sandbox.on(base).records()) for base in self.bases}
        os.environ.update(self.host.environment)
        self.instance = held.enter_context(DagsterInstance.get())
        self._submission = self._prepare()
        self.host.start_code_server()
        self.host.start_daemon()
        self.host.stop_schedules()  # only the ticks of this program are to be measured
        self.host.start_listener(DATABASE_URL=direct)
        apart = can_be_apart()
        self.workers = [f"runs@host-{number}" for number in range(chosen.hosts)]
        for name in self.workers:
            self.host.start_worker(name, apart=apart, slots=chosen.slots)
        self.host.start_worker("manual@host-0", apart=apart, manual_only=True)
        # What stands in a lead's notes at the end, by base and record.
        self.said: dict[tuple[str, str], str] = {}
        self.runs: dict[int, list[str]] = {}
        self.spoilt: set[int] = set()
        # What was under way at a kill, until it has ended; and what took too long.
        self.under_way: list[str] = []
        self.killed_at, self.late = 0.0, list[str]()
        self.waited: list[float] = []

    def _make_clients(self) -> None:
        from reconciler_dagster_tests.adopted import ADOPT

        self.host.sql("DELETE FROM clients")
        self.host.sql(
            "INSERT INTO clients (company_name, airtable_base_id) "
            "SELECT base, base FROM unnest(%s::text[]) AS base",
            self.bases,
        )
        self.host.sql(ADOPT)

    def _prepare(self) -> Any:
        from reconciler_dagster.orchestration.partitions import ensure_partitions
        from reconciler_dagster.orchestration.submission import Submission, by_sensor
        from reconciler_dagster.postgres.clients import active_clients
        from reconciler_dagster.postgres.connection import engine

        with engine(self.host.database).connect() as connection:
            self.clients = active_clients(connection)
        ensure_partitions(self.instance, self.clients)
        return Submission(self.instance, "sync", by_sensor("fleet"))

    def tick(self, number: int, kill: str | None) -> None:
        """One round: edits, a run of each client, and perhaps a kill in the middle of it."""
        if number:
            self._edit(number)
        began = time.monotonic()
        ids = self.runs[number] = self._submit(number)
        submitted = time.monotonic() - began
        flags = threading.Thread(target=self._flags, args=(number,))
        if number:  # the first tick meets every client
            flags.start()
        if kill is not None:
            self.spoilt.add(number)
            after = self.random.uniform(0.5, 5)
            killing = threading.Timer(after, self._kill, [kill, ids])
            killing.start()
        most, asked, seen = 0, len(self.waited), 0.0
        while self._unfinished(ids) or (kill is not None and killing.is_alive()):
            most = max(most, self._connections())
            self.host.start_again()
            if self.under_way and not self._unfinished(self.under_way):
                seen = time.monotonic() - self.killed_at
                self.under_way = []
            time.sleep(1)
        drained = time.monotonic() - began
        if self.under_way:
            seen, self.under_way = time.monotonic() - self.killed_at, []
        if seen > SEEN_SECONDS:
            self.late.append(f"What was under way when {kill} was killed ended {seen:.0f} s later.")
        if number:
            flags.join()
        print(
            f"tick {number}: {len(ids)} runs, created in {submitted:.1f} s, all ended after "
            f"{drained:.1f} s: {dict(self.states(ids))}; {of_flags(self.waited[asked:])}; at most "
            f"{most} connections to Postgres; memory: {self._memory()}"
            + (
                f"; killed: {kill}, what was under way had ended after {seen:.0f} s" if kill else ""
            ),
            flush=True,
        )

    def _kill(self, kind: str, ids: list[str]) -> None:
        with psycopg.connect(self.dagster_url) as connection:
            found = connection.execute(
                "SELECT run_id FROM runs WHERE run_id = ANY(%s) AND status = ANY(%s)",
                [ids, ["STARTING", "STARTED", "CANCELING"]],
            )
            under_way = [run_id for (run_id,) in found]
        self.killed_at = time.monotonic()
        if kind == "pooler":
            self.pooler.kill()
            time.sleep(self.random.uniform(0, 3))
            self.pooler.start()
        else:
            self.host.kill_any(kind, self.random)
        self.under_way = under_way

    def _submit(self, number: int) -> list[str]:
        """What the schedule does."""
        import dagster as dg

        from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
        from reconciler_dagster.orchestration.resources import PURPOSE_TAG

        return self._submission.create_and_queue(
            [
                dg.RunRequest(
                    run_key=f"{client.id} {number}",
                    partition_key=client.id,
                    tags={PURPOSE_TAG: "delta", **ORDINARY},
                )
                for client in self.clients
            ],
            deadline=math.inf,
        )

    def _edit(self, number: int) -> None:
        """Each record on one side only, so that no edit is meant to lose, not even to one of a tick
        before that no run has carried over.
        """
        local = []
        for base in self.bases:
            records = self.records[base][2:]
            chosen = self.random.sample(records[::2], EDITS)
            chosen += self.random.sample(records[1::2], EDITS)
            said = {record: f"edit {number} of {record} of {base}" for record in chosen}
            self.said |= {(base, record): value for record, value in said.items()}
            remote = {record: {"Notes": said[record]} for record in chosen[:EDITS]}
            self.sandbox.on(base).edit_many(remote)
            local += [(said[record], record, base) for record in chosen[EDITS:]]
        with psycopg.connect(self.host.database) as connection:
            connection.cursor().executemany(SAY, local)

    def _flags(self, number: int) -> None:
        """People who edit a lead on each side, ask for a sync, and wait for both sides."""
        choose = random.Random(self.chosen.seed + number)
        for turn in range(self.chosen.flags):
            base = choose.choice(self.bases)
            there, (one, other) = self.sandbox.on(base), self.records[base][:2]
            said = f"flag {turn} of tick {number} of {base}"
            there.edit(one, {"Notes": said})
            self.said[base, one] = said
            self.said.pop((base, other), None)  # whether it is said is not known yet
            try:
                self.host.sql(SAY, said, other, base)
                self.said[base, other] = said
                began = time.monotonic()
                ((request,),) = self.host.sql(ASK, base)
                while not self._is_equal(base, said):
                    if self.host.state(request) == "failed":  # its run was killed
                        break
                    time.sleep(0.1)
                else:
                    self.waited.append(time.monotonic() - began)
            except psycopg.OperationalError:  # Postgres was killed
                continue

    def _is_equal(self, base: str, said: str) -> bool:
        one, other = self.records[base][:2]
        there = self.sandbox.on(base).record(other)["fields"].get("Notes")
        return there == said and self.host.sql(SAID, one, base) == [(said,)]

    def states(self, ids: list[str]) -> Counter[str]:
        with psycopg.connect(self.dagster_url) as connection:
            found = connection.execute(
                "SELECT status, count(*) FROM runs WHERE run_id = ANY(%s) GROUP BY 1", [ids]
            )
            return Counter(dict(found.fetchall()))

    def _unfinished(self, ids: list[str]) -> bool:
        try:
            return any(self.states(ids)[state] for state in UNFINISHED)
        except psycopg.OperationalError:  # Postgres was killed
            return True

    def _connections(self) -> int:
        """To Postgres itself, but for this look: a few of them are this program's own."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        )
        with suppress(psycopg.OperationalError):
            return int(self.host.sql(query)[0][0])
        return 0

    def _memory(self) -> str:
        parts = {"workers": [*self.workers, "manual@host-0"], "daemon": ["daemon"]}
        used = {part: sum(map(self.host.memory_of, names)) for part, names in parts.items()}
        return ", ".join(f"{part} {size / 2**20:,.0f} MiB" for part, size in used.items())


if __name__ == "__main__":
    main()
