"""The engine at one commit against another: `python benchmarks/before_after.py COMMIT [COMMIT]`.

Each commit (the second one is HEAD unless given) is checked out by itself and works in a process of
its own, over a database and a sandbox of its own, which are of this very code for both; without
Dagster, and without Airtable's call rate. They take turns, so that the machine's load falls on
both alike. Prints medians of wall time and of processor time, and the ratio of the second commit's
to the first one's; and what has gone wrong, if the two did not do the same.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import click
import psycopg

from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

ROOT = Path(__file__).parent.parent
EDITS = 50
# Airtable tells times to the second, so that a delta pulls the last three seconds once more: what
# a round has edited has to be off them, or the two would not do the same in the next one.
PAUSE_SECONDS = 4.0
# What either commit runs: by its own code, whatever else has moved.
WORKER = """
import gc, json, sys, time
from sqlalchemy import text
from reconciler_dagster.postgres import bucket
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster_tests import windows, world

url, sandbox, token, base = sys.argv[1:]
gc.set_threshold(50_000, 20, 20)  # as the command has it
upgrade(engine(url))
with engine(url).begin() as connection:
    connection.execute(
        text("INSERT INTO clients (company_name, airtable_base_id) VALUES ('A', :b)"), {"b": base}
    )
    if hasattr(world, "ADOPT"):
        connection.execute(text(world.ADOPT))
bucket.URGENT_SECONDS = 0.0
here = world.World(url, SandboxClient(sandbox, token, base))
# Twenty times the default, so that nothing waits for its turn.
here.settings.calls_per_second *= 20
# Which of the records seen lately are left out of a listing, by number, is a matter of their ids.
here.settings.overlap_minutes = 0
acts = {"delta": here.sync, "great sync": lambda: windows.sweep(here)}
print("ready", flush=True)
for line in sys.stdin:
    began, used = time.monotonic(), time.process_time()
    counts = acts[line.strip()]().counts
    figures = [time.monotonic() - began, time.process_time() - used]
    did = [counts.airtable_calls, counts.pulled, counts.local_writes, counts.remote_writes]
    print(json.dumps([figures, did]), flush=True)
"""
FORGET = """
    TRUNCATE public.leads CASCADE; TRUNCATE reconciler.unsettled;
    DELETE FROM reconciler.baseline; DELETE FROM reconciler.cursor;
"""


class Side:
    """One commit at work."""

    def __init__(self, code: Path, url: str, sandbox: SandboxClient) -> None:
        self.sandbox = sandbox
        self.portal = psycopg.connect(url, autocommit=True)
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url, sandbox.url, sandbox.token, sandbox.base_id],
            env={**os.environ, "PYTHONPATH": str(code)},
            cwd=code,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def run(self, act: str) -> tuple[list[float], list[int]]:
        """Wall and processor time in seconds; calls, records pulled, written here and there."""
        import orjson

        assert self._process.stdin is not None
        self._process.stdin.write(f"{act}\n")
        self._process.stdin.flush()
        figures, did = orjson.loads(self._answer())
        return figures, did

    def edit(self, number: int) -> None:
        """Half of the edits on either side."""
        ids = sorted(self.sandbox.records())[number * EDITS : (number + 1) * EDITS]
        half = len(ids) // 2
        self.sandbox.edit_many({r: {"Company": f"Company {number}"} for r in ids[:half]})
        self.portal.execute(
            "UPDATE leads SET sms_stop_reason = %s WHERE airtable_record_id = ANY(%s)",
            [f"measured {number}", ids[half:]],
        )

    def forget(self) -> None:
        """As if client and portal had never met."""
        self.portal.execute(FORGET)

    def end(self) -> None:
        """Stop working."""
        self.portal.close()
        self._process.terminate()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("One of the two has failed: see above.")
        return line


@click.command()
@click.argument("before")
@click.argument("after", default="HEAD")
@click.option("--leads", default=2000, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--only", help="Part of the name of what is to be measured.", default="")
def main(before: str, after: str, leads: int, rounds: int, only: str) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        codes = [place / "before", place / "after"]
        for code, commit in zip(codes, (before, after), strict=True):
            _git("worktree", "add", "--quiet", "--detach", str(code), commit)
        server = PostgresServer(place / "postgres", durable=False)
        server.start()
        try:
            with running_sandbox(leads=leads) as one, running_sandbox(leads=leads) as two:
                sides = []
                for code, sandbox in zip(codes, (one, two), strict=True):
                    sandbox.switch(calls_per_second_and_base=0, calls_per_second_and_user=0)
                    sides.append(Side(code, server.create_database(code.name), sandbox))
                try:
                    _measure(sides, rounds, only)
                finally:
                    for side in sides:
                        side.end()
        finally:
            server.stop()
            for code in codes:
                _git("worktree", "remove", "--force", str(code))


def _measure(sides: list[Side], rounds: int, only: str) -> None:
    acts = {
        "first contact": ("great sync", lambda side, n: side.forget()),
        "great sync": ("great sync", lambda side, n: None),
        "quiet delta": ("delta", lambda side, n: None),
        f"delta of {EDITS} edits": ("delta", lambda side, n: side.edit(n)),
    }
    for name, (act, prepare) in acts.items():
        if only not in name:
            for side in sides:  # what the later ones build on
                side.run(act)
            continue
        times: dict[tuple[int, str], list[float]] = defaultdict(list)
        for number in range(rounds + 1):
            done = []
            if act == "delta":
                time.sleep(PAUSE_SECONDS)
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                prepare(sides[which], number)
                (wall, processor), did = sides[which].run(act)
                done.append(did)
                if number:  # the first one warms up
                    times[which, "wall"].append(wall)
                    times[which, "processor"].append(processor)
            if number and done[0] != done[1]:
                click.echo(f"{name}: they did not do the same: {done}", err=True)
        for kind in ("wall", "processor"):
            old, new = (statistics.median(times[which, kind]) for which in (0, 1))
            click.echo(
                f"{name}, {kind} time: {old * 1000:.0f} ms before, {new * 1000:.0f} ms after: "
                f"{new / old:.3f} times; load {os.getloadavg()[0]:.1f}"
            )


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
