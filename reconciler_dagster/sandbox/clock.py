"""The sandbox's clock: it can be moved on, so that lock-outs and expiries cost no real time."""

import time
from datetime import UTC, datetime

SECOND = 1000
"""Times in the sandbox are whole milliseconds since 1970, UTC."""

DAY = 24 * 3600 * SECOND


class Clock:
    """Real time plus an offset, or a frozen moment."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self._frozen: int | None = None

    def now(self) -> int:
        """Return the sandbox's time in milliseconds."""
        if self._frozen is not None:
            return self._frozen
        return time.time_ns() // 1_000_000 + self.offset

    def before(self, seconds: float) -> int:
        """Return what the time was so many real seconds ago, as far as the clock ran then."""
        return self.now() - (0 if self.frozen else int(seconds * SECOND))

    @property
    def frozen(self) -> bool:
        """Whether the clock stands still."""
        return self._frozen is not None

    def advance(self, milliseconds: int) -> None:
        """Move the clock on (or, negative, back)."""
        if self._frozen is not None:
            self._frozen += milliseconds
        self.offset += milliseconds

    def set(self, now: int) -> None:
        """Move the clock to `now`."""
        self.advance(now - self.now())

    def freeze(self) -> None:
        """Stop the clock; `advance` and `set` still move it."""
        self._frozen = self.now()

    def resume(self) -> None:
        """Let a frozen clock run on from where it stands."""
        if self._frozen is not None:
            self.offset = self._frozen - time.time_ns() // 1_000_000
            self._frozen = None


def iso(milliseconds: int) -> str:
    """Write a time as Airtable does: `2026-11-24T08:31:02.000Z` (Airtable facts §2)."""
    seconds, rest = divmod(milliseconds, SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def http_date(milliseconds: int) -> str:
    """Write a time for the HTTP `Date` header, in whole seconds."""
    return datetime.fromtimestamp(milliseconds // SECOND, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
