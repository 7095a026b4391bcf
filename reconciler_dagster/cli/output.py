"""How commands print: for people, or exactly one JSON object on stdout; and what they share."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sized
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import orjson

from reconciler_dagster.config import ConfigurationError, state_dir
from reconciler_dagster.core.words import counted as counted
from reconciler_dagster.redaction import redacted, redacted_values

one_client = click.option(
    "--client", "client_id", help="Id of one client; all active ones unless given."
)
allow_refusals_option = click.option(
    "--allow-refusals",
    is_flag=True,
    help="Go on even if Airtable is expected to refuse many cells.",
)
as_one_object = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def echo_json(content: dict[str, Any]) -> None:
    """One JSON object and nothing else."""
    told = redacted_values(content)
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2, default=str).decode())


def say_if_nobody(of_clients: Sized) -> None:
    """Remark that there is no client: silence would look like a run in which all was well."""
    if not of_clients:
        click.echo("No active client: add a row to public.clients (see README).", err=True)


def keep_trace(story: str | None = None) -> str:
    """Write a story, or the stack trace of the error at hand, to a file; returns its name, or what
    hindered.
    """
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.log"
    content = redacted(f"{' '.join(sys.argv)}\n\n{story or traceback.format_exc()}")
    for made in (state_dir, _temporary):
        with suppress(OSError, ConfigurationError):
            path = made() / "logs" / name
            path.parent.mkdir(exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(content)
            return str(path)
    return "nowhere, as no folder for it can be written; --debug shows it"


def _temporary() -> Path:
    return Path(mkdtemp(prefix="reconciler-"))
