"""Everything a running sandbox holds, in one place."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.sandbox import DEMO_TOKEN
from reconciler_dagster.sandbox.clock import Clock
from reconciler_dagster.sandbox.faults import Faults
from reconciler_dagster.sandbox.limits import Limits
from reconciler_dagster.sandbox.model.base import Actor, Base, Person
from reconciler_dagster.sandbox.model.owner import Owner
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.transaction import Transaction
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.webhooks.hub import Hub

CALLS_KEPT = 200_000

API_USER = Person("usrSandboxOwner01", "owner@example.com", "API user")
"""The user whose token every call carries."""

ALL_SCOPES = (
    "data.records:read",
    "data.records:write",
    "data.recordComments:read",
    "data.recordComments:write",
    "schema.bases:read",
    "schema.bases:write",
    "user.email:read",
    "webhook:manage",
)


@dataclass
class World:
    """Bases, tokens, clock, limits and the log of calls."""

    clock: Clock = field(default_factory=Clock)
    switches: Switches = field(default_factory=lambda: Switches())
    bases: dict[str, Base] = field(default_factory=dict)
    tokens: dict[str, tuple[str, ...]] = field(default_factory=lambda: {DEMO_TOKEN: ALL_SCOPES})
    faults: Faults = field(default_factory=Faults)
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))
    user: Person = API_USER

    def __post_init__(self) -> None:
        self.limits = Limits(self.clock, self.switches)
        self.hub = Hub(self.clock, self.switches)

    def reader(self, base: Base) -> Reader:
        """Return a reader of the base as it is now."""
        return Reader(base, self.clock.now(), self.switches)

    def add_base(self, base: Base) -> None:
        """Serve a base."""
        base.listeners.append(self.hub.on_commit)
        self.bases[base.id] = base

    def owner(self, base: Base, actor: Actor | None = None) -> Owner:
        """Begin changes of the base's schema, by the API's user unless another is named."""
        return Owner(base, actor or Actor("publicApi", self.user), self.clock.now())

    def transaction(self, base: Base, actor: Actor | None = None) -> Transaction:
        """Begin an act on the base, by the API's user unless another is named."""
        actor = actor or Actor("publicApi", self.user)
        return Transaction(base, actor, self.clock.now(), self.switches)

    def close(self) -> None:
        """Let go of the state file, if there is one."""
