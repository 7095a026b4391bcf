"""What must be so in the portal's database that no edit is missed and none is hidden. Pure.

The facts are what one look at Postgres' catalogue shows; what is wrong with them is said in
sentences for a person, each with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

MEANWHILE = (
    "Until then every run compares all leads with what was agreed on, and so finds what was edited."
)
STOPPED = "Until then nothing is carried over; nothing is lost."
HEALED = "Run `reconciler migrate`: it mends that, and says what it could not mend."

# What a write's trouble means, by SQLSTATE; other texts of Postgres may quote people's data.
_CAUSES = {
    "22P02": "a value is not of the type that is expected",
    "42501": "a privilege is missing",
    "42P01": "a table of the engine is gone",
    "42703": "a column of the engine's tables is gone",
    "53100": "the disk is full",
    "55P03": "a table of the engine stayed locked",
    "40P01": "a table of the engine was locked the other way round",
}


class Unfit(Exception):
    """The portal's database is not as a run needs it; the message says what to do."""


@dataclass(frozen=True)
class Fired:
    """A trigger that has to be there. ``state``: ``missing``, ``altered``, or as Postgres has it
    (``A`` always, ``O`` ordinary sessions alone, ``R`` replication alone, ``D`` disabled).
    """

    table: str
    name: str
    state: str


@dataclass(frozen=True)
class Trouble:
    """Transactions whose edits could not be noted. ``message``: only where it is our own."""

    table: str
    sqlstate: str
    message: str | None
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Facts:
    """``table``: the watched one; ``kind``: as in pg_class.relkind. ``role``: the one that looks.

    ``functions``: those that are gone, or not as this version wrote them. ``gone``: tables of the
    engine. ``unwritable``: those in which the triggers may not note anything. ``hidden``: tables of
    which row level security may hide rows from the role. ``denied``: privileges that it lacks, as
    in ``UPDATE ON sales.contacts``. ``fingerprint``: changes with everything that may have kept an
    edit from being noted.
    """

    table: str
    kind: str
    role: str
    fingerprint: str
    triggers: list[Fired] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unwritable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """``what`` is wrong, and the ``remedy``. ``stops``: nothing can be carried over with it."""

    what: str
    remedy: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


def problems(facts: Facts) -> list[Problem]:
    """What is wrong; empty where all is well."""
    if facts.kind not in ("r", "p"):
        return [_no_table(facts)]
    found = list(_stopping(facts))
    if whys := list(unwatched(facts)):
        until = STOPPED if facts.gone else MEANWHILE
        found.append(Problem(" ".join(whys), f"{HEALED} {until}", stops=bool(facts.gone)))
    return found + [_of_trouble(trouble) for trouble in facts.troubles]


def unwatched(facts: Facts) -> Iterator[str]:
    """What keeps edits from being noted at this moment."""
    for trigger in facts.triggers:
        name = f"the trigger {trigger.name} of {trigger.table}"
        if trigger.state == "missing":
            yield f"Edits in Postgres are not noted: {name} is gone."
        elif trigger.state == "altered":
            yield f"Edits in Postgres may not be noted: {name} was altered."
        elif trigger.state == "D":
            yield f"Edits in Postgres are not noted: {name} is disabled."
        elif trigger.state != "A":
            whose = "ordinary sessions" if trigger.state == "R" else "replication and restores"
            yield f"Edits by {whose} are not noted: {name} does not fire for them."
    for function in facts.functions:
        yield (
            f"Edits in Postgres may not be noted: the function {function} is gone, or not as this "
            "version wrote it."
        )
    for table in facts.gone:
        yield f"Edits in Postgres cannot be noted: the engine's table {table} is gone."
    for table in facts.unwritable:
        yield (
            f"Edits in Postgres cannot be noted: the owner of the trigger's functions may not "
            f"write to {table}; grant it INSERT."
        )


def _stopping(facts: Facts) -> Iterator[Problem]:
    for table in facts.hidden:
        yield hidden(table, facts.role)
    if facts.denied:
        yield Problem(
            f"The database role {facts.role} lacks privileges: {', '.join(facts.denied)}.",
            "Run migrations/least_privilege.sql as the owner of the tables, or grant them. "
            "Nothing is lost meanwhile.",
            stops=True,
        )


def hidden(table: str, role: str) -> Problem:
    """Row level security may hide rows of a table."""
    return Problem(
        f"Row level security may hide rows of {table} from the database role {role}; what is "
        "hidden would look as if it were not there.",
        f'Let it see all of them: ALTER ROLE "{role}" BYPASSRLS, or CREATE POLICY reconciler ON '
        f'{table} TO "{role}" USING (true) WITH CHECK (true).',
        stops=True,
    )


def _no_table(facts: Facts) -> Problem:
    found = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}.get(facts.kind)
    return Problem(
        f"{facts.table} is {found or 'not there'}; expected a table.",
        "Give the table its name back, then run `reconciler migrate`.",
        stops=True,
    )


def _of_trouble(trouble: Trouble) -> Problem:
    why = trouble.message or _CAUSES.get(trouble.sqlstate, f"SQLSTATE {trouble.sqlstate}")
    many = f"{trouble.count} transactions that wrote to {trouble.table} could not be noted"
    if trouble.count == 1:
        many = f"A transaction that wrote to {trouble.table} could not be noted"
    since = f"{trouble.first:%Y-%m-%d %H:%M} UTC"
    if trouble.count > 1:
        since += f" to {trouble.last:%Y-%m-%d %H:%M} UTC"
    return Problem(
        f"{many} ({since}): {why}.",
        "The next run compares all leads and so finds what they edited; mend the cause, or it "
        "happens again.",
    )
