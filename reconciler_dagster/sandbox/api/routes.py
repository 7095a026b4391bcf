"""Which endpoint a call is for, and what its token must be allowed to do (Airtable facts §1)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.attachments import Attachments
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.comments import Comments
from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.api.metadata import Metadata
from reconciler_dagster.sandbox.api.records import Records
from reconciler_dagster.sandbox.api.webhooks import Webhooks
from reconciler_dagster.sandbox.ids import is_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.webhooks.webhook import Webhook
from reconciler_dagster.sandbox.world import World

READ, WRITE = "data.records:read", "data.records:write"
COMMENTS_READ, COMMENTS_WRITE = "data.recordComments:read", "data.recordComments:write"
SCHEMA_READ, SCHEMA_WRITE = "schema.bases:read", "schema.bases:write"
WEBHOOKS = "webhook:manage"

Answer = dict[str, Any] | None
"""A JSON object, or None for an empty answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, bound to its call: what it needs, and how to run it."""

    run: Callable[[], Answer]
    scope: str | None = None
    base_id: str | None = None
    meta: bool = False


class Routes:
    """Finds the endpoint of a call."""

    def __init__(self, world: World, listings: Listings) -> None:
        self._world = world
        self._records = Records(world, listings)
        self._metadata = Metadata(world)
        self._webhooks = Webhooks(world)
        self._comments = Comments(world)
        self._attachments = Attachments(world)

    def find(self, call: Call) -> Target:
        """Return the endpoint. Raises the 404 refusal where there is none."""
        match call.segments:
            case ["meta", *rest]:
                return self._meta(call, rest)
            case ["bases", base_id, "webhooks", *rest]:
                return self._webhook(call, base_id, rest)
            case [base_id, record, field, "uploadAttachment"] if call.method == "POST":
                upload = self._attachments.upload
                return self._on_base(
                    call, base_id, WRITE, lambda base: upload(call, base, record, field)
                )
            case [base_id, table, *rest]:
                return self._table(call, base_id, table, rest)
        raise errors.not_found()

    def _meta(self, call: Call, rest: list[str]) -> Target:
        metadata = self._metadata
        match (call.method, rest):
            case ("GET", ["whoami"]):
                return Target(lambda: metadata.whoami(call), meta=True)
            case ("GET", ["bases"]):
                return Target(lambda: metadata.bases(call), SCHEMA_READ, meta=True)
            case ("POST", ["bases"]):
                return Target(lambda: metadata.create_base(call), SCHEMA_WRITE, meta=True)
            case ("GET", ["bases", base_id]):
                return self._on_base(
                    call, base_id, SCHEMA_READ, lambda base: metadata.base(call, base)
                )
            case ("GET", ["bases", base_id, "tables"]):
                return self._on_base(
                    call, base_id, SCHEMA_READ, lambda base: metadata.tables(call, base)
                )
            case ("POST", ["bases", base_id, "tables"]):
                return self._on_base(
                    call, base_id, SCHEMA_WRITE, lambda base: metadata.create_table(call, base)
                )
            case ("PATCH", ["bases", base_id, "tables", table]):
                return self._on_base(
                    call,
                    base_id,
                    SCHEMA_WRITE,
                    lambda base: metadata.change_table(call, base, table),
                )
            case ("POST", ["bases", base_id, "tables", table, "fields"]):
                return self._on_base(
                    call,
                    base_id,
                    SCHEMA_WRITE,
                    lambda base: metadata.create_field(call, base, table),
                )
            case ("PATCH", ["bases", base_id, "tables", table, "fields", field]):
                return self._on_base(
                    call,
                    base_id,
                    SCHEMA_WRITE,
                    lambda base: metadata.change_field(call, base, table, field),
                )
        raise errors.not_found()

    def _webhook(self, call: Call, base_id: str, rest: list[str]) -> Target:
        webhooks = self._webhooks

        def one(
            webhook_id: str, run: Callable[[Call, Base, Webhook], Answer]
        ) -> Callable[[Base], Answer]:
            def found(base: Base) -> Answer:
                webhook = base.webhooks.get(webhook_id)
                if webhook is None:
                    raise errors.not_found()
                return run(call, base, webhook)

            return found

        run: Callable[[Base], Answer]
        match (call.method, rest):
            case ("GET", []):
                run = partial(webhooks.list_webhooks, call)
            case ("POST", []):
                run = partial(webhooks.create, call)
            case ("DELETE", [webhook]):
                run = one(webhook, webhooks.delete)
            case ("POST", [webhook, "refresh"]):
                run = one(webhook, webhooks.refresh)
            case ("POST", [webhook, "enableNotifications"]):
                run = one(webhook, webhooks.enable)
            case ("GET", [webhook, "payloads"]):
                run = one(webhook, webhooks.payloads)
            case _:
                raise errors.not_found()
        return self._on_base(call, base_id, WEBHOOKS, run)

    def _table(self, call: Call, base_id: str, table: str, rest: list[str]) -> Target:
        records, comments = self._records, self._comments

        def to(scope: str, run: Callable[..., Answer], *ids: str) -> Target:
            return self._on_table(call, base_id, table, scope, lambda b, t: run(call, b, t, *ids))

        match (call.method, rest):
            case ("GET", []) | ("POST", ["listRecords"]):
                return to(READ, records.list_records)
            case ("POST", []):
                return to(WRITE, records.create)
            case ("PATCH" | "PUT", []):
                return to(WRITE, records.update_batch)
            case ("DELETE", []):
                return to(WRITE, records.delete_batch)
            case (_, [record, *_]) if not is_id(record, "rec"):
                raise errors.not_found()
            case ("GET", [record]):
                return to(READ, records.get, record)
            case ("PATCH" | "PUT", [record]):
                return to(WRITE, records.update, record)
            case ("DELETE", [record]):
                return to(WRITE, records.delete, record)
            case ("GET", [record, "comments"]):
                return to(COMMENTS_READ, comments.list_comments, record)
            case ("POST", [record, "comments"]):
                return to(COMMENTS_WRITE, comments.create, record)
            case ("PATCH", [record, "comments", comment]):
                return to(COMMENTS_WRITE, comments.update, record, comment)
            case ("DELETE", [record, "comments", comment]):
                return to(COMMENTS_WRITE, comments.delete, record, comment)
        raise errors.not_found()

    def _on_base(
        self, call: Call, base_id: str, scope: str, run: Callable[[Base], Answer]
    ) -> Target:
        if not is_id(base_id, "app"):
            raise errors.not_found()

        def bound() -> Answer:
            base = self._world.bases.get(base_id)
            if base is None:
                raise errors.model_not_found()
            return run(base)

        return Target(bound, scope, base_id, call.segments[0] == "meta")

    def _on_table(
        self,
        call: Call,
        base_id: str,
        name: str,
        scope: str,
        run: Callable[[Base, Table], Answer],
    ) -> Target:
        def bound(base: Base) -> Answer:
            table = base.table(name)
            if table is None:
                if self._world.switches.missing_table == 404:
                    raise errors.table_not_found(name, base_id)
                raise errors.model_not_found()
            return run(base, table)

        return self._on_base(call, base_id, scope, bound)
