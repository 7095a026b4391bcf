"""`reconciler sandbox`: start the server from a terminal."""

import gc
import sqlite3
from pathlib import Path
from typing import IO

import click
import orjson

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.server import build_server
from reconciler_dagster.sandbox.start import open_world


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name under which the page and the control API may be reached; may be repeated.",
)
@click.option("--port", default=8765, show_default=True, help="Port to listen on.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="SQLite file that keeps everything; memory alone if left out.",
)
@click.option("--leads", default=2000, show_default=True, help="Leads to seed in each new base.")
@click.option(
    "--schema",
    type=click.File("rb"),
    help="Answer of /v0/meta/bases/{base}/tables of a real base, to be served instead of leads; "
    "the base's name may stand beside the tables.",
)
@click.option(
    "--switch",
    "switches",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a switch, e.g. calls_per_second_and_base=0; may be repeated.",
)
@click.option(
    "--base-id",
    "base_ids",
    multiple=True,
    default=(DEMO_BASE_ID,),
    show_default=True,
    help="Base to serve; may be repeated.",
)
@click.option(
    "--token",
    "tokens",
    multiple=True,
    default=(DEMO_TOKEN,),
    show_default=True,
    help="Token to accept; may be repeated.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of the made-up leads.")
def sandbox(
    host: str,
    allowed_hosts: tuple[str, ...],
    port: int,
    state: Path | None,
    leads: int,
    schema: IO[bytes] | None,
    switches: tuple[str, ...],
    base_ids: tuple[str, ...],
    tokens: tuple[str, ...],
    seed: int,
) -> None:
    """Run an Airtable-compatible server with a base of made-up leads.

    Point any Airtable client at http://HOST:PORT with one of the tokens. A person's view of the
    base is at http://HOST:PORT/, the control API is described at /sandbox/api/docs.
    """
    try:
        given = dict(_named_value(switch) for switch in switches)
        export = orjson.loads(schema.read()) if schema else None
        world = open_world(base_ids, leads, seed, tokens, state, given, export)
    except (ValueError, sqlite3.Error) as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"Airtable sandbox on http://{host}:{port}  (grid page; API under /v0)")
    for base in world.bases.values():
        click.echo(f"  base {base.id}: {base.count_records()} records")
    click.echo(f"  token {', '.join(world.tokens)}")
    gc.freeze()  # a collection over all records would hold up every call for long
    try:
        build_server(world, host, port, allowed_hosts).run()
    finally:
        world.close()


def _named_value(switch: str) -> tuple[str, str]:
    name, equals, value = switch.partition("=")
    if not equals:
        raise ValueError(f"--switch takes NAME=VALUE, and {switch!r} is none.")
    return name, value
