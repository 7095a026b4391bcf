from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.syncs.reading import (
    SHIPPED,
    DefinitionError,
    in_order,
    parse_definition,
    read_all,
    read_folder,
)

GOOD = """\
sync: contacts
airtable: {table: Contacts}
postgres: {table: crm.contacts}
every: 1 hour
fields:
  notes: {from: Notes, edited: both, policy: merge_appends}
  level: {from: Level, type: select, values: {Yes: on, No: off}}
"""
BASE = "app12345678901234"


def test_a_definition() -> None:
    contacts = parse_definition(GOOD, "contacts.yaml")
    assert contacts.every.total_seconds() == 3600
    assert contacts.fields["notes"].source == ("Notes",)
    assert contacts.fields["level"].values == {"Yes": "on", "No": "off"}
    assert contacts.postgres.key == "id"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "merge_appends",
            "merge",
            "line 6: fields.notes.policy is 'merge', expected airtable_wins",
        ),
        ("policy", "polcy", "line 6: fields.notes.polcy is no key here (did you mean 'policy'?)"),
        ("1 hour", "often", "line 4: every must be a number of minutes or hours"),
        ("1 hour", "0 minutes", "line 4: every must be at least one minute"),
        ("crm.contacts", "contacts", "line 3: postgres.table is 'contacts', expected a table with"),
        ("from: Notes, ", "", "line 6: fields.notes.from is missing"),
        ("edited: both, ", "", "line 6: fields.notes has policy merge_appends, which needs"),
        ("sync: contacts\n", "", "line 1: sync is missing"),
        ("{table: Contacts}", "Contacts", "line 2: airtable must hold keys and values"),
        ("from: Level", "from: []", "line 7: fields.level.from must not be empty"),
        ("type: select", "type: date", "line 7: fields.level has values, which are for text"),
        (", values: {Yes: on, No: off}", ", to: firms", "line 7: fields.level must say both or"),
        ("  level:", "  notes:", "line 7: 'notes' is here a second time, after line 6"),
        ("fields:", "fields: [", "this is no YAML"),
        (GOOD, "- a\n", "expected a sync definition with the keys"),
        (GOOD, "", "expected a sync definition with the keys"),
        (GOOD, "a: \x07", "this is no YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, told: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parse_definition(GOOD.replace(old, new), "contacts.yaml")
    assert told in str(error.value)
    assert str(error.value).startswith("contacts.yaml")


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("appX: {}", "line 9: clients.appX is 'appX', expected a base id"),
        (f"{BASE}: {{level: {{type: date}}}}", f"line 9: clients.{BASE}.level has values"),
        (f"{BASE}: {{more: {{type: date}}}}", f"line 9: clients.{BASE}.more is a field of this"),
        (f"{BASE}: {{level: {{frm: L}}}}", "is no key here (did you mean 'from'?)"),
    ],
)
def test_a_wrong_override_is_told_with_its_line(own: str, told: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parse_definition(f"{GOOD}clients:\n  {own}\n", "contacts.yaml")
    assert told in str(error.value)


def test_rows_are_known_by_the_first_field_or_by_what_is_said() -> None:
    own = read_folder(SHIPPED)
    assert own["campaigns"].titles == ("name",)
    assert own["leads"].titles == ("first_name", "last_name")
    text = (SHIPPED / "tasks.yaml").read_text()
    with pytest.raises(DefinitionError, match="title names nowhere, which is no column"):
        parse_definition(text + "title: [task, nowhere]\n", "tasks.yaml")


def test_an_override_changes_one_base_alone() -> None:
    contacts = parse_definition(
        f"{GOOD}clients:\n  {BASE}:\n    airtable: {{table: People}}\n"
        "    notes: {from: Remarks}\n    level: null\n    more: {from: More, type: date}\n",
        "contacts.yaml",
    )
    here, elsewhere = contacts.for_base(BASE), contacts.for_base("app00000000000000")
    assert here.airtable.table == "People"
    assert here.fields["notes"].source == ("Remarks",)
    assert here.fields["notes"].policy == "merge_appends"
    assert set(here.fields) == {"notes", "more"}
    assert elsewhere.model_dump() == parse_definition(GOOD, "contacts.yaml").model_dump()


def test_the_shipped_definitions_are_good_and_in_order() -> None:
    names = list(read_all(None))
    assert names.index("campaigns") < names.index("leads")


def test_a_folder_with_one_sync_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DefinitionError, match=r"b\.yml: the sync contacts is defined in a\.yaml"):
        read_folder(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="is no folder"):
        read_folder(tmp_path / "none")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DefinitionError, match=r"a\.yaml is no UTF-8 text"):
        read_folder(tmp_path)


def test_a_link_to_no_sync_is_refused() -> None:
    linked = GOOD.replace("type: select, values: {Yes: on, No: off}", "type: link, to: compnies")
    with pytest.raises(DefinitionError, match="The sync contacts links to 'compnies', and no sync"):
        in_order({"contacts": parse_definition(linked, "contacts.yaml")})


def test_parents_come_before_their_children_whatever_their_names() -> None:
    def linking(name: str, to: str | None) -> str:
        link = f", type: link, to: {to}" if to else ""
        return (
            f"sync: {name}\nairtable: {{table: {name}}}\npostgres: {{table: crm.{name}}}\n"
            f"fields:\n  other: {{from: Other{link}}}\n"
        )

    chain = {
        name: parse_definition(linking(name, to), name)
        for name, to in (("a", "b"), ("b", "c"), ("c", None), ("d", None))
    }
    assert list(in_order(chain)) == ["c", "d", "b", "a"]


def test_links_in_a_circle_are_put_in_some_order() -> None:
    def linking(name: str, to: str) -> str:
        return f"""\
sync: {name}
airtable: {{table: {name}}}
postgres: {{table: crm.{name}}}
fields:
  other: {{from: Other, type: link, to: {to}}}
"""

    circle = {
        name: parse_definition(linking(name, to), name)
        for name, to in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "a"))
    }
    names = list(in_order(circle))
    assert set(names) == set(circle)
    assert names.index("a") < names.index("d")


@given(st.text(max_size=60))
def test_any_text_is_a_definition_or_a_plain_refusal(text: str) -> None:
    with pytest.raises(DefinitionError, match="any"):
        parse_definition(text, "any")


DERIVED = """\
sync: firms
airtable: {table: Firms}
postgres: {table: crm.firms}
fields:
  name: {from: Name}
  size: {from: Size, type: integer, optional: true}
  owner_id: {from: Owner, type: link, to: people, optional: true, fills: true}
derived:
  size: {sql: (SELECT count(*) FROM crm.people p WHERE p.firm_id = row.id), after: [people]}
  owner_id: {sql: "NULL", after: [people]}
events: INSERT INTO crm.log SELECT FROM written
"""


def test_what_is_derived_gives_way_to_the_field_where_it_cannot_be_kept_right() -> None:
    firms = parse_definition(DERIVED, "firms.yaml")
    assert firms.events == ("INSERT INTO crm.log SELECT FROM written",)
    alone, with_people = firms.within(["firms"]), firms.within(["firms", "people"])
    assert (set(alone.fields), set(alone.derived)) == ({"name", "size"}, set())
    assert set(with_people.fields) == {"name", "owner_id"}
    assert set(with_people.derived) == {"size", "owner_id"}


def test_a_derived_column_is_read_only_and_names_syncs_that_there_are() -> None:
    with pytest.raises(DefinitionError, match=r"line 6: fields\.size is derived as well"):
        parse_definition(DERIVED.replace("integer,", "integer, edited: both,"), "firms.yaml")
    people = parse_definition(GOOD.replace("sync: contacts", "sync: people"), "people.yaml")
    wrong = parse_definition(DERIVED.replace("after: [people]", "after: [persons]"), "firms.yaml")
    with pytest.raises(DefinitionError, match="derives a column after 'persons'"):
        in_order({"firms": wrong, "people": people})
