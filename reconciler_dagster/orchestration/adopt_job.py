"""Adopting a client in Dagster: the job, and what launches it for the console."""

# No `from __future__ import annotations` here: Dagster reads the config class at run time.
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.core.report_lines import lines
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.orchestration.adopt import Adoption, adopt_client
from reconciler_dagster.orchestration.environments import SENSOR_STATUS
from reconciler_dagster.orchestration.execute import ClientResult
from reconciler_dagster.postgres import adoption_requests, requests
from reconciler_dagster.postgres.clients import Client, find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.portal import open_portal
from reconciler_dagster.telling import told


class AdoptConfig(dg.Config):
    """Whom to rehearse; ``approve``: carry out what was shown last. ``request_id``: of the
    console.
    """

    client_id: str
    approve: bool = False
    approved_by: str = "the launchpad"
    request_id: int | None = None


@dg.op(
    description="Rehearses a client's first contact; with approve, adopts it, and asks for the run "
    "that carries out what was shown."
)
def adopt_op(context: dg.OpExecutionContext, config: AdoptConfig) -> None:
    """Rehearse, and adopt."""
    settings = Settings.load()
    portal = open_portal(settings)
    with _answered(portal, config.request_id) as answer:
        with portal.connect() as connection:
            client = find_client(connection, config.client_id)
        ask = (lambda: _ask(portal, client, config.approved_by)) if config.approve else None
        result = adopt_client(settings, portal, client, config.approved_by, ask)
        context.add_output_metadata(_metadata(result))
        answer += result.refusing
        if result.refusing or result.misconfigured or (result.report is None and result.attention):
            raise dg.Failure("\n".join(result.attention), allow_retries=False)


def _ask(portal: Engine, client: Client, by: str) -> ClientResult:
    """The first contact is a run like any other: the listener or the sensor starts it."""
    with portal.begin() as connection:
        requests.ask(connection, client.id, by)
    return ClientResult(client, Counts())


@contextmanager
def _answered(portal: Engine, request_id: int | None) -> Iterator[list[str]]:
    """Say how it went to whoever asked in the console."""
    said: list[str] = []
    state = "failed"
    _mark(portal, request_id, "started", said)
    try:
        yield said
        state = "succeeded"
    except Exception as error:
        said += [] if said else [told(error, "the run's log")]
        raise
    finally:
        _mark(portal, request_id, state, said)


def _mark(portal: Engine, request_id: int | None, state: str, said: list[str]) -> None:
    if request_id is not None:
        with portal.begin() as connection:
            adoption_requests.mark(connection, request_id, state, "\n".join(said) or None)


def _metadata(result: Adoption) -> dict[str, Any]:
    attention = "\n".join(f"- {why}" for why in result.attention) or "no"
    found: dict[str, Any] = {
        "client": result.client.name,
        "adoption": result.state.value,
        "needs a person": dg.MetadataValue.md(attention),
    }
    if result.report is None:
        return found
    figures = [
        dg.TableRecord({"what": name, "count": count})
        for name, count in result.report.figures().items()
    ]
    columns = [dg.TableColumn("what", "string"), dg.TableColumn("count", "int")]
    return found | {
        "report": dg.MetadataValue.md("\n".join(f"    {line}" for line in lines(result.report))),
        "figures": dg.MetadataValue.table(figures, dg.TableSchema(columns)),
    }


@dg.job(
    name="adopt",
    executor_def=dg.in_process_executor,
    description="Rehearse what adopting a client would do, show it, and on approval carry it out.",
)
def adopt_job() -> None:
    """The one op."""
    adopt_op()


@dg.sensor(
    job=adopt_job,
    minimum_interval_seconds=5,
    default_status=SENSOR_STATUS,
    description="Starts the rehearsals and approvals that the console asks for.",
)
def adoption_requested(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run a request; the run marks it."""
    with engine(Settings.load().require_database_url()).connect() as connection:
        pending = adoption_requests.pending(connection)
    for request in pending:
        config = AdoptConfig(
            client_id=request.client_id,
            approve=request.approve,
            approved_by=request.requested_by,
            request_id=request.id,
        )
        yield dg.RunRequest(
            run_key=f"adopt {request.id}", run_config=dg.RunConfig(ops={"adopt_op": config})
        )
