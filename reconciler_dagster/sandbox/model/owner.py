"""Changing the schema, as the metadata API and people in the web client do (facts §7 and §13.9)."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Actor, Base, SchemaChange
from reconciler_dagster.sandbox.model.cells import PLAIN, Unacceptable, accept_plain
from reconciler_dagster.sandbox.model.definition import (
    choice_colour,
    complete_options,
    set_formula,
)
from reconciler_dagster.sandbox.model.schema import COMPUTED, WRITABLE, Field, View
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.switches import Switches

SELECTS = ("singleSelect", "multipleSelects")


class Owner:
    """Changes the schema of one base. Every method raises ValueError for what cannot be done."""

    def __init__(self, base: Base, actor: Actor, now: int, switches: Switches) -> None:
        self._base = base
        self._actor = actor
        self._now = now
        self._switches = switches

    def create_table(
        self, name: str, fields: list[dict[str, Any]], description: str | None = None
    ) -> Table:
        """Add a table; its first field is the primary one."""
        if not name or self._base.table(name) is not None:
            raise ValueError(f"The base already has a table {name!r}, or the name is empty.")
        table = Table(new_id("tbl"), name, {}, [View(new_id("viw"), "Grid view")], "", description)
        made = [self._make_field(table, given) for given in fields]
        if not made or (made[0].type not in PLAIN and made[0].type != "formula"):
            raise ValueError("A table needs a primary field of a plain type.")
        table.primary = made[0].id
        self._base.tables[table.id] = table
        for field in made:
            self._connect(table, field)
        self._announce(SchemaChange(table.id, None, None, {"name": name}))
        return table

    def change_table(self, table: Table, name: str | None, description: str | None) -> None:
        """Rename or describe a table."""
        before = {"name": table.name, "description": table.description}
        if name is not None:
            found = self._base.table(name)
            if not name or (found is not None and found is not table):
                raise ValueError(f"The base already has a table {name!r}, or the name is empty.")
            table.name = name
        if description is not None:
            table.description = description
        after = {"name": table.name, "description": table.description}
        self._announce(SchemaChange(table.id, None, before, after))

    def create_field(self, table: Table, given: dict[str, Any]) -> Field:
        """Add a field of any type, computed ones too; a link gets its inverse side."""
        field = self._make_field(table, given)
        self._connect(table, field)
        self._announce(SchemaChange(table.id, field.id, None, field.shown()))
        return field

    def create_view(self, table: Table, view: View) -> None:
        """Add a view."""
        if table.view(view.name) is not None:
            raise ValueError(f"The table already has a view {view.name!r}.")
        table.views.append(view)
        self._announce()

    def change_field(
        self, table: Table, field: Field, name: str | None, description: str | None
    ) -> None:
        """Rename or describe a field; formulas go on, since they name fields by id."""
        before = field.shown()
        if name is not None:
            found = table.find(name)
            if not name or (found is not None and found is not field):
                raise ValueError(f"The table already has a field {name!r}, or the name is empty.")
            field.name = name
        if description is not None:
            field.description = description
        table.schema_changed()
        self._announce(SchemaChange(table.id, field.id, before, field.shown()))

    def delete_field(self, table: Table, field: Field) -> None:
        """Delete a field with its cells, and the inverse side of a link."""
        if field.id == table.primary:
            raise ValueError("The primary field cannot be deleted.")
        gone = [(table, field)]
        other = self._base.tables.get(field.options.get("linkedTableId", ""))
        inverse = field.options.get("inverseLinkFieldId")
        if other is not None and inverse in other.fields:
            gone.append((other, other.fields[inverse]))
        for place, one in gone:
            place.fields.pop(one.id, None)
            place.schema_changed()
            _rewrite(place, one.id, lambda _: None)
        self._announce(
            *[SchemaChange(place.id, one.id, one.shown(), None) for place, one in gone],
            rewritten=[place for place, _ in gone],
        )

    def retype_field(
        self, table: Table, field: Field, kind: str, options: dict[str, Any] | None = None
    ) -> None:
        """Change a field's type; cells that do not convert become empty."""
        if field.type not in PLAIN and field.type not in SELECTS:
            raise ValueError(f"The type of {field.name!r} cannot be changed.")
        if kind not in PLAIN and kind not in SELECTS:
            raise ValueError(f"Cannot convert to {kind}.")
        before = field.shown()
        field.type, field.options = kind, complete_options(kind, options or {})
        table.schema_changed()
        _rewrite(table, field.id, lambda value: _converted(field, value, self._switches))
        self._announce(SchemaChange(table.id, field.id, before, field.shown()), rewritten=[table])

    def add_option(self, table: Table, field: Field, name: str) -> None:
        """Add an option to a select."""
        before = field.shown()
        _add_option(field, name)
        self._announce(SchemaChange(table.id, field.id, before, field.shown()))

    def rename_option(self, table: Table, field: Field, old: str, new: str) -> None:
        """Rename an option: every record shows the new name, none counts as modified."""
        before = field.shown()
        _option(field, old)["name"] = new
        self._replace_option(table, field, before, old, new)

    def remove_option(self, table: Table, field: Field, name: str) -> None:
        """Delete an option: cells that hold it become empty, none counts as modified."""
        before = field.shown()
        field.choices.remove(_option(field, name))
        self._replace_option(table, field, before, name, None)

    def change_formula(self, table: Table, field: Field, text: str) -> None:
        """Give a formula field another formula. Raises InvalidFormula too."""
        if field.type != "formula":
            raise ValueError(f"{field.name!r} is no formula field.")
        before = field.shown()
        set_formula(table, field, text)
        self._announce(SchemaChange(table.id, field.id, before, field.shown()))

    def override(self, table: Table, record_id: str, field: Field, value: Any) -> None:
        """Nail a computed cell to a value, silently; None lets it be computed again."""
        if not field.derived or record_id not in table.records:
            raise ValueError(f"{field.name!r} of {record_id} is no computed cell.")
        nailed = table.overrides.setdefault(record_id, {})
        nailed[field.id] = value
        if value is None:
            del nailed[field.id]
        table.revision += 1
        self._announce()

    def _make_field(self, table: Table, given: dict[str, Any]) -> Field:
        name, kind = given.get("name"), given.get("type")
        if not isinstance(name, str) or not name or table.find(name) is not None:
            raise ValueError(f"The table already has a field {name!r}, or the name is empty.")
        if not isinstance(kind, str) or kind not in WRITABLE | COMPUTED:
            raise ValueError(f"There is no field type {kind!r}.")
        options = complete_options(kind, given.get("options") or {})
        if kind == "multipleRecordLinks" and options.get("linkedTableId") not in (
            *self._base.tables,
            table.id,
        ):
            raise ValueError("A link needs the id of the linked table.")
        field = Field(
            given.get("id") or new_id("fld"), name, kind, options, given.get("description")
        )
        table.fields[field.id] = field
        table.schema_changed()
        if kind == "formula":
            try:
                set_formula(table, field, str(options.get("formula", "")))
            except Exception:
                del table.fields[field.id]
                table.schema_changed()
                raise
        return field

    def _connect(self, table: Table, field: Field) -> None:
        """Give a new link its inverse side."""
        if field.type != "multipleRecordLinks" or field.options.get("inverseLinkFieldId"):
            return
        other = self._base.tables[field.options["linkedTableId"]]
        name, count = table.name, 1
        while other.find(name) is not None:
            count += 1
            name = f"{table.name} {count}"
        inverse = Field(new_id("fld"), name, "multipleRecordLinks")
        connect(table, field, other, inverse)
        other.fields[inverse.id] = inverse
        other.schema_changed()

    def _replace_option(
        self, table: Table, field: Field, before: dict[str, Any], old: str, new: str | None
    ) -> None:
        def replaced(value: Any) -> Any:
            if isinstance(value, list):
                return [new if one == old else one for one in value if one != old or new] or None
            return new if value == old else value

        _rewrite(table, field.id, replaced)
        self._announce(SchemaChange(table.id, field.id, before, field.shown()), rewritten=[table])

    def _announce(self, *schema: SchemaChange, rewritten: Iterable[Table] = ()) -> None:
        tables = tuple(table.id for table in rewritten)
        self._base.announce(self._now, self._actor, schema=schema, rewritten=tables)


def connect(table: Table, field: Field, other: Table, inverse: Field) -> None:
    """Make two link fields the two sides of one link."""
    for one, linked, back in ((field, other, inverse), (inverse, table, field)):
        one.options = {
            "linkedTableId": linked.id,
            "isReversed": False,
            "prefersSingleRecordLink": False,
            "inverseLinkFieldId": back.id,
        }


def _option(field: Field, name: str) -> dict[str, Any]:
    for choice in field.choices if field.type in SELECTS else ():
        if choice["name"] == name:
            return choice
    raise ValueError(f"{field.name!r} has no option {name!r}.")


def _add_option(field: Field, name: str) -> None:
    if field.type not in SELECTS or not name:
        raise ValueError(f"{field.name!r} is no select, or the option has no name.")
    if all(choice["name"] != name for choice in field.choices):
        colour = choice_colour(len(field.choices))
        field.choices.append({"id": new_id("sel"), "name": name, "color": colour})


def _converted(field: Field, value: Any, switches: Switches) -> Any:
    if isinstance(value, list):
        value = ", ".join(str(one) for one in value)
    if isinstance(value, bool) and field.type != "checkbox":
        value = "checked"
    if field.type in PLAIN:
        try:
            return accept_plain(field, value, True, switches)
        except Unacceptable:
            return None
    _add_option(field, str(value))
    return [str(value)] if field.type == "multipleSelects" else str(value)


def _rewrite(table: Table, field_id: str, change: Callable[[Any], Any]) -> None:
    """Change the cells of one field everywhere, without a trace in the records' times."""
    for record in list(table.records.values()):
        if field_id in record.cells:
            cells = dict(record.cells)
            value = change(cells.pop(field_id))
            if value is not None:
                cells[field_id] = value
            table.put(replace(record, cells=cells))
