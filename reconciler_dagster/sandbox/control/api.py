"""The control API: what tests, the demo and the grid page do to the sandbox.

It needs no token; the server listens on loopback only unless told otherwise.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.clock import SECOND, iso
from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.faults import Fault
from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.syntax import InvalidFormula, parse
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Actor, Base, Person
from reconciler_dagster.sandbox.model.owner import Owner
from reconciler_dagster.sandbox.model.schema import Field as TableField
from reconciler_dagster.sandbox.model.schema import View
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.model.transaction import MissingRecord
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.world import World

_T = TypeVar("_T")


class Move(BaseModel):
    """A move of the clock."""

    seconds: float = Field(default=0, description="Seconds to move on (or back).")
    frozen: bool | None = Field(default=None, description="Stop the clock, or let it run on.")


class Edit(BaseModel):
    """A person's edit: cells by field name or id; null clears."""

    fields: dict[str, Any] = Field(default_factory=dict)
    person: str = "Ann"


class Edits(BaseModel):
    """Many edits in one act, as pasting a block of cells does."""

    records: dict[str, dict[str, Any]]
    person: str = "Ann"


class Act(BaseModel):
    """An act of the base's owner on one field of the table."""

    act: Literal[
        "rename_field",
        "delete_field",
        "retype_field",
        "add_option",
        "rename_option",
        "remove_option",
        "set_formula",
        "override",
    ]
    field: str
    person: str = "Ann"
    name: str = Field(default="", description="The new name, the option, or the formula.")
    option: str = Field(default="", description="The option to rename.")
    type: str = ""
    options: dict[str, Any] | None = None
    record_id: str = ""
    value: Any = None


class NewField(BaseModel):
    """A field as the metadata API would show it."""

    name: str
    type: str
    options: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    person: str = "Ann"


class NewTable(BaseModel):
    """A table; the first field is the primary one."""

    name: str
    fields: list[NewField]
    person: str = "Ann"


class NewView(BaseModel):
    """A view with its own filter, order ("-Name": downwards) and hidden fields."""

    name: str
    formula: str | None = None
    sort: list[str] = Field(default_factory=list)
    hidden: list[str] = Field(default_factory=list)
    person: str = "Ann"


def control_router(world: World, listings: Listings) -> APIRouter:
    """Return the routes of the control API."""
    router = APIRouter(prefix="/sandbox/api")

    def place(base_id: str, table: str) -> tuple[Base, Table]:
        base = world.bases.get(base_id)
        found = base.table(table) if base else None
        if base is None or found is None:
            raise HTTPException(404, f"No table {table} in base {base_id}.")
        return base, found

    def person(base: Base, name: str) -> Actor:
        for known in base.people.values():
            if name in (known.id, known.name, known.email, known.name.split()[0]):
                return Actor("client", known)
        email = f"{name.lower().replace(' ', '.')}@example.com"
        known = Person(f"usr{name.encode().hex():0<14.14}", email, name)
        base.people[known.id] = known
        return Actor("client", known)

    def read(base: Base, table: Table, record: Record) -> dict[str, Any]:
        shown = world.reader(base).fields(table, record, list(table.fields.values()))
        return {
            "createdTime": iso(record.created),
            "lastModified": iso(record.modified),
            "fields": {table.fields[key].name: value for key, value in shown.items()},
        }

    @router.get("/status")
    def status() -> dict[str, Any]:
        """Bases, clock, counts."""
        return {
            "now": iso(world.clock.now()),
            "frozen": world.clock.frozen,
            "tokens": list(world.tokens),
            "callsThisMonth": world.limits.calls_this_month(),
            "bases": [
                {
                    "id": base.id,
                    "name": base.name,
                    "tables": [
                        {"id": table.id, "name": table.name, "records": len(table.records)}
                        for table in base.tables.values()
                    ],
                }
                for base in world.bases.values()
            ],
        }

    @router.post("/clock")
    def clock(move: Move) -> dict[str, Any]:
        """Move, stop or release the clock."""
        world.clock.advance(round(move.seconds * SECOND))
        if move.frozen is True:
            world.clock.freeze()
        elif move.frozen is False:
            world.clock.resume()
        world.save()
        return {"now": iso(world.clock.now()), "frozen": world.clock.frozen}

    @router.get("/calls")
    def calls(since: int = Query(0, ge=0)) -> list[dict[str, Any]]:
        """Every request to the Airtable API since the last reset, oldest first."""
        return list(world.calls)[since:]

    @router.delete("/calls")
    def reset_calls() -> None:
        """Forget the calls so far."""
        world.calls.clear()

    @router.get("/switches")
    def switches() -> Switches:
        """All switches."""
        return world.switches

    @router.patch("/switches")
    def set_switches(values: dict[str, Any]) -> Switches:
        """Set some switches."""
        try:
            merged = Switches(**{**world.switches.model_dump(), **values})
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        for name in Switches.model_fields:
            setattr(world.switches, name, getattr(merged, name))
        return world.switches

    @router.get("/faults")
    def faults() -> list[dict[str, Any]]:
        """The armed faults and how often each has struck."""
        return [{**one.fault.model_dump(), "hits": one.hits} for one in world.faults.armed]

    @router.post("/faults")
    def arm(fault: Fault) -> None:
        """Arm a fault."""
        world.faults.arm(fault)

    @router.delete("/faults")
    def disarm() -> None:
        """Disarm all faults."""
        world.faults.clear()

    @router.post("/iterators/kill")
    def kill_iterators() -> None:
        """Make every offset that clients hold invalid."""
        listings.kill()

    @router.post("/limits/reset")
    def reset_limits() -> None:
        """Lift lock-outs and forget the calls that were counted."""
        world.limits.reset()

    @router.get("/bases/{base_id}/tables/{table_name}/records")
    def records(base_id: str, table_name: str) -> dict[str, Any]:
        """All records by id, cells by field name."""
        base, table = place(base_id, table_name)
        return {record.id: read(base, table, record) for record in table.records.values()}

    @router.get("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    def record(base_id: str, table_name: str, record_id: str) -> dict[str, Any]:
        """One record."""
        base, table = place(base_id, table_name)
        if record_id not in table.records:
            raise HTTPException(404, f"No record {record_id}.")
        return read(base, table, table.records[record_id])

    @router.post("/bases/{base_id}/tables/{table_name}/records")
    def add(base_id: str, table_name: str, edit: Edit) -> dict[str, str]:
        """A person adds a record."""
        base, table = place(base_id, table_name)
        act = world.transaction(base, person(base, edit.person))
        record_id = act.create(table, edit.fields)
        act.commit()
        return {"id": record_id}

    @router.patch("/bases/{base_id}/tables/{table_name}/records")
    def edit_many(base_id: str, table_name: str, edits: Edits) -> None:
        """A person edits many records in one act."""
        base, table = place(base_id, table_name)
        act = world.transaction(base, person(base, edits.person))
        for record_id, cells in edits.records.items():
            act.update(table, record_id, cells)
        act.commit()

    @router.patch("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    def edit(base_id: str, table_name: str, record_id: str, edit: Edit) -> dict[str, Any]:
        """A person edits a record."""
        base, table = place(base_id, table_name)
        act = world.transaction(base, person(base, edit.person))
        act.update(table, record_id, edit.fields)
        act.commit()
        return read(base, table, table.records[record_id])

    @router.delete("/bases/{base_id}/tables/{table_name}/records/{record_id}")
    def delete(base_id: str, table_name: str, record_id: str, by: str = "Ann") -> None:
        """A person deletes a record."""
        base, table = place(base_id, table_name)
        act = world.transaction(base, person(base, by))
        act.delete(table, record_id)
        act.commit()

    @router.post("/bases/{base_id}/tables/{table_name}/records/{record_id}/restore")
    def restore(base_id: str, table_name: str, record_id: str, by: str = "Ann") -> None:
        """A person takes a deleted record back out of the trash; it keeps its id."""
        base, table = place(base_id, table_name)
        act = world.transaction(base, person(base, by))
        act.restore(table, record_id)
        act.commit()

    @router.post("/bases/{base_id}/undo")
    def undo(base_id: str, by: str = "Ann") -> None:
        """A person takes back the latest change that a person made to records."""
        base = world.bases.get(base_id)
        if base is None:
            raise HTTPException(404, f"No base {base_id}.")
        mine = (c for c in reversed(base.recent) if c.actor.source == "client" and c.changes)
        latest = next(mine, None)
        if latest is None:
            raise HTTPException(422, "There is nothing to undo.")
        act = world.transaction(base, person(base, by))
        act.undo(latest)
        act.commit()

    @router.post("/bases/{base_id}/tables")
    def create_table(base_id: str, given: NewTable) -> dict[str, str]:
        """The owner adds a table; fields may be of any type."""
        base = world.bases.get(base_id)
        if base is None:
            raise HTTPException(404, f"No base {base_id}.")
        owner = world.owner(base, person(base, given.person))
        fields = [one.model_dump() for one in given.fields]
        return {"id": _tried(lambda: owner.create_table(given.name, fields)).id}

    @router.get("/bases/{base_id}/tables/{table_name}/fields")
    def fields(base_id: str, table_name: str) -> list[dict[str, Any]]:
        """The fields as the metadata API shows them, and whether they are computed."""
        _, table = place(base_id, table_name)
        return [{**one.shown(), "computed": one.computed} for one in table.fields.values()]

    @router.post("/bases/{base_id}/tables/{table_name}/fields")
    def create_field(base_id: str, table_name: str, given: NewField) -> dict[str, str]:
        """The owner adds a field of any type, computed ones too."""
        base, table = place(base_id, table_name)
        owner = world.owner(base, person(base, given.person))
        return {"id": _tried(lambda: owner.create_field(table, given.model_dump())).id}

    @router.post("/bases/{base_id}/tables/{table_name}/views")
    def create_view(base_id: str, table_name: str, given: NewView) -> dict[str, str]:
        """The owner adds a view. `sort` and `hidden` name fields by name or id."""
        base, table = place(base_id, table_name)

        def known(name: str) -> str:
            found = table.resolve(name)
            if found is None:
                raise ValueError(f"No field {name}.")
            return found

        def add() -> View:
            if given.formula is not None:
                compile_formula(parse(given.formula), table.resolve)
            sort = [
                {"field": known(one.lstrip("-")), "direction": "desc" if one[:1] == "-" else "asc"}
                for one in given.sort
            ]
            hidden = [known(one) for one in given.hidden]
            view = View(new_id("viw"), given.name, "grid", given.formula, sort, hidden)
            world.owner(base, person(base, given.person)).create_view(table, view)
            return view

        return {"id": _tried(add).id}

    @router.post("/bases/{base_id}/tables/{table_name}/schema")
    def schema(base_id: str, table_name: str, act: Act) -> None:
        """The owner changes a field."""
        base, table = place(base_id, table_name)
        field = table.find(act.field)
        if field is None:
            raise HTTPException(404, f"No field {act.field}.")
        _tried(lambda: _change(world.owner(base, person(base, act.person)), table, field, act))

    @router.get("/bases/{base_id}/history")
    def history(base_id: str, limit: int = Query(200, ge=1, le=5000)) -> list[dict[str, Any]]:
        """Who changed what, newest first."""
        if base_id not in world.bases:
            raise HTTPException(404, f"No base {base_id}.")
        base = world.bases[base_id]
        return list(base.journal)[-limit:][::-1]

    return router


def _tried(act: Callable[[], _T]) -> _T:
    try:
        return act()
    except (ValueError, InvalidFormula) as error:
        raise HTTPException(422, str(error)) from None


def _change(owner: Owner, table: Table, field: TableField, act: Act) -> None:
    match act.act:
        case "rename_field":
            owner.change_field(table, field, act.name, None)
        case "delete_field":
            owner.delete_field(table, field)
        case "retype_field":
            owner.retype_field(table, field, act.type, act.options)
        case "add_option":
            owner.add_option(table, field, act.name)
        case "rename_option":
            owner.rename_option(table, field, act.option, act.name)
        case "remove_option":
            owner.remove_option(table, field, act.name)
        case "set_formula":
            owner.change_formula(table, field, act.name)
        case "override":
            owner.override(table, act.record_id, field, act.value)


def refusal_text(error: Refusal | MissingRecord) -> str:
    """Say in one line why an act was refused."""
    if isinstance(error, MissingRecord):
        return f"No record {error.record_id}."
    detail = error.body.get("error")
    return str(detail.get("message", detail["type"])) if isinstance(detail, dict) else str(detail)
