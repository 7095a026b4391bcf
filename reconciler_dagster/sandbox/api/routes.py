"""Which endpoint a call is for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.api.metadata import Metadata
from reconciler_dagster.sandbox.api.records import Records
from reconciler_dagster.sandbox.ids import is_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World

READ, WRITE = "data.records:read", "data.records:write"
SCHEMA_READ, SCHEMA_WRITE = "schema.bases:read", "schema.bases:write"

OnBase = Callable[[Call, Base], dict[str, Any]]
OnTable = Callable[[Call, Base, Table], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, bound to its call: what it needs, and how to run it."""

    run: Callable[[], dict[str, Any]]
    base_id: str | None
    scope: str | None
    meta: bool = False


class Routes:
    """Finds the endpoint of a call."""

    def __init__(self, world: World, listings: Listings) -> None:
        self._world = world
        self._records = Records(world, listings)
        self._metadata = Metadata(world)

    def find(self, call: Call) -> Target:
        """Return the endpoint. Raises the 404 refusal where there is none."""
        match call.segments:
            case ["meta", *rest]:
                return self._meta(call, rest)
            case [base_id, table, *rest] if is_id(base_id, "app"):
                return self._table(call, base_id, table, rest)
        raise errors.not_found()

    def _meta(self, call: Call, rest: list[str]) -> Target:
        metadata = self._metadata
        match (call.method, rest):
            case ("GET", ["whoami"]):
                return Target(lambda: metadata.whoami(call), None, None, meta=True)
            case ("GET", ["bases"]):
                return Target(lambda: metadata.bases(call), None, SCHEMA_READ, meta=True)
            case ("GET", ["bases", base_id, "tables"]):
                return self._on_base(call, base_id, SCHEMA_READ, metadata.tables)
        raise errors.not_found()

    def _table(self, call: Call, base_id: str, table: str, rest: list[str]) -> Target:
        records = self._records
        match (call.method, rest):
            case ("GET", []) | ("POST", ["listRecords"]):
                return self._on_table(call, base_id, table, READ, records.list_records)
            case ("POST", []):
                return self._on_table(call, base_id, table, WRITE, records.create)
            case ("PATCH" | "PUT", []):
                return self._on_table(call, base_id, table, WRITE, records.update_batch)
            case ("DELETE", []):
                return self._on_table(call, base_id, table, WRITE, records.delete_batch)
            case (_, [record, *_]) if not is_id(record, "rec"):
                raise errors.not_found()
            case ("GET", [record]):
                return self._on_table(
                    call, base_id, table, READ, lambda c, b, t: records.get(c, b, t, record)
                )
            case ("PATCH" | "PUT", [record]):
                return self._on_table(
                    call, base_id, table, WRITE, lambda c, b, t: records.update(c, b, t, record)
                )
            case ("DELETE", [record]):
                return self._on_table(
                    call, base_id, table, WRITE, lambda c, b, t: records.delete(c, b, t, record)
                )
        raise errors.not_found()

    def _base(self, base_id: str) -> Base:
        base = self._world.bases.get(base_id)
        if base is None:
            raise errors.model_not_found()
        return base

    def _on_base(self, call: Call, base_id: str, scope: str, run: OnBase) -> Target:
        if not is_id(base_id, "app"):
            raise errors.not_found()
        meta = call.segments[0] == "meta"
        return Target(lambda: run(call, self._base(base_id)), base_id, scope, meta)

    def _on_table(
        self, call: Call, base_id: str, table_name: str, scope: str, run: OnTable
    ) -> Target:
        def bound() -> dict[str, Any]:
            base = self._base(base_id)
            table = base.table(table_name)
            if table is None:
                if self._world.switches.missing_table == 404:
                    raise errors.table_not_found(table_name, base_id)
                raise errors.model_not_found()
            return run(call, base, table)

        return Target(bound, base_id, scope)
