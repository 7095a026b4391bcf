"""What was last seen of Dagster, in plain values, and what is wrong with that. Needs no Dagster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, text

from reconciler_dagster.notices.decide import Cause
from reconciler_dagster.postgres.jsonb import dump

# A daemon gives a sign of life every 30 s, and on a busy machine every 60 s. A dead one is told of
# at the first look after this, so within two minutes of its death.
DEAD_AFTER = timedelta(seconds=90)
# A schedule's tick may be late by so much, and a sensor's pause be so long.
LATE = timedelta(minutes=3)
# A sensor that fails once is tried again in seconds; a schedule only at its next time.
FAILURES = {"schedule": 1, "sensor": 3}


@dataclass(frozen=True)
class Ticking:
    """A schedule or sensor. Moments in seconds since 1970, 0 for never. ``due_at``: when it should
    have ticked last; ``failures``: its last ticks that failed, in a row, since ``failing_since``.
    """

    name: str
    kind: Literal["schedule", "sensor"]
    stopped: bool
    due_at: float = 0.0
    ticked_at: float = 0.0
    failures: int = 0
    failing_since: float = 0.0


@dataclass(frozen=True)
class Dagster:
    """``seen_at``: when it was looked at; ``daemons``: the last sign of life by type, in seconds
    since 1970; ``queued``: runs that wait; ``problem``: why its storage cannot be read;
    ``watched_since``: since when somebody has looked without a gap, in seconds since 1970. Nothing
    is silent for longer than that: what starts after everything was down has its time to come up.
    """

    seen_at: datetime
    daemons: dict[str, float] = field(default_factory=dict)
    queued: int = 0
    ticking: list[Ticking] = field(default_factory=list)
    problem: str | None = None
    watched_since: float = 0.0

    @property
    def heartbeat(self) -> datetime | None:
        """The oldest of the daemons' last signs of life; None where there never was one."""
        return _moment(min(self.daemons.values())) if self.daemons else None

    def is_alive(self, now: datetime) -> bool:
        """Whether every daemon has given a sign of life of late, as far as was seen."""
        alive = self.heartbeat
        return self.problem is None and alive is not None and now - alive <= DEAD_AFTER

    def silent_for(self, moment: float) -> timedelta:
        """How long nothing has come since a moment, as far as anybody was there to see it."""
        return self.seen_at - _moment(max(moment, self.watched_since))

    @property
    def is_too_early(self) -> bool:
        """Whether the daemon has been silent for long, but not been watched for as long."""
        return not self.is_alive(self.seen_at) and all(
            self.silent_for(at) <= DEAD_AFTER for at in self.daemons.values()
        )


def continued(seen: Dagster, before: Dagster | None) -> Dagster:
    """What is seen now, where ``before`` is what was seen last: the watch goes on, or begins."""
    gap = before is None or before.problem or seen.seen_at - before.seen_at > DEAD_AFTER
    since = seen.seen_at.timestamp() if gap or before is None else before.watched_since
    return replace(seen, watched_since=since)


def causes_of(seen: Dagster) -> Iterator[Cause]:
    """What is wrong with Dagster."""
    now = seen.seen_at
    if seen.problem is not None:
        yield Cause("dagster_storage", "", "", now, seen.problem)
        return
    silent = sorted(k for k, at in seen.daemons.items() if seen.silent_for(at) > DEAD_AFTER)
    if silent and (alive := seen.heartbeat):
        every = len(silent) == len(seen.daemons)
        detail = "" if every else f"of its threads these are silent: {', '.join(silent).lower()}"
        yield Cause("daemon_dead", "", "", alive, detail)
    still: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for each in seen.ticking:
        if found := _why_still(each, seen):
            still[found[0]].append((f"{each.kind} {each.name}", found[1]))
    for why, those in sorted(still.items()):
        names = ", ".join(sorted(name for name, _ in those))
        yield Cause("schedule_still", why, "", min(at for _, at in those), f"{names}: {why}")


def _why_still(each: Ticking, seen: Dagster) -> tuple[str, datetime] | None:
    """Why a schedule or sensor does not tick, and since when; None where it does."""
    if each.stopped:
        return "somebody has stopped it", seen.seen_at
    if each.ticked_at < each.due_at and seen.silent_for(each.due_at) > LATE:
        return "it was due and did not tick", _moment(each.due_at)
    if each.failures >= FAILURES[each.kind]:
        return "its ticks fail", _moment(each.failing_since)
    return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def note(connection: Connection, seen: Dagster) -> None:
    """Keep what was seen, for others."""
    content = {key: value for key, value in asdict(seen).items() if key != "seen_at"}
    connection.execute(
        text(
            "INSERT INTO reconciler.dagster_seen (seen_at, seen) "
            "VALUES (:seen_at, CAST(:seen AS jsonb)) "
            "ON CONFLICT (single) DO UPDATE SET seen_at = excluded.seen_at, seen = excluded.seen"
        ),
        {"seen_at": seen.seen_at, "seen": dump(content)},
    )


def life(seen: Dagster | None, now: datetime) -> Literal["ok", "silent", "unseen"]:
    """Whether the daemon gives signs of life; "unseen" where nobody has looked of late."""
    if seen is None or now - seen.seen_at > DEAD_AFTER:
        return "unseen"
    return "ok" if seen.is_alive(now) else "silent"


def noted(connection: Connection) -> Dagster | None:
    """What was seen last; None where nobody has looked yet."""
    row = connection.execute(text("SELECT seen_at, seen FROM reconciler.dagster_seen")).first()
    if row is None:
        return None
    content: dict[str, Any] = dict(row.seen)
    content["ticking"] = [Ticking(**each) for each in content["ticking"]]
    return Dagster(row.seen_at, **content)
