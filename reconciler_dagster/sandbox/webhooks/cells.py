"""The form of cells in payloads, which is another than that of the REST API (facts §10)."""

from typing import Any

from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table


def payload_cell(base: Base, table: Table, record: Record, field: Field, reader: Reader) -> Any:
    """Return a cell as a payload shows it; None where it is empty."""
    value = reader.cell(table, record, field)
    if value is None:
        return None
    match field.type:
        case "singleSelect":
            return _choice(field, value)
        case "multipleSelects":
            return [_choice(field, name) for name in value]
        case "multipleRecordLinks":
            return _linked(base, field, value, reader)
        case "multipleLookupValues":
            return _looked_up(table, record, field, reader)
        case "singleCollaborator":
            return {**value, "permissionLevel": "create"}
        case "multipleCollaborators":
            return [{**one, "permissionLevel": "create"} for one in value]
    return value


def _choice(field: Field, name: str) -> dict[str, Any]:
    for choice in field.choices:
        if choice["name"] == name:
            return dict(choice)
    return {"name": name}


def _linked(base: Base, field: Field, ids: list[str], reader: Reader) -> list[dict[str, Any]]:
    other = base.tables[field.options["linkedTableId"]]
    primary = other.fields[other.primary]
    shown = []
    for record_id in ids:
        record = other.records.get(record_id)
        name = reader.cell(other, record, primary) if record else None
        shown.append({"id": record_id, "name": "" if name is None else str(name)})
    return shown


def _looked_up(table: Table, record: Record, field: Field, reader: Reader) -> dict[str, Any]:
    by_record = reader.by_linked_record(table, record, field)
    return {"linkedRecordIds": list(by_record), "valuesByLinkedRecordId": by_record}
