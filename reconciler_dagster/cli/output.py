"""How commands print: for people, or exactly one JSON object on stdout; and what they share."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import click
import orjson

one_client = click.option(
    "--client", "client_id", help="Id of one client; all active ones unless given."
)
as_one_object = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def echo_json(content: dict[str, Any]) -> None:
    """One JSON object and nothing else."""
    click.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str).decode())


def say_if_nobody(of_clients: Sized) -> None:
    """Remark that there is no client: silence would look like a run in which all was well."""
    if not of_clients:
        click.echo("No active client: add a row to public.clients (see README).", err=True)


def counted(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
