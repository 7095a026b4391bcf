"""A look at Dagster's own records: daemons, schedules, sensors, the queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._utils.schedules import reverse_cron_string_iterator

from reconciler_dagster.notices.dagster import FAILURES, Dagster, Ticking
from reconciler_dagster.telling import told

_LAST_TICKS = 3
# Daemons that a deployment of ours needs: without one of these nothing starts, or nothing ends.
_NEEDED = ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING")
# What ticks for us. Others may share the instance, and may stop what is theirs; and what an older
# release had stays in the storage.
OURS = frozenset(
    {
        *("every_15_minutes", "glance_every_15_minutes", "every_hour", "forget_every_hour"),
        *("manual_sync", "close_dead_runs", "keep_partitions", "watch", "adoption_requested"),
    }
)


def look(instance: dg.DagsterInstance, now: datetime) -> Dagster:
    """What is to be seen; the storage's problem where it cannot be read. ``now``: of the daemon's
    clock, as far as it matters.
    """
    try:
        beats = instance.get_daemon_heartbeats()
        daemons = {name: beats[name].timestamp for name in _NEEDED if name in beats}
        queued = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        ticking = [_ticking(instance, state, now) for state in _newest(instance)]
    except Exception as error:  # of whatever driver the storage is on
        return Dagster(now, problem=told(error))
    return Dagster(now, daemons, queued, ticking)


def _newest(instance: dg.DagsterInstance) -> list[InstigatorState]:
    """One state a schedule or sensor of ours: a code location that was named otherwise leaves old
    ones.
    """
    states: dict[str, InstigatorState] = {}
    for state in instance.all_instigator_state():
        if state.instigator_name not in OURS:
            continue
        known = states.get(state.instigator_name)
        if known is None or _started(state) > _started(known):
            states[state.instigator_name] = state
    return list(states.values())


def _started(state: InstigatorState) -> float:
    data = state.instigator_data
    if isinstance(data, ScheduleInstigatorData):
        return data.start_timestamp or 0.0
    return (data.last_tick_timestamp or 0.0) if isinstance(data, SensorInstigatorData) else 0.0


def _ticking(instance: dg.DagsterInstance, state: InstigatorState, now: datetime) -> Ticking:
    is_schedule = state.instigator_type is InstigatorType.SCHEDULE
    stopped = state.status is InstigatorStatus.STOPPED
    kind = "schedule" if is_schedule else "sensor"
    if stopped:
        return Ticking(state.instigator_name, kind, stopped)  # type: ignore[arg-type]
    ticks = instance.get_ticks(
        state.instigator_origin_id, state.selector_id, limit=max(_LAST_TICKS, *FAILURES.values())
    )
    ticked_at = max((tick.timestamp for tick in ticks), default=0.0)
    data = state.instigator_data
    due_at = 0.0
    if isinstance(data, ScheduleInstigatorData):
        due_at = _last_due(data, now)
    elif isinstance(data, SensorInstigatorData):
        # Skipped ticks are purged, and several may share one.
        ticked_at = max(ticked_at, data.last_tick_timestamp or 0.0)
        due_at = ticked_at + max(data.min_interval or 30, 30) if ticked_at else 0.0
    failed = _failed(ticks)
    return Ticking(
        state.instigator_name,
        kind,  # type: ignore[arg-type]
        stopped,
        due_at,
        ticked_at,
        len(failed),
        min((tick.timestamp for tick in failed), default=0.0),
    )


def _failed(ticks: Sequence[InstigatorTick]) -> list[InstigatorTick]:
    """Those of the last ticks that failed, back to the last one that did not."""
    failed = []
    for tick in ticks:  # the newest first
        if tick.status is TickStatus.FAILURE:
            failed.append(tick)
        elif tick.status is not TickStatus.STARTED:
            break
    return failed


def _last_due(data: ScheduleInstigatorData, now: datetime) -> float:
    """When a schedule should have ticked last; 0 where that was before it was started."""
    cron = data.cron_schedule
    if not isinstance(cron, str):
        return 0.0
    due = next(iter(reverse_cron_string_iterator(now.timestamp(), cron, "UTC"))).timestamp()
    return due if due > (data.start_timestamp or 0.0) else 0.0
