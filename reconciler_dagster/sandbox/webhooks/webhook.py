"""A webhook and the payloads it has gathered (Airtable facts §10)."""

import base64
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.sandbox.clock import DAY

PAYLOADS_A_CALL = 50
WEBHOOKS_A_BASE = 10


def new_secret() -> str:
    """Return a fresh MAC secret in base 64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(slots=True)
class Webhook:
    """A webhook. Times in milliseconds; payloads are numbered from 1 without gaps."""

    id: str
    specification: dict[str, Any]
    expires: int
    notification_url: str | None = None
    secret: str = field(default_factory=new_secret)
    notifies: bool = True
    next_number: int = 1
    payloads: deque[tuple[int, int, dict[str, Any]]] = field(default_factory=deque)
    """Number, time and body."""
    last_success: int | None = None
    last_result: dict[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the specification."""
        options: dict[str, Any] = self.specification["options"]
        return options

    def add(self, time: int, payload: dict[str, Any]) -> int:
        """Store a payload and return its number."""
        number = self.next_number
        self.payloads.append((number, time, payload))
        self.next_number += 1
        return number

    def forget(self, before: int) -> None:
        """Drop the payloads from before a time."""
        while self.payloads and self.payloads[0][1] < before:
            self.payloads.popleft()

    def refresh(self, now: int, days: float) -> None:
        """Extend the webhook's life."""
        self.expires = now + int(days * DAY)
