"""What a rehearsal of a client's first contact found, and what then happened. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reconciler_dagster.core.source import BATCH, PAGE

# A report is shown again where a figure has grown by more than this since, and by more than this
# part of what was shown.
MOVED_ALLOWED = 10
MOVED_ALLOWED_SHARE = 0.01
# Own writes of one run that would fill most of the next listing's first page.
WORTH_READING_BACK = 80


@dataclass(frozen=True)
class Loses:
    """A value of the portal's that Airtable's would take the place of. Values as examples show
    them; ``why``: see core.plan.ConflictKind.
    """

    record_id: str
    field: str
    stands: str
    loses: str
    why: str


@dataclass(frozen=True)
class FiringTrigger:
    """One of the portal's own triggers that would fire. ``calls``: how often. ``guard``: the SQL
    that keeps it from telling old news; empty where it looks at ``reconciler.writer`` already.
    """

    name: str
    table: str
    calls: int
    guard: list[str]


@dataclass(frozen=True)
class Report:
    """Of one client. ``syncs``: what was rehearsed of it. ``change_set``:
    engine.change_set.ChangeSet in plain values.

    ``listed``: records of the base; ``leads``: of the client in Postgres. ``without_record``:
    leads whose record the base does not have, which stay active until a person decides; ``own``:
    leads of the portal's own. ``unexamined``: leads that somebody held meanwhile. ``rows``: what
    the portal's triggers would write besides, as ``{table, kind, rows}``; ``follows``: what the
    definition's derived columns and events would, at the most. ``calls``, ``seconds``:
    what the first contact will take at the least.
    """

    listed: int
    leads: int
    without_record: int
    own: int
    change_set: dict[str, Any]
    loses: list[Loses] = field(default_factory=list)
    examples_without_record: list[str] = field(default_factory=list)
    triggers: list[FiringTrigger] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    unexamined: int = 0
    calls: int = 0
    seconds: int = 0
    stopped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    syncs: list[str] = field(default_factory=list)
    follows: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Report:
        """As kept by ``asdict``."""
        return Report(
            **{
                **kept,
                "loses": [Loses(**one) for one in kept["loses"]],
                "triggers": [FiringTrigger(**one) for one in kept["triggers"]],
            }
        )

    @property
    def refused(self) -> int:
        """Cells and whole leads that would be refused."""
        refused = ("refused_in_postgres", "refused_in_airtable")
        return sum(sum(self.change_set[side].values()) for side in refused)

    def figures(self) -> dict[str, int]:
        """Everything that would be done, by what it is called to a person."""
        plan = self.change_set
        found = {
            "leads to insert": plan["inserts"],
            "leads without a record": self.without_record,
            **{f"{c} to be written in Postgres": n for c, n in plan["to_postgres"].items()},
            **{f"{c} to be written in Airtable": n for c, n in plan["to_airtable"].items()},
            **{f"{c} of the portal that would lose": n for c, n in plan["conflicts"].items()},
            **{f"{c} refused by Postgres": n for c, n in plan["refused_in_postgres"].items()},
            **{f"{c} refused by Airtable": n for c, n in plan["refused_in_airtable"].items()},
            **{f"calls of the trigger {t.name}": t.calls for t in self.triggers},
            **{f"rows {r['kind']} in {r['table']}": r["rows"] for r in self.rows},
            **{
                f"rows {r['kind']} in {r['table']} by the definition": r["rows"]
                for r in self.follows
            },
        }
        return {name: count for name, count in found.items() if count}


def expected_calls(listed: int, outbound: int, sendable: int) -> int:
    """Calls of a first contact: the metadata, the listing, of what differs a look by the hundred,
    of what can be sent the writes by the ten, and where they are many a look at them afterwards.

    ``outbound``: records with a cell for Airtable; ``sendable``: those of which it takes one.
    """
    pages, looks = max(1, math.ceil(listed / PAGE)), math.ceil(outbound / PAGE)
    writes = looks * math.ceil(sendable / looks / BATCH) if looks else 0
    if looks and sendable == outbound:  # full hundreds
        writes = math.ceil(outbound / BATCH)
    echo = math.ceil(sendable / PAGE) if sendable > WORTH_READING_BACK else 0
    return 1 + pages + looks + writes + echo


def moved(shown: Report, now: Report) -> list[str]:
    """What would be done beyond what was shown, a sentence each; empty where that still stands.

    Only more counts: what does not have to be done any more was seen, and does no harm.
    """
    before = shown.figures()
    return [
        f"{name}: {before.get(name, 0)} were shown, now it would be {count}"
        for name, count in now.figures().items()
        if count - before.get(name, 0)
        > max(MOVED_ALLOWED, MOVED_ALLOWED_SHARE * before.get(name, 0))
    ]


def needs_a_look(report: Report) -> list[str]:
    """Why nobody should approve of it unseen: what cannot be taken back, or has to be mended."""
    return list(_needs_a_look(report))


def _needs_a_look(report: Report) -> Iterator[str]:
    if report.refused:
        yield f"{report.refused} cells or leads would be refused"
    unguarded = [trigger.name for trigger in report.triggers if trigger.guard]
    if unguarded and report.rows:
        rows = ", ".join(f"{r['rows']} rows {r['kind']} in {r['table']}" for r in report.rows)
        yield f"triggers of the portal ({', '.join(unguarded)}) would have fired: {rows}"
    if report.unexamined:
        yield f"{report.unexamined} leads could not be looked at, since somebody held them"
    yield from report.stopped


@dataclass(frozen=True)
class Outcome:
    """What then happened: cells refused by field, as ``Report.change_set`` has them."""

    counts: dict[str, int]
    refused_in_postgres: dict[str, int]
    refused_in_airtable: dict[str, int]

    def other_than(self, report: Report) -> list[str]:
        """Where it was not as the rehearsal had said, a sentence each."""
        found = []
        for name in ("Postgres", "Airtable"):
            side = f"refused_in_{name.lower()}"
            foreseen, then = report.change_set[side], asdict(self)[side]
            for column in sorted(foreseen.keys() | then.keys()):
                if foreseen.get(column, 0) != then.get(column, 0):
                    found.append(
                        f"{column} refused by {name}: {foreseen.get(column, 0)} cells were "
                        f"foreseen, {then.get(column, 0)} were"
                    )
        return found
