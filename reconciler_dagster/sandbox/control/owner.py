"""Routes for what a base's owner does to tables and fields in the web client."""

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from reconciler_dagster.sandbox.control.people import SOMEBODY
from reconciler_dagster.sandbox.control.places import Places, tried
from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.syntax import parse
from reconciler_dagster.sandbox.ids import is_id, new_id
from reconciler_dagster.sandbox.model.owner import Owner
from reconciler_dagster.sandbox.model.schema import Field as TableField
from reconciler_dagster.sandbox.model.schema import View
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World


class NewField(BaseModel):
    """A field as the metadata API would show it."""

    name: str
    type: str
    options: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    person: str = SOMEBODY


class NewTable(BaseModel):
    """A table; the first field is the primary one."""

    name: str
    fields: list[NewField]
    person: str = SOMEBODY


class NewView(BaseModel):
    """A view with its own filter, order ("-Name": downwards) and hidden fields."""

    name: str
    formula: str | None = None
    sort: list[str] = Field(default_factory=list)
    hidden: list[str] = Field(default_factory=list)
    person: str = SOMEBODY


class Act(BaseModel):
    """An act on one field."""

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
    name: str = Field(default="", description="The new name, the option, or the formula.")
    option: str = Field(default="", description="The option to rename.")
    type: str = ""
    options: dict[str, Any] | None = None
    record_id: str = Field(default="", description="The record whose cell is overridden.")
    value: Any = None
    person: str = SOMEBODY


def owner_router(world: World) -> APIRouter:
    """Return the routes. All are coroutines, so that nothing runs beside the API's own calls."""
    router = APIRouter(tags=["owner"])
    places = Places(world)

    @router.post("/bases/{base_id}/copy")
    async def copy(base_id: str, to: str) -> dict[str, str]:
        """Copy a base to another id, as a restored snapshot is one; what is there is replaced."""
        base = places.base(base_id)
        if not is_id(to, "app") or to == base_id:
            raise HTTPException(422, f"{to!r} is no other base id: 'app' and 14 letters or digits.")
        world.add_base(base.copied(to))
        return {"id": to}

    @router.post("/bases/{base_id}/tables")
    async def create_table(base_id: str, given: NewTable) -> dict[str, str]:
        """Add a table; fields may be of any type."""
        base = places.base(base_id)
        owner = world.owner(base, places.actor(base, given.person))
        fields = [one.model_dump() for one in given.fields]
        return {"id": tried(lambda: owner.create_table(given.name, fields)).id}

    @router.get("/bases/{base_id}/tables/{table_name}/fields")
    async def fields(base_id: str, table_name: str) -> list[dict[str, Any]]:
        """The fields as the metadata API shows them, and whether they are computed."""
        _, table = places.table(base_id, table_name)
        return [{**one.shown(), "computed": one.computed} for one in table.fields.values()]

    @router.post("/bases/{base_id}/tables/{table_name}/fields")
    async def create_field(base_id: str, table_name: str, given: NewField) -> dict[str, str]:
        """Add a field of any type, computed ones too."""
        base, table = places.table(base_id, table_name)
        owner = world.owner(base, places.actor(base, given.person))
        return {"id": tried(lambda: owner.create_field(table, given.model_dump())).id}

    @router.post("/bases/{base_id}/tables/{table_name}/views")
    async def create_view(base_id: str, table_name: str, given: NewView) -> dict[str, str]:
        """Add a view; `sort` and `hidden` name fields by name or id."""
        base, table = places.table(base_id, table_name)
        owner = world.owner(base, places.actor(base, given.person))

        def add() -> str:
            view = _view(table, given)
            owner.create_view(table, view)
            return view.id

        return {"id": tried(add)}

    @router.post("/bases/{base_id}/tables/{table_name}/schema")
    async def change(base_id: str, table_name: str, act: Act) -> None:
        """Change one field."""
        base, table = places.table(base_id, table_name)
        field = table.find(act.field)
        if field is None:
            raise HTTPException(404, f"No field {act.field}.")
        owner = world.owner(base, places.actor(base, act.person))
        tried(lambda: _carry_out(owner, table, field, act))

    return router


def _view(table: Table, given: NewView) -> View:
    def known(name: str) -> str:
        found = table.find(name)
        if found is None:
            raise ValueError(f"No field {name}.")
        return found.id

    if given.formula is not None:
        compile_formula(parse(given.formula), table.resolve)
    sort = [
        {
            "field": known(name.removeprefix("-")),
            "direction": "desc" if name.startswith("-") else "asc",
        }
        for name in given.sort
    ]
    hidden = [known(name) for name in given.hidden]
    return View(new_id("viw"), given.name, "grid", given.formula, sort, hidden)


def _carry_out(owner: Owner, table: Table, field: TableField, act: Act) -> None:
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
