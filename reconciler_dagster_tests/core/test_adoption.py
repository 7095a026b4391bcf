"""What is said of a client that may not be written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler_dagster.core.adoption import NotAdopted, Standing, State

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_only_an_adopted_client_may_be_written() -> None:
    Standing("c1", "Acme", State.ADOPTED).require()
    for state in (State.NEW, State.PAUSED):
        with pytest.raises(NotAdopted):
            Standing("c1", "Acme", state).require()
    assert Standing("c1", "Acme").state is State.NEW, "unless somebody has said so"


def test_a_sync_that_came_after_the_yes_is_new() -> None:
    client = Standing("c1", "Acme", State.ADOPTED, syncs=frozenset({"leads"}))
    client.require("leads")
    with pytest.raises(NotAdopted, match="The sync campaigns of Acme is new"):
        client.require("campaigns")
    assert client.new_syncs(["campaigns", "leads", "tasks"]) == ["campaigns", "tasks"]
    (why,) = client.why_without(["campaigns", "leads", "tasks"])
    assert why.startswith("The syncs campaigns, tasks of Acme are new: nothing of them is written")
    assert "reconciler adopt --client c1" in why
    assert client.why_without(["leads"]) == []
    assert Standing("c1", "Acme", State.ADOPTED).new_syncs(["any"]) == [], "the demo's: every one"
    assert Standing("c1", "Acme").new_syncs(["leads"]) == [], "nothing of it is written anyway"


def test_the_reason_names_the_client_and_the_way_out() -> None:
    new, paused = Standing("c1", "Acme"), Standing("c1", "Acme", State.PAUSED, SINCE, "ann")
    assert "reconciler adopt --client c1" in str(new.why_not)
    assert "paused since 2026-03-01 12:00 UTC by ann" in str(paused.why_not)
    assert "reconciler resume --client c1" in str(paused.why_not)
