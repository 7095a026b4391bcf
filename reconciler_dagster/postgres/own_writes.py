"""Cells that runs write to Airtable though nobody edits them: two sides that rewrite each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair

Cell = tuple[str, str]


def runs(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> Mapping[Cell, int]:
    """How many runs in a row have written a cell, by record id and field."""
    rows = connection.execute(
        text(
            "SELECT record_id, field, runs FROM reconciler.own_write "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
    return {(row.record_id, row.field): row.runs for row in rows}


def count(connection: Connection, pair: Pair, run_id: str, cells: Iterable[Cell]) -> None:
    """Note that Airtable took cells of a lead that nobody had edited; a run counts once."""
    connection.execute(
        text(
            "INSERT INTO reconciler.own_write AS w (client_id, sync, record_id, field, run_id) "
            "SELECT :client_id, :sync, c.record_id, c.field, :run_id "
            "FROM unnest(CAST(:records AS text[]), CAST(:fields AS text[])) c (record_id, field) "
            "ON CONFLICT (client_id, sync, record_id, field) DO UPDATE SET runs = w.runs + 1, "
            "run_id = excluded.run_id, written_at = clock_timestamp() "
            "WHERE w.run_id <> excluded.run_id"
        ),
        {**pair.keys, "run_id": run_id} | _arrays(cells),
    )


def forget(connection: Connection, pair: Pair, cells: Iterable[Cell]) -> None:
    """Both sides agree, or somebody has edited the lead: begin to count anew."""
    arrays = _arrays(cells)
    if arrays["records"]:
        connection.execute(
            text(
                "DELETE FROM reconciler.own_write w USING "
                "unnest(CAST(:records AS text[]), CAST(:fields AS text[])) c (record_id, field) "
                "WHERE w.client_id = :client_id AND w.sync = :sync AND w.record_id = c.record_id "
                "AND w.field = c.field"
            ),
            pair.keys | arrays,
        )


def _arrays(cells: Iterable[Cell]) -> dict[str, list[str]]:
    listed = list(cells)
    return {"records": [cell[0] for cell in listed], "fields": [cell[1] for cell in listed]}
