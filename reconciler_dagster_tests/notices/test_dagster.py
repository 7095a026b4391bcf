"""What is wrong with Dagster, from what was seen of it; and a look at a real instance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.definitions import defs
from reconciler_dagster.notices.dagster import Dagster, Ticking, causes_of, continued, note, noted
from reconciler_dagster.notices.decide import Notice, Rules, step
from reconciler_dagster.notices.watcher import LOOK_SECONDS
from reconciler_dagster.orchestration import seen
from reconciler_dagster_tests.notices.conftest import Office
from reconciler_dagster_tests.orchestration.conftest import kept_instance  # noqa: F401

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()
WELL = {"SENSOR": AT - 20, "SCHEDULER": AT - 30}


def told(dagster: Dagster) -> list[tuple[str, str]]:
    return [(cause.kind, cause.detail) for cause in causes_of(dagster)]


def ticking(**more: object) -> Ticking:
    given = {"name": "every_15_minutes", "kind": "schedule", "stopped": False} | more
    return Ticking(**given)  # type: ignore[arg-type]


def test_nothing_is_wrong_where_all_tick_and_where_no_daemon_ever_ran() -> None:
    ticks = [ticking(due_at=AT - 600, ticked_at=AT - 599), ticking(due_at=AT - 60)]
    assert told(Dagster(NOW, WELL, ticking=ticks)) == []
    assert told(Dagster(NOW, {})) == []


def test_a_dead_daemon_and_one_that_hangs_in_a_thread() -> None:
    assert told(Dagster(NOW, {k: at - 90 for k, at in WELL.items()})) == [("daemon_dead", "")]
    ((kind, detail),) = told(Dagster(NOW, WELL | {"SENSOR": AT - 95}))
    assert (kind, detail) == ("daemon_dead", "of its threads these are silent: sensor")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (ticking(stopped=True), "schedule every_15_minutes: somebody has stopped it"),
        (
            ticking(due_at=AT - 200, ticked_at=AT - 1100),
            "schedule every_15_minutes: it was due and did not tick",
        ),
        (
            ticking(due_at=AT - 60, ticked_at=AT - 59, failures=1, failing_since=AT - 59),
            "schedule every_15_minutes: its ticks fail",
        ),
        (
            ticking(name="watch", kind="sensor", failures=3, failing_since=AT - 90),
            "sensor watch: its ticks fail",
        ),
    ],
)
def test_what_does_not_tick(state: Ticking, why: str) -> None:
    assert told(Dagster(NOW, WELL, ticking=[state])) == [("schedule_still", why)]


def test_a_sensor_that_fails_once_is_tried_again() -> None:
    state = ticking(name="watch", kind="sensor", failures=1, failing_since=AT - 9)
    assert told(Dagster(NOW, WELL, ticking=[state])) == []


def test_storage_that_cannot_be_read_is_all_that_is_told() -> None:
    broken = Dagster(NOW, {}, problem="Postgres: the connection was lost")
    assert told(broken) == [("dagster_storage", "Postgres: the connection was lost")]


@pytest.mark.parametrize("name", ["watch", "every_15_minutes"])
def test_several_that_do_not_tick_for_one_reason_are_one_cause(name: str) -> None:
    states = [ticking(name="every_hour", stopped=True), ticking(name=name, stopped=True)]
    (cause,) = causes_of(Dagster(NOW, WELL, ticking=states))
    assert name in cause.detail
    assert "every_hour" in cause.detail


@given(st.floats(0, 15), st.floats(0, 30))
def test_a_daemon_that_dies_is_told_of_within_two_minutes(first: float, beat: float) -> None:
    """Whenever it is looked, and however long before its death the last sign of life came."""
    seen_before: Dagster | None = None
    kept: tuple[Notice, ...] = ()
    for n in range(-20, 20):
        seconds = first + n * LOOK_SECONDS
        last = AT + (-beat if seconds >= -beat else seconds)
        now = NOW + timedelta(seconds=seconds)
        looked = continued(Dagster(now, {"SENSOR": last}), seen_before)
        done = step(causes_of(looked), kept, now, Rules())
        kept, seen_before = done.notices, looked
        if done.events:
            assert [event.notice.kind for event in done.events] == ["daemon_dead"]
            assert 0 < seconds < 120
            return
    pytest.fail("nobody was told")


def test_whoever_comes_up_after_everything_was_down_gives_the_daemon_its_time() -> None:
    long_ago = {"SENSOR": AT - 3600}
    late = [ticking(due_at=AT - 900, ticked_at=AT - 3600)]
    before = Dagster(NOW - timedelta(hours=1), long_ago, watched_since=AT - 9000)
    first = continued(Dagster(NOW, long_ago, ticking=late), before)
    assert told(first) == []
    assert first.is_too_early
    again = continued(Dagster(NOW + timedelta(seconds=60), long_ago), first)
    assert again.is_too_early
    third = continued(Dagster(NOW + timedelta(seconds=95), long_ago), again)
    assert not third.is_too_early
    assert told(third) == [("daemon_dead", "")]
    # While its storage could not be read, nobody could see whether it lives.
    blind = Dagster(NOW + timedelta(seconds=99), problem="gone", watched_since=AT)
    back = Dagster(NOW + timedelta(seconds=100), long_ago)
    assert told(continued(back, blind)) == []


def test_a_sensor_that_ticks_no_more_is_late_after_its_pause_and_some() -> None:
    state = ticking(name="watch", kind="sensor", due_at=AT - 170, ticked_at=AT - 200)
    assert told(Dagster(NOW, WELL, ticking=[state])) == []
    later = replace(state, due_at=AT - 190, ticked_at=AT - 220)
    ((kind, why),) = told(Dagster(NOW, WELL, ticking=[later]))
    assert (kind, why) == ("schedule_still", "sensor watch: it was due and did not tick")


def test_what_ticks_for_us_is_all_that_we_define() -> None:
    repository = defs.get_repository_def()
    names = {each.name for each in repository.schedule_defs}
    names |= {each.name for each in repository.sensor_defs}
    assert names == seen.OURS


def test_a_look_at_a_real_instance(kept_instance: dg.DagsterInstance) -> None:  # noqa: F811
    now = datetime.now(UTC)
    assert seen.look(kept_instance, now) == Dagster(now)
    for daemon in ("SENSOR", "SCHEDULER", "BACKFILL"):
        kept_instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp() - 100, daemon, "one"))
    found = seen.look(kept_instance, now)
    assert found.queued == 0
    assert set(found.daemons) == {"SENSOR", "SCHEDULER"}
    assert [cause.kind for cause in causes_of(found)] == ["daemon_dead"]


def test_it_is_kept_for_those_who_do_not_import_dagster(office: Office) -> None:
    state = Dagster(NOW, WELL, 3, [ticking(due_at=AT)], None)
    with office.engine.begin() as connection:
        assert noted(connection) is None
        note(connection, state)
        note(connection, state)
        assert noted(connection) == state
    assert state.is_alive(NOW)
    assert not state.is_alive(NOW + timedelta(minutes=2))


def test_a_listener_that_went_silent_is_told_of(office: Office) -> None:
    office.sql(
        "INSERT INTO reconciler.listener VALUES (true, 'host 1', true, now() - interval '2 min')"
    )
    office.keeper().look()
    assert office.titles() == ["The listener gives no sign of life"]
    office.sql("DELETE FROM reconciler.listener")  # ended on purpose
    office.keeper().look()
    office.keeper().look()
    assert office.titles()[1:] == ["Over: The listener gives no sign of life"]


def test_a_listener_has_its_time_to_come_up_after_everything_was_down(office: Office) -> None:
    office.sql(
        "INSERT INTO reconciler.listener VALUES (true, 'host 1', true, now() - interval '1 hour')"
    )
    keeper = office.keeper()
    keeper.look_at_dagster = lambda now: Dagster(now, {"SENSOR": now.timestamp()})
    keeper.look()
    keeper.look()
    assert office.titles() == []
    office.sql(
        "UPDATE reconciler.dagster_seen SET seen = "
        "jsonb_set(seen, '{watched_since}', to_jsonb(extract(epoch FROM now()) - 61))"
    )
    keeper.look()
    assert office.titles() == ["The listener gives no sign of life"]


def test_what_dagster_s_storage_hides_is_not_over(office: Office) -> None:
    now = datetime.now(UTC)
    silent = {"SENSOR": now.timestamp() - 100}
    with office.engine.begin() as connection:
        note(connection, Dagster(now - timedelta(seconds=15), silent))
    problem: str | None = None

    def look(now: datetime) -> Dagster:
        return Dagster(now, silent if problem is None else {}, problem=problem)

    keeper = office.keeper()
    keeper.look_at_dagster = look
    keeper.look()
    problem = "Postgres: the connection was lost"
    keeper.look()
    keeper.look()
    assert [title.partition(":")[0] for title in office.titles()] == [
        "Dagster's daemon gives no sign of life",
        "Dagster's own storage cannot be used",
    ]
