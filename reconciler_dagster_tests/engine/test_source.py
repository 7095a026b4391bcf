"""The five verbs and the clock are all that the engine asks: another source is kept as Airtable is,
and each of its errors means what its name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.core.source import (
    ATTEMPTS,
    LOCKOUTS_BORNE,
    NotAsRemembered,
    NotLetIn,
    NotSent,
    OutcomeUnknown,
    SourceError,
    Unavailable,
)
from reconciler_dagster.engine import session
from reconciler_dagster.engine.listing import list_window
from reconciler_dagster_tests.engine.memory import Memory, doors_to
from reconciler_dagster_tests.world import World, world


@dataclass
class Elsewhere:
    """A client whose records are in a memory, and agree with the portal's."""

    acme: World
    memory: Memory

    @property
    def ids(self) -> list[str]:
        return sorted(self.memory.records)

    def cell(self, record_id: str, name: str) -> object:
        return self.memory.records[record_id].cells.get(self.memory.field_id(name))

    def asked(self) -> list[str]:
        """What one run asks."""
        self.memory.asked.clear()
        self.acme.sync()
        return self.memory.asked


@pytest.fixture
def elsewhere(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    with world(portal_db, leads=110) as acme:
        base = acme.session().base
        table = base.schema("Leads")
        pages = base.created_between(table.id, [one.id for one in table.fields])
        memory = Memory(table, {record.id: record for page in pages for record in page})
        monkeypatch.setattr(session, "Doors", doors_to(memory))
        acme.sandbox.reset_calls()
        acme.sync()
        yield Elsewhere(acme, memory)
        assert acme.sandbox.calls() == [], "nobody has asked Airtable"


def test_a_source_without_http_is_kept_in_step(elsewhere: Elsewhere) -> None:
    acme, memory = elsewhere.acme, elsewhere.memory
    first, second, *_ = elsewhere.ids
    assert acme.value("SELECT count(*) FROM leads") == 110
    memory.edit(first, {memory.field_id("Company"): "Globex"})
    acme.update(second, notes="from the portal")
    acme.sync()
    assert acme.lead(first)["company"] == "Globex"
    assert elsewhere.cell(second, "Notes") == "from the portal"
    acme.sync(EVERYTHING)
    acme.assert_quiet()


def test_a_window_of_it_is_listed_whole(elsewhere: Elsewhere) -> None:
    window = list_window(elsewhere.acme.session(), EVERYTHING, "a window")
    assert (window.listed, window.absent) == (110, [])


def test_what_is_refused_is_found_by_halving(elsewhere: Elsewhere) -> None:
    elsewhere.memory.refused.add("nobody takes this")
    for record_id in elsewhere.ids[:10]:
        elsewhere.acme.update(record_id, notes="taken")
    elsewhere.acme.update(elsewhere.ids[5], notes="nobody takes this")
    assert elsewhere.acme.sync().counts.quarantined == 1
    assert [elsewhere.cell(r, "Notes") == "taken" for r in elsewhere.ids[:10]].count(True) == 9
    reason = elsewhere.acme.value("SELECT reason FROM reconciler.quarantine")
    assert reason == "Airtable refuses Notes: no such text"


@pytest.mark.parametrize(
    ("when", "error", "then"),
    [
        ("write", NotSent, ["read", "write"]),
        ("write", Unavailable, ["read", "write"]),
        ("written", OutcomeUnknown, ["read"]),
    ],
)
def test_a_write_without_an_answer_is_read_again_and_settled_in_the_run(
    elsewhere: Elsewhere, when: str, error: type[SourceError], then: list[str]
) -> None:
    elsewhere.memory.faults[when] = [error("The memory is busy")]
    elsewhere.acme.update(elsewhere.ids[0], notes="from the portal")
    verbs = elsewhere.asked()
    assert verbs[verbs.index("write") + 1 :] == then
    assert elsewhere.cell(elsewhere.ids[0], "Notes") == "from the portal"
    elsewhere.acme.sync()
    elsewhere.acme.assert_quiet()


@pytest.mark.parametrize(
    ("error", "patience"), [(Unavailable, ATTEMPTS), (NotSent, LOCKOUTS_BORNE)]
)
def test_patience_is_as_long_as_the_reason_asks_for(
    elsewhere: Elsewhere, error: type[SourceError], patience: int
) -> None:
    elsewhere.memory.faults["write"] = [error("The memory is busy")] * 50
    elsewhere.acme.update(elsewhere.ids[0], notes="from the portal")
    elsewhere.memory.asked.clear()
    with pytest.raises(error, match="busy"):
        elsewhere.acme.sync()
    assert elsewhere.memory.asked.count("write") == patience


def test_a_listing_that_is_refused_asks_for_the_metadata(elsewhere: Elsewhere) -> None:
    """It is in another table by now: everything is met as if for the first time."""
    memory = elsewhere.memory
    memory.table = replace(memory.table, id="tblAnotherOne0000")
    verbs = elsewhere.asked()
    assert verbs[:2] == ["schema", "created_between"]
    memory.faults["changed_since"] = [NotAsRemembered("The memory has forgotten a field")]
    assert elsewhere.asked()[:3] == ["changed_since", "schema", "changed_since"]


@pytest.mark.parametrize("error", [NotLetIn, SourceError, OutcomeUnknown])
def test_any_other_answer_to_a_listing_ends_the_run_and_loses_nothing(
    elsewhere: Elsewhere, error: type[SourceError]
) -> None:
    elsewhere.memory.faults["changed_since"] = [error("The memory has a bad day")]
    elsewhere.acme.update(elsewhere.ids[0], notes="from the portal")
    with pytest.raises(error, match="a bad day"):
        elsewhere.acme.sync()
    elsewhere.acme.sync()
    assert elsewhere.cell(elsewhere.ids[0], "Notes") == "from the portal"
