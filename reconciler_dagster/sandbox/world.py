"""Everything a running sandbox holds, in one place."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler_dagster.sandbox import DEMO_TOKEN
from reconciler_dagster.sandbox.clock import Clock
from reconciler_dagster.sandbox.faults import Faults
from reconciler_dagster.sandbox.latency import Latency
from reconciler_dagster.sandbox.limits import Limits
from reconciler_dagster.sandbox.model.base import Actor, Base, Person
from reconciler_dagster.sandbox.model.owner import Owner
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.model.transaction import Transaction
from reconciler_dagster.sandbox.store import Store
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
    store: Store | None = None

    def __post_init__(self) -> None:
        self.limits = Limits(self.clock, self.switches)
        self.hub = Hub(self.clock, self.switches)
        self.latency = Latency(self.switches)

    def reader(self, base: Base) -> Reader:
        """Return a reader of the base as it is now."""
        return Reader(base, self.clock.now(), self.switches)

    def add_base(self, base: Base) -> None:
        """Serve a new base, and keep it in the state file."""
        self._serve(base)
        if self.store is not None:
            self.store.save_all(base)

    def open_store(self, path: Path | str) -> None:
        """Serve what a state file holds, and keep every change in it from now on."""
        self.store = Store(path)
        self.clock.offset = self.store.get("clock_offset") or 0
        self.limits.months = self.store.get("months") or {}
        for base in self.store.load():
            self._serve(base)

    def save(self, base: Base | None = None) -> None:
        """Keep what is no commit: comments and webhooks of a base, the clock, the month's calls."""
        if self.store is not None:
            self.store.set("clock_offset", self.clock.offset)
            self.store.set("months", self.limits.months)
            if base is not None:
                self.store.save(base)

    def close(self) -> None:
        """Let go of the state file, if there is one."""
        if self.store is not None:
            self.save()
            self.store.close()
            self.store = None

    def _serve(self, base: Base) -> None:
        records = (one for table in base.tables.values() for one in table.records.values())
        # A base that does not say how old it is, is as old as its oldest record.
        base.created = base.created or min((r.created for r in records), default=self.clock.now())
        base.listeners.append(self.hub.on_commit)
        if self.store is not None:
            base.listeners.append(self.store.on_commit)
        self.bases[base.id] = base

    def owner(self, base: Base, actor: Actor | None = None) -> Owner:
        """Begin changes of the base's schema, by the API's user unless another is named."""
        actor = actor or Actor("publicApi", self.user)
        return Owner(base, actor, self.clock.now(), self.switches)

    def transaction(self, base: Base, actor: Actor | None = None) -> Transaction:
        """Begin an act on the base, by the API's user unless another is named."""
        actor = actor or Actor("publicApi", self.user)
        return Transaction(base, actor, self.clock.now(), self.switches)
