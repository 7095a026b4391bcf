"""Of many clients most are quiet: runs start for the others alone.

A run costs many times what a glance does, most of it Dagster's. So with more clients than
RECONCILER_GLANCE_ABOVE one run glances at all of them, and submits the runs of those at whom that
shows something. Where a glance cannot say, a run does.
"""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.core.due import SCHEDULE, is_due
from reconciler_dagster.core.month import is_turn
from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.words import counted
from reconciler_dagster.engine.adopted import syncs_of
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.glance import shows_nothing, what_stands
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.environments import SCHEDULE_STATUS
from reconciler_dagster.orchestration.metadata import attention_of_findings
from reconciler_dagster.orchestration.partitions import PARTITION_TAG, ensure_partitions
from reconciler_dagster.orchestration.submission import Submission
from reconciler_dagster.orchestration.sync_job import sync_job
from reconciler_dagster.orchestration.tick import Tick, delta_of, tick_at
from reconciler_dagster.postgres import cursor, deployments, glances
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.glances import Glance
from reconciler_dagster.postgres.outcomes import last_deltas
from reconciler_dagster.telling import told

GLANCE_TAG = "reconciler/glance"
# Of at most so many turns one is a run, whatever a glance would show: every six hours.
RUN_ONE_IN = 24
# Who has had none for longer has missed a turn, since calls were short, say.
_MISSED = (RUN_ONE_IN + 1) * SCHEDULE
# Each waits for Airtable most of its time. More would wait for a connection to Postgres.
AT_A_TIME = 8
# Clients whose runs are submitted together.
SUBMITTED_TOGETHER = 50
# All of them, or the run fails: Airtable may be out of order.
LONGEST_SECONDS = 600.0
# With no glances for so long, the schedule starts the runs itself.
_TRUSTED = 2 * SCHEDULE + SCHEDULE / 3
_COMING = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def decides(instance: dg.DagsterInstance, settings: Settings, tick: Tick) -> bool:
    """Whether glances say for whom a run starts: there are many clients, and glances have come to a
    good end of late. Where they fail or are switched off, nobody must go without.
    """
    if not _are_many(settings, tick):
        return False
    lately = dg.RunsFilter(
        job_name=glance_job.name,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        created_after=tick.moment - _TRUSTED,
    )
    return instance.get_runs_count(lately) > 0


def _are_many(settings: Settings, tick: Tick) -> bool:
    return len(tick.clients) > settings.glance_above


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
    trusted = decides(context.instance, settings, tick)
    if not trusted:
        context.log.info("The schedule starts a run for each client this time.")
    nothing = calls = started = 0
    # An instance of its own: what it stores together must not take in what this run stores.
    with dg.DagsterInstance.from_ref(context.instance.get_ref()) as instance:
        submission = Submission(
            instance, sync_job.name, {GLANCE_TAG: moment.isoformat()}, like=context.run
        )
        at_once = in_parts([_Seen(client) for client in others], SUBMITTED_TOGETHER)
        for some in chain(at_once, _glanced(settings, portal, quiet, context.run_id)):
            wanted = [delta_of(seen.client, tick) for seen in some if not seen.nothing]
            if trusted and wanted:
                started += len(submission.create_and_queue(wanted, math.inf))
            nothing += len(some) - len(wanted)
            calls += sum(seen.calls for seen in some)
            for seen in some:
                if seen.why:
                    context.log.warning(f"{seen.client.name} takes a run: {seen.why}")
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
        own = glances.with_own_run(connection, _MISSED)
        crowd = deployments.crowd(connection)
    coming = {
        run.tags.get(PARTITION_TAG)
        for run in instance.get_runs(dg.RunsFilter(job_name=sync_job.name, statuses=_COMING))
    }
    well = {id_ for id_, run in last.items() if not attention_of_findings(run)}
    well = set() if crowd else well & own - _whose_turn(tick)  # each run tells of the crowd
    due = [client for client in tick.called_for if client.id not in coming]
    return [c for c in due if c.id in well], [c for c in due if c.id not in well]


def _whose_turn(tick: Tick) -> set[str]:
    """Who gets a run whatever a glance would show. At each tick somebody does, so that Dagster does
    not take the assets for overdue.
    """
    quarter = int(tick.moment.timestamp() / SCHEDULE.total_seconds())
    stretch = min(RUN_ONE_IN, max(1, len(tick.clients)))
    return {c.id for place, c in enumerate(tick.clients) if is_turn(place, quarter, stretch)}


@dataclass(frozen=True)
class _Seen:
    """``nothing``: there is nothing to do, and that has been noted. ``why``: what was in the way of
    the glance.
    """

    client: Client
    nothing: bool = False
    calls: int = 0
    why: str = ""


def _glanced(
    settings: Settings, portal: Engine, clients: list[Client], run_id: str
) -> Iterator[list[_Seen]]:
    """Glance at clients side by side; what was seen, in parts, as it comes. Raises Failure where
    that takes too long.
    """
    some, left = list[_Seen](), len(clients)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        looks = [pool.submit(_glance, settings, portal, one, run_id) for one in clients]
        try:
            for look in as_completed(looks, timeout=LONGEST_SECONDS):
                some.append(look.result())
                left -= 1
                if len(some) == SUBMITTED_TOGETHER:
                    yield some
                    some = []
        except TimeoutError:
            pass
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    yield some
    if left:
        raise dg.Failure(
            f"{counted(left, 'client')} of {len(clients)} could not be looked at within "
            f"{LONGEST_SECONDS / 60:.0f} minutes: Airtable or Postgres answers too slowly. Nothing "
            "is lost: the next tick goes on.",
            allow_retries=False,
        )


def _glance(settings: Settings, portal: Engine, client: Client, run_id: str) -> _Seen:
    """Glance at the syncs of a client that are due; note it where they show nothing."""
    began, sessions = time.monotonic(), list[Session]()
    nothing, why = False, ""
    try:
        chosen, left_out = syncs_of(settings, portal, client)
        sessions += [Session(settings, portal, client, own, run_id, "delta") for own in chosen]
        due = [one for one in sessions if _is_due(one)] or sessions[:1]
        if not left_out and due and all(map(shows_nothing, due)):
            calls = sum(session.calls for session in sessions)
            with portal.begin() as connection:
                counts = Counts(airtable_calls=calls)
                for session in sessions:
                    counts.add(what_stands(connection, session.pair))
                syncs = [session.map.name for session in due]
                seconds = time.monotonic() - began
                glance = Glance(client.id, seconds, asdict(counts), syncs)
                glances.note(connection, run_id, glance)
            nothing = True
    except Exception as error:  # whatever it is: the run meets it too, and says so where it counts
        why = told(error, f"glances of run {run_id}")
    return _Seen(client, nothing, sum(session.calls for session in sessions), why)


def _is_due(session: Session) -> bool:
    """Whether it is this sync's time: of slower ones, since a run or a glance has listed it."""
    if session.map.every <= SCHEDULE:
        return True
    with session.engine.connect() as connection:
        listed = cursor.age(connection, session.pair)
        glanced = glances.age(connection, session.pair)
    age = listed if glanced is None or listed is None else min(listed, glanced)
    return is_due(session.map.every, age)


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
    portal = engine(settings.require_database_url())
    tick = tick_at(portal, settings, context.scheduled_execution_time)
    if not _are_many(settings, tick):
        return dg.SkipReason(
            f"{counted(len(tick.clients), 'client')}: each has a run of its own. There are glances "
            f"with more than {settings.glance_above} (RECONCILER_GLANCE_ABOVE)."
        )
    if context.instance.get_runs_count(dg.RunsFilter(job_name=glance_job.name, statuses=_COMING)):
        return dg.SkipReason("The glances of last time have not come to an end.")
    moment = tick.moment.isoformat()
    config = GlanceConfig(moment=moment)
    return dg.RunRequest(run_key=moment, run_config=dg.RunConfig(ops={"glance_op": config}))
