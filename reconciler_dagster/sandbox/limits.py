"""The limits on calls: a second and base, a second and user, a month (Airtable facts §6)."""

from bisect import bisect_right, insort
from datetime import UTC, datetime

from reconciler_dagster.sandbox.clock import SECOND, Clock
from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.switches import Switches


class _Gate:
    """Counts calls of one base or one user."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.locked_until = 0

    def admit(self, arrival: int, limit: int, switches: Switches) -> bool:
        """Count a call and tell whether it may pass."""
        lockout = int(switches.lockout_seconds * SECOND)
        if arrival < self.locked_until:
            if switches.lockout_extends:
                self.locked_until = arrival + lockout
            return False
        # Calls are not always read in the order in which they arrived; and a clock that was moved
        # back must not leave any "of the future" behind.
        self.calls = [at for at in self.calls if abs(at - arrival) < 2 * SECOND]
        insort(self.calls, arrival)
        if switches.window == "fixed":
            most = sum(at // SECOND == arrival // SECOND for at in self.calls)
        else:
            ends = enumerate(self.calls, 1)
            most = max(n - bisect_right(self.calls, at - SECOND) for n, at in ends)
        if most <= limit:
            return True
        self.locked_until = arrival + lockout
        self.calls.clear()
        return False


class Limits:
    """All limits of one sandbox."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._gates: dict[str, _Gate] = {}
        self.months: dict[str, int] = {}

    def check(self, token: str, base_id: str | None, meta: bool, arrival: int) -> None:
        """Count a call that arrived then. Raises the 429 refusal when a limit is exceeded."""
        switches = self._switches
        month = datetime.fromtimestamp(arrival / SECOND, UTC).strftime("%Y-%m")
        self.months[month] = self.months.get(month, 0) + 1
        spared = meta and switches.monthly_cap_spares_meta
        if (
            switches.monthly_cap is not None
            and self.months[month] > switches.monthly_cap
            and not spared
        ):
            raise monthly_cap_reached()
        passed = True
        per_base = switches.calls_per_second_and_base
        if base_id and per_base:
            limit = per_base + switches.burst - switches.foreign_calls_per_second
            passed = self._gate(base_id).admit(arrival, limit, switches)
        per_user = switches.calls_per_second_and_user
        if per_user:
            passed &= self._gate(token).admit(arrival, per_user + switches.burst, switches)
        if not passed:
            raise rate_limit_reached(switches)

    def foreign(self, base_id: str, count: int) -> None:
        """Count calls that another integration makes to a base now."""
        limit = self._switches.calls_per_second_and_base + self._switches.burst
        for _ in range(count if limit else 0):
            self._gate(base_id).admit(self._clock.now(), limit, self._switches)

    def calls_this_month(self) -> int:
        """Return how many calls the current month has seen."""
        month = datetime.fromtimestamp(self._clock.now() / SECOND, UTC).strftime("%Y-%m")
        return self.months.get(month, 0)

    def reset(self) -> None:
        """Forget all calls and lift all lock-outs."""
        self._gates.clear()
        self.months.clear()

    def _gate(self, key: str) -> _Gate:
        return self._gates.setdefault(key, _Gate())


def rate_limit_reached(switches: Switches) -> Refusal:
    """Build the 429 for too many calls a second."""
    message = "Rate limit exceeded. Please try again later"
    headers = {"Retry-After": f"{switches.lockout_seconds:.0f}"} if switches.retry_after else {}
    if switches.rate_limit_body == "error":
        body = {"error": {"type": "RATE_LIMIT_REACHED", "message": message}}
        return Refusal(429, body, headers)
    return Refusal(429, {"errors": [{"error": "RATE_LIMIT_REACHED", "message": message}]}, headers)


def monthly_cap_reached() -> Refusal:
    """Build the 429 that lasts until the month turns."""
    message = (
        "API billing plan limit exceeded. You've reached the maximum number of requests allowed "
        "for this month."
    )
    return Refusal(
        429, {"errors": [{"error": "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "message": message}]}
    )
