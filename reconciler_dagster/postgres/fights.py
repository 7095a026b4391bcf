"""Cells that go back and forth: what the engine puts right, another writer undoes once more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.brakes import FIGHT_RUNS
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.core.words import counted
from reconciler_dagster.postgres.leads import DEFERRED
from reconciler_dagster.postgres.staging import dump

Cell = tuple[str, str]
# What happened longer ago is another story.
REMEMBERED_HOURS = 24


def count(
    connection: Connection, pair: Pair, run_id: str, conflicts: Sequence[Mapping[str, Any]]
) -> set[Cell]:
    """Note values that have lost. Returns the cells whose value has now lost in so many runs that
    it is a fight: of these nothing more is kept.
    """
    rows = [
        {"record_id": c["record_id"], "field": c["field"], "losing": c["losing"]} for c in conflicts
    ]
    counted_ = connection.execute(
        text(
            "INSERT INTO reconciler.fight AS f "
            "(client_id, sync, record_id, field, losing, run_id) "
            "SELECT :client_id, :sync, r.record_id, r.field, r.losing, :run_id "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(record_id text, field text, losing jsonb) "
            "ON CONFLICT (client_id, sync, record_id, field) DO UPDATE SET "
            "losing = excluded.losing, "
            "run_id = excluded.run_id, seen_at = clock_timestamp(), runs = CASE "
            "WHEN f.losing IS DISTINCT FROM excluded.losing "
            "OR f.seen_at < clock_timestamp() - make_interval(hours => :hours) THEN 1 "
            "ELSE f.runs + CAST(f.run_id <> excluded.run_id AS int) END "
            "RETURNING record_id, field, runs"
        ),
        {
            **pair.keys,
            "run_id": run_id,
            "rows": dump(rows),
            "hours": REMEMBERED_HOURS,
        },
    )
    return {(row.record_id, row.field) for row in counted_ if row.runs >= FIGHT_RUNS}


def fought(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> Mapping[Cell, Value]:
    """The cells that are fought over, each with the other writer's value."""
    rows = connection.execute(
        text(
            "SELECT record_id, field, losing FROM reconciler.fight WHERE client_id = :client_id "
            "AND sync = :sync AND runs >= :runs AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "runs": FIGHT_RUNS, "record_ids": list(record_ids)},
    )
    return {(row.record_id, row.field): row.losing for row in rows}


def over(connection: Connection, pair: Pair, cells: Iterable[Cell]) -> None:
    """Both sides agree: the fight is over."""
    listed = list(cells)
    if listed:
        connection.execute(
            text(
                "DELETE FROM reconciler.fight f USING "
                "unnest(CAST(:records AS text[]), CAST(:fields AS text[])) c (record_id, field) "
                "WHERE f.client_id = :client_id AND f.sync = :sync AND f.record_id = c.record_id "
                "AND f.field = c.field"
            ),
            {
                **pair.keys,
                "records": [cell[0] for cell in listed],
                "fields": [cell[1] for cell in listed],
            },
        )


def take_up(
    connection: Connection, client_id: str | None, record_id: str | None, field: str | None
) -> int:
    """Somebody has looked: have the next run put the cells right again. Returns how many."""
    found: int = connection.execute(
        text(
            "WITH looked AS (DELETE FROM reconciler.fight WHERE runs >= :runs "
            "AND (CAST(:client_id AS text) IS NULL OR client_id::text = :client_id) "
            "AND (CAST(:record_id AS text) IS NULL OR record_id = :record_id) "
            "AND (CAST(:field AS text) IS NULL OR field = :field) "
            "RETURNING client_id, sync, record_id), noted AS ("
            "INSERT INTO reconciler.unsettled (client_id, sync, lead_id, record_id, cause) "
            "SELECT DISTINCT b.client_id, b.sync, b.lead_id, b.record_id, :cause "
            "FROM looked JOIN reconciler.baseline b USING (client_id, sync, record_id)) "
            "SELECT count(*) FROM looked"
        ),
        {
            "runs": FIGHT_RUNS,
            "client_id": client_id,
            "record_id": record_id,
            "field": field,
            "cause": DEFERRED,
        },
    ).scalar_one()
    return found


@dataclass(frozen=True)
class Fight:
    """All that is fought over of one client. ``cells``: which ones, in words."""

    client_id: str
    began_at: datetime
    cells: str


def standing(connection: Connection, client_id: str | None = None) -> list[Fight]:
    """The fights of every client, or of one."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, sync, field, count(*), min(began_at) FROM reconciler.fight "
            "WHERE runs >= :runs AND client_id = coalesce(CAST(:client_id AS uuid), client_id) "
            "GROUP BY client_id, sync, field ORDER BY client_id, count(*) DESC, sync, field"
        ),
        {"client_id": client_id, "runs": FIGHT_RUNS},
    )
    found = []
    for of_client, fields in groupby(rows, key=itemgetter(0)):
        listed = list(fields)
        cells = ", ".join(f"{row[1]}.{row[2]} of {counted(row[3], 'record')}" for row in listed)
        found.append(Fight(of_client, min(row[4] for row in listed), cells))
    return found


def sentences(connection: Connection, client_id: str) -> list[str]:
    """What is fought over, a sentence for all of it; empty where nothing is."""
    return [
        f"Another program writes what the engine then puts right, in {FIGHT_RUNS} runs by now: "
        f"{fight.cells}. The engine leaves these cells alone until somebody has looked: stop the "
        "other writer (an old cron, a second engine, a zap), then run `reconciler quarantine "
        "retry`."
        for fight in standing(connection, client_id)
    ]
