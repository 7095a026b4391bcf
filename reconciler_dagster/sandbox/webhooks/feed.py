"""From a commit to the payload of one webhook: filtered, with computed cells (facts §10)."""

from collections.abc import Iterable
from typing import Any

from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.model.base import Base, Change, Commit, SchemaChange
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.webhooks.cells import payload_cell
from reconciler_dagster.sandbox.webhooks.webhook import Webhook

_SPREADING = ("multipleLookupValues", "rollup", "count", "formula")


class Feed:
    """Works out what one commit means for the webhooks of a base."""

    def __init__(self, base: Base, commit: Commit, switches: Switches) -> None:
        self._base = base
        self._commit = commit
        before = {change.record_id: change.before for change in commit.changes}
        self._old = Reader(base, commit.time, switches, before)
        self._new = Reader(base, commit.time, switches, {})
        self._changes = [*commit.changes, *self._reached()]

    def payloads(self, webhook: Webhook, split: bool) -> list[dict[str, Any]]:
        """Return the payloads for a webhook: none, one, or with `split` one a record."""
        sources = webhook.options["filters"].get("fromSources")
        if sources and self._commit.actor.source not in sources:
            return []
        groups: Iterable[list[Change]] = [[one] for one in self._changes] if split else []
        bodies = [self._body(webhook, group, ()) for group in groups]
        rest = [] if split else self._changes
        bodies.append(self._body(webhook, rest, self._commit.schema))
        return [self._enveloped(body) for body in bodies if body]

    def _enveloped(self, body: dict[str, Any]) -> dict[str, Any]:
        person = self._commit.actor.person
        return {
            "timestamp": iso(self._commit.time),
            "baseTransactionNumber": self._commit.number,
            "payloadFormat": "v0",
            "actionMetadata": {
                "source": self._commit.actor.source,
                "sourceMetadata": {"user": {**person.cell(), "permissionLevel": "create"}},
            },
            **body,
        }

    def _body(
        self, webhook: Webhook, changes: list[Change], schema: tuple[SchemaChange, ...]
    ) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {}
        types = webhook.options["filters"].get("dataTypes", ())
        if "tableData" in types:
            for change in changes:
                self._add_record(webhook, change, tables)
        created: dict[str, Any] = {}
        for one in schema:
            if one.field_id is None and one.before is None:
                if "tableMetadata" in types:
                    created[one.table_id] = {"metadata": one.after}
            else:
                self._add_schema(webhook, one, types, tables)
        body: dict[str, Any] = {}
        if tables:
            body["changedTablesById"] = tables
        if created:
            body["createdTablesById"] = created
        return body

    def _add_record(
        self, webhook: Webhook, change: Change, tables: dict[str, dict[str, Any]]
    ) -> None:
        filters = webhook.options["filters"]
        table = self._base.tables[change.table_id]
        scope = filters.get("recordChangeScope")
        if scope and scope != table.id and all(view.id != scope for view in table.views):
            return
        kind = "update" if change.before and change.after else "remove"
        kind = kind if change.before else "add"
        if kind not in filters.get("changeTypes", ("add", "remove", "update")):
            return
        watched = filters.get("watchDataInFieldIds")
        entry = tables.get(table.id, {})
        if change.after is None:
            entry.setdefault("destroyedRecordIds", []).append(change.record_id)
        elif change.before is None:
            cells = self._cells(table, change.after, self._watched(table, watched), self._new)
            if watched and not cells:
                return
            entry.setdefault("createdRecordsById", {})[change.record_id] = {
                "createdTime": iso(change.after.created),
                "cellValuesByFieldId": cells,
            }
        else:
            shown = self._changed(webhook, table, change.before, change.after)
            if not shown:
                return
            entry.setdefault("changedRecordsById", {})[change.record_id] = shown
        tables[table.id] = entry

    def _changed(
        self, webhook: Webhook, table: Table, before: Record, after: Record
    ) -> dict[str, Any]:
        watched = self._watched(table, webhook.options["filters"].get("watchDataInFieldIds"))
        includes = webhook.options.get("includes") or {}
        current, previous, changed = {}, {}, set()
        for field in watched:
            if self._old.cell(table, before, field) != self._new.cell(table, after, field):
                changed.add(field.id)
                current[field.id] = payload_cell(self._base, table, after, field, self._new)
                previous[field.id] = payload_cell(self._base, table, before, field, self._old)
        if not changed:
            return {}
        shown: dict[str, Any] = {"current": {"cellValuesByFieldId": current}}
        if includes.get("includePreviousCellValues"):
            shown["previous"] = {"cellValuesByFieldId": previous}
        wanted = includes.get("includeCellValuesInFieldIds")
        if wanted:
            rest = [
                field
                for field in table.fields.values()
                if field.id not in changed and (wanted == "all" or field.id in wanted)
            ]
            cells = self._cells(table, after, rest, self._new)
            shown["unchanged"] = {"cellValuesByFieldId": cells}
        return shown

    def _watched(self, table: Table, wanted: list[str] | None) -> list[Field]:
        return [field for field in table.fields.values() if not wanted or field.id in wanted]

    def _cells(
        self, table: Table, record: Record, fields: list[Field], reader: Reader
    ) -> dict[str, Any]:
        cells = {f.id: payload_cell(self._base, table, record, f, reader) for f in fields}
        return {field_id: cell for field_id, cell in cells.items() if cell is not None}

    def _add_schema(
        self,
        webhook: Webhook,
        change: SchemaChange,
        types: list[str],
        tables: dict[str, dict[str, Any]],
    ) -> None:
        entry = tables.get(change.table_id, {})
        if change.field_id is None:
            if "tableMetadata" not in types:
                return
            entry["changedMetadata"] = {"current": change.after, "previous": change.before}
        else:
            watched = webhook.options["filters"].get("watchSchemasOfFieldIds")
            if "tableFields" not in types or (watched and change.field_id not in watched):
                return
            if change.after is None:
                entry.setdefault("destroyedFieldIds", []).append(change.field_id)
            elif change.before is None:
                entry.setdefault("createdFieldsById", {})[change.field_id] = _brief(change.after)
            else:
                shown = {"current": _brief(change.after)}
                includes = webhook.options.get("includes") or {}
                if includes.get("includePreviousFieldDefinitions"):
                    shown["previous"] = _brief(change.before)
                entry.setdefault("changedFieldsById", {})[change.field_id] = shown
        tables[change.table_id] = entry

    def _reached(self) -> list[Change]:
        """Return the records whose lookups, rollups and formulas may follow from the changes."""
        reached: dict[str, Change] = {}
        direct = {change.record_id for change in self._commit.changes}
        frontier = [(c.table_id, c.before, c.after) for c in self._commit.changes]
        while frontier:
            table_id, before, after = frontier.pop()
            for field in self._base.tables[table_id].fields.values():
                if field.type != "multipleRecordLinks":
                    continue
                other = self._base.tables.get(field.options["linkedTableId"])
                if other is None or not any(f.type in _SPREADING for f in other.fields.values()):
                    continue
                ids = {
                    i for state in (before, after) if state for i in state.cells.get(field.id, ())
                }
                for record_id in sorted(ids - direct - reached.keys()):
                    record = other.records.get(record_id)
                    if record is not None:
                        reached[record_id] = Change(other.id, record_id, record, record, ())
                        frontier.append((other.id, record, record))
        return list(reached.values())


def _brief(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: shown[key] for key in ("name", "type") if key in shown}
