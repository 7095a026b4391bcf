"""All webhooks of a sandbox: fed by commits, read by the API, pinging where asked to."""

import asyncio
import base64
import hashlib
import hmac
import urllib.error
import urllib.request
from dataclasses import dataclass

import orjson

from reconciler_dagster.sandbox.clock import DAY, SECOND, Clock, iso
from reconciler_dagster.sandbox.model.base import Base, Commit
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.webhooks.feed import Feed
from reconciler_dagster.sandbox.webhooks.webhook import Webhook

RETRIES = 13
FIRST_RETRY = 10 * SECOND
TIMEOUT = 25
"""Real seconds that a receiver has to answer a ping."""

LOOK_AGAIN = 0.02
"""Real seconds between two looks at the sandbox's clock while a ping is due later."""


@dataclass
class _Ping:
    """A notification on its way; several payloads share one."""

    base: Base
    webhook: Webhook
    due: int
    attempt: int = 0


class Hub:
    """Feeds the webhooks and sends their pings."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._pings: dict[str, _Ping] = {}
        self._task: asyncio.Task[None] | None = None

    def on_commit(self, base: Base, commit: Commit) -> None:
        """Add the payloads of a commit to the base's webhooks."""
        live = [hook for hook in base.webhooks.values() if self.enabled(hook)]
        if not live:
            return
        feed = Feed(base, commit, self._switches)
        for webhook in live:
            payloads = feed.payloads(webhook, self._switches.webhook_split)
            for payload in payloads:
                webhook.add(commit.time, payload)
            if payloads and webhook.notification_url and webhook.notifies:
                due = commit.time + int(self._switches.webhook_lag_seconds * SECOND)
                self._pings.setdefault(webhook.id, _Ping(base, webhook, due))
                self._wake()

    def enabled(self, webhook: Webhook) -> bool:
        """Tell whether the webhook still gathers payloads."""
        return self._clock.now() <= webhook.expires

    def tidy(self, base: Base) -> None:
        """Drop payloads past their retention, and webhooks whose payloads are all past it."""
        kept = int(self._switches.webhook_days * DAY)
        for webhook in list(base.webhooks.values()):
            webhook.forget(self._clock.now() - kept)
            if webhook.expires + kept < self._clock.now():
                del base.webhooks[webhook.id]

    def _wake(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._deliver())

    async def _deliver(self) -> None:
        while self._pings:
            for webhook_id, ping in list(self._pings.items()):
                if ping.due <= self._clock.now():
                    del self._pings[webhook_id]
                    await self._send(ping)
            await asyncio.sleep(LOOK_AGAIN)

    async def _send(self, ping: _Ping) -> None:
        webhook, now = ping.webhook, self._clock.now()
        body = orjson.dumps(
            {
                "base": {"id": ping.base.id},
                "webhook": {"id": webhook.id},
                "timestamp": iso(now),
            }
        )
        status = await asyncio.to_thread(
            _post, webhook.notification_url or "", body, mac(webhook, body)
        )
        succeeded = status in (200, 204)
        webhook.last_result = {
            "success": succeeded,
            "completionTimestamp": iso(self._clock.now()),
            "durationMs": 0,
            "retryNumber": ping.attempt,
        }
        if succeeded:
            webhook.last_success = now
            return
        webhook.last_result |= {
            "error": {"message": f"The receiver answered {status}."},
            "willBeRetried": ping.attempt < RETRIES,
        }
        if ping.attempt >= RETRIES:
            webhook.notifies = False
            return
        due = now + FIRST_RETRY * 2**ping.attempt
        self._pings.setdefault(webhook.id, _Ping(ping.base, webhook, due, ping.attempt + 1))


def mac(webhook: Webhook, body: bytes) -> str:
    """Return the value of `X-Airtable-Content-MAC` for a ping."""
    key = base64.b64decode(webhook.secret)
    return "hmac-sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def _post(url: str, body: bytes, signature: str) -> int:
    headers = {"Content-Type": "application/json", "X-Airtable-Content-MAC": signature}
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0
