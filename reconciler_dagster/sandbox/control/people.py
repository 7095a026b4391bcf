"""Routes for what people do to records in the web client, without a call to the API."""

from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from reconciler_dagster.sandbox.control.places import Places, shown_record
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.reader import Columns
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World

SOMEBODY = "Ann"


class Edit(BaseModel):
    """A person's edit: cells by field name or id; null clears."""

    fields: dict[str, Any] = Field(default_factory=dict)
    person: str = SOMEBODY


class Edits(BaseModel):
    """Many edits in one act, as pasting a block of cells does."""

    records: dict[str, dict[str, Any]]
    person: str = SOMEBODY


def people_router(world: World) -> APIRouter:
    """Return the routes. All are coroutines, so that nothing runs beside the API's own calls."""
    router = APIRouter(tags=["people"])
    places = Places(world)

    @router.get("/bases/{base_id}/tables/{table_name}/records")
    async def records(base_id: str, table_name: str) -> Response:
        """All records by id, cells by field name."""
        base, table = places.table(base_id, table_name)
        reader, columns = world.reader(base), Columns(table.fields.values())
        shown = {
            one.id: shown_record(reader, table, one, columns) for one in table.records.values()
        }
        return Response(orjson.dumps(shown), media_type="application/json")

    @router.get("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    async def record(base_id: str, table_name: str, record_id: str) -> dict[str, Any]:
        """One record."""
        base, table = places.table(base_id, table_name)
        if record_id not in table.records:
            raise HTTPException(404, f"No record {record_id}.")
        columns = Columns(table.fields.values())
        return shown_record(world.reader(base), table, table.records[record_id], columns)

    @router.post("/bases/{base_id}/tables/{table_name}/records")
    async def add(base_id: str, table_name: str, edit: Edit) -> dict[str, str]:
        """A person adds a record."""
        base, table = places.table(base_id, table_name)
        act = world.transaction(base, places.actor(base, edit.person))
        record_id = act.create(table, edit.fields)
        act.commit()
        return {"id": record_id}

    @router.patch("/bases/{base_id}/tables/{table_name}/records")
    async def edit_many(base_id: str, table_name: str, edits: Edits) -> None:
        """A person edits many records in one act."""
        base, table = places.table(base_id, table_name)
        act = world.transaction(base, places.actor(base, edits.person))
        for record_id, cells in edits.records.items():
            act.update(table, record_id, cells)
        act.commit()

    @router.patch("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    async def edit(base_id: str, table_name: str, record_id: str, edit: Edit) -> dict[str, Any]:
        """A person edits a record."""
        base, table = places.table(base_id, table_name)
        act = world.transaction(base, places.actor(base, edit.person))
        act.update(table, record_id, edit.fields)
        act.commit()
        columns = Columns(table.fields.values())
        return shown_record(world.reader(base), table, table.records[record_id], columns)

    @router.delete("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    async def delete(base_id: str, table_name: str, record_id: str, by: str = SOMEBODY) -> None:
        """A person deletes a record."""
        base, table = places.table(base_id, table_name)
        act = world.transaction(base, places.actor(base, by))
        act.delete(table, record_id)
        act.commit()

    @router.post("/bases/{base_id}/tables/{table_name}/records/{record_id}/restore")
    async def restore(base_id: str, table_name: str, record_id: str, by: str = SOMEBODY) -> None:
        """A person takes a deleted record back out of the trash; it keeps its id."""
        base, table = places.table(base_id, table_name)
        act = world.transaction(base, places.actor(base, by))
        act.restore(table, record_id)
        act.commit()

    @router.post("/bases/{base_id}/undo")
    async def undo(base_id: str, by: str = SOMEBODY) -> None:
        """A person takes back the latest change that a person made to records."""
        base = places.base(base_id)
        latest = next(
            (c for c in reversed(base.recent) if c.actor.source == "client" and c.changes), None
        )
        if latest is None:
            raise HTTPException(422, "There is nothing to undo.")
        act = world.transaction(base, places.actor(base, by))
        act.undo(latest)
        act.commit()

    @router.get("/bases/{base_id}/history")
    async def history(
        base_id: str, limit: int = Query(200, ge=1, le=5000), record: str | None = None
    ) -> list[dict[str, Any]]:
        """Who changed what, newest first; of one record if asked for."""
        entries = [
            entry
            for entry in reversed(places.base(base_id).journal)
            if record is None or any(one.get("record") == record for one in entry["changes"])
        ]
        return entries[:limit]

    @router.get("/bases/{base_id}/tables/{table_name}/rows")
    async def rows(base_id: str, table_name: str, after: int = Query(-1, ge=-1)) -> Response:
        """The rows of the grid page: all, or those changed after a transaction number."""
        base, table = places.table(base_id, table_name)
        changed = _changed_after(base, table, after)
        reader, columns = world.reader(base), Columns(table.fields.values())
        ids = list(table.records) if changed is None else [i for i in changed if i in table.records]
        answer = {
            "transaction": base.transaction,
            "all": changed is None,
            "rows": [
                {
                    "id": one,
                    "modified": table.records[one].modified,
                    "cells": reader.cells(table, table.records[one], columns),
                }
                for one in ids
            ],
            "gone": [i for i in changed or () if i not in table.records],
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    return router


def _changed_after(base: Base, table: Table, after: int) -> set[str] | None:
    """Return the ids that changed after a transaction, None where everything may have."""
    if not 0 <= after <= base.transaction:
        return None
    commits = [commit for commit in base.recent if commit.number > after]
    if len(commits) < base.transaction - after:
        return None
    if any(commit.schema or commit.rewritten or not commit.changes for commit in commits):
        return None
    return {
        change.record_id
        for commit in commits
        for change in commit.changes
        if change.table_id == table.id
    }
