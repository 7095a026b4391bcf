"""A claim is taken whole, refused whole, and none without its holder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.merge import merge
from reconciler_dagster.core.plan import LeadChange, by_lead
from reconciler_dagster.core.reading import from_airtable, from_postgres, held
from reconciler_dagster.core.together import follow
from reconciler_dagster.core.values import Directory, frame
from reconciler_dagster_tests.mapping import LEADS

ANN, AT = "ann@x.test", "2026-03-01T10:00:00.000Z"
USERS = Directory({"u1": ANN})
PAIR = LEADS.only(["claimed_by", "claimed_at"])


def test_a_time_without_a_holder_is_no_claim() -> None:
    blank = {"claimed_by": None, "claimed_at": None}
    assert from_airtable({"claimed_at": AT}, PAIR, USERS) == (blank, {})
    lead = {"claimed_by": None, "claimed_at": AT}
    assert from_postgres(lead, PAIR, USERS) == (blank, {})
    assert held(lead, LEADS["claimed_at"], USERS) is None
    whole = {"claimed_by": ANN, "claimed_at": AT}
    assert from_airtable(whole, PAIR, USERS) == (whole, {})
    alone = LEADS.only(["claimed_at"])
    assert from_postgres(lead, alone, USERS) == ({"claimed_at": AT}, {}), "read by itself"


def test_the_time_waits_with_a_holder_who_is_nobody() -> None:
    row, problems = from_postgres({"claimed_by": "gone", "claimed_at": AT}, PAIR, USERS)
    assert row == {}
    assert (
        problems["claimed_at"] == "Claimed At waits for Claimed By, with which it is carried over"
    )
    row, problems = from_airtable({"claimed_by": ANN, "claimed_at": "never"}, PAIR, USERS)
    assert (row, set(problems)) == ({}, {"claimed_by", "claimed_at"})
    row, problems = from_airtable({"claimed_at": "never"}, PAIR, USERS)
    assert problems == {}, "it is nobody's time"


CLAIMS = st.sampled_from(
    [(None, None), (ANN, AT), (ANN, None), ("bob@x.test", "2026-03-02T10:00:00.000Z")]
)


@given(CLAIMS, CLAIMS, CLAIMS)
def test_what_stands_is_one_sides_claim(
    base: tuple[str | None, str | None],
    there: tuple[str | None, str | None],
    here: tuple[str | None, str | None],
) -> None:
    """After every merge both sides hold a claim that one of them held, none half of each."""
    rows = [
        {"r": dict(zip(("claimed_by", "claimed_at"), claim, strict=True))}
        for claim in (base, there, here)
    ]
    frames = (frame(row, PAIR.columns) for row in rows)
    plan = merge(*frames, PAIR)  # type: ignore[call-arg]
    change = by_lead(plan).get("r", LeadChange())
    remote, local = rows[1]["r"], rows[2]["r"]
    follow(change, remote, local, local, PAIR)
    ended_there, ended_here = remote | change.to_airtable, local | change.to_postgres
    assert ended_there == ended_here
    if there[0] != here[0]:
        assert ended_there in (remote, local)
    assert not change.to_airtable.keys() & change.to_postgres.keys()


def test_what_is_left_of_an_earlier_claim_does_not_come_to_life() -> None:
    change = LeadChange(to_postgres={"claimed_by": ANN})
    remote = {"claimed_by": ANN, "claimed_at": None}
    local = {"claimed_by": None, "claimed_at": None}
    follow(change, remote, local, {"claimed_by": None, "claimed_at": AT}, LEADS)
    assert change.to_postgres == {"claimed_by": ANN, "claimed_at": None}


def test_the_time_that_loses_with_its_holder_is_kept() -> None:
    lost = {"field": "claimed_by", "kind": "first_contact", "baseline": None}
    change = LeadChange(
        to_postgres={"claimed_by": ANN},
        to_airtable={"claimed_at": AT},
        conflicts=[lost | {"winning": ANN, "losing": "bob@x.test"}],
    )
    remote = {"claimed_by": ANN, "claimed_at": None}
    follow(change, remote, {"claimed_by": "bob@x.test", "claimed_at": AT}, {}, LEADS)
    assert (change.to_postgres["claimed_at"], change.to_airtable) == (None, {})
    assert [(c["field"], c["losing"]) for c in change.conflicts] == [
        ("claimed_by", "bob@x.test"),
        ("claimed_at", AT),
    ]
