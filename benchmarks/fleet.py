"""Many clients in workers on several hosts: nothing lost, nothing twice, and how long a tick takes.

    python benchmarks/fleet.py [--clients 10] [--ticks 2] [--hosts 2] [--slots 2] [--leads 20]
                               [--kill host|child|redis|postgres|daemon] [--seed 1]

Starts Postgres, PgBouncer in transaction mode, Redis, a sandbox with a base for each client, the
daemon and the workers, each host in a process namespace of its own. In each tick people edit leads
on both sides, and every client is to be synced once. With --kill one such part is ended by kill -9
at a random moment of each tick but the last, and started again where somebody would see to that.

Prints a line a tick, then what was proved. Exit code 1 where anything of it does not hold.
Needs the extra `celery`, redis-server, pgbouncer, and the right to make namespaces.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")
EDITS = 3


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
            fleet.tick(tick, kill=chosen.kill if tick < chosen.ticks - 1 else None)
        wrong = fleet.what_is_wrong()
    print("\n".join(wrong) or "Proved: nothing lost, nothing twice, no call over the budget.")
    sys.exit(1 if wrong else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, number in (("clients", 10), ("ticks", 2), ("hosts", 2), ("slots", 2), ("leads", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--kill", choices=["host", "child", "redis", "postgres", "daemon"])
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


@dataclass(frozen=True)
class Edit:
    """A cell that somebody has edited: column or field, by record."""

    base: str
    record: str
    value: str
    in_airtable: bool


class Fleet:
    """A deployment of many clients, and people who edit."""

    def __init__(self, folder: Path, chosen: argparse.Namespace, held: ExitStack) -> None:
        from reconciler_dagster.sandbox.testing import running_sandbox
        from reconciler_dagster_tests.adopted import ADOPT
        from reconciler_dagster_tests.orchestration.test_celery import Spread
        from reconciler_dagster_tests.pooler import Pooler

        self.chosen, self.random = chosen, random.Random(chosen.seed)
        self.bases = [f"appFleet{n:09d}" for n in range(chosen.clients)]
        self.sandbox = held.enter_context(running_sandbox(chosen.leads, self.bases))
        self.host = Spread(folder, self.sandbox, slots=chosen.hosts * chosen.slots)
        held.callback(self.host.close)
        pooler = held.enter_context(Pooler(self.host.postgres))
        for name in ("DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            self.host.environment[name] = pooler.through(self.host.environment[name])
        self.host.sql("DELETE FROM clients")
        for base in self.bases:
            self.host.sql(
                "INSERT INTO clients (company_name, airtable_base_id) VALUES (%s, %s)", base, base
            )
        self.host.sql(ADOPT)
        self.instance = held.enter_context(self._instance(held))
        self._submission = self._prepare()
        self.host.start_daemon()
        for number in range(chosen.hosts):
            self.host.start_worker(self._worker(number))
        self.edits: list[Edit] = []
        self.runs: dict[int, list[str]] = {}
        self.spoilt: set[int] = set()

    def _instance(self, held: ExitStack) -> Any:
        import os

        import dagster as dg

        os.environ.update(self.host.environment)
        return dg.DagsterInstance.get()

    def _prepare(self) -> Any:
        from reconciler_dagster.orchestration.partitions import ensure_partitions
        from reconciler_dagster.orchestration.submission import Submission, by_sensor
        from reconciler_dagster.postgres.clients import active_clients
        from reconciler_dagster.postgres.connection import engine

        with engine(self.host.database).connect() as connection:
            self.clients = active_clients(connection)
        ensure_partitions(self.instance, self.clients)
        return Submission(self.instance, "sync", by_sensor("fleet"))

    def _worker(self, number: int) -> str:
        return f"runs{number}@host-{number}"

    def tick(self, number: int, kill: str | None) -> None:
        """One round: edits, a run of each client, and perhaps a kill in the middle of it."""
        from reconciler_dagster.orchestration import internals
        from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
        from reconciler_dagster.orchestration.resources import PURPOSE_TAG

        if number:
            self._edit(number)
        began = time.monotonic()
        ids = []
        for client in self.clients:
            tags = {PURPOSE_TAG: "delta", **ORDINARY}
            ids.append(self._submission.create(client.id, f"{client.id} {number}", tags))
            internals.enqueue(self.instance, self.instance.get_run_by_id(ids[-1]))  # type: ignore[arg-type]
        self.runs[number] = ids
        submitted = time.monotonic() - began
        if kill is not None:
            self.spoilt.add(number)
            threading.Timer(self.random.uniform(0.5, 5), self._kill, [kill]).start()
        most = 0
        while states := self._unfinished(ids):
            most = max(most, self._connections())
            self.host.start_workers_again()
            time.sleep(1)
        ended = Counter(self._states(ids).values())
        print(
            f"tick {number}: {len(ids)} runs queued in {submitted:.1f} s, drained after "
            f"{time.monotonic() - began:.1f} s; {dict(ended)}; at most {most} connections to "
            f"Postgres; workers' memory {self._memory() / 2**20:.0f} MiB"
            + (f"; killed: {kill}" if kill else ""),
            flush=True,
        )
        del states

    def _edit(self, number: int) -> None:
        """Different records on both sides, so that no edit is meant to lose."""
        for base in self.bases:
            there = self.sandbox.on(base)
            chosen = self.random.sample(sorted(there.records()), 2 * EDITS)
            for place, record in enumerate(chosen):
                value = f"edit {number} of {record}"
                in_airtable = place < EDITS
                self.edits = [e for e in self.edits if (e.base, e.record) != (base, record)]
                self.edits.append(Edit(base, record, value, in_airtable))
                if in_airtable:
                    there.edit(record, {"Notes": value})
                else:
                    self.host.sql(
                        "UPDATE leads SET notes = %s WHERE airtable_record_id = %s", value, record
                    )

    def _kill(self, kind: str) -> None:
        name = self._worker(self.random.randrange(self.chosen.hosts))
        if kind == "host":
            self.host.kill(name)
        elif kind == "child":
            self.random.choice(self.host.processes_of(name)[1:]).kill()
        elif kind == "redis":
            self.host.redis.kill()
            time.sleep(self.random.uniform(0, 3))
            self.host.redis.start()
        elif kind == "postgres":
            self.host.postgres.process.kill()
            self.host.postgres.stop()
            self.host.postgres.start()
        else:
            self.host.kill("daemon")
            self.host.start_daemon()

    def _states(self, ids: list[str]) -> dict[str, str]:
        import dagster as dg

        found = self.instance.get_runs(dg.RunsFilter(run_ids=ids))
        return {run.run_id: run.status.value for run in found}

    def _unfinished(self, ids: list[str]) -> list[str]:
        try:
            return [r for r, state in self._states(ids).items() if state not in FINISHED]
        except Exception:  # Postgres was killed
            return ids

    def _connections(self) -> int:
        try:
            return int(self.host.sql("SELECT count(*) FROM pg_stat_activity")[0][0])
        except Exception:
            return 0

    def _memory(self) -> int:
        workers = [self._worker(number) for number in range(self.chosen.hosts)]
        used = 0
        for name in workers:
            for process in self.host.processes_of(name):
                try:
                    used += process.memory_full_info().uss
                except psutil.Error:
                    continue
        return used

    def what_is_wrong(self) -> list[str]:
        """Each promise that does not hold, in a line."""
        wrong = []
        for number, ids in self.runs.items():
            ended = Counter(self._states(ids).values())
            if number not in self.spoilt and ended != {"SUCCESS": len(self.clients)}:
                wrong.append(f"Tick {number} did not end with a success of each: {dict(ended)}.")
        for edit in self.edits:
            cell = self.sandbox.on(edit.base).record(edit.record)["fields"].get("Notes")
            rows = self.host.sql(
                "SELECT notes FROM leads WHERE airtable_record_id = %s", edit.record
            )
            if not (cell == edit.value and rows == [(edit.value,)]):
                wrong.append(f"Lost: {edit}; Airtable has {cell!r}, Postgres {rows}.")
        twice = self.host.sql(
            "SELECT record_id, field, side, new_value, count(*) FROM reconciler.history "
            "WHERE new_value IS DISTINCT FROM old_value AND old_value IS NOT NULL "
            "GROUP BY 1, 2, 3, 4, old_value HAVING count(*) > 1"
        )
        wrong += [f"Written twice: {row}." for row in twice]
        refused = sum(call["status"] == 429 for call in self.sandbox.calls())
        if refused:
            wrong.append(f"{refused} calls were over Airtable's limit.")
        return wrong


if __name__ == "__main__":
    main()
