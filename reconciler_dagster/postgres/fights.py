"""Cells that go back and forth: what the engine puts right, another writer undoes once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import Connection, text

from reconciler_dagster.core.brakes import FIGHT_LEADS, FIGHT_RUNS
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.core.words import counted
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.leads import DEFERRED

Cell = tuple[str, str]
# What happened longer ago is another story.
REMEMBERED_HOURS = 24
# A fight that is over is begun to count anew; what was seen of it before does not count.
_ANEW = "runs = 0, rounds = 0, whatever = false, run_id = '', began_at = clock_timestamp()"


@dataclass(frozen=True)
class Fought:
    """A cell that is fought over. ``losing``: the other writer's value; ``whatever``: it is another
    one each time.
    """

    losing: Value
    whatever: bool

    def is_about(self, value: Value) -> bool:
        """Whether a value of the lead is the other writer's, as far as can be told."""
        return self.whatever or value == self.losing


def count(
    connection: Connection, pair: Pair, run_id: str, conflicts: Sequence[Mapping[str, Any]]
) -> set[Cell]:
    """Note values that have lost. Returns the cells that are fought over by now: of these nothing
    more is kept.

    A fight is the same value that has lost in so many runs; or any value, where a column of many
    leads goes that way side by side: so does a program that writes the time, and no person.
    """
    if not conflicts:
        return set()
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
            "losing = excluded.losing, run_id = excluded.run_id, seen_at = clock_timestamp(), "
            "runs = CASE WHEN f.losing IS DISTINCT FROM excluded.losing AND NOT f.whatever "
            "OR f.seen_at < clock_timestamp() - make_interval(hours => :hours) THEN 1 "
            "ELSE f.runs + CAST(f.run_id <> excluded.run_id AS int) END, "
            "rounds = CASE "
            "WHEN f.seen_at < clock_timestamp() - make_interval(hours => :hours) THEN 1 "
            "ELSE f.rounds + CAST(f.run_id <> excluded.run_id AS int) END "
            "RETURNING record_id, field, runs, rounds"
        ),
        {
            **pair.keys,
            "run_id": run_id,
            "rows": dump(rows),
            "hours": REMEMBERED_HOURS,
        },
    ).all()
    same = {(row.record_id, row.field) for row in counted_ if row.runs >= FIGHT_RUNS}
    again = {(row.record_id, row.field) for row in counted_ if row.rounds >= FIGHT_RUNS}
    changing = again - same
    return same | (_changing(connection, pair, run_id, changing) if changing else set())


def _changing(connection: Connection, pair: Pair, run_id: str, cells: set[Cell]) -> set[Cell]:
    """Those of the cells whose column has lost for many leads of this run once more."""
    rows = connection.execute(
        text(
            "UPDATE reconciler.fight f SET whatever = true, runs = rounds "
            "FROM unnest(CAST(:records AS text[]), CAST(:fields AS text[])) c (record_id, field) "
            "WHERE f.client_id = :client_id AND f.sync = :sync "
            "AND f.record_id = c.record_id AND f.field = c.field "
            "AND :leads <= (SELECT count(*) FROM reconciler.fight g "
            "WHERE g.client_id = :client_id AND g.sync = :sync AND g.field = f.field "
            "AND g.run_id = :run_id AND g.rounds >= :often) "
            "RETURNING f.record_id, f.field"
        ),
        {
            **pair.keys,
            "run_id": run_id,
            "often": FIGHT_RUNS,
            "leads": FIGHT_LEADS,
            **_arrays(cells),
        },
    )
    return {(row.record_id, row.field) for row in rows}


def count_turns(
    connection: Connection,
    pair: Pair,
    run_id: str,
    side: Literal["airtable", "postgres"],
    written: Sequence[Mapping[str, Any]],
) -> None:
    """Note cells that were just written, and are in the history, where each side undoes the other
    without a conflict: one value was carried this way in so many runs, and each time in between
    another one took its place that came from the other side.
    """
    if not written:
        return
    connection.execute(
        text(
            "INSERT INTO reconciler.fight AS f "
            "(client_id, sync, record_id, field, losing, run_id, runs, whatever) "
            "SELECT :client_id, :sync, w.record_id, w.field, "
            "CASE WHEN :inwards THEN w.old ELSE w.new END, :run_id, :often, "
            ":inwards AND turns.values_back > 1 "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w "
            "(lead_id uuid, record_id text, field text, old jsonb, new jsonb) "
            "LEFT JOIN reconciler.fight k ON k.client_id = :client_id "
            "AND k.sync = :sync AND k.record_id = w.record_id AND k.field = w.field "
            "CROSS JOIN LATERAL (SELECT "
            "count(DISTINCT h.run_id) FILTER (WHERE h.side = :side "
            "AND h.new_value IS NOT DISTINCT FROM w.new) AS runs, "
            "count(DISTINCT h.run_id) FILTER (WHERE h.side <> :side "
            "AND h.old_value IS NOT DISTINCT FROM w.new) AS runs_back, "
            "count(DISTINCT h.new_value) FILTER (WHERE h.side <> :side "
            "AND h.old_value IS NOT DISTINCT FROM w.new) AS values_back "
            "FROM reconciler.history h WHERE h.lead_id = w.lead_id "
            "AND h.client_id = :client_id AND h.sync = :sync AND h.field = w.field "
            "AND h.changed_at > clock_timestamp() - make_interval(hours => :hours) "
            "AND h.changed_at > coalesce(k.began_at, '-infinity')) AS turns "
            "WHERE turns.runs >= :often AND turns.runs_back >= :often - 1 "
            "ON CONFLICT (client_id, sync, record_id, field) DO UPDATE SET "
            "losing = excluded.losing, run_id = excluded.run_id, seen_at = clock_timestamp(), "
            "runs = excluded.runs, whatever = excluded.whatever"
        ),
        {
            **pair.keys,
            "run_id": run_id,
            "side": side,
            "inwards": side == "postgres",
            "rows": dump(list(written)),
            "often": FIGHT_RUNS,
            "hours": REMEMBERED_HOURS,
        },
    )


def fought(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> Mapping[Cell, Fought]:
    """The cells that are fought over."""
    rows = connection.execute(
        text(
            "SELECT record_id, field, losing, whatever FROM reconciler.fight "
            "WHERE client_id = :client_id AND sync = :sync AND runs >= :runs "
            "AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "runs": FIGHT_RUNS, "record_ids": list(record_ids)},
    )
    return {(row.record_id, row.field): Fought(row.losing, row.whatever) for row in rows}


def end(
    connection: Connection, pair: Pair, cells: Iterable[Cell], agreeing: Iterable[Cell]
) -> None:
    """Somebody has given the cells another value. ``agreeing``: both sides hold the same; as long
    as the other writer was here lately it may only be waiting for its next turn.
    """
    for some, old in ((cells, False), (agreeing, True)):
        arrays = _arrays(some)
        if arrays["records"]:
            connection.execute(
                text(
                    f"UPDATE reconciler.fight f SET {_ANEW} FROM "  # noqa: S608 - a constant
                    "unnest(CAST(:records AS text[]), CAST(:fields AS text[])) c (record_id, field)"
                    " WHERE f.client_id = :client_id AND f.sync = :sync "
                    "AND f.record_id = c.record_id AND f.field = c.field AND (NOT :old "
                    "OR f.seen_at < clock_timestamp() - make_interval(hours => :hours))"
                ),
                {**pair.keys, "old": old, "hours": REMEMBERED_HOURS, **arrays},
            )


def take_up(
    connection: Connection, client_id: str | None, record_id: str | None, field: str | None
) -> int:
    """Somebody has looked: have the next run put the cells right again. Returns how many."""
    found: int = connection.execute(
        text(
            f"WITH looked AS (UPDATE reconciler.fight SET {_ANEW} WHERE runs >= :runs "  # noqa: S608
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

    @property
    def sentence(self) -> str:
        """What to tell."""
        return (
            f"Another program writes what the engine then puts right, in {FIGHT_RUNS} runs by now: "
            f"{self.cells}. The engine leaves these cells alone until somebody has looked: stop "
            "the other writer (an old cron, a second engine, a zap), then run `reconciler "
            "quarantine retry`."
        )


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
    return [fight.sentence for fight in standing(connection, client_id)]


def sentences_by_client(connection: Connection) -> Mapping[str, list[str]]:
    """The same of every client, none for those without."""
    found = defaultdict[str, list[str]](list)
    for fight in standing(connection):
        found[fight.client_id].append(fight.sentence)
    return found


def _arrays(cells: Iterable[Cell]) -> dict[str, list[str]]:
    listed = list(cells)
    return {"records": [cell[0] for cell in listed], "fields": [cell[1] for cell in listed]}
