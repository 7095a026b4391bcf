"""How fast the sandbox is with a large base; `python benchmarks/sandbox.py --leads 125000`.

Each answer is asked for over HTTP on a kept-alive connection, as pyairtable does. The server runs
in a process of its own. Times in milliseconds.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import requests

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.seed.leads import seed_leads

LEADS = f"{DEMO_BASE_ID}/Leads"


def _cpu(process: int) -> float:
    """Return the seconds of processor time that a process has used, 0 where there is no /proc."""
    status = Path(f"/proc/{process}/stat")
    if not status.exists():
        return 0.0
    used = status.read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _moment(ago: timedelta) -> str:
    return f"DATETIME_PARSE('{(datetime.now(UTC) - ago).isoformat(timespec='milliseconds')}')"


class Bench:
    """Calls to one sandbox."""

    def __init__(self, url: str, process: int) -> None:
        self.url = url
        self.process = process
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {DEMO_TOKEN}"
        self.ids: list[str] = []

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Call the API and return its answer."""
        answer = self.session.request(method, f"{self.url}/v0/{path}", json=body, timeout=600)
        answer.raise_for_status()
        return dict(answer.json())

    def listing(self, formula: str | None = None, **given: object) -> int:
        """Read all pages of a listing and return the number of records."""
        body: dict[str, object] = {**given}
        if formula:
            body["filterByFormula"] = formula
        count = 0
        while True:
            page = self.call("POST", f"{LEADS}/listRecords", body)
            records = page["records"]
            assert isinstance(records, list)
            count += len(records)
            self.ids = [record["id"] for record in records] or self.ids
            if "offset" not in page or "maxRecords" in given:
                return count
            body["offset"] = page["offset"]

    def time(self, what: str, act: Callable[[], object], times: int = 30, limit: str = "") -> None:
        """Measure one act and print a row of the table."""
        before = _cpu(self.process)
        spent = []
        for _ in range(times):
            start = time.perf_counter()
            act()
            spent.append((time.perf_counter() - start) * 1000)
        used = (_cpu(self.process) - before) / times * 1000
        middle, worst = statistics.median(spent), max(spent)
        click.echo(f"| {what} | {middle:,.1f} | {worst:,.1f} | {used:,.1f} | {limit} |")

    def run(self) -> None:
        """Measure everything."""
        click.echo("| call | median | worst | server CPU | limit |\n|---|---|---|---|---|")
        self.listing(maxRecords=100)
        ids = list(self.ids)
        self.time("page of 100, all 108 fields", lambda: self.listing(maxRecords=100), limit="20")
        few = ["Email", "SMS Status", "ICP Score", "Notes"]
        self.time("page of 100, 4 fields", lambda: self.listing(maxRecords=100, fields=few))
        number = iter(range(10**9))

        def batch() -> None:
            cells = {"Notes": f"note {next(number)}"}
            self.call("PATCH", LEADS, {"records": [{"id": i, "fields": cells} for i in ids[:10]]})

        self.time("PATCH of 10 records", batch, 100, limit="10")
        new = {"records": [{"fields": {"Lead": "new", "Email": "x@example.com"}}] * 10}
        self.time("POST of 10 records", lambda: self.call("POST", LEADS, new), 100, limit="10")
        self.time("GET of one record", lambda: self.call("GET", f"{LEADS}/{ids[0]}"))

        since = f"IS_AFTER(LAST_MODIFIED_TIME(), {_moment(timedelta(minutes=30))})"
        seen = ",".join(f"rec{number:014d}" for number in range(1500))
        delta = (
            f"AND({since}, NOT(AND(FIND(RECORD_ID(), '{seen}') > 0, "
            f"IS_BEFORE(LAST_MODIFIED_TIME(), {_moment(timedelta(minutes=5))}))))"
        )
        self.time(
            "changed in 30 minutes, 1,500 ids excluded", lambda: self.listing(delta), limit="1000"
        )
        by_id = "OR(" + ",".join(f"RECORD_ID()='{one}'" for one in ids) + ")"
        self.time("100 records by id", lambda: self.listing(by_id), limit="1000")
        window = (
            f"AND(NOT(IS_BEFORE(CREATED_TIME(), {_moment(timedelta(days=201))})), "
            f"IS_BEFORE(CREATED_TIME(), {_moment(timedelta(days=200))}))"
        )
        count = self.listing(window)
        self.time(f"created in a window of a day, {count} records", lambda: self.listing(window))
        wide = "FIND('Sato', {Lead}) > 0"
        count = self.listing(wide)
        self.time(f"filter without an index, {count} records", lambda: self.listing(wide), 2)
        order = [{"field": "ICP Score", "direction": "desc"}]
        self.time(
            "first page sorted by a formula", lambda: self.listing(sort=order, maxRecords=100), 2
        )


@click.command()
@click.option("--leads", default=125_000, show_default=True)
@click.option("--port", default=8799, show_default=True)
def main(leads: int, port: int) -> None:
    """Seed, start, measure."""
    start = time.perf_counter()
    seed_leads(DEMO_BASE_ID, leads, 1, int(time.time() * 1000))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    click.echo(f"{leads:,} leads seeded in {time.perf_counter() - start:.1f} s; {memory:.2f} GiB")
    with tempfile.TemporaryDirectory() as folder:
        for title, state in (("memory", []), ("state file", ["--state", f"{folder}/state.sqlite"])):
            click.echo(f"\n{title}")
            _measure(leads, port, state)
            if state:
                size = Path(state[1]).stat().st_size / 1024**2
                click.echo(f"state file of {size:,.0f} MiB; started again:")
                _measure(leads, port, state, only_start=True)


def _measure(leads: int, port: int, options: list[str], only_start: bool = False) -> None:
    limits = ["calls_per_second_and_base=0", "calls_per_second_and_user=0"]
    options = [*options, *[part for limit in limits for part in ("--switch", limit)]]
    start = time.perf_counter()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "reconciler_dagster.sandbox"),
            *("--port", str(port), "--leads", str(leads), *options),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        bench = Bench(f"http://127.0.0.1:{port}", server.pid)
        while True:
            try:
                bench.call("GET", "meta/whoami")
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        click.echo(f"started in {time.perf_counter() - start:.1f} s")
        if not only_start:
            bench.run()
            status = Path(f"/proc/{server.pid}/status")
            if status.exists():
                peak = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
                click.echo(f"server's peak memory {int(peak.split()[1]) / 1024**2:.2f} GiB")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
