"""The Great Sync over a large base at Airtable's speed: `python benchmarks/great_sync.py`.

The sandbox allows 5 calls a second and answers unevenly, as Airtable does: 30 ms there, then 120 ms
and an exponential tail of 200 ms in the mean (`--answers even`: 150 ms, give or take 20 %). The
Great Sync runs as its command does, in a process of its own; meanwhile a delta is run twice, before
it and in its middle. Then a delta carries many edits of the portal over (`--edits`). Figures of one
run: wall time against what the call rate allows, peak memory, and the deltas' times.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import orjson
from sqlalchemy import text

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import SandboxClient

CLI = [sys.executable, "-c", "from reconciler_dagster.cli import main; main()"]
CALLS_PER_SECOND = 5
PAGE = 100
ANSWERS = {
    "uneven": {"way_there_ms": 30, "thinking_ms": 120, "thinking_tail_ms": 200},
    "even": {"way_there_ms": 30, "way_jitter_ms": 30, "thinking_ms": 90},
}


def _serve(state: Path, leads: int, port: int) -> tuple["subprocess.Popen[bytes]", SandboxClient]:
    from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN

    command = [sys.executable, "-m", "reconciler_dagster.sandbox"]
    command += ["--port", str(port), "--leads", str(leads), "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = SandboxClient(f"http://127.0.0.1:{port}", DEMO_TOKEN, DEMO_BASE_ID)
    for _ in range(600):
        try:
            client.status()
            return process, client
        except OSError:
            time.sleep(0.2)
    raise click.ClickException("The sandbox did not start.")


def _timed(*arguments: str) -> tuple[float, dict[str, int]]:
    started = time.monotonic()
    done = subprocess.run([*CLI, *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    counts: dict[str, int] = orjson.loads(done.stdout)["clients"][0]
    return time.monotonic() - started, counts


@click.command()
@click.option("--leads", default=50_000, show_default=True)
@click.option("--edits", default=0, show_default=True, help="Leads to edit in the portal.")
@click.option("--port", default=18795, show_default=True)
@click.option("--answers", type=click.Choice(list(ANSWERS)), default="uneven", show_default=True)
def main(leads: int, edits: int, port: int, answers: str) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["RECONCILER_STATE_DIR"] = str(place)
        server = PostgresServer(place / "postgres", durable=False)
        server.start()
        sandbox, client = _serve(place / "sandbox", leads, port)
        try:
            url = server.create_database("portal")
            os.environ |= {
                "DATABASE_URL": url,
                "AIRTABLE_API_KEY": client.token,
                "AIRTABLE_ENDPOINT_URL": client.url,
            }
            portal = engine(url)
            upgrade(portal)
            with portal.begin() as connection:
                connection.execute(
                    text("INSERT INTO clients (company_name, airtable_base_id) VALUES ('A', :b)"),
                    {"b": client.base_id},
                )
            client.switch(**ANSWERS[answers])
            _measure(client, portal, leads)
            if edits:
                _measure_edits(client, portal, edits)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            click.echo(f"peak memory of a process (the largest of them): {peak:.0f} MiB")
        finally:
            sandbox.terminate()
            sandbox.wait()
            server.stop()


def _measure(client: SandboxClient, portal, leads: int) -> None:  # type: ignore[no-untyped-def]
    for name in ("first contact", "second time"):
        client.reset_calls()
        started = time.monotonic()
        running = subprocess.Popen([*CLI, "great-sync", "--json"], stdout=subprocess.PIPE)
        delta = None
        if name != "first contact":  # a delta needs a cursor, which the first one sets
            time.sleep(leads / PAGE / CALLS_PER_SECOND / 2)
            delta = _timed("run")
        output, _ = running.communicate()
        wall = time.monotonic() - started
        if running.returncode:
            raise click.ClickException(f"The Great Sync ended with {running.returncode}.")
        counts = orjson.loads(output)["clients"][0]
        limit = leads / PAGE / CALLS_PER_SECOND
        click.echo(
            f"{name}: {counts['pulled']} leads, {counts['airtable_calls']} calls, "
            f"{counts['local_writes']} written; {wall:.1f} s = {wall / limit:.2f} x the {limit:.0f}"
            f" s of the call rate; 429 answers: {_refused(client)}"
        )
        if delta:
            alone, _ = _timed("run")
            click.echo(f"delta: {alone:.1f} s alone, {delta[0]:.1f} s during the Great Sync")


def _measure_edits(client: SandboxClient, portal, edits: int) -> None:  # type: ignore[no-untyped-def]
    with portal.begin() as connection:
        connection.execute(
            text(
                "UPDATE leads SET sms_stop_reason = 'measured' "
                "WHERE id IN (SELECT id FROM leads LIMIT :edits)"
            ),
            {"edits": edits},
        )
    client.reset_calls()
    wall, counts = _timed("run")
    limit = counts["airtable_calls"] / CALLS_PER_SECOND
    click.echo(
        f"edits: {counts['remote_writes']} records written, {counts['airtable_calls']} calls; "
        f"{wall:.1f} s = {wall / limit:.2f} x the {limit:.0f} s of the call rate; "
        f"429 answers: {_refused(client)}"
    )


def _refused(client: SandboxClient) -> int:
    return sum(call["status"] == 429 for call in client.calls())


if __name__ == "__main__":
    main()
