"""What survives a restart, what is seeded, and what people and owners do without the API."""

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pyairtable import Api, Table

from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.command import sandbox as command
from reconciler_dagster.sandbox.model.reader import Columns
from reconciler_dagster.sandbox.start import open_world
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

from .conftest import NO_LIMITS, add_everything
from .raw import call

OTHER = "appOther000000001"


def _everything_of(sandbox: SandboxClient) -> dict[str, Any]:
    status = sandbox.status()
    return {
        "bases": status["bases"],
        "records": {
            table["name"]: sandbox.on(table=table["name"]).records()
            for table in status["bases"][0]["tables"]
        },
        "fields": sandbox.fields(),
        "history": sandbox.history(),
        "webhooks": call(sandbox, "GET", f"bases/{DEMO_BASE_ID}/webhooks").json(),
        "base": call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}").json(),
        "schema": call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}/tables").json(),
    }


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    with running_sandbox(leads=20, state=state, **NO_LIMITS) as running:
        things = add_everything(running)
        running.freeze()
        hook = {"specification": {"options": {"filters": {"dataTypes": ["tableData"]}}}}
        webhook = call(running, "POST", f"bases/{DEMO_BASE_ID}/webhooks", hook).json()["id"]
        first, second, third = list(running.records())[:3]
        running.edit(first, {"Notes": "kept"})
        running.delete(second)
        running.override(third, "ICP Score", 77)
        running.rename_option("HRQ Status", "None", "Nothing")
        things.add({"Name": "linked", "Leads": [first]})
        comment = {"text": "said"}
        path = f"{DEMO_BASE_ID}/Leads/{first}/comments"
        assert call(running, "POST", path, comment).status_code == 200
        running.advance(86_400)
        before = _everything_of(running)
        now = datetime.fromisoformat(running.status()["now"])
    with running_sandbox(leads=500, state=state, **NO_LIMITS) as running:
        assert _everything_of(running) == before
        assert datetime.fromisoformat(running.status()["now"]) - now < timedelta(minutes=1)
        payloads = call(running, "GET", f"bases/{DEMO_BASE_ID}/webhooks/{webhook}/payloads").json()
        assert payloads["cursor"] == 4
        (said,) = call(running, "GET", path).json()["comments"]
        assert said["text"] == "said"
        running.restore(second)
        assert second in running.records()
        added = running.on(table="Everything").add({"Name": "next"})
        assert running.on(table="Everything").record(added)["fields"]["Auto"] == 2


def test_a_file_that_is_no_state(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not a database, but long enough to look at" * 50)
    done = CliRunner().invoke(command, ["--state", str(wrong)])
    assert done.exit_code == 2
    assert "file is not a database" in done.output
    for options in (["--base-id", "app1"], ["--switch", "nonsense=1"], ["--switch", "nonsense"]):
        assert CliRunner().invoke(command, options).exit_code == 2


def test_help_explains() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    for option in ("--state", "--leads", "--base-id", "--token", "--seed", "--schema", "--switch"):
        assert option in text


def test_the_seed_is_repeatable_and_bases_differ() -> None:
    def cells(seed: int, base_id: str = DEMO_BASE_ID) -> list[Any]:
        with running_sandbox(leads=40, base_ids=(base_id,), seed=seed, **NO_LIMITS) as running:
            wanted = ("Lead", "Email", "SMS Status", "Notes", "Record ID")
            return [
                [record["fields"].get(name) for name in wanted]
                for record in running.records().values()
            ]

    assert cells(1) == cells(1)
    assert cells(1) != cells(2)
    assert cells(1) != cells(1, OTHER)


def test_leads_are_realistic(api: Api) -> None:
    with running_sandbox(leads=2000, base_ids=(DEMO_BASE_ID, OTHER), **NO_LIMITS) as running:
        records = list(running.records().values())
        now = datetime.fromisoformat(running.status()["now"])
        assert len(running.on(OTHER).records()) == 2000
        schema = {field["name"]: field for field in running.fields()}
    created = [datetime.fromisoformat(record["createdTime"]) for record in records]
    assert timedelta(days=690) < now - min(created) < timedelta(days=740)
    for record, moment in zip(records, created, strict=True):
        modified = datetime.fromisoformat(record["lastModified"])
        assert moment <= modified <= now - timedelta(hours=2)
        fields = record["fields"]
        assert "Claimed By" not in fields
        assert "Claimed At" not in fields
        parts = ["Company Score Component", "Role Score Component", "Dynamic Signals Score"]
        parts.append("Location Score Component")
        bonus = 10 if fields.get("Prime Fit Bonus") else 0
        assert fields["ICP Score"] == sum(fields.get(part, 0) for part in parts) + bonus
        assert fields["SMS Eligible"] in (0, 1)
    months = {f"{moment:%Y-%m}" for moment in created}
    assert len(months) >= 24
    shares = {name: sum(name in record["fields"] for record in records) / 2000 for name in schema}
    assert 0.9 < shares["First Name"] < 1
    assert 0.03 < shares["Notes"] < 0.2
    assert 0.2 < shares["Kajabi Tags"] < 0.6
    for name, field in schema.items():
        if field["type"] == "singleSelect":
            used = {record["fields"].get(name) for record in records}
            assert {choice["name"] for choice in field["options"]["choices"]} <= used, name


def test_a_real_base_s_schema_can_be_served(tmp_path: Path, everything: SandboxClient) -> None:
    export = call(everything, "GET", f"meta/bases/{DEMO_BASE_ID}/tables").json()
    world = open_world((OTHER,), 25, 1, ["patX.y"], export=export)
    (base,) = world.bases.values()
    assert {table.id: len(table.records) for table in base.tables.values()} == {
        table["id"]: 25 for table in export["tables"]
    }
    reader = world.reader(base)
    for table in base.tables.values():
        for record in table.records.values():
            shown = reader.cells(table, record, Columns(table.fields.values()))
            assert table.primary in shown
    for wrong in ({"bases": []}, [], {"tables": [], "name": 5}):
        with pytest.raises(ValueError, match="export"):
            open_world((OTHER,), 1, 1, [], export=wrong)  # type: ignore[arg-type]


def test_an_imported_base_keeps_its_name(tmp_path: Path, sandbox: SandboxClient) -> None:
    export = call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}/tables").json()
    state = tmp_path / "state.sqlite"
    named = {**export, "name": "Keller & Ortiz"}
    for given in (named, export):  # the second time it comes from the state file
        world = open_world((OTHER,), 1, 1, ["patX.y"], state, export=given)
        assert world.bases[OTHER].name == "Keller & Ortiz"
        world.close()


def test_people_edit_without_budget(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.reset_calls()
    added = sandbox.add({"Lead": "By hand", "SMS Stop": True}, person="Ben")
    sandbox.edit(added, {"Notes": "x", "SMS Stop": None}, person="Ben Ortiz")
    copy = sandbox.duplicate(added)
    sandbox.edit_many(
        {added: {"Notes": "pasted"}, copy: {"Notes": "pasted"}}, person="Somebody New"
    )
    sandbox.delete(copy)
    assert sandbox.calls() == []
    with pytest.raises(ValueError, match="cannot accept"):
        sandbox.edit(added, {"Reply Count": "x"})
    with pytest.raises(ValueError, match="404"):
        sandbox.edit(copy, {"Notes": "gone"})
    history = sandbox.history(5)
    assert [entry["person"] for entry in history] == [
        "Ann Keller",
        "Somebody New",
        "Ann Keller",
        "Ben Ortiz",
        "Ben Ortiz",
    ]
    assert {entry["source"] for entry in history} == {"client"}
    edit = {
        cell["field"]: (cell["before"], cell["after"]) for cell in history[3]["changes"][0]["cells"]
    }
    assert edit == {"Notes": (None, "x"), "SMS Stop": (True, None)}
    created = leads.get(added)["createdTime"]
    sandbox.restore(copy)
    assert leads.get(copy)["fields"]["Notes"] == "pasted"
    assert leads.get(added)["createdTime"] == created
    assert [call["path"] for call in sandbox.calls()][-1].endswith(added)


def test_undo_takes_back_the_latest_change_of_a_person(sandbox: SandboxClient) -> None:
    ids = list(sandbox.records())
    before = sandbox.records()
    sandbox.edit_many({one: {"Notes": "pasted", "Company": None} for one in ids})
    sandbox.undo()
    after = sandbox.records()
    for one in ids:
        assert after[one]["fields"] == before[one]["fields"]
    campaign = next(iter(sandbox.on(table="Campaigns").records()))
    sandbox.edit(ids[0], {"Linked Campaign": [campaign]})
    linked = sandbox.records()[ids[0]]["fields"]
    sandbox.delete(ids[0])
    sandbox.undo()
    assert sandbox.records()[ids[0]]["fields"] == linked


def test_owner_changes_fields(sandbox: SandboxClient, leads: Table) -> None:
    record = sandbox.add({"Lead": "x", "Phone": "12", "HRQ Status": "Review", "Reply Count": 4})
    modified = sandbox.record(record)["lastModified"]
    sandbox.advance(3600)
    sandbox.rename_field("Company Score Component", "Company Points")
    sandbox.retype_field("Phone", "number")
    sandbox.retype_field("Reply Count", "singleSelect")
    sandbox.rename_option("HRQ Status", "Review", "Second look")
    sandbox.delete_field("Linked Campaign")
    fields = sandbox.record(record)["fields"]
    assert (fields["Phone"], fields["Reply Count"]) == (12, "4")
    assert fields["HRQ Status"] == "Second look"
    assert fields["ICP Score"] == 0
    sandbox.edit(record, {"Company Points": 5})
    assert leads.get(record)["fields"]["ICP Score"] == 5
    assert "Leads" not in [field["name"] for field in sandbox.on(table="Campaigns").fields()]
    sandbox.add_option("HRQ Status", "Later")
    sandbox.edit(record, {"HRQ Status": "Later"})
    modified = sandbox.record(record)["lastModified"]
    sandbox.advance(3600)
    sandbox.remove_option("HRQ Status", "Later")
    after = sandbox.record(record)
    assert "HRQ Status" not in after["fields"]
    assert after["lastModified"] == modified
    sandbox.delete_field("Company Points")
    assert sandbox.record(record)["fields"]["ICP Score"] == {"error": "#ERROR!"}
    for act in (
        lambda: sandbox.delete_field("Lead"),
        lambda: sandbox.rename_field("Email", "Notes"),
        lambda: sandbox.remove_option("HRQ Status", "Never was"),
        lambda: sandbox.set_formula("ICP Score", "1 +"),
        lambda: sandbox.retype_field("ICP Score", "number"),
        lambda: sandbox.override(record, "Notes", 1),
    ):
        with pytest.raises(ValueError, match="422"):
            act()


def test_a_circle_of_formulas_is_an_error(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.set_formula("SMS Eligible", "{ICP Score} + 1")
    sandbox.set_formula("ICP Score", "{SMS Eligible} + 1")
    record = leads.first()
    assert record["fields"]["ICP Score"] == {"error": "#ERROR!"}
    assert leads.all(formula="{ICP Score} > 0") == []


def test_views_filter_sort_and_combine(sandbox: SandboxClient, leads: Table) -> None:
    sandbox.create_view("Eligible", "{SMS Eligible} = 1", ["-ICP Score"], hidden=["Notes"])
    seen = leads.all(view="Eligible")
    scores = [record["fields"]["ICP Score"] for record in seen]
    assert scores == sorted(scores, reverse=True)
    assert {record["fields"]["SMS Eligible"] for record in seen} == {1}
    assert 0 < len(seen) < 30
    both = leads.all(view="Eligible", formula=f"{{ICP Score}} = {scores[0]}")
    assert {record["fields"]["ICP Score"] for record in both} == {scores[0]}
    view = leads.schema().views[-1]
    assert (view.name, view.type) == ("Eligible", "grid")
    visible = call(
        sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}/tables?include=visibleFieldIds"
    ).json()["tables"][0]["views"][-1]["visibleFieldIds"]
    assert len(visible) == 107


def test_sorting_of_mixed_and_blank_cells(things: Table) -> None:
    rng = random.Random(4)
    numbers = [None, 3, -1, None, 20, 0.5]
    rng.shuffle(numbers)
    things.batch_create([{"Name": str(index), "Number": one} for index, one in enumerate(numbers)])

    def order(sort: str) -> list[Any]:
        return [record["fields"].get("Number") for record in things.all(sort=[sort], page_size=2)]

    assert order("Number") == [None, None, -1, 0.5, 3, 20]
    assert order("-Number") == [20, 3, 0.5, -1, None, None]


def test_the_state_file_names_no_secret_but_the_webhook_s(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    with running_sandbox(leads=1, state=state, token="patSecretToken.value"):
        pass
    assert b"patSecretToken" not in state.read_bytes()
