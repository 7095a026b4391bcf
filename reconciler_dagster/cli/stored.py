"""What `reconciler status` says of the deployment: the month's calls, and what is stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import Month
from reconciler_dagster.postgres.calls import months

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def the_months(connection: Connection, settings: Settings) -> list[Month]:
    """The month of every workspace."""
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return months(connection, settings, now)


def month_as_json(month: Month) -> dict[str, Any]:
    """In plain values."""
    return {
        "workspace": month.workspace,
        "bases": list(month.bases),
        "limit": month.limit,
        "spent": month.spent,
        "spent_by_purpose": dict(month.by_purpose),
        "forecast": month.forecast,
        "paused": month.paused,
        "quiet_bases_every_minutes": 15 * month.stretch,
    }


def month_in_words(month: Month) -> str:
    """One line."""
    of = f" of {month.limit:,}" if month.limit else ""
    line = f"calls of this month, {month.workspace}: {month.spent:,}{of} spent, "
    line += f"{month.forecast:,} expected by its end"
    if month.paused:
        return f"{line}; Airtable takes no more until the month turns (UTC)"
    if month.stretch > 1:
        return f"{line}; calls are short: quiet bases are read every {15 * month.stretch} minutes"
    return line


def show_storage(portal: Engine, settings: Settings, as_json: bool) -> None:
    """Every table of the engine: size, rows, and how long they are kept."""
    from reconciler_dagster.postgres import retention

    with portal.connect() as connection:
        stored = retention.storage(connection, settings)
    if as_json:
        echo_json({"storage": [asdict(each) for each in stored]})
        return
    for each in stored:
        kept = "" if each.days is None else f"kept {each.days} days"
        if each.oldest is not None:
            kept += f", the oldest of {each.oldest:%Y-%m-%d}"
        click.echo(f"{each.table:<22}{_size(each.bytes):>10}{each.rows:>12,} rows  {kept}".rstrip())


def _size(count: int) -> str:
    unit, name = next(((u, n) for u, n in _UNITS if count >= u), (1, "B"))
    return f"{count / unit:.0f} {name}"
