"""The doors of one run to its client's base: each behind the shared call budget, all with one
token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from reconciler_dagster.airtable.base import Base, import_client
from reconciler_dagster.airtable.errors import DEFAULT_REFUSED, ScopeLost
from reconciler_dagster.airtable.owner import is_limited, missing_scopes
from reconciler_dagster.airtable.token import Token
from reconciler_dagster.config import Settings
from reconciler_dagster.core.source import Source
from reconciler_dagster.engine import tokens
from reconciler_dagster.postgres.bucket import Bucket
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.token_bucket import TokenBucket


@dataclass
class Doors:
    """Opens doors, and counts the calls through all of them.

    ``urgent``: a person or the next delta waits for it. ``may_write``: called just before a call
    that writes; raises where it must not be sent.
    """

    settings: Settings
    engine: Engine
    client: Client
    purpose: str
    urgent: bool
    may_write: Callable[[], None]
    # One for all doors of the run: see airtable.token.
    token: Token = field(init=False)
    _opened: list[Source] = field(default_factory=list)
    _idle: list[Source] = field(default_factory=list)
    # Of each token that was refused something: what it lacks, None where that is not told.
    _missing: dict[str, list[str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token = Token(
            lambda: tokens.current(self.settings, self.engine, self.client),
            lambda: tokens.refused(self.engine, self.client) or DEFAULT_REFUSED,
        )
        self._token_bucket = TokenBucket(self.engine, self.client.base_id)

    def open(self) -> Source:
        """A door that is not shared with another thread."""
        bucket = Bucket(
            self.engine,
            self.client.base_id,
            purpose=self.purpose,
            urgent=self.urgent,
            calls_per_second=self.settings.calls_per_second,
        )
        opened = Base(self.settings, self.client.base_id, bucket, self.token)
        opened.transport.may_write = self.may_write
        opened.transport.wait_for_token = self._token_bucket.take
        opened.transport.base_locked_out = self._lock_out_others
        opened.transport.not_permitted = self._require_scopes
        self._opened.append(opened)
        return opened

    @contextmanager
    def borrowed(self, rank: int = 0) -> Iterator[Source]:
        """A door that nobody else uses within the block; its connection is kept. ``rank``: its
        calls go before those of a higher one.
        """
        try:
            opened = self._idle.pop()
        except IndexError:
            opened = self.open()
        opened.rank = rank
        try:
            yield opened
        finally:
            self._idle.append(opened)

    @staticmethod
    def import_client() -> None:
        """Import now what a door imports when it first reads: later another thread may be importing
        what that needs.
        """
        import_client()

    def _lock_out_others(self, token: str, seconds: float) -> None:
        """After a 429. Airtable does not say whether it is about the base or about its user: a call
        outside of any base does.
        """
        if not self._token_bucket.is_locked_out(token) and is_limited(self.settings, token):
            self._token_bucket.lock_out(token, seconds, "429 from Airtable to a user")

    def _require_scopes(self, token: str, needed: str, general: bool) -> None:
        """After a 403. Of OAuth tokens Airtable tells the scopes; of others only by its answer.
        Raises ScopeLost where the token lacks one.
        """
        if token not in self._missing:
            self._missing[token] = missing_scopes(self.settings, token)
        missing = self._missing[token]
        if missing is None and general:
            missing = [needed]
        if missing:
            raise ScopeLost(tokens.lacking(self.engine, self.client, missing))

    @property
    def calls(self) -> int:
        """Calls sent on the wire so far."""
        return sum(source.clock.calls for source in self._opened)
