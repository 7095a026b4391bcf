"""Events that are stored together are stored all the same, each in its place."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS

from reconciler_dagster.orchestration.bookkeeping import BOOKKEEPING
from reconciler_dagster.redaction import know
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.orchestration.launching import dagster_home, statements_of


@pytest.fixture
def instance(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    with dagster_home() as home:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_server.create_database("bookkeeping"))
        with dg.DagsterInstance.get() as found:
            yield found


@dg.asset
def first(context: dg.AssetExecutionContext) -> int:
    context.log.info("at work")
    return 1


@dg.asset_check(asset=first)
def small(first: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=first < 2)


@dg.asset
def second(first: int) -> int:
    raise ValueError(f"{first} is not enough")


def _job(*assets: dg.AssetsDefinition) -> dg.JobDefinition:
    return dg.Definitions(
        assets=assets,
        asset_checks=[small],
        jobs=[dg.define_asset_job("job", executor_def=dg.in_process_executor)],
    ).resolve_job_def("job")


def _stored(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> list[tuple[Any, ...]]:
    result = _job(*assets).execute_in_process(instance=instance, raise_on_error=False)
    assert result.success == (second not in assets)
    return [
        (
            entry.dagster_event_type,
            entry.step_key,
            entry.user_message if entry.dagster_event_type is None else None,
        )
        for entry in instance.all_logs(result.run_id)
    ]


@pytest.mark.parametrize("assets", [(first,), (first, second)], ids=["well", "failed"])
def test_each_event_is_stored_in_its_place(
    instance: dg.DagsterInstance, assets: tuple[dg.AssetsDefinition, ...]
) -> None:
    with dg.DagsterInstance.ephemeral() as plain:
        wanted = _stored(plain, *assets)
    # Dagster writes down what its own files are read and written for; dagster.yaml leaves that out.
    wanted = [one for one in wanted if one[0] is not None or one[2] == "at work"]
    assert _stored(instance, *assets) == wanted
    assert {one[0] for one in wanted} >= BOOKKEEPING


def test_it_takes_a_statement_only_where_an_asset_s_event_follows(
    instance: dg.DagsterInstance,
) -> None:
    events: Any = instance.event_log_storage
    sent = statements_of(events._engine)
    kinds = [one[0] for one in _stored(instance, first)]
    inserts = [one for one in sent if one.startswith("INSERT INTO event_logs")]
    others = [kind for kind in kinds if kind not in BOOKKEEPING]
    after_some = [
        kind
        for before, kind in pairwise(kinds)
        if before in BOOKKEEPING and kind in ASSET_EVENTS | ASSET_CHECK_EVENTS
    ]
    assert len(others) < len(kinds) - 8
    assert len(inserts) == len(others) + len(after_some)


SECRET = "str4nge-p4ssword-of-one"


@dg.asset
def telling(context: dg.AssetExecutionContext) -> dg.Output[int]:
    context.log.warning(f"said {SECRET}")
    return dg.Output(1, metadata={"why": f"said {SECRET}"})


def test_no_event_holds_a_secret(instance: dg.DagsterInstance) -> None:
    """Neither one that is held, nor one stored beside them, nor one that goes elsewhere too."""
    know(SECRET)
    job = dg.Definitions(assets=[telling], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    result = job.execute_in_process(instance=instance)
    told = [str(entry) for entry in instance.all_logs(result.run_id)]
    assert not any(SECRET in one for one in told)
    kinds = [entry.dagster_event_type for entry in instance.all_logs(result.run_id)]
    struck = {kind for kind, one in zip(kinds, told, strict=True) if "said ***" in one}
    assert struck == {
        None,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
    }


def test_what_others_wait_for_is_stored_at_once() -> None:
    told = {
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.RUN_SUCCESS,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
        dg.DagsterEventType.ENGINE_EVENT,
    }
    assert not BOOKKEEPING & (told | ASSET_EVENTS | ASSET_CHECK_EVENTS)
