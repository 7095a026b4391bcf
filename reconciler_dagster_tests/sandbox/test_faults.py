"""Faults on demand, and the switches for what is disputed about Airtable (facts §13)."""

from datetime import UTC, datetime

import pytest
import requests
from pyairtable import Table

from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.testing import SandboxClient

from .raw import call

LEADS = f"{DEMO_BASE_ID}/Leads"


def _records(sandbox: SandboxClient, query: str = "") -> list[str]:
    answer = call(sandbox, "GET", f"{LEADS}{query}").json()
    return [record["id"] for record in answer["records"]]


def test_status_codes_for_the_calls_that_match(sandbox: SandboxClient) -> None:
    sandbox.fault("status", status=503, method="PATCH", path="Leads", times=2, skip=1)
    sandbox.fault("status", status=418, path="whoami", times=None, body={"odd": True})
    record_id = _records(sandbox)[0]
    patch = {"fields": {"Notes": "n"}}
    statuses = [call(sandbox, "PATCH", f"{LEADS}/{record_id}", patch).status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]
    answers = [call(sandbox, "GET", "meta/whoami") for _ in range(3)]
    assert [(one.status_code, one.json()) for one in answers] == [(418, {"odd": True})] * 3
    sandbox.clear_faults()
    assert call(sandbox, "GET", "meta/whoami").status_code == 200
    assert [one["status"] for one in sandbox.calls()][-4:] == [418, 418, 418, 200]


def test_by_probability_and_seed(sandbox: SandboxClient) -> None:
    def run() -> list[int]:
        sandbox.clear_faults()
        sandbox.fault("status", status=502, times=None, probability=0.5, seed=7)
        return [call(sandbox, "GET", "meta/whoami").status_code for _ in range(20)]

    first = run()
    assert 3 < first.count(502) < 17
    assert run() == first


@pytest.mark.parametrize(
    ("act", "committed"),
    [("cut_before_commit", False), ("cut_after_commit", True), ("hang", False)],
)
def test_cut_connections(sandbox: SandboxClient, act: str, committed: bool) -> None:
    sandbox.fault(act, seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        call(sandbox, "POST", LEADS, {"fields": {"Lead": "lost"}})
    assert sandbox.calls()[-1]["status"] is None
    names = [record["fields"].get("Lead") for record in sandbox.records().values()]
    assert ("lost" in names) == committed
    assert call(sandbox, "GET", LEADS).status_code == 200


def test_hang_ends_with_the_client(sandbox: SandboxClient) -> None:
    sandbox.fault("hang", seconds=3600)
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            f"{sandbox.url}/v0/{LEADS}",
            headers={"Authorization": f"Bearer {sandbox.token}"},
            timeout=0.2,
        )
    assert call(sandbox, "GET", LEADS).status_code == 200


def test_error_after_the_commit(sandbox: SandboxClient) -> None:
    sandbox.fault("status_after_commit", status=500)
    answer = call(sandbox, "POST", LEADS, {"fields": {"Lead": "kept"}})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "SERVER_ERROR")
    assert "kept" in [record["fields"].get("Lead") for record in sandbox.records().values()]


def test_truncated_json_and_slow_answers(sandbox: SandboxClient) -> None:
    sandbox.fault("truncate", path="Leads")
    sandbox.fault("slow", seconds=0.01, path="whoami")
    answer = call(sandbox, "GET", LEADS)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert call(sandbox, "GET", "meta/whoami").status_code == 200


def test_short_listing(sandbox: SandboxClient) -> None:
    sandbox.fault("short_listing", keep=3)
    answer = call(sandbox, "GET", f"{LEADS}?pageSize=10").json()
    assert len(answer["records"]) == 3
    assert "offset" not in answer


def test_iterators_end(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.fault("kill_iterator", page=3)
    pages = leads.iterate(page_size=10)
    assert [len(next(pages)), len(next(pages))] == [10, 10]
    with pytest.raises(requests.HTTPError, match="LIST_RECORDS_ITERATOR_NOT_AVAILABLE"):
        next(pages)

    pages = leads.iterate(page_size=10)
    next(pages)
    sandbox.advance(299)
    next(pages)
    sandbox.advance(301)
    with pytest.raises(requests.HTTPError, match="LIST_RECORDS_ITERATOR_NOT_AVAILABLE"):
        next(pages)

    pages = leads.iterate(page_size=10)
    next(pages)
    sandbox.kill_iterators()
    with pytest.raises(requests.HTTPError, match="LIST_RECORDS_ITERATOR_NOT_AVAILABLE"):
        next(pages)


def test_an_offset_can_be_asked_for_again(sandbox: SandboxClient) -> None:
    offset = call(sandbox, "GET", f"{LEADS}?pageSize=10").json()["offset"]
    query = f"?pageSize=10&offset={offset}"
    assert _records(sandbox, query) == _records(sandbox, query)


def test_writes_show_late_in_listings(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.freeze()
    kept, edited, deleted = (record["id"] for record in leads.all(max_records=3))
    leads.update(edited, {"Notes": "before"})
    sandbox.advance(10)
    sandbox.switch(list_lag_seconds=2)
    leads.update(edited, {"Notes": "after"})
    leads.delete(deleted)
    added = leads.create({"Lead": "added"})["id"]

    def listed() -> dict[str, str | None]:
        return {one["id"]: one["fields"].get("Notes") for one in leads.all()}

    assert (listed()[edited], deleted in listed(), added in listed()) == ("before", True, False)
    assert [one["id"] for one in leads.all(formula="{Notes} = 'before'")] == [edited]
    assert leads.get(edited)["fields"]["Notes"] == "after"
    sandbox.advance(2.5)
    assert (listed()[edited], deleted in listed(), added in listed()) == ("after", False, True)
    assert kept in listed()


def test_lookups_follow_late(
    sandbox: SandboxClient, everything: SandboxClient, things: Table, leads: Table
) -> None:
    sandbox.freeze()
    lead = leads.create({"Company": "Old"})["id"]
    record = things.create({"Leads": [lead]})["id"]
    sandbox.advance(10)
    sandbox.switch(computed_lag_seconds=3)
    leads.update(lead, {"Company": "New"})
    assert things.get(record)["fields"]["Companies"] == ["Old"]
    sandbox.advance(4)
    assert things.get(record)["fields"]["Companies"] == ["New"]


def test_order_without_a_sort(sandbox: SandboxClient, leads: Table) -> None:
    ids = [record["id"] for record in leads.all()]
    assert ids == sorted(ids)
    sandbox.switch(record_order="random")
    shuffled = [record["id"] for record in leads.all(page_size=7)]
    assert shuffled != ids
    assert sorted(shuffled) == ids


def test_last_modified_times(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.freeze()
    record = leads.create({"Lead": "x", "Notes": "n"})["id"]
    created = sandbox.record(record)["lastModified"]
    assert created.endswith(".000Z")

    seen = [created]

    def bumped() -> bool:
        """Tell whether the time has moved since the last look; then let an hour pass."""
        seen.append(sandbox.record(record)["lastModified"])
        sandbox.advance(3600)
        return seen[-1] > seen[-2]

    assert not bumped()
    leads.update(record, {"Notes": "n"})
    assert not bumped()
    sandbox.switch(same_value_bumps=True)
    leads.update(record, {"Notes": "n"})
    assert bumped()
    sandbox.switch(same_value_bumps=False)
    sandbox.override(record, "ICP Score", 99)
    sandbox.set_formula("SMS Eligible", "1")
    sandbox.rename_option("HRQ Status", "None", "Nothing")
    assert not bumped()
    assert leads.get(record)["fields"]["ICP Score"] == 99
    assert leads.get(record)["fields"]["SMS Eligible"] == 1
    sandbox.switch(time_resolution_ms=1)
    sandbox.advance(60.123)
    leads.update(record, {"Notes": "m"})
    now = sandbox.status()["now"]
    assert sandbox.record(record)["lastModified"] == now
    assert "⚠️ Last Updated Auto" not in leads.get(record)["fields"]
    sandbox.switch(untouched_time="created")
    assert leads.get(record)["fields"]["⚠️ Last Updated Auto"] == created


def test_an_inverse_link_bumps_or_not(sandbox: SandboxClient, things: Table, leads: Table) -> None:
    sandbox.freeze()
    one, two = (record["id"] for record in leads.all(max_records=2))
    before = sandbox.records()
    things.create({"Leads": [one]})
    sandbox.switch(inverse_link_bumps=False)
    things.create({"Leads": [two]})
    after = sandbox.records()
    assert after[one]["lastModified"] > before[one]["lastModified"]
    assert after[two]["lastModified"] == before[two]["lastModified"]


def test_is_after_may_return_everything(sandbox: SandboxClient, leads: Table) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    formula = f"IS_AFTER(LAST_MODIFIED_TIME(), DATETIME_PARSE('{now}'))"
    assert leads.all(formula=formula) == []
    sandbox.switch(is_after_returns_all=True)
    assert len(leads.all(formula=formula)) == 30


def test_status_switches(sandbox: SandboxClient) -> None:
    absent = "recAAAAAAAAAAAAAA"
    sandbox.switch(missing_record=404, missing_table=404, missing_row=404, long_url_status=414)
    assert call(sandbox, "GET", f"{LEADS}/{absent}").json()["error"]["type"] == "MODEL_ID_NOT_FOUND"
    assert call(sandbox, "GET", f"{DEMO_BASE_ID}/Nope").json() == {
        "error": {
            "type": "TABLE_NOT_FOUND",
            "message": f"Could not find table Nope in application {DEMO_BASE_ID}",
        }
    }
    body = {"records": [{"id": absent, "fields": {}}]}
    assert call(sandbox, "PATCH", LEADS, body).status_code == 404
    assert call(sandbox, "GET", f"{LEADS}?filterByFormula={'1' * 16000}").status_code == 414
    with pytest.raises(ValueError, match="422"):
        sandbox.switch(no_such_switch=1)
