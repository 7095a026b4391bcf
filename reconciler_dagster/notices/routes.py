"""Which channel takes what, and when: severity and quiet hours. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

from reconciler_dagster.notices.kinds import Severity

_QUIET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)


@dataclass(frozen=True)
class Quiet:
    """Hours of the day, by a zone's clock, in which only what is critical is told."""

    start: time
    end: time
    zone: tzinfo

    @classmethod
    def read(cls, words: str, zone: tzinfo) -> Quiet:
        """From e.g. ``22:00-07:00``; ValueError where it is something else."""
        found = _QUIET.fullmatch(words.replace(" ", ""))
        if not found:
            raise ValueError("expected hours like 22:00-07:00")
        first, after, last, before = map(int, found.groups())
        return cls(time(first, after), time(last, before), zone)

    def ends(self, moment: datetime) -> datetime:
        """When somebody may be told: the moment itself outside of the quiet hours."""
        here = moment.astimezone(self.zone)
        clock = here.time().replace(tzinfo=None)
        over_night = self.start > self.end
        inside = (
            clock >= self.start or clock < self.end
            if over_night
            else self.start <= clock < self.end
        )
        if not inside:
            return moment
        day = here.date() + timedelta(days=1 if over_night and clock >= self.start else 0)
        return datetime.combine(day, self.end, self.zone).astimezone(moment.tzinfo)


@dataclass(frozen=True)
class Route:
    """What a channel takes. ``least``: nothing below it."""

    channel: str
    least: Severity
    quiet: Quiet | None = None

    def due(self, severity: Severity, moment: datetime) -> datetime | None:
        """When the channel is to be told of something; None: never."""
        if severity < self.least:
            return None
        if self.quiet is None or severity is Severity.CRITICAL:
            return moment
        return self.quiet.ends(moment)


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts of which none was taken."""
    return min(_FIRST_WAIT * (1 << min(attempts - 1, 10)), _LONGEST_WAIT)
