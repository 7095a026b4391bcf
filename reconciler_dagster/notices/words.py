"""What a notice says: what happened, to whom, since when, what to do, and where to look. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler_dagster.notices.decide import Cause, Event, Notice, What
from reconciler_dagster.notices.kinds import KINDS, Place, Severity

# Of how many clients a notice tells by name, and in how many words of detail.
NAMED, DETAIL = 5, 500

_PAGES: dict[Place, str] = {
    "console": "/console",
    "quarantine": "/console/quarantine",
    "deletions": "/console/deletions",
    "notices": "/console/notices",
}
_IN_DAGSTER: dict[Place, str] = {
    "runs": "/runs",
    "daemons": "/deployment/daemons",
    "automation": "/automation",
}
# What may be of a lead in a sentence that somebody else has put together.
_OF_A_LEAD = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|\"[^\"]*\"|'(?:[^']|(?<=\w)'(?=\w))*'|“[^”]*”"  # whatever is quoted
    r"|\b(?:rec[A-Za-z0-9]{14}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b"
    r"|(?<![\w.])\+?\d[\d ()./-]{5,}\d\b"  # a phone number
    r"|(?<=\()[^()]*\)=\([^()]*(?=\))"  # Postgres' (column)=(value)
)


@dataclass(frozen=True)
class Message:
    """One notice in words, as every channel gets it. ``notice``: its number, the same from the
    beginning to the end; ``count``: how many clients, 0 where it is about the whole deployment.
    """

    notice: int
    kind: str
    what: str
    severity: str
    title: str
    happened: str
    whom: str
    since: str
    todo: str
    link: str
    count: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """All of it below the title, a line each."""
        lines = [self.happened, f"Whom: {self.whom}", f"Since: {self.since}"]
        if self.todo:
            lines.append(f"What to do: {self.todo}")
        return "\n".join([*lines, self.link])


@dataclass(frozen=True)
class Surroundings:
    """``portal``, ``dagster``: where people reach them; ``lead_data``: whether a notice may hold
    what might be of a lead.
    """

    dagster: str
    portal: str | None = None
    lead_data: bool = False

    def link(self, place: Place) -> str:
        """The page that shows it; Dagster's where there is no portal."""
        if place in _IN_DAGSTER:
            return self.dagster.rstrip("/") + _IN_DAGSTER[place]
        if self.portal is None:
            return self.dagster.rstrip("/") + _IN_DAGSTER["runs"]
        return self.portal.rstrip("/") + _PAGES[place]


def message(event: Event, now: datetime, around: Surroundings) -> Message:
    """The words for an event of a stored notice."""
    notice, kind = event.notice, KINDS[event.notice.kind]
    over = event.what is What.RECOVERED
    whom = notice.affected if over else tuple(cause.subject for cause in notice.present)
    count = 0 if kind.of_all else len(whom)
    lasted = f"{notice.since:%Y-%m-%d %H:%M} UTC"
    lead = {What.OPENED: "", What.REMINDED: "Still: ", What.RECOVERED: "Over: "}[event.what]
    assert notice.id is not None
    return Message(
        notice=notice.id,
        kind=notice.kind,
        what=event.what.value,
        severity=kind.severity.name.lower(),
        title=f"{lead}{kind.happened}" + (f" ({_clients(count)})" if count else ""),
        happened=f"{kind.happened}. It is over now." if over else happened(notice),
        whom=_names(whom) if count else "the whole deployment",
        since=f"{lasted}, for {_span(now - notice.since)}" if over else lasted,
        todo="" if over else kind.todo,
        link=around.link(kind.place),
        count=count,
    )


def happened(notice: Notice) -> str:
    """What happened, with what is known of it."""
    return f"{KINDS[notice.kind].happened}{_details(notice.present)}"


def without_lead_data(sentence: str) -> str:
    """A sentence without what is quoted in it, addresses, ids and phone numbers."""
    return _OF_A_LEAD.sub("…", sentence)


def severity_of(kind: str) -> Severity:
    """Of a kind of notice."""
    return KINDS[kind].severity


def _details(present: tuple[Cause, ...]) -> str:
    """What is the same for all is said once."""
    details = list(dict.fromkeys(cause.detail for cause in present if cause.detail))
    if not details:
        return "."
    if len(details) == 1:
        return f": {_short(details[0])}"
    told = [f"{c.subject}: {_short(c.detail)}" for c in present[:NAMED] if c.detail]
    more = len(present) - len(told)
    return ". " + " ".join(told) + (f" And {more} more." if more > 0 else "")


def _short(detail: str) -> str:
    cut = detail if len(detail) <= DETAIL else f"{detail[: DETAIL - 1]}…"
    return cut if cut.endswith((".", "…", "!", "?")) else f"{cut}."


def _names(whom: tuple[str, ...]) -> str:
    named = ", ".join(whom[:NAMED])
    more = len(whom) - NAMED
    return f"{named} and {more} more, {_clients(len(whom))} in all" if more > 0 else named


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def _span(length: timedelta) -> str:
    minutes = max(0, round(length / timedelta(minutes=1)))
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
