"""What people and owners do in the web client, without a call to the API (Airtable facts §13.9)."""

from typing import Any

from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.cells import PLAIN, Unacceptable
from reconciler_dagster.sandbox.model.definition import set_formula
from reconciler_dagster.sandbox.model.schema import CHOICE_COLOURS, Field
from reconciler_dagster.sandbox.model.table import Record, Table


def rename_field(table: Table, field: Field, name: str) -> None:
    """Rename a field; formulas go on, since they name fields by id. Raises ValueError."""
    if not name or ((found := table.find(name)) is not None and found is not field):
        raise ValueError(f"The table already has a field {name!r}, or the name is empty.")
    field.name = name
    table.schema_changed()


def delete_field(base: Base, table: Table, field: Field) -> None:
    """Delete a field with its cells; the inverse side of a link becomes text-less."""
    if field.id == table.primary:
        raise ValueError("The primary field cannot be deleted.")
    inverse = field.options.get("inverseLinkFieldId")
    linked = base.tables.get(field.options.get("linkedTableId", ""))
    del table.fields[field.id]
    table.schema_changed()
    _drop_cells(table, field.id)
    if linked is not None and inverse in linked.fields:
        del linked.fields[inverse]
        linked.schema_changed()
        _drop_cells(linked, inverse)


def retype_field(table: Table, field: Field, kind: str, options: dict[str, Any] | None) -> None:
    """Change a field's type; cells that do not convert are emptied, as Airtable does."""
    if field.computed or field.type == "multipleRecordLinks":
        raise ValueError("This field's type cannot be changed.")
    if kind not in PLAIN and kind not in ("singleSelect", "multipleSelects"):
        raise ValueError(f"Cannot convert to {kind}.")
    field.type = kind
    field.options = dict(options or {})
    for record in list(table.records.values()):
        if field.id in record.cells:
            cells = dict(record.cells)
            value = _converted(field, cells.pop(field.id))
            if value is not None:
                cells[field.id] = value
            _replace(table, record, cells)
    table.schema_changed()


def _converted(field: Field, value: Any) -> Any:
    if isinstance(value, list):
        value = ", ".join(str(one) for one in value)
    if isinstance(value, bool) and field.type != "checkbox":
        value = "checked"
    if field.type in PLAIN:
        try:
            return PLAIN[field.type](field, value, True)
        except Unacceptable:
            return None
    name = str(value)
    add_option(field, name)
    return [name] if field.type == "multipleSelects" else name


def add_option(field: Field, name: str) -> None:
    """Add an option to a select unless it has it."""
    if all(choice["name"] != name for choice in field.choices):
        colour = CHOICE_COLOURS[len(field.choices) % len(CHOICE_COLOURS)]
        field.choices.append({"id": new_id("sel"), "name": name, "color": colour})


def rename_option(table: Table, field: Field, old: str, new: str) -> None:
    """Rename an option: every record shows the new name, none counts as modified."""
    choice = next((choice for choice in field.choices if choice["name"] == old), None)
    if choice is None:
        raise ValueError(f"The field has no option {old!r}.")
    choice["name"] = new
    _replace_option(table, field, old, new)


def remove_option(table: Table, field: Field, name: str) -> None:
    """Delete an option: cells that hold it become empty, none counts as modified."""
    if all(choice["name"] != name for choice in field.choices):
        raise ValueError(f"The field has no option {name!r}.")
    field.options["choices"] = [choice for choice in field.choices if choice["name"] != name]
    _replace_option(table, field, name, None)


def change_formula(table: Table, field: Field, text: str) -> None:
    """Give a formula field another formula. Raises ValueError, InvalidFormula."""
    if field.type != "formula":
        raise ValueError(f"{field.name!r} is no formula field.")
    set_formula(table, field, text)


def override(table: Table, record_id: str, field: Field, value: Any) -> None:
    """Nail a computed cell to a value, silently; None lets it be computed again."""
    if not field.derived:
        raise ValueError(f"{field.name!r} is not computed.")
    if record_id not in table.records:
        raise ValueError(f"The table has no record {record_id}.")
    nailed = table.overrides.setdefault(record_id, {})
    if value is None:
        nailed.pop(field.id, None)
    else:
        nailed[field.id] = value
    if not nailed:
        del table.overrides[record_id]
    table.revision += 1


def _replace_option(table: Table, field: Field, old: str, new: str | None) -> None:
    for record in list(table.records.values()):
        value = record.cells.get(field.id)
        if value == old or (isinstance(value, list) and old in value):
            cells = dict(record.cells)
            kept: Any = new
            if isinstance(value, list):
                kept = [new if one == old else one for one in value if one != old or new]
            if kept:
                cells[field.id] = kept
            else:
                del cells[field.id]
            _replace(table, record, cells)


def _drop_cells(table: Table, field_id: str) -> None:
    for record in list(table.records.values()):
        if field_id in record.cells:
            cells = {key: value for key, value in record.cells.items() if key != field_id}
            _replace(table, record, cells)


def _replace(table: Table, record: Record, cells: dict[str, Any]) -> None:
    """Give a record other cells without a trace in its times."""
    table.put(
        Record(
            record.id,
            record.created,
            record.modified,
            record.created_by,
            record.modified_by,
            cells,
            record.touched,
        )
    )
