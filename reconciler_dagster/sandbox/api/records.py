"""Records: list, get, create, update, replace, upsert, delete (Airtable facts §3 and §5)."""

from collections.abc import Mapping
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.api.query import Shape, flag, read_query, read_shape
from reconciler_dagster.sandbox.api.strings import cell_text
from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.ids import is_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.model.transaction import MissingRecord
from reconciler_dagster.sandbox.world import World

BATCH = 10


class Records:
    """The record endpoints of one sandbox."""

    def __init__(self, world: World, listings: Listings) -> None:
        self._world = world
        self._listings = listings

    def list_records(self, call: Call, base: Base, table: Table) -> dict[str, Any]:
        """`GET /{base}/{table}` and `POST /{base}/{table}/listRecords`."""
        given = call.parameters()
        if call.method == "POST":
            given = {**given, **call.json()}
        query = read_query(table, given)
        records, offset = self._listings.page(base, table, query)
        reader = self._world.reader(base)
        answer: dict[str, Any] = {
            "records": [self._written(reader, table, record, query.shape) for record in records]
        }
        if offset is not None:
            answer["offset"] = offset
        return answer

    def get(self, call: Call, base: Base, table: Table, record_id: str) -> dict[str, Any]:
        """`GET /{base}/{table}/{record}`; a record of another table of the base is found too."""
        given = call.parameters()
        given.pop("fields", None)
        for place in (table, *base.tables.values()):
            record = place.records.get(record_id)
            if record is not None:
                return self._written(
                    self._world.reader(base), place, record, read_shape(place, given)
                )
        if self._world.switches.missing_record == 404:
            raise errors.record_not_found()
        raise errors.model_not_found()

    def create(self, call: Call, base: Base, table: Table) -> dict[str, Any]:
        """`POST /{base}/{table}`: one record, or up to ten."""
        body = call.json()
        shape = read_shape(table, {"returnFieldsByFieldId": _by_id(call, body)})
        typecast = flag(body.get("typecast"))
        act = self._world.transaction(base)
        if "records" in body:
            ids = [
                act.create(table, _cells(item), typecast) for item in _batch(body["records"], False)
            ]
            act.commit()
            return {"records": self._all(base, table, ids, shape)}
        if "fields" not in body:
            raise errors.missing_fields()
        record_id = act.create(table, _cells(body), typecast)
        act.commit()
        return self._all(base, table, [record_id], shape)[0]

    def update(self, call: Call, base: Base, table: Table, record_id: str) -> dict[str, Any]:
        """`PATCH` or `PUT` of one record."""
        body = call.json()
        if "fields" not in body:
            raise errors.missing_fields()
        shape = read_shape(table, {"returnFieldsByFieldId": _by_id(call, body)})
        act = self._world.transaction(base)
        try:
            act.update(
                table, record_id, _cells(body), call.method == "PUT", flag(body.get("typecast"))
            )
        except MissingRecord:
            raise errors.record_not_found() from None
        act.commit()
        return self._all(base, table, [record_id], shape)[0]

    def update_batch(self, call: Call, base: Base, table: Table) -> dict[str, Any]:
        """`PATCH` or `PUT` of up to ten records, all or nothing; with `performUpsert` too."""
        body = call.json()
        items = _batch(body.get("records"), "performUpsert" not in body)
        shape = read_shape(table, {"returnFieldsByFieldId": _by_id(call, body)})
        typecast, replace = flag(body.get("typecast")), call.method == "PUT"
        act = self._world.transaction(base)
        created: list[str] = []
        ids: list[str] = []
        merge = _merge_fields(table, body["performUpsert"]) if "performUpsert" in body else None
        matched = _matches(table, items, merge) if merge else [item["id"] for item in items]
        known = [record_id for record_id in matched if record_id is not None]
        if len(set(known)) < len(known):
            raise errors.repeated_record()
        try:
            for item, record_id in zip(items, matched, strict=True):
                if record_id is None:
                    ids.append(act.create(table, _cells(item), typecast))
                    created.append(ids[-1])
                else:
                    act.update(table, record_id, _cells(item), replace, typecast)
                    ids.append(record_id)
        except MissingRecord as missing:
            raise self._missing_row(missing.record_id) from None
        act.commit()
        answer: dict[str, Any] = {"records": self._all(base, table, ids, shape)}
        if merge is not None:
            answer["createdRecords"] = created
            answer["updatedRecords"] = [one for one in ids if one not in created]
        return answer

    def delete(self, call: Call, base: Base, table: Table, record_id: str) -> dict[str, Any]:
        """`DELETE` of one record."""
        act = self._world.transaction(base)
        try:
            act.delete(table, record_id)
        except MissingRecord:
            raise errors.record_not_found() from None
        act.commit()
        return {"deleted": True, "id": record_id}

    def delete_batch(self, call: Call, base: Base, table: Table) -> dict[str, Any]:
        """`DELETE` of up to ten records, all or nothing."""
        ids = call.parameters().get("records")
        if (
            not isinstance(ids, list)
            or not 0 < len(ids) <= BATCH
            or not all(is_id(one, "rec") for one in ids)
        ):
            raise errors.invalid_records('"records" must be an array of up to 10 record IDs.')
        act = self._world.transaction(base)
        try:
            for record_id in dict.fromkeys(ids):
                act.delete(table, record_id)
        except MissingRecord as missing:
            raise self._missing_row(missing.record_id) from None
        act.commit()
        return {"records": [{"deleted": True, "id": record_id} for record_id in ids]}

    def _missing_row(self, record_id: str) -> errors.Refusal:
        if self._world.switches.missing_row == 404:
            return errors.record_not_found()
        return errors.row_does_not_exist(record_id)

    def _all(self, base: Base, table: Table, ids: list[str], shape: Shape) -> list[dict[str, Any]]:
        reader = self._world.reader(base)
        return [self._written(reader, table, table.records[one], shape) for one in ids]

    def _written(
        self, reader: Reader, table: Table, record: Record, shape: Shape
    ) -> dict[str, Any]:
        cells: dict[str, Any]
        if shape.zone is None:
            cells = reader.cells(table, record, shape.columns)
        else:
            cells = {
                field.id: text
                for field in shape.columns.fields
                if (text := cell_text(reader, table, record, field, shape.zone)) is not None
            }
        names = table.fields
        answer: dict[str, Any] = {
            "id": record.id,
            "createdTime": iso(record.created),
            "fields": cells if shape.by_id else {names[key].name: cells[key] for key in cells},
        }
        if shape.comment_count:
            answer["commentCount"] = len(reader.base.comments.get(record.id, ()))
        return answer


def _by_id(call: Call, body: dict[str, Any]) -> Any:
    return body.get("returnFieldsByFieldId", call.parameters().get("returnFieldsByFieldId"))


def _cells(item: dict[str, Any]) -> dict[str, Any]:
    cells = item.get("fields", {})
    if not isinstance(cells, dict):
        raise errors.invalid_records()
    return cells


def _batch(items: Any, need_id: bool) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not 0 < len(items) <= BATCH:
        raise errors.invalid_records()
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("fields"), dict):
            raise errors.invalid_records()
        identity = item.get("id")
        if (need_id or identity is not None) and not is_id(identity, "rec"):
            raise errors.invalid_records()
    return items


def _matches(table: Table, items: list[dict[str, Any]], merge: list[str]) -> list[str | None]:
    """Return the id that each item carries or that its merge cells find, None for a new record.

    Raises a Refusal if the cells of one item are found in several records.
    """
    keys: list[tuple[Any, ...] | None] = []
    for item in items:
        cells = {
            field.id: value
            for name, value in _cells(item).items()
            if (field := table.find(name)) is not None
        }
        if item.get("id") is not None:
            keys.append(None)
        elif any(field_id not in cells for field_id in merge):
            raise errors.bad_parameters()
        else:
            keys.append(_merge_key(cells, merge))
    wanted: dict[Any, list[str]] = {key: [] for key in keys if key is not None}
    for record in table.records.values() if wanted else ():
        found = wanted.get(_merge_key(record.cells, merge))
        if found is not None:
            found.append(record.id)
    blank = (None,) * len(merge)
    matches: list[str | None] = []
    for item, key in zip(items, keys, strict=True):
        found = wanted[key] if key is not None and key != blank else []
        if len(found) > 1:
            raise errors.bad_parameters(
                "Cannot update more than one record: the merge fields match several records."
            )
        matches.append(item.get("id") or (found[0] if found else None))
    return matches


def _merge_key(cells: Mapping[Any, Any], merge: list[str]) -> tuple[Any, ...]:
    """Return the merge cells in a form that can be looked up; empty ones are all None."""
    key: list[Any] = []
    for field_id in merge:
        value = cells.get(field_id)
        if value in (None, "", []):
            key.append(None)
        else:
            key.append(repr(value) if isinstance(value, (list, dict)) else value)
    return tuple(key)


MERGEABLE = frozenset(
    {
        "number",
        "currency",
        "percent",
        "singleLineText",
        "multilineText",
        "singleSelect",
        "multipleSelects",
        "date",
    }
)


def _merge_fields(table: Table, given: Any) -> list[str]:
    names = given.get("fieldsToMergeOn") if isinstance(given, dict) else None
    if not isinstance(names, list) or not 1 <= len(names) <= 3:
        raise errors.bad_parameters()
    fields = []
    for name in names:
        field = table.find(name) if isinstance(name, str) else None
        if field is None:
            raise errors.unknown_field(str(name))
        if field.type not in MERGEABLE:
            raise errors.bad_parameters()
        fields.append(field.id)
    return fields
