"""Cells as a person reads them: `cellFormat=string` (Airtable facts §3)."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from reconciler_dagster.sandbox.formulas.functions.moment_format import write_moment
from reconciler_dagster.sandbox.formulas.values import number_text, parse_moment
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table

_FORMATS = {
    "local": "M/D/YYYY",
    "friendly": "MMMM D, YYYY",
    "us": "M/D/YYYY",
    "european": "D/M/YYYY",
    "iso": "YYYY-MM-DD",
}


def cell_text(reader: Reader, table: Table, record: Record, field: Field, zone: str) -> str | None:
    """Return a cell as text, None if it is empty."""
    value = reader.cell(table, record, field)
    if value is None:
        return None
    if field.type == "multipleRecordLinks":
        other = reader.base.tables[field.options["linkedTableId"]]
        primary = other.fields[other.primary]
        names = [
            cell_text(reader, other, other.records[one], primary, zone)
            for one in value
            if one in other.records
        ]
        return ", ".join(name or "Unnamed record" for name in names)
    result = field.options.get("result") or {}
    return _written(
        value, result.get("type", field.type), result.get("options") or field.options, zone
    )


def _written(value: Any, kind: str, options: dict[str, Any], zone: str) -> str:
    if isinstance(value, bool):
        return "checked"
    if isinstance(value, list):
        return ", ".join(_written(one, kind, options, zone) for one in value)
    if isinstance(value, dict):
        for key in ("name", "filename", "text", "label", "value", "specialValue", "error"):
            if key in value:
                return str(value[key])
        return ""
    if isinstance(value, (int, float)):
        return _number(float(value), kind, options)
    if kind in ("date", "dateTime", "createdTime", "lastModifiedTime"):
        return _moment(parse_moment(value), kind, options, zone)
    return str(value)


def _number(amount: float, kind: str, options: dict[str, Any]) -> str:
    precision = options.get("precision")
    places = precision if isinstance(precision, int) and 0 <= precision <= 8 else None
    match kind:
        case "currency":
            return f"{options.get('symbol', '$')}{amount:.{places or 0}f}"
        case "percent":
            return f"{amount * 100:.{places or 0}f}%"
        case "duration":
            minutes, seconds = divmod(int(amount), 60)
            shown = f"{minutes // 60}:{minutes % 60:02d}"
            return shown if options.get("durationFormat") == "h:mm" else f"{shown}:{seconds:02d}"
    return number_text(amount) if places is None else f"{amount:.{places}f}"


def _moment(moment: datetime, kind: str, options: dict[str, Any], zone: str) -> str:
    day = options.get("dateFormat") or {}
    form = day.get("format") or _FORMATS.get(str(day.get("name")), "YYYY-MM-DD")
    if form in ("l", "L", "LL"):
        form = {"l": "M/D/YYYY", "L": "MM/DD/YYYY", "LL": "MMMM D, YYYY"}[form]
    if kind == "date":
        return write_moment(moment.astimezone(UTC), form)
    own = options.get("timeZone", "client")
    local = moment.astimezone(ZoneInfo({"client": zone, "utc": "UTC"}.get(own, own)))
    hours = "h:mma" if (options.get("timeFormat") or {}).get("name") == "12hour" else "HH:mm"
    return write_moment(local, f"{form} {hours}")
