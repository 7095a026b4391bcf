"""Asset checks of the audit, and the brake of the Great Sync, whose other checks are its own."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from datetime import UTC, datetime, timedelta

import dagster as dg

from reconciler_dagster.core.windows import cycle_hours, proof_allowed
from reconciler_dagster.orchestration import verdicts
from reconciler_dagster.orchestration.audit import AUDITED_LEADS
from reconciler_dagster.orchestration.checks import hold_the_brake
from reconciler_dagster.orchestration.windows import WINDOW_CHANGE_SET, WindowRun
from reconciler_dagster.postgres import baseline, runs
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.windows import oldest_verified


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
    description="Every known lead was listed, or its deletion was believable.",
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
    description="The stalest lead was compared in full not too long ago.",
)
def proof_is_fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Red where the audit does not keep up; the age is in the metadata, by client."""
    run: WindowRun = context.resources.window_run
    late: list[str] = []
    metadata: dict[str, float] = {}
    with run.engine.connect() as connection:
        for client in active_clients(connection):
            leads = baseline.count(connection, client.id)
            if not leads:
                continue
            never, stalest = oldest_verified(connection, client.id)
            unproved = runs.unproved_since(connection, client.id) if never else None
            hours = cycle_hours(leads, run.settings.audit_calls_per_hour)
            allowed = proof_allowed(leads, run.settings.audit_calls_per_hour)
            waiting, verified = (_hours_since(moment) for moment in (unproved, stalest))
            metadata |= {
                f"hours since the stalest lead was verified: {client.name}": max(waiting, verified),
                f"never verified: {client.name}": never,
                f"hours for the whole base: {client.name}": round(min(hours, 1e6), 1),
            }
            if max(waiting, verified) * timedelta(hours=1) > allowed:
                told = f"was verified {verified} h ago"
                if waiting > verified:
                    told = f"has been there for {waiting} h and was never verified in full"
                late.append(
                    f"{client.name}: the stalest lead {told}; expected within "
                    f"{allowed / timedelta(hours=1):.0f} h. Look at the audit's runs, or raise "
                    "RECONCILER_AUDIT_CALLS_PER_HOUR."
                )
    return verdicts.Verdict(late, metadata).result()


def _hours_since(moment: datetime | None) -> float:
    """0 where there is nothing to wait for."""
    return round((datetime.now(UTC) - moment) / timedelta(hours=1), 2) if moment else 0.0


WINDOW_CHECKS = [window_clear_brake, audit_deletions, audit_attention, drift, proof_is_fresh]
