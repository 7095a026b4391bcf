"""The parameters of a listing, checked (Airtable facts §3)."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.ids import is_id
from reconciler_dagster.sandbox.model.reader import Columns
from reconciler_dagster.sandbox.model.schema import Field, View
from reconciler_dagster.sandbox.model.table import Table

PAGE = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """How records are written into an answer."""

    columns: Columns
    by_id: bool = False
    comment_count: bool = False
    zone: str | None = None
    """Set when cells are asked for as text (`cellFormat=string`)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A listing that can be carried out."""

    shape: Shape
    formula: str | None
    view: View | None
    sort: list[tuple[Field, bool]]
    """Fields to sort by, and whether downwards."""
    page_size: int
    max_records: int | None
    offset: str | None


def flag(value: Any) -> bool:
    """Read a truth value from JSON or from a query string. Raises a Refusal."""
    if value in (True, "true", "1", 1):
        return True
    if value in (False, None, "false", "0", 0, ""):
        return False
    raise errors.bad_parameters()


def whole(value: Any, least: int, most: int | None) -> int:
    """Read a whole number from JSON or from a query string. Raises a Refusal."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise errors.bad_parameters()
    if most is not None and value > most:
        raise errors.bad_parameters()
    return value


def text(value: Any) -> str:
    """Read a text. Raises a Refusal."""
    if not isinstance(value, str):
        raise errors.bad_parameters()
    return value


def read_shape(table: Table, given: dict[str, Any]) -> Shape:
    """Read the parameters that say how records are written."""
    fields = list(table.fields.values())
    wanted = given.get("fields")
    if wanted is not None:
        names = wanted if isinstance(wanted, list) else [wanted]
        chosen = {_field(table, name).id for name in names}
        fields = [field for field in fields if field.id in chosen]
    metadata = given.get("recordMetadata") or []
    metadata = metadata if isinstance(metadata, list) else [metadata]
    if any(item != "commentCount" for item in metadata):
        raise errors.bad_parameters()
    form = given.get("cellFormat") or "json"
    zone = None
    if form == "string":
        zone = text(given.get("timeZone"))
        text(given.get("userLocale"))
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise errors.bad_parameters() from None
    elif form != "json":
        raise errors.bad_parameters()
    return Shape(Columns(fields), flag(given.get("returnFieldsByFieldId")), bool(metadata), zone)


def read_query(table: Table, given: dict[str, Any]) -> Query:
    """Read all parameters of a listing."""
    formula = given.get("filterByFormula")
    most = given.get("maxRecords")
    return Query(
        shape=read_shape(table, given),
        formula=text(formula) if formula not in (None, "") else None,
        view=_view(table, given.get("view")),
        sort=_sort(table, given.get("sort")),
        page_size=whole(given.get("pageSize", PAGE), 1, PAGE),
        max_records=None if most is None else whole(most, 1, None),
        offset=text(given["offset"]) if given.get("offset") else None,
    )


def _field(table: Table, name: Any) -> Field:
    found = table.find(text(name))
    if found is None:
        raise errors.unknown_field(name)
    return found


def _view(table: Table, name: Any) -> View | None:
    if name in (None, ""):
        return None
    found = table.view(text(name))
    if found is None:
        kind = "VIEW_ID_NOT_FOUND" if is_id(name, "viw") else "VIEW_NAME_NOT_FOUND"
        raise errors.refusal(422, kind, f"View {name} not found")
    return found


def _sort(table: Table, given: Any) -> list[tuple[Field, bool]]:
    if given in (None, "", []):
        return []
    if not isinstance(given, list):
        raise errors.bad_parameters()
    order: list[tuple[Field, bool]] = []
    for item in given:
        if not isinstance(item, dict) or item.get("direction", "asc") not in ("asc", "desc"):
            raise errors.bad_parameters()
        order.append((_field(table, item.get("field")), item.get("direction") == "desc"))
    return order
