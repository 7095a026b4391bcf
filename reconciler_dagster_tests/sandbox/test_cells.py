"""Every field type: what it takes, what it shows, how it is cleared (facts §8)."""

from typing import Any

import pytest
import requests
from pyairtable import Api, Table

from reconciler_dagster.sandbox.testing import SandboxClient

OWNER = {"id": "usrSandboxOwner01", "email": "owner@example.com", "name": "API user"}

ACCEPTED: list[tuple[str, Any, Any]] = [
    ("Name", "x", "x"),
    ("Long", "a\nb", "a\nb"),
    ("Rich", "**b**", "**b**\n"),
    ("Email", "not an address", "not an address"),
    ("Phone", "+1 555", "+1 555"),
    ("Url", "anything", "anything"),
    ("Number", 1.25, 1.25),
    ("Number", 5.0, 5),
    ("Number", 0, 0),
    ("Currency", 9.5, 9.5),
    ("Percent", 0.5, 0.5),
    ("Duration", 90, 90),
    ("Rating", 3, 3),
    ("Checkbox", True, True),
    ("Date", "2026-02-03", "2026-02-03"),
    ("Date", "2026-02-03T10:00:00.000Z", "2026-02-03"),
    ("Moment", "2026-02-03T10:00:00.123Z", "2026-02-03T10:00:00.123Z"),
    ("Moment", "2026-02-03T10:00:00+02:00", "2026-02-03T08:00:00.000Z"),
    ("Moment", 1_770_000_000_000, "2026-02-02T02:40:00.000Z"),
    ("Local", "2026-02-03T10:00:00", "2026-02-03T15:00:00.000Z"),
    ("Local", "2026-02-03T10:00:00Z", "2026-02-03T10:00:00.000Z"),
    ("Select", "A", "A"),
    ("Select", " A", " A"),
    ("Selects", ["y", "x"], ["y", "x"]),
    ("Who", {"email": "ann@example.com"}, "Ann Keller"),
    (
        "Team",
        [{"email": "ann@example.com"}, {"email": "ben@example.com"}],
        ["Ann Keller", "Ben Ortiz"],
    ),
    ("Files", [{"url": "https://x.example/a.png"}], ["a.png"]),
    ("Code", {"text": "123"}, {"text": "123"}),
]


def _brief(value: Any) -> Any:
    if isinstance(value, list):
        return [_brief(one) for one in value]
    if isinstance(value, dict):
        return value.get("name") or value.get("filename") or value
    return value


@pytest.mark.parametrize(("field", "written", "read"), ACCEPTED)
def test_accepted_and_cleared(shared_things: Table, field: str, written: Any, read: Any) -> None:
    record = shared_things.create({field: written})
    assert _brief(record["fields"][field]) == read
    assert shared_things.get(record["id"]) == record
    cleared = shared_things.update(record["id"], {field: None})["fields"]
    assert cleared.get(field) == ("\n" if field == "Rich" else None)


@pytest.mark.parametrize(
    ("field", "empty"),
    [("Name", ""), ("Checkbox", False), ("Selects", []), ("Team", []), ("Files", [])],
)
def test_other_ways_to_clear(shared_things: Table, field: str, empty: Any) -> None:
    given = next(written for name, written, _ in ACCEPTED if name == field)
    record = shared_things.create({field: given})
    assert field not in shared_things.update(record["id"], {field: empty})["fields"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Name", 5),
        ("Name", "x" * 100_001),
        ("Number", "5"),
        ("Number", True),
        ("Rating", 6),
        ("Checkbox", "true"),
        ("Date", ""),
        ("Date", "yesterdayish"),
        ("Moment", ""),
        ("Moment", {}),
        ("Select", "B"),
        ("Select", ""),
        ("Selects", [""]),
        ("Selects", ["x", ""]),
        ("Select", "a"),
        ("Select", ["A"]),
        ("Selects", "x"),
        ("Selects", ["z"]),
        ("Who", "ann@example.com"),
        ("Who", {"email": "nobody@example.com"}),
        ("Files", [{"url": "ftp://x"}]),
        ("Leads", ["recAAAAAAAAAAAAAA"]),
        ("Leads", "recAAAAAAAAAAAAAA"),
        ("Joined", "x"),
        ("Modified", "2026-01-01"),
        ("Auto", 3),
    ],
)
def test_refused(shared_things: Table, field: str, value: Any) -> None:
    before = shared_things.all()
    with pytest.raises(requests.HTTPError) as error:
        shared_things.create({field: value})
    assert error.value.response.status_code == 422
    assert shared_things.all() == before


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("Name", 5, "5"),
        ("Number", "1,250.5", 1250.5),
        ("Currency", "$9.50", 9.5),
        ("Percent", "50%", 0.5),
        ("Checkbox", "true", True),
        ("Date", "2 March 2026", "2026-03-02"),
        ("Select", "a", "A"),
        ("Select", "New", "New"),
        ("Select", "", None),
        ("Selects", "x, New", ["x", "New"]),
        ("Who", "ben@example.com", "Ben Ortiz"),
        ("Code", "55", {"text": "55"}),
    ],
)
def test_typecast(shared_things: Table, field: str, written: Any, read: Any) -> None:
    record = shared_things.create({field: written}, typecast=True)
    assert _brief(record["fields"].get(field)) == read


def test_computed_cells(things: Table, leads: Table) -> None:
    first, second = leads.all(max_records=2, fields=["Company", "ICP Score"])
    leads.batch_update(
        [
            {"id": first["id"], "fields": {"Company": "One"}},
            {"id": second["id"], "fields": {"Company": "Two"}},
        ]
    )
    record = things.create({"Name": "n", "Number": 2, "Leads": [first["id"], second["id"]]})
    fields = record["fields"]
    assert (fields["Joined"], fields["Count"], fields["Auto"]) == ("n 2", 2, 1)
    assert fields["Companies"] == ["One", "Two"]
    scores = [first["fields"]["ICP Score"], second["fields"]["ICP Score"]]
    assert fields["Scores"] == sum(scores) / 2
    assert fields["Created"] == fields["Modified"] == record["createdTime"]
    assert fields["Creator"] == fields["Editor"] == OWNER
    assert fields["Open"] == {"label": "Open URL", "url": "https://x.example"}
    nothing = things.create({})["fields"]
    assert nothing["Scores"] == {"specialValue": "NaN"}
    assert (nothing["Count"], nothing["Auto"]) == (0, 2)
    assert "Companies" not in nothing
    assert "Name Modified" not in nothing


def test_links_have_two_sides(things: Table, leads: Table, sandbox: SandboxClient) -> None:
    lead, other = (record["id"] for record in leads.all(max_records=2))
    record = things.create({"Name": "n", "Leads": [lead]})
    assert leads.get(lead)["fields"]["Everything"] == [record["id"]]
    leads.update(other, {"Everything": [record["id"]]})
    assert things.get(record["id"])["fields"]["Leads"] == [lead, other]
    leads.delete(lead)
    assert things.get(record["id"])["fields"]["Leads"] == [other]
    things.update(record["id"], {"Leads": None})
    assert "Everything" not in leads.get(other)["fields"]
    named = things.create({"Leads": ["Someone New"]}, typecast=True)["fields"]["Leads"]
    assert leads.get(named[0])["fields"]["Lead"] == "Someone New"


def test_put_clears_what_is_not_named(things: Table) -> None:
    record = things.create({"Name": "n", "Number": 3, "Checkbox": True})
    replaced = things.update(record["id"], {"Name": "m"}, replace=True)["fields"]
    assert (replaced["Name"], replaced["Auto"]) == ("m", 1)
    assert "Number" not in replaced
    assert "Checkbox" not in replaced


def test_field_ids_everywhere(api: Api, things: Table) -> None:
    ids = {field.name: field.id for field in things.schema().fields}
    record = things.create({ids["Name"]: "by id", ids["Number"]: 7}, use_field_ids=True)
    assert record["fields"][ids["Joined"]] == "by id 7"
    found = things.all(formula=f"{{{ids['Number']}}} = 7", sort=[ids["Name"]], fields=[ids["Name"]])
    assert [one["fields"] for one in found] == [{"Name": "by id"}]


def test_upsert(things: Table) -> None:
    one, two = things.batch_create([{"Name": "a", "Number": 1}, {"Name": "a", "Number": 2}])
    with pytest.raises(requests.HTTPError, match="422"):
        things.batch_upsert([{"fields": {"Name": "a"}}], ["Name"])
    merged = things.batch_upsert(
        [
            {"fields": {"Name": "a", "Number": 2, "Long": "hit"}},
            {"fields": {"Name": "b", "Number": 2}},
        ],
        ["Name", "Number"],
    )
    assert merged["updatedRecords"] == [two["id"]]
    assert len(merged["createdRecords"]) == 1
    for bad in (["Joined"], ["Email"], ["Nope"], []):
        with pytest.raises((requests.HTTPError, ValueError)):
            things.batch_upsert([{"fields": dict.fromkeys(bad, "x")}], bad)
    assert things.get(one["id"])["fields"]["Number"] == 1
    zero = things.create({"Number": 0, "Selects": ["x", "y"]})["id"]
    for key in ({"Number": 0}, {"Selects": ["x", "y"]}):
        fields = {**key, "Long": str(key)}
        assert things.batch_upsert([{"fields": fields}], list(key))["updatedRecords"] == [zero]
    blank = things.batch_upsert([{"fields": {"Name": None, "Long": "blank"}}], ["Name"])
    assert len(blank["createdRecords"]) == 1


def test_formulas_name_fields_without_regard_to_case(
    things: Table, everything: SandboxClient
) -> None:
    record = things.create({"Name": "Ann", "Number": 3})["id"]
    everything.create_field("number", "number")  # an exact name goes before one in another case
    things.update(record, {"number": 5})
    for formula in ("{NAME} = 'Ann'", "name = 'Ann'", "{Number} = 3", "{number} = 5"):
        assert [one["id"] for one in things.all(formula=formula)] == [record], formula
    everything.set_formula("Joined", "{nAME} & '!'")
    assert things.get(record)["fields"]["Joined"] == "Ann!"
    for elsewhere in ({"fields": ["NAME"]}, {"sort": ["NAME"]}):
        with pytest.raises(requests.HTTPError, match="UNKNOWN_FIELD_NAME"):
            things.all(**elsewhere)
    with pytest.raises(requests.HTTPError, match="UNKNOWN_FIELD_NAME"):
        things.update(record, {"NAME": "x"})
