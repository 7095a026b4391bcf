"""Asset checks of the audit, and the brake of the Great Sync, whose other checks are its own."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Connection

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.windows import cycle_hours, proof_allowed
from reconciler_dagster.orchestration import verdicts
from reconciler_dagster.orchestration.audit import AUDITED_LEADS
from reconciler_dagster.orchestration.checks import hold_the_brake
from reconciler_dagster.orchestration.windows import WINDOW_CHANGE_SET, WindowRun
from reconciler_dagster.postgres import baseline
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.windows import oldest_verified, unproved_since
from reconciler_dagster.syncs.in_force import maps


@dg.asset_check(
    asset=WINDOW_CHANGE_SET,
    name="window_clear_brake",
    blocking=True,
    required_resource_keys={"window_run"},
    description="The change-set does not empty cells of a large part of the base in Airtable.",
)
def window_clear_brake(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Stops the push of the windows."""
    return hold_the_brake(context.resources.window_run)


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="audit_deletions",
    required_resource_keys={"window_run"},
    description="Every known lead was listed, or its deletion needs no person.",
)
def audit_deletions(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Of every client."""
    return verdicts.deletions(context.resources.window_run.engine, "audit").result()


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="audit_attention",
    required_resource_keys={"window_run"},
    description="No client's audit needs a person.",
)
def audit_attention(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Of every client."""
    return verdicts.attention(context.resources.window_run.engine, "audit").result()


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="drift",
    required_resource_keys={"window_run"},
    description="Airtable, Postgres and the baseline agree, save for what is known to be on its "
    "way.",
)
def drift(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Of every client, as its own latest audit found it."""
    return verdicts.drift(context.resources.window_run.engine).result()


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="proof_is_fresh",
    required_resource_keys={"window_run"},
    description="No lead has waited too long to be compared in full.",
)
def proof_is_fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Red where the audit does not keep up; the age is in the metadata, by client."""
    run: WindowRun = context.resources.window_run
    late: list[str] = []
    metadata: dict[str, float] = {}
    with run.engine.connect() as connection:
        for client in active_clients(connection):
            for number, sync in enumerate(maps(run.settings, client.base_id).values()):
                whose = f"{client.name}, {sync.name}" if number else client.name
                age = _age(connection, Pair(client.id, sync), run.settings.audit_calls_per_hour)
                if age is None:
                    continue
                metadata |= {
                    f"hours since the stalest lead was verified: {whose}": age.hours,
                    f"never verified: {whose}": age.never,
                    f"hours for the whole base: {whose}": round(min(age.cycle, 1e6), 1),
                }
                if age.is_late:
                    late.append(f"{whose}: {age}")
    return verdicts.Verdict(late, metadata).result()


@dataclass(frozen=True)
class _Age:
    """How old the proof of a sync is: hours that the stalest lead waits for its first comparison,
    and since its last one.
    """

    waiting: float
    verified: float
    never: int
    leads: int
    calls_per_hour: int

    @property
    def cycle(self) -> float:
        """Hours that the audit takes for all leads."""
        return cycle_hours(self.leads, self.calls_per_hour)

    @property
    def hours(self) -> float:
        return max(self.waiting, self.verified)

    @property
    def allowed(self) -> timedelta:
        return proof_allowed(self.leads, self.calls_per_hour)

    @property
    def is_late(self) -> bool:
        return self.hours * timedelta(hours=1) > self.allowed

    def __str__(self) -> str:
        told = f"was verified {self.verified} h ago"
        if self.waiting > self.verified:
            told = f"has been there for {self.waiting} h and was never verified in full"
        return (
            f"the stalest lead {told}; expected within {self.allowed / timedelta(hours=1):.0f} h. "
            "Look at the audit's runs, or raise RECONCILER_AUDIT_CALLS_PER_HOUR."
        )


def _age(connection: Connection, pair: Pair, calls_per_hour: int) -> _Age | None:
    """None where nothing is agreed on."""
    known = baseline.count(connection, pair)
    if not known:
        return None
    never, stalest = oldest_verified(connection, pair)
    unproved = unproved_since(connection, pair) if never else None
    waiting, verified = (_hours_since(moment) for moment in (unproved, stalest))
    return _Age(waiting, verified, never, known, calls_per_hour)


def _hours_since(moment: datetime | None) -> float:
    """0 where there is nothing to wait for."""
    return round((datetime.now(UTC) - moment) / timedelta(hours=1), 2) if moment else 0.0


WINDOW_CHECKS = [window_clear_brake, audit_deletions, audit_attention, drift, proof_is_fresh]
