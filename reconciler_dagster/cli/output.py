"""How commands print: for people, or exactly one JSON object on stdout."""

from __future__ import annotations

from typing import Any

import click
import orjson


def echo_json(content: dict[str, Any]) -> None:
    """One JSON object and nothing else."""
    click.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str).decode())
