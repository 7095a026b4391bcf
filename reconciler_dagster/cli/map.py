"""`reconciler map`: sync definitions, as files that people write."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from reconciler_dagster.cli.output import as_one_object, counted, echo_json
from reconciler_dagster.config import Settings


@click.group("map")
def map_() -> None:
    """Draft, check and show sync definitions: which Airtable field is which column."""


@map_.command()
@click.option("--base", "base_id", required=True, help="Id of the base, like app...")
@click.option("--airtable-table", required=True, help="Name or id of the table in Airtable.")
@click.option("--postgres-table", required=True, help="The table with its schema, like crm.deals.")
@as_one_object
def suggest(base_id: str, airtable_table: str, postgres_table: str, as_json: bool) -> None:
    """Write a draft of a definition from what both sides show, to be edited by a person.

    Looks at names and types, at the values of up to a hundred records that both sides hold, and at
    the shipped definition of that table, where there is one.
    Makes two calls and writes nothing.
    """
    from reconciler_dagster.airtable.look import look_at
    from reconciler_dagster.postgres.connection import engine
    from reconciler_dagster.postgres.tables import columns_of, rows_by_record_id
    from reconciler_dagster.syncs.draft import draft
    from reconciler_dagster.syncs.reading import shipped_sources
    from reconciler_dagster.syncs.suggest import ColumnSeen, FieldSeen, guesses, own_columns

    settings = Settings.load()
    portal = engine(settings.require_database_url())
    with portal.connect() as connection:
        columns = columns_of(connection, postgres_table)
        look = look_at(settings, base_id, airtable_table)
        keys = [column.name for column in columns if column.is_key]
        bare = [ColumnSeen(c.name, c.type, refers_to=c.refers_to) for c in columns]
        own = {"key": keys[0] if len(keys) == 1 else "id", **own_columns(bare)}
        record_id = own["record_id"]
        rows = (
            rows_by_record_id(connection, postgres_table, record_id, [r.id for r in look.records])
            if record_id
            else {}
        )
    seen = [
        ColumnSeen(
            c.name,
            c.type,
            {r: row[c.name] for r, row in rows.items() if row[c.name] is not None},
            c.refers_to,
        )
        for c in columns
        if c.name not in own.values()
    ]
    fields = [
        FieldSeen(
            field.name,
            field.type,
            {r.id: r.cells[field.id] for r in look.records if field.id in r.cells},
        )
        for field in look.schema.fields
    ]
    found = guesses(fields, seen, shipped_sources(postgres_table))
    taken = {guess.field for guess in found}
    left_over = [field.name for field in fields if field.name not in taken]
    name = postgres_table.rpartition(".")[2].lower()
    text = draft(name, look.schema.name, postgres_table, own, found, left_over)
    if as_json:
        unsure = [guess.column for guess in found if not guess.sure]
        echo_json({"definition": text, "unsure": unsure, "left_over": left_over})
    else:
        click.echo(text, nl=False)


@map_.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@as_one_object
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Read definitions, files or folders of them; say what is wrong, with file and line.

    Exit code 2 where one cannot be used.
    """
    from reconciler_dagster.syncs.definition import SyncDefinition
    from reconciler_dagster.syncs.reading import in_order, read_definition, read_folder

    if not files:
        raise click.UsageError("Name the files to check, or their folder.")
    found: dict[str, SyncDefinition] = {}
    for path in files:
        read = read_folder(path) if path.is_dir() else {str(path): read_definition(path)}
        found |= {definition.sync: definition for definition in read.values()}
    names = list(in_order(found))
    if as_json:
        echo_json({"syncs": names})
    else:
        click.echo(f"{counted(len(names), 'definition')} can be used: {', '.join(names)}.")


@map_.command()
@click.option("--client", "client_id", help="Id of a client, to see it with its overrides.")
@as_one_object
def show(client_id: str | None, as_json: bool) -> None:
    """Print what is in force, for one client or as the definitions have it, and what a base has
    otherwise. Reads files, and of a client its base from Postgres; makes no call.
    """
    from reconciler_dagster.syncs import in_force
    from reconciler_dagster.syncs.showing import lines, shown

    settings = Settings.load()
    base_id = None
    if client_id is not None:
        from reconciler_dagster.postgres.portal import chosen_clients, open_portal

        (client,) = chosen_clients(open_portal(settings), client_id)
        base_id = client.base_id
    found = [
        shown(own, base_id, settings.airtable_leads_table)
        for own in in_force.definitions(settings).values()
    ]
    if as_json:
        echo_json({"base_id": base_id, "syncs": [asdict(one) for one in found]})
        return
    for one in found:
        for line in lines(one):
            click.echo(line)


@map_.command()
def schema() -> None:
    """Print the JSON schema of a definition, by which an editor completes and checks it."""
    from reconciler_dagster.syncs.schema import json_schema

    click.echo(json_schema(), nl=False)
