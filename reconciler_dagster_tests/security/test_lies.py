"""An Airtable answer that lies: nothing of it is used, nothing is lost, and the run says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.source import SourceError
from reconciler_dagster_tests.model.invariants import everything
from reconciler_dagster_tests.world import World

GOOD = {"id": "rec" + "A" * 14, "createdTime": "2026-01-01T00:00:00.000Z", "fields": {}}
CLEARED_BY_NAME = {**GOOD, "fields": {"Company": "keyed by name"}}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "null",
        "7",
        {"records": None},
        {"records": {"id": 1}},
        {"records": [None]},
        {"records": [[GOOD]]},
        {"records": [{**GOOD, "id": 7}]},
        {"records": [{**GOOD, "id": "rec'); DROP"}]},
        {"records": [{**GOOD, "createdTime": "yesterday"}]},
        {"records": [{**GOOD, "createdTime": "2026-01-01T00:00:00"}]},
        {"records": [{**GOOD, "createdTime": 7}]},
        {"records": [{**GOOD, "fields": []}]},
        {"records": [{k: GOOD[k] for k in ("id", "fields")}]},
        {"records": [CLEARED_BY_NAME]},
        "[" * 100_000,
    ],
)
def test_a_listing_that_is_none_moves_nothing(acme: World, answer: Any) -> None:
    before = everything(acme)
    acme.sandbox.fault("status", status=200, body=answer, method="GET", times=None)
    with pytest.raises(SourceError):
        acme.sync()
    acme.sandbox.clear_faults()
    assert everything(acme) == before


def test_cells_keyed_by_name_are_not_cleared_cells(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    record = acme.sandbox.record(record_id)
    lie = {"id": record_id, "createdTime": record["createdTime"], "fields": record["fields"]}
    acme.sandbox.fault("status", status=200, body={"records": [lie]}, method="GET")
    with pytest.raises(SourceError, match="not keyed by field id"):
        acme.sync()
    acme.assert_converged()


@pytest.mark.parametrize(
    "cell",
    [
        {"error": "\ud800"},
        {"specialValue": "\x00"},
        "\ud800",
        "a\x00b",
        10**400,
        [["deep"]],
        "x" * 3_000_000,
    ],
)
def test_a_cell_that_is_nonsense_is_quarantined_alone(acme: World, cell: Any) -> None:
    bad, good = sorted(acme.sandbox.records())[:2]
    field = next(f["id"] for f in acme.sandbox.fields() if f["name"] == "Company")
    records = [
        {"id": key, "createdTime": "2026-01-01T00:00:00.000Z", "fields": {field: value}}
        for key, value in ((bad, cell), (good, "Fine"))
    ]
    company = acme.lead(bad)["company"]
    acme.sandbox.fault("status", status=200, body=json.dumps({"records": records}), method="GET")
    acme.sync()
    assert acme.lead(good)["company"] == "Fine"
    assert acme.lead(bad)["company"] == company
    assert acme.value("SELECT count(*) FROM reconciler.quarantine WHERE field = 'company'") == 1


@pytest.mark.parametrize(
    "answer", [{}, {"records": [GOOD]}, {"records": [CLEARED_BY_NAME]}, {"records": 1}]
)
def test_an_answer_to_a_write_that_is_about_something_else_settles_nothing(
    acme: World, answer: Any
) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.fault("status", status=200, body=answer, method="PATCH", times=None)
    assert acme.sync().pushed.unknown == {record_id}
    acme.sandbox.clear_faults()
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Archive"
    acme.assert_converged()


@pytest.mark.parametrize("status", [422, 403])
def test_an_error_text_that_is_nonsense_is_told_all_the_same(acme: World, status: int) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    body = json.dumps({"error": {"type": "\ud800\x00", "message": "\x00\ud800" * 5000}})
    acme.sandbox.fault("status", status=status, body=body, method="PATCH", times=None)
    assert acme.sync().counts.quarantined == 1
    assert len(acme.value("SELECT reason FROM reconciler.quarantine")) < 1000


@pytest.mark.parametrize(
    "tables",
    [
        {"tables": []},
        {"tables": [{"id": "tbl1", "name": "Leads"}]},
        {"tables": [{"name": "Leads", "fields": [7]}]},
        {"tables": [{"name": "Other \ud800\x00", "fields": []}]},
    ],
)
def test_metadata_that_is_nonsense_stops_the_run_and_no_field(acme: World, tables: Any) -> None:
    acme.sql("DELETE FROM reconciler.table_binding")
    before = everything(acme)
    acme.sandbox.fault("status", status=200, body=json.dumps(tables), path="meta", times=None)
    with pytest.raises((SourceError, ConfigurationError)):
        acme.sync()
    acme.sandbox.clear_faults()
    assert everything(acme) == before
