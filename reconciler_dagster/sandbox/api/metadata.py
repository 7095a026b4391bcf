"""Metadata: whoami, bases, and the schema of a base, read and changed (Airtable facts §7)."""

from collections.abc import Callable
from typing import Any, TypeVar

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.query import text
from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.formulas.syntax import InvalidFormula
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.owner import Owner
from reconciler_dagster.sandbox.model.schema import WRITABLE
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World

_T = TypeVar("_T")


class Metadata:
    """The metadata endpoints of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world

    def whoami(self, call: Call) -> dict[str, Any]:
        """`GET /meta/whoami`."""
        scopes = self._world.tokens[call.token]
        answer: dict[str, Any] = {"id": self._world.user.id}
        if self._world.switches.whoami_scopes:
            answer["scopes"] = list(scopes)
        if "user.email:read" in scopes:
            answer["email"] = self._world.user.email
        return answer

    def bases(self, call: Call) -> dict[str, Any]:
        """`GET /meta/bases`."""
        return {
            "bases": [
                {"id": base.id, "name": base.name, "permissionLevel": "create"}
                for base in self._world.bases.values()
            ]
        }

    def base(self, call: Call, base: Base) -> dict[str, Any]:
        """`GET /meta/bases/{base}`: the base, and who may do what with it if that is asked for."""
        answer: dict[str, Any] = {
            "id": base.id,
            "name": base.name,
            "createdTime": iso(base.created),
            "permissionLevel": "create",
            "workspaceId": base.workspace,
        }
        asked = call.parameters().get("include", [])
        asked = asked if isinstance(asked, list) else [asked]
        if not all(isinstance(one, str) and one in _INCLUDED for one in asked):
            raise errors.bad_parameters()
        for one in asked:
            answer |= _INCLUDED[one](base)
        return answer

    def create_base(self, call: Call) -> dict[str, Any]:
        """`POST /meta/bases`."""
        body = call.json()
        base = Base(new_id("app"), text(body.get("name")), text(body.get("workspaceId")))
        tables = body.get("tables")
        if not isinstance(tables, list) or not tables:
            raise errors.bad_parameters()
        owner = self._world.owner(base)
        for given in tables:
            _create_table(owner, given)
        self._world.add_base(base)
        return {"id": base.id, "tables": [shown_table(table) for table in base.tables.values()]}

    def tables(self, call: Call, base: Base) -> dict[str, Any]:
        """`GET /meta/bases/{base}/tables`."""
        visible = "visibleFieldIds" in str(call.parameters().get("include", ""))
        return {"tables": [shown_table(table, visible) for table in base.tables.values()]}

    def create_table(self, call: Call, base: Base) -> dict[str, Any]:
        """`POST /meta/bases/{base}/tables`."""
        return shown_table(_create_table(self._world.owner(base), call.json()))

    def change_table(self, call: Call, base: Base, table_id: str) -> dict[str, Any]:
        """`PATCH /meta/bases/{base}/tables/{table}`."""
        table, name, description = self._table(base, table_id), *_naming(call.json())
        _tried(lambda: self._world.owner(base).change_table(table, name, description))
        return shown_table(table)

    def create_field(self, call: Call, base: Base, table_id: str) -> dict[str, Any]:
        """`POST /meta/bases/{base}/tables/{table}/fields`."""
        table, given = self._table(base, table_id), _field(call.json())
        return _tried(lambda: self._world.owner(base).create_field(table, given)).shown()

    def change_field(self, call: Call, base: Base, table_id: str, field_id: str) -> dict[str, Any]:
        """`PATCH /meta/bases/{base}/tables/{table}/fields/{field}`."""
        table = self._table(base, table_id)
        field = table.fields.get(field_id)
        if field is None:
            raise errors.model_not_found()
        name, description = _naming(call.json())
        _tried(lambda: self._world.owner(base).change_field(table, field, name, description))
        return field.shown()

    def _table(self, base: Base, name_or_id: str) -> Table:
        table = base.table(name_or_id)
        if table is None:
            raise errors.model_not_found()
        return table


def _collaborators(base: Base) -> dict[str, Any]:
    people = [
        {
            "userId": person.id,
            "email": person.email,
            "permissionLevel": "create",
            "createdTime": iso(base.created),
            "grantedByUserId": person.id,
        }
        for person in base.people.values()
    ]
    nobody: dict[str, Any] = {"baseCollaborators": [], "workspaceCollaborators": []}
    everybody = {**nobody, "baseCollaborators": people}
    return {
        "collaborators": everybody,
        "individualCollaborators": everybody,
        "groupCollaborators": nobody,
    }


_INCLUDED: dict[str, Callable[[Base], dict[str, Any]]] = {
    "collaborators": _collaborators,
    "inviteLinks": lambda _: {"inviteLinks": {"baseInviteLinks": [], "workspaceInviteLinks": []}},
    "interfaces": lambda _: {"interfaces": {}},
    "packages": lambda _: {"packageInstallations": []},
}
"""What `include` adds to the answer about a base."""


def _tried(act: Callable[[], _T]) -> _T:
    """Carry out an act on the schema; what cannot be done becomes a 422."""
    try:
        return act()
    except (ValueError, InvalidFormula) as error:
        raise errors.refusal(422, "INVALID_REQUEST_UNKNOWN", str(error)) from None


def _create_table(owner: Owner, given: Any) -> Table:
    if not isinstance(given, dict) or not isinstance(given.get("fields"), list):
        raise errors.bad_parameters()
    name, description = _naming(given)
    fields = [_field(one) for one in given["fields"]]
    return _tried(lambda: owner.create_table(name or "", fields, description))


def _naming(given: dict[str, Any]) -> tuple[str | None, str | None]:
    name, description = given.get("name"), given.get("description")
    return (
        None if name is None else text(name),
        None if description is None else text(description),
    )


def _field(given: Any) -> dict[str, Any]:
    """Check the definition of a new field. Computed types cannot be made through the API."""
    if not isinstance(given, dict):
        raise errors.bad_parameters()
    name, description = _naming(given)
    kind, options = text(given.get("type")), given.get("options") or {}
    if kind not in WRITABLE:
        raise errors.refusal(
            422,
            "UNSUPPORTED_FIELD_TYPE_FOR_CREATE",
            f"Creating {kind} fields is not supported at this time",
        )
    choices = options.get("choices", []) if isinstance(options, dict) else None
    if not isinstance(choices, list):
        raise errors.bad_parameters()
    names = [text(one.get("name") if isinstance(one, dict) else None) for one in choices]
    if len(set(names)) < len(names) or not all(names):
        raise errors.bad_parameters()
    given_choices = [{"name": one["name"], "color": one.get("color")} for one in choices]
    if choices:
        options = {**options, "choices": given_choices}
    return {"name": name, "type": kind, "options": options, "description": description}


def shown_table(table: Table, visible: bool = False) -> dict[str, Any]:
    """Write a table as the metadata API does."""
    shown: dict[str, Any] = {
        "id": table.id,
        "name": table.name,
        "primaryFieldId": table.primary,
        "fields": [field.shown() for field in table.fields.values()],
        "views": [],
    }
    if table.description:
        shown["description"] = table.description
    for view in table.views:
        entry: dict[str, Any] = {"id": view.id, "name": view.name, "type": view.type}
        if visible:
            entry["visibleFieldIds"] = [one for one in table.fields if one not in view.hidden]
        shown["views"].append(entry)
    return shown
