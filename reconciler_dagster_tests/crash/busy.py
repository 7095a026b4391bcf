"""A world in which one run has something of everything to do, and can be put back to before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from reconciler_dagster.engine import rounds, send
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.world import ANN, BOB, World, world


@contextmanager
def small_hundreds() -> Iterator[None]:
    """Hundreds of six leads: a busy run has several of them on their way side by side."""
    with patch.object(rounds, "HUNDRED", 6), patch.object(send, "BATCH", 3):
        yield


@dataclass
class Before:
    """Airtable's cells before the run."""

    cells: dict[str, dict[str, Any]]

    @staticmethod
    def of(world: World) -> Before:
        """As they are."""
        return Before({key: r["fields"] for key, r in world.sandbox.records().items()})

    def restore(self, world: World) -> None:
        """Write back what differs. (The portal's side comes back as a fresh database.)"""
        computed = {f["name"] for f in world.sandbox.fields() if f["computed"]}
        changed = {}
        for record_id, record in world.sandbox.records().items():
            now, then = record["fields"], self.cells[record_id]
            names = (now.keys() | then.keys()) - computed
            cells = {n: then.get(n) for n in names if now.get(n) != then.get(n)}
            if cells:
                changed[record_id] = cells
        if changed:
            world.sandbox.edit_many(changed)


def make_busy(world: World) -> Before:
    """Pending work of every kind, on both sides, over two batches of ten."""
    world.sync()
    ids = sorted(world.sandbox.records())
    for n, record_id in enumerate(ids[:12]):
        world.update(
            record_id, claimed_by=world.user((ANN, BOB)[n % 2]), claimed_at="2026-02-01T00:00Z"
        )
    for record_id in ids[10:14]:
        world.sandbox.edit(record_id, {"Company": f"Company of {record_id}", "Notes": "there"})
    world.update(ids[10], notes="here")
    world.update(ids[13], notes="both append here")
    world.update(ids[0], hrq_status="Archive")
    world.sandbox.edit(ids[0], {"HRQ Status": "Review"})
    world.update(ids[1], hrq_status="Qualified", sms_stop_reason="x" * 120)
    world.sandbox.edit(ids[1], {"HRQ Status": "Qualified"})
    world.update(ids[2], hrq_status="No such option")
    world.sandbox.edit(ids[3], {"Phone": "9" * 30, "Claimed By": "nobody@nowhere.example"})
    world.update(ids[4], email="not@yours.example")
    world.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=ids[14])
    world.sandbox.edit(ids[15], {"Company": None, "Notes": None})
    world.sandbox.add({"First Name": "Newcomer", "Company": "Newcomers"})
    return Before.of(world)


def end_state(world: World) -> dict[str, Any]:
    """What must be the same whatever happened on the way."""
    remote, local, agreed = world.sides()
    names = {"lost": "conflict", "held": "quarantine"}
    columns = {
        "conflict": "record_id, field, kind, winning_value::text, losing_value::text",
        "quarantine": "record_id, field, direction, reason",
    }
    logs = {
        key: sorted(tuple(r) for r in world.sql(f"SELECT {columns[t]} FROM reconciler.{t}"))  # noqa: S608
        for key, t in names.items()
    }
    open_ = world.value("SELECT count(*) FROM reconciler.journal WHERE state <> 'acknowledged'")
    unsettled = world.value("SELECT count(*) FROM reconciler.unsettled")
    return (
        {"remote": remote, "local": local, "agreed": agreed, "open": open_}
        | logs
        | {"unsettled": unsettled}
    )


@dataclass
class Copies:
    """A busy world, and the same again for each run."""

    server: Any
    template: str
    busy: World
    before: Before

    def copy(self, name: str) -> World:
        """The busy state once more, in a database of that name."""
        self.before.restore(self.busy)
        url = self.server.create_database(name, template=self.template)
        case = World(url, self.busy.sandbox)
        case.settings.calls_per_second = 1000
        return case

    def settle(self, case: World, name: str) -> dict[str, Any]:
        """What two more runs come to; then the copy is gone."""
        case.sync()
        case.sync()
        state = end_state(case)
        case.engine.dispose()
        self.server.drop_database(name)
        return state


@contextmanager
def busy_copies(server: Any, template: str, leads: int) -> Iterator[Copies]:
    """Copies of a world that is busy, in databases made from the template of that name."""
    url = server.create_database(template, template="migrated")
    with world(url, leads=leads) as busy:
        before = make_busy(busy)
        engine(url).dispose()  # a template may have no connections
        yield Copies(server, template, busy, before)
