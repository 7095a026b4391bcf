"""Of many clients most are quiet: runs start for the others alone.

A run costs many times what a glance does, most of it Dagster's. So with more clients than
RECONCILER_GLANCE_ABOVE one run glances at all of them, and submits the runs of those at whom that
shows something. Where a glance cannot say, a run does.
"""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.core.due import SCHEDULE, is_due_for_a_glance
from reconciler_dagster.core.month import is_turn
from reconciler_dagster.core.words import counted
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.glance import shows_nothing, what_stands
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.environments import SCHEDULE_STATUS
from reconciler_dagster.orchestration.metadata import attention_of_findings
from reconciler_dagster.orchestration.partitions import PARTITION_TAG, ensure_partitions
from reconciler_dagster.orchestration.resources import syncs_of
from reconciler_dagster.orchestration.submission import Submission
from reconciler_dagster.orchestration.sync_job import sync_job
from reconciler_dagster.orchestration.tick import Tick, delta_of, tick_at
from reconciler_dagster.postgres import cursor, deployments, glances
from reconciler_dagster.postgres.adoption import adopted_clients
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.glances import Glance
from reconciler_dagster.postgres.listed import follow
from reconciler_dagster.postgres.outcomes import last_deltas
from reconciler_dagster.telling import told

GLANCE_TAG = "reconciler/glance"
# Of at most so many turns one is a run, whatever a glance would show: every six hours.
RUN_ONE_IN = 24
# Each waits for Airtable most of its time. More would wait for a connection to Postgres.
AT_A_TIME = 8
# Clients whose glances are noted, or whose runs are submitted, together.
NOTED_TOGETHER = 50
# With no glances for so long, the schedule starts the runs itself.
_TRUSTED = 2 * SCHEDULE + SCHEDULE / 3
_COMING = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def decides(instance: dg.DagsterInstance, settings: Settings, tick: Tick) -> bool:
    """Whether glances say for whom a run starts: there are many clients, and glances have come of
    late. Where they fail or are switched off, nobody must go without.
    """
    if len(tick.clients) <= settings.glance_above:
        return False
    lately = dg.RunsFilter(
        job_name=glance_job.name,
        statuses=[*_COMING, dg.DagsterRunStatus.SUCCESS],
        created_after=datetime.now(UTC) - _TRUSTED,
    )
    return instance.get_runs_count(lately) > 0


class GlanceConfig(dg.Config):
    """``moment``: the schedule's, ISO; empty: now."""

    moment: str = ""


@dg.op(description="Looks at each client, and submits the runs of those where anything is to do.")
def glance_op(context: dg.OpExecutionContext, config: GlanceConfig) -> None:
    """Glance at the clients that were quiet; the others get their runs."""
    settings = Settings.load()
    portal = engine(settings.require_database_url())
    moment = datetime.fromisoformat(config.moment) if config.moment else datetime.now(UTC)
    tick = tick_at(portal, settings, moment)
    ensure_partitions(context.instance, tick.clients)
    quiet, others = _sorted(context.instance, portal, tick)
    nothing = calls = started = 0
    # An instance of its own: what it stores together must not take in what this run stores.
    with dg.DagsterInstance.from_ref(context.instance.get_ref()) as instance:
        submitter = {GLANCE_TAG: tick.moment.isoformat()}
        submission = Submission(instance, sync_job.name, submitter, like=context.run)
        started += _submit(submission, others, tick)
        for some in _glanced(settings, portal, quiet, context.run_id):
            found = [seen.glance for seen in some if seen.glance is not None]
            with portal.begin() as connection:
                glances.note(connection, context.run_id, found)
            nothing += len(found)
            calls += sum(seen.calls for seen in some)
            started += _submit(submission, [s.client for s in some if not s.glance], tick)
            for seen in some:
                if seen.why:
                    context.log.warning(f"A run starts for {seen.client.name}: {seen.why}")
    told_of = {"clients": len(tick.clients), "nothing to do": nothing, "runs started": started}
    context.add_output_metadata(told_of | {"airtable calls": calls})
    context.instance.add_run_tags(
        context.run_id,
        {"reconciler/runs_started": str(started), "reconciler/calls": str(calls)},
    )


def _sorted(
    instance: dg.DagsterInstance, portal: Engine, tick: Tick
) -> tuple[list[Client], list[Client]]:
    """Of the clients whose delta is due those at whom a glance may be enough, and those who get a
    run: their last one did not end well or found something amiss, or it is their turn. Clients
    whose run is still to come are neither.
    """
    with portal.connect() as connection:
        last = last_deltas(connection)
        crowd = deployments.crowd(connection)
    coming = {
        run.tags.get(PARTITION_TAG)
        for run in instance.get_runs(dg.RunsFilter(job_name=sync_job.name, statuses=_COMING))
    }
    turn = _whose_turn(tick)
    due = [client for client in tick.called_for if client.id not in coming]
    well = {id_ for id_, run in last.items() if not attention_of_findings(run)} - turn
    if crowd:  # another deployment at the same portal: each run says so
        well = set()
    return [c for c in due if c.id in well], [c for c in due if c.id not in well]


def _whose_turn(tick: Tick) -> set[str]:
    """Who gets a run whatever a glance would show. At each tick somebody does, so that Dagster does
    not take the assets for overdue.
    """
    quarter = int(tick.moment.timestamp() / SCHEDULE.total_seconds())
    stretch = min(RUN_ONE_IN, max(1, len(tick.clients)))
    return {c.id for place, c in enumerate(tick.clients) if is_turn(place, quarter, stretch)}


def _submit(submission: Submission, clients: list[Client], tick: Tick) -> int:
    """Queue the runs. Returns how many."""
    wanted = [delta_of(client, tick) for client in clients]
    return len(submission.create_and_queue(wanted, math.inf)) if wanted else 0


@dataclass(frozen=True)
class _Seen:
    """``glance``: None where it takes a run. ``why``: of what was in the glance's way."""

    client: Client
    calls: int
    glance: Glance | None = None
    why: str = ""


def _glanced(
    settings: Settings, portal: Engine, clients: list[Client], run_id: str
) -> Iterator[list[_Seen]]:
    """Glance at clients side by side; what was seen, in parts, as it comes."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        looks = [pool.submit(_glance, settings, portal, one, run_id) for one in clients]
        try:
            some = []
            for look in as_completed(looks):
                some.append(look.result())
                if len(some) == NOTED_TOGETHER:
                    yield some
                    some = []
            yield some
        finally:
            pool.shutdown(cancel_futures=True)


def _glance(settings: Settings, portal: Engine, client: Client, run_id: str) -> _Seen:
    """Glance at all syncs of a client that are due."""
    began, sessions = datetime.now(UTC), list[Session]()
    nothing, why, counts = False, "", Counts()
    try:
        chosen, left_out = syncs_of(settings, portal, client)
        sessions += [Session(settings, portal, client, own, run_id, "delta") for own in chosen]
        nothing = not left_out and all(shows_nothing(one) for one in sessions if _is_due(one))
        counts = _counts(portal, sessions) if nothing else Counts()
    except Exception as error:  # whatever it is: the run meets it too, and says so where it counts
        nothing, why = False, told(error, f"glances of run {run_id}")
    counts.airtable_calls = sum(session.calls for session in sessions)
    glance = Glance(client.id, began, asdict(counts)) if nothing else None
    return _Seen(client, counts.airtable_calls, glance, why)


def _counts(portal: Engine, sessions: list[Session]) -> Counts:
    """What stands of all syncs, as their last run has left it."""
    total = Counts()
    with portal.connect() as connection:
        for session in sessions:
            total.add(what_stands(connection, session.pair))
    return total


def _is_due(session: Session) -> bool:
    if session.map.every <= SCHEDULE:
        return True
    with session.engine.connect() as connection:
        age = cursor.age(connection, session.pair)
    return is_due_for_a_glance(session.map.every, age)


@dg.job(
    name="glance",
    executor_def=dg.in_process_executor,
    tags={**ORDINARY, "dagster/priority": "5"},
    description="Looks at many clients, and starts runs where there is anything to do.",
)
def glance_job() -> None:
    """The one op."""
    glance_op()


@dg.schedule(
    job=glance_job,
    cron_schedule="*/15 * * * *",
    default_status=SCHEDULE_STATUS,
    description="With more clients than RECONCILER_GLANCE_ABOVE: every 15 minutes a glance at "
    "each, and runs where that shows something.",
)
def glance_every_15_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run for all clients."""
    settings = Settings.load()
    with engine(settings.require_database_url()).begin() as connection:
        follow(connection, settings.listed_clients)
        clients, _ = adopted_clients(connection)
    if len(clients) <= settings.glance_above:
        return dg.SkipReason(
            f"{counted(len(clients), 'client')}: each has a run of its own. There are glances with "
            f"more than {settings.glance_above} (RECONCILER_GLANCE_ABOVE)."
        )
    if context.instance.get_runs_count(dg.RunsFilter(job_name=glance_job.name, statuses=_COMING)):
        return dg.SkipReason("The glances of last time have not come to an end.")
    moment = context.scheduled_execution_time.isoformat()
    config = GlanceConfig(moment=moment)
    return dg.RunRequest(run_key=moment, run_config=dg.RunConfig(ops={"glance_op": config}))
