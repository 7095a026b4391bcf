"""Asset checks of the Great Sync and the audit: brake, deletions, drift, age of the proof."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from datetime import UTC, datetime, timedelta

import dagster as dg

from reconciler_dagster.core.windows import cycle_hours
from reconciler_dagster.orchestration.audit import AUDITED_LEADS
from reconciler_dagster.orchestration.checks import hold_the_brake
from reconciler_dagster.orchestration.windows import (
    RECONCILED_WINDOWS,
    WINDOW_CHANGE_SET,
    WindowRun,
)
from reconciler_dagster.postgres import runs
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.report import drift_report

# A base has to be proved once a day, or within two cycles where the budget is smaller.
PROVED_WITHIN = timedelta(days=1)


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


def _deletions(run: WindowRun) -> dg.AssetCheckResult:
    """Red with the reason where absences were not believed, or deletions wait for a person."""
    with run.engine.connect() as connection:
        summaries = runs.summaries(connection, run.run_id)
    reasons = [doubt for s in summaries for doubt in s.findings.get("doubts", [])]
    pending = sum(s.counts.get("deletions_pending", 0) for s in summaries)
    if pending:
        reasons.append(f"{pending} deletions wait for approval: `reconciler deletions list`.")
    return dg.AssetCheckResult(
        passed=not reasons,
        description="\n".join(reasons) or None,
        metadata={
            "deleted": sum(s.counts.get("deletions", 0) for s in summaries),
            "waiting for approval": pending,
        },
    )


@dg.asset_check(
    asset=RECONCILED_WINDOWS,
    name="window_deletions",
    required_resource_keys={"window_run"},
    description="Every known lead was listed, or its deletion was believable.",
)
def window_deletions(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """See _deletions."""
    return _deletions(context.resources.window_run)


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="audit_deletions",
    required_resource_keys={"window_run"},
    description="Every known lead was listed, or its deletion was believable.",
)
def audit_deletions(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """See _deletions."""
    return _deletions(context.resources.window_run)


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="drift",
    required_resource_keys={"window_run"},
    description="Airtable, Postgres and the baseline agree, save for what is known to be on its "
    "way.",
)
def drift(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Red with the figures of each client that differs more than edits and refusals explain."""
    run: WindowRun = context.resources.window_run
    lines = []
    with run.engine.connect() as connection:
        for client in active_clients(connection):
            report = drift_report(connection, client.id)
            explained = report["unsettled"] + report["quarantine"]
            apart = abs(report["leads"]["airtable"] - report["leads"]["postgres"])
            differing = {k: n for k, n in report["differing_fields"].items() if n > explained}
            if differing or apart > explained + report["missing"]:
                lines.append(f"{client.name}: leads {report['leads']}, fields {differing}")
    return dg.AssetCheckResult(passed=not lines, description="\n".join(lines) or None)


@dg.asset_check(
    asset=AUDITED_LEADS,
    name="proof_is_fresh",
    required_resource_keys={"window_run"},
    description="The stalest lead was compared in full not too long ago.",
)
def proof_is_fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Red where the audit does not keep up; the age is in the metadata, by client."""
    run: WindowRun = context.resources.window_run
    late, metadata = [], {}
    with run.engine.connect() as connection:
        for client in active_clients(connection):
            report = drift_report(connection, client.id)
            leads = report["leads"]["baseline"]
            if not leads:
                continue
            hours = cycle_hours(leads, run.settings.audit_calls_per_hour)
            allowed = max(PROVED_WITHIN, timedelta(hours=min(2 * hours, 24 * 365)))
            verified = report["oldest_verified_at"]
            age = verified and datetime.now(UTC) - verified
            hours_old = round(age / timedelta(hours=1), 1) if age else None
            metadata[client.name] = {
                "hours since the stalest lead was verified": hours_old,
                "never verified": report["never_verified"],
                "hours for the whole base": round(min(hours, 1e6), 1),
            }
            if age is None or age > allowed:
                told = "never verified in full" if age is None else f"verified {hours_old} h ago"
                late.append(
                    f"{client.name}: the stalest lead was {told}; expected within "
                    f"{allowed / timedelta(hours=1):.0f} h. Look at the audit's runs, or raise "
                    "RECONCILER_AUDIT_CALLS_PER_HOUR."
                )
    return dg.AssetCheckResult(
        passed=not late,
        description="\n".join(late) or None,
        metadata={name: dg.MetadataValue.json(value) for name, value in metadata.items()},
    )


WINDOW_CHECKS = [window_clear_brake, window_deletions, audit_deletions, drift, proof_is_fresh]
