"""What the routes of the control API have in common."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import HTTPException

from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.formulas.syntax import InvalidFormula
from reconciler_dagster.sandbox.model.base import Actor, Base, Person
from reconciler_dagster.sandbox.model.reader import Columns, Reader
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.world import World

_T = TypeVar("_T")


class Places:
    """Finds bases, tables and people by the names in a request."""

    def __init__(self, world: World) -> None:
        self.world = world

    def base(self, base_id: str) -> Base:
        """Return a base. Raises a 404."""
        base = self.world.bases.get(base_id)
        if base is None:
            raise HTTPException(404, f"No base {base_id}.")
        return base

    def table(self, base_id: str, name_or_id: str) -> tuple[Base, Table]:
        """Return a base and one of its tables. Raises a 404."""
        base = self.base(base_id)
        table = base.table(name_or_id)
        if table is None:
            raise HTTPException(404, f"No table {name_or_id} in base {base_id}.")
        return base, table

    def actor(self, base: Base, name: str) -> Actor:
        """Return the person of this name (or first name, e-mail, id), at the web client."""
        for known in base.people.values():
            if name in (known.id, known.name, known.email, known.name.partition(" ")[0]):
                return Actor("client", known)
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
        email = f"{'.'.join(name.lower().split()) or 'nobody'}@example.com"
        person = Person(f"usr{digest[:14]}", email, name or "Nobody")
        base.people[person.id] = person
        return Actor("client", person)


def shown_record(reader: Reader, table: Table, record: Record, columns: Columns) -> dict[str, Any]:
    """Write a record by field names, empty cells left out."""
    cells = reader.cells(table, record, columns)
    return {
        "createdTime": iso(record.created),
        "lastModified": iso(record.modified),
        "fields": {table.fields[key].name: value for key, value in cells.items()},
    }


def tried(act: Callable[[], _T]) -> _T:
    """Carry out an act; what cannot be done becomes a 422."""
    try:
        return act()
    except (ValueError, InvalidFormula) as error:
        raise HTTPException(422, str(error)) from None
