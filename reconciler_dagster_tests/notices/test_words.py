"""What a notice says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler_dagster.notices.decide import Cause, Event, Notice, State, What
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.words import Surroundings, message, without_lead_data
from reconciler_dagster_tests.notices.table import DOC, HEAD

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
AROUND = Surroundings("https://dagster.example", "https://portal.example/")


def event(what: What, *clients: str, kind: str = "runs_fail", detail: str = "") -> Event:
    causes = tuple(Cause(kind, "", client, NOON, detail) for client in clients)
    state = State.OVER if what is What.RECOVERED else State.OPEN
    return Event(what, Notice(kind, "", NOON, state, NOON, causes, clients, NOON, id=7))


def test_it_says_what_happened_to_whom_since_when_what_to_do_and_where() -> None:
    told = message(event(What.OPENED, "Acme", detail="Airtable is down"), NOON, AROUND)
    assert told.title == "Runs fail (1 client)"
    assert told.text.splitlines() == [
        "Runs fail: Airtable is down.",
        "Whom: Acme",
        "Since: 2026-11-26 12:00 UTC",
        f"What to do: {KINDS['runs_fail'].todo}",
        "https://dagster.example/runs",
    ]


def test_many_clients_are_counted_and_some_named() -> None:
    names = [f"Client {n}" for n in range(200)]
    told = message(event(What.OPENED, *names), NOON, AROUND)
    assert told.title.endswith("(200 clients)")
    assert told.whom.endswith("Client 4 and 195 more, 200 clients in all")


def test_the_end_says_how_long_it_was() -> None:
    later = NOON + timedelta(hours=1, minutes=5)
    told = message(event(What.RECOVERED, "Acme"), later, AROUND)
    assert told.title == "Over: Runs fail (1 client)"
    assert told.since.endswith("for 1 h 5 min")
    assert told.todo == ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_words_and_a_page(kind: str) -> None:
    for what in What:
        told = message(event(what, "Acme", kind=kind), NOON, AROUND)
        assert told.link.startswith(("https://dagster.example/", "https://portal.example/console"))
        assert all(ord(letter) < 0x2100 for letter in told.text)
    assert message(event(What.OPENED, "A", kind=kind), NOON, Surroundings("http://d")).link


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("ada@example.com is no user", "… is no user"),
        ('invalid input for integer: "12 apples"', "invalid input for integer: …"),
        ("Key (email)=(ada@example.com) already exists", "Key (…) already exists"),
        ("lead recAAAAAAAAAAAAAA is locked", "lead … is locked"),
        ("call +49 151 2345678 now", "call … now"),
        ("the reader's Notes cannot take it", "the reader's Notes cannot take it"),
        (
            "No connection to Postgres (08006) in 30 s.",
            "No connection to Postgres (08006) in 30 s.",
        ),
    ],
)
def test_what_may_be_of_a_lead_is_left_out(sentence: str, left: str) -> None:
    assert without_lead_data(sentence) == left


def test_every_kind_was_made_to_happen_and_stands_in_the_table() -> None:
    rows = DOC.read_text().partition(HEAD)[2].splitlines()
    cells = [[cell.strip() for cell in row.split("|")] for row in rows if row.startswith("| `")]
    told = {row[1].strip("`"): row[3] for row in cells if row[4].endswith(" s")}
    assert told.keys() == KINDS.keys()
    assert all(KINDS[kind].happened in title for kind, title in told.items())
