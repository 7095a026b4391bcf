"""The webhook endpoints (Airtable facts §10)."""

from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.query import flag, whole
from reconciler_dagster.sandbox.clock import SECOND, iso
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.webhooks.webhook import PAYLOADS_A_CALL, WEBHOOKS_A_BASE, Webhook
from reconciler_dagster.sandbox.world import World

DATA_TYPES = ("tableData", "tableFields", "tableMetadata")
CHANGE_TYPES = ("add", "remove", "update")
SOURCES = (
    "client",
    "publicApi",
    "formSubmission",
    "formPageSubmission",
    "automation",
    "system",
    "sync",
    "anonymousUser",
    "unknown",
)


class Webhooks:
    """The webhook endpoints of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_webhooks(self, call: Call, base: Base) -> dict[str, Any]:
        """`GET /bases/{base}/webhooks`."""
        self._world.hub.tidy(base)
        return {"webhooks": [self._shown(webhook) for webhook in base.webhooks.values()]}

    def create(self, call: Call, base: Base) -> dict[str, Any]:
        """`POST /bases/{base}/webhooks`; the secret is shown only here."""
        body = call.json()
        self._world.hub.tidy(base)
        url = body.get("notificationUrl")
        if url is not None and (not isinstance(url, str) or not url.startswith("http")):
            raise errors.bad_parameters()
        specification = _specification(base, body.get("specification"))
        if len(base.webhooks) >= WEBHOOKS_A_BASE:
            raise errors.refusal(
                422, "TOO_MANY_WEBHOOKS_IN_BASE", "The base has the most webhooks it can have"
            )
        webhook = Webhook(new_id("ach"), specification, 0, url)
        webhook.refresh(self._world.clock.now(), self._world.switches.webhook_days)
        base.webhooks[webhook.id] = webhook
        self._world.save(base)
        return {
            "id": webhook.id,
            "macSecretBase64": webhook.secret,
            "expirationTime": iso(webhook.expires),
        }

    def delete(self, call: Call, base: Base, webhook: Webhook) -> None:
        """`DELETE /bases/{base}/webhooks/{webhook}`."""
        del base.webhooks[webhook.id]
        self._world.save(base)

    def refresh(self, call: Call, base: Base, webhook: Webhook) -> dict[str, Any]:
        """`POST .../refresh`: seven more days from now."""
        webhook.refresh(self._world.clock.now(), self._world.switches.webhook_days)
        self._world.save(base)
        return {"expirationTime": iso(webhook.expires)}

    def enable(self, call: Call, base: Base, webhook: Webhook) -> None:
        """`POST .../enableNotifications`."""
        enable = call.json().get("enable")
        if not isinstance(enable, bool):
            raise errors.bad_parameters()
        webhook.notifies = enable
        self._world.save(base)

    def payloads(self, call: Call, base: Base, webhook: Webhook) -> dict[str, Any]:
        """`GET .../payloads`: up to 50 from the cursor on. Reading consumes nothing."""
        world = self._world
        given = call.parameters()
        cursor = whole(given.get("cursor", 1), 1, None)
        limit = whole(given.get("limit", PAYLOADS_A_CALL), 1, PAYLOADS_A_CALL)
        world.hub.tidy(base)
        if world.hub.enabled(webhook):
            webhook.refresh(world.clock.now(), world.switches.webhook_days)
            world.save(base)
        first = webhook.payloads[0][0] if webhook.payloads else webhook.next_number
        if cursor < first:
            if world.switches.expired_cursor == "error":
                raise errors.refusal(422, "INVALID_WEBHOOK_CURSOR", "The cursor has expired")
            cursor = first
        seen = world.clock.now() - int(world.switches.webhook_lag_seconds * SECOND)
        ready = [
            payload
            for number, time, payload in webhook.payloads
            if number >= cursor and time <= seen
        ]
        page = ready[:limit]
        return {
            "payloads": page,
            "cursor": min(cursor + len(page), webhook.next_number),
            "mightHaveMore": len(ready) > limit,
        }

    def _shown(self, webhook: Webhook) -> dict[str, Any]:
        return {
            "id": webhook.id,
            "type": "table",
            "areNotificationsEnabled": webhook.notifies,
            "cursorForNextPayload": webhook.next_number,
            "isHookEnabled": self._world.hub.enabled(webhook),
            "lastSuccessfulNotificationTime": (
                iso(webhook.last_success) if webhook.last_success else None
            ),
            "notificationUrl": webhook.notification_url,
            "expirationTime": iso(webhook.expires),
            "lastNotificationResult": webhook.last_result,
            "specification": webhook.specification,
        }


def _specification(base: Base, given: Any) -> dict[str, Any]:
    """Check a specification. Raises a Refusal."""
    options = given.get("options") if isinstance(given, dict) else None
    filters = options.get("filters") if isinstance(options, dict) else None
    if not isinstance(options, dict) or not isinstance(filters, dict):
        raise errors.bad_parameters()
    if not filters.get("dataTypes"):
        raise errors.bad_parameters()
    for name, known in (
        ("dataTypes", DATA_TYPES),
        ("changeTypes", CHANGE_TYPES),
        ("fromSources", SOURCES),
        ("watchDataInFieldIds", None),
        ("watchSchemasOfFieldIds", None),
    ):
        _strings(filters.get(name), known)
    scope = filters.get("recordChangeScope")
    scopes = [t.id for t in base.tables.values()]
    scopes += [view.id for table in base.tables.values() for view in table.views]
    if scope is not None and scope not in scopes:
        raise errors.bad_parameters()
    includes = options.get("includes")
    if includes is not None:
        if not isinstance(includes, dict):
            raise errors.bad_parameters()
        wanted = includes.get("includeCellValuesInFieldIds")
        if wanted != "all":
            _strings(wanted, None)
        flag(includes.get("includePreviousCellValues"))
        flag(includes.get("includePreviousFieldDefinitions"))
    return {"options": {key: options[key] for key in ("filters", "includes") if options.get(key)}}


def _strings(given: Any, known: tuple[str, ...] | None) -> None:
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise errors.bad_parameters()
    if known is not None and any(one not in known for one in given):
        raise errors.bad_parameters()
