"""Metadata: whoami, bases and their schema (Airtable facts §7)."""

from typing import Any

from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World


class Metadata:
    """The metadata endpoints of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world

    def whoami(self, call: Call) -> dict[str, Any]:
        """`GET /meta/whoami`."""
        scopes = self._world.tokens[call.token]
        answer: dict[str, Any] = {"id": self._world.user.id, "scopes": list(scopes)}
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

    def tables(self, call: Call, base: Base) -> dict[str, Any]:
        """`GET /meta/bases/{base}/tables`."""
        visible = "visibleFieldIds" in str(call.parameters().get("include", ""))
        return {"tables": [shown_table(table, visible) for table in base.tables.values()]}


def shown_field(field: Field) -> dict[str, Any]:
    """Write a field as the metadata API does."""
    shown: dict[str, Any] = {"type": field.type, "id": field.id, "name": field.name}
    if field.options:
        shown["options"] = field.options
    if field.description:
        shown["description"] = field.description
    return shown


def shown_table(table: Table, visible: bool = False) -> dict[str, Any]:
    """Write a table as the metadata API does."""
    shown: dict[str, Any] = {
        "id": table.id,
        "name": table.name,
        "primaryFieldId": table.primary,
        "fields": [shown_field(field) for field in table.fields.values()],
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
