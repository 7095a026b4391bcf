"""Reading cells: the stored ones as they are, the computed ones worked out on demand."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from reconciler_dagster.sandbox.clock import SECOND, iso
from reconciler_dagster.sandbox.formulas import values
from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.syntax import InvalidFormula, parse
from reconciler_dagster.sandbox.formulas.values import FormulaError, Value
from reconciler_dagster.sandbox.model.base import Base, States
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.shown import OPERANDS, shown_value
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.switches import Switches

_ERROR = {"error": "#ERROR!"}


class Columns:
    """The fields to read, split into those that are stored and those that are worked out."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = list(fields)
        self.stored = [field.id for field in self.fields if not field.derived]
        self.derived = [field for field in self.fields if field.derived]


class Reader:
    """Reads the records of one base at one moment.

    `states` holds the records that linked cells shall see as they were, by id; without it, those
    are taken that the switch `computed_lag_seconds` asks for.
    """

    def __init__(
        self, base: Base, now: int, switches: Switches, states: States | None = None
    ) -> None:
        self.base = base
        self.now = values.from_milliseconds(now)
        self.switches = switches
        if states is None:
            states = base.earlier(now, int(switches.computed_lag_seconds * SECOND))
        self._states = states
        self._under_way: set[tuple[str, str]] = set()

    def row(self, table: Table, record: Record) -> "RecordRow":
        """Return the record as formulas see it."""
        return RecordRow(self, table, record)

    def cells(self, table: Table, record: Record, columns: Columns) -> dict[str, Any]:
        """Return the cells of these columns by field id, empty ones left out."""
        kept = record.cells
        shown = {field_id: kept[field_id] for field_id in columns.stored if field_id in kept}
        for field in columns.derived:
            value = self.cell(table, record, field)
            if value is not None:
                shown[field.id] = value
        return shown

    def cell(self, table: Table, record: Record, field: Field) -> Any:
        """Return one cell as the API shows it, None if it is empty."""
        if not field.derived:
            return record.cells.get(field.id)
        if table.overrides and field.id in (nailed := table.overrides.get(record.id, {})):
            return nailed[field.id]
        match field.type:
            case "createdTime":
                return _shown_time(field, record.created)
            case "lastModifiedTime":
                time = self.modified(table, record, _watched(field))
                return None if time is None else _shown_time(field, time)
            case "createdBy":
                return self.base.person(record.created_by).cell()
            case "lastModifiedBy":
                return self.base.person(record.modified_by).cell()
            case "count":
                return len(self._linked(table, record, field))
            case "button":
                return self._button(table, record, field)
            case "multipleLookupValues":
                shown = self.by_linked_record(table, record, field).values()
                return [value for one in shown for value in one] or None
        try:
            return shown_value(self.derive(table, record, field))
        except FormulaError:
            return _ERROR

    def modified(self, table: Table, record: Record, watched: tuple[str, ...]) -> int | None:
        """Return the last modified time of the record, or of the watched fields."""
        if not watched:
            return record.modified
        times = [record.touched[field_id] for field_id in watched if field_id in record.touched]
        if times:
            return max(times)
        return record.created if self.switches.untouched_time == "created" else None

    def operand(self, table: Table, record: Record, field: Field) -> Value:
        """Return one cell as a formula value. Raises FormulaError."""
        convert = OPERANDS.get(field.type)
        if convert:
            return convert(record.cells.get(field.id))
        match field.type:
            case "formula" | "rollup" | "multipleLookupValues":
                if table.overrides and field.id in (nailed := table.overrides.get(record.id, {})):
                    return nailed[field.id]
                return self.derive(table, record, field)
            case "multipleRecordLinks":
                return [
                    self.operand(other, linked, other.fields[other.primary])
                    for other, linked in self._linked(table, record, field)
                ]
            case "createdTime":
                return values.from_milliseconds(record.created)
            case "lastModifiedTime":
                time = self.modified(table, record, _watched(field))
                return None if time is None else values.from_milliseconds(time)
            case "createdBy" | "lastModifiedBy":
                return self.cell(table, record, field)["name"]
            case "count":
                return float(len(self._linked(table, record, field)))
        return None

    def derive(self, table: Table, record: Record, field: Field) -> Value:
        """Work out a formula, lookup or rollup. Raises FormulaError, also for a circle."""
        mark = (record.id, field.id)
        if mark in self._under_way or len(self._under_way) > 60:
            raise FormulaError
        self._under_way.add(mark)
        try:
            match field.type:
                case "formula":
                    return table.formula(field)(self.row(table, record))
                case "rollup":
                    return self._rollup(table, record, field)
                case _:
                    return self._looked_up(table, record, field)
        except (InvalidFormula, ArithmeticError, RecursionError):
            raise FormulaError from None
        finally:
            self._under_way.discard(mark)

    def _linked(self, table: Table, record: Record, field: Field) -> list[tuple[Table, Record]]:
        link = (
            field
            if field.type == "multipleRecordLinks"
            else table.fields.get(field.options.get("recordLinkFieldId", ""))
        )
        if link is None or link.type != "multipleRecordLinks":
            return []
        other = self.base.tables.get(link.options["linkedTableId"])
        if other is None:
            return []
        states, records = self._states, other.records
        found = (
            states[one] if one in states else records.get(one)
            for one in record.cells.get(link.id, ())
        )
        return [(other, linked) for linked in found if linked is not None]

    def by_linked_record(self, table: Table, record: Record, field: Field) -> dict[str, list[Any]]:
        """Return a lookup's values by linked record, as the API shows them."""
        found: dict[str, list[Any]] = {}
        for other, linked in self._linked(table, record, field):
            source = other.fields.get(field.options.get("fieldIdInLinkedTable", ""))
            value = self.cell(other, linked, source) if source else None
            found[linked.id] = (
                value if isinstance(value, list) else [] if value is None else [value]
            )
        return found

    def _looked_up(self, table: Table, record: Record, field: Field) -> list[Value]:
        gathered: list[Value] = []
        for other, linked in self._linked(table, record, field):
            source = other.fields.get(field.options.get("fieldIdInLinkedTable", ""))
            if source is None:
                raise FormulaError
            value = self.operand(other, linked, source)
            gathered += value if isinstance(value, list) else [] if value is None else [value]
        return gathered

    def _rollup(self, table: Table, record: Record, field: Field) -> Value:
        gathered = self._looked_up(table, record, field)
        result = (field.options.get("result") or {}).get("type")
        # The metadata API of Airtable does not tell a rollup's formula; this is the likely one.
        likely = "SUM(values)" if result == "number" else "ARRAYJOIN(values)"
        formula = field.options.get("formula") or likely
        return compile_formula(parse(formula), _only_values)(_Gathered(self, record, gathered))

    def _button(self, table: Table, record: Record, field: Field) -> dict[str, Any]:
        try:
            url = values.text(table.formula(field)(self.row(table, record)))
        except (FormulaError, InvalidFormula):
            url = None
        return {"label": field.options.get("label", field.name), "url": url}


class RecordRow:
    """A record as formulas see it."""

    __slots__ = ("_reader", "_record", "_table", "now", "record_id")

    def __init__(self, reader: Reader, table: Table, record: Record) -> None:
        self._reader = reader
        self._table = table
        self._record = record
        self.record_id = record.id
        self.now = reader.now

    def operand(self, field_id: str) -> Value:
        """Return a cell as a formula value. Raises FormulaError."""
        return self._reader.operand(self._table, self._record, self._table.fields[field_id])

    def created(self) -> datetime:
        """Return the created time."""
        return values.from_milliseconds(self._record.created)

    def modified(self, field_ids: tuple[str, ...]) -> datetime | None:
        """Return the last modified time of the record, or of these fields."""
        time = self._reader.modified(self._table, self._record, field_ids)
        return None if time is None else values.from_milliseconds(time)


class _Gathered:
    """What a rollup's formula sees: `values`, the cells of the linked records."""

    def __init__(self, reader: Reader, record: Record, gathered: list[Value]) -> None:
        self.record_id = record.id
        self.now = reader.now
        self._gathered = gathered

    def operand(self, field_id: str) -> Value:
        return self._gathered

    def created(self) -> datetime:
        raise FormulaError

    def modified(self, field_ids: tuple[str, ...]) -> datetime | None:
        raise FormulaError


def _only_values(name: str) -> str | None:
    return name if name == "values" else None


def _watched(field: Field) -> tuple[str, ...]:
    return tuple(field.options.get("referencedFieldIds") or ())


def _shown_time(field: Field, time: int) -> str:
    written = iso(time)
    return written[:10] if field.options.get("result", {}).get("type") == "date" else written
