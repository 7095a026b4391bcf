"""`reconciler conflicts`: values that lost, which are kept for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from reconciler_dagster.cli.output import as_one_object, counted, echo_json, one_client
from reconciler_dagster.config import Settings
from reconciler_dagster.core.plan import ConflictKind
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.postgres import record
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.portal import open_portal

_WHY = {
    ConflictKind.BOTH_EDITED: "both sides had edited it",
    ConflictKind.FIRST_CONTACT: "the sides differed when they first met",
    ConflictKind.OWNED_BY_AIRTABLE: "only Airtable may edit it",
}


@click.command()
@one_client
@click.option("--record", "record_id", help="One Airtable record.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most.")
@as_one_object
def conflicts(client_id: str | None, record_id: str | None, limit: int, as_json: bool) -> None:
    """Show the values that lost against the other side, newest first.

    Nothing has to be done about them. To have one back, take it back in the console, or write it
    into the row again: it is carried over like any other edit.
    """
    with open_portal(Settings.load()).connect() as connection:
        if client_id is not None:
            find_client(connection, client_id)
        found = record.conflicts(connection, client_id, record_id, limit)
    if as_json:
        echo_json({"conflicts": [asdict(one) for one in found]})
        return
    for one in found:
        sync = "" if one.sync == MAIN else f"  {one.sync}"
        click.echo(
            f"{one.happened_at:%Y-%m-%d %H:%M} UTC  {one.client}{sync}  {one.record_id}  "
            f"{one.field}: kept {_shown(one.winning)}, lost {_shown(one.losing)} "
            f"({_WHY[ConflictKind(one.kind)]}){_restored(one)}"
        )
    more = f" The last {limit}; --limit shows more." if len(found) == limit else ""
    click.echo(f"{counted(len(found), 'conflict')}.{more}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)


def _restored(one: record.Conflict) -> str:
    if one.restored_at is None:
        return ""
    return f"; taken back by {one.restored_by}, {one.restored_at:%Y-%m-%d %H:%M} UTC"
