"""What a run shows to a person in the Dagster UI: counts, calls, a table of what changed."""

from __future__ import annotations

from typing import Any

import dagster as dg

from reconciler_dagster.engine.diff import ChangeSet
from reconciler_dagster.engine.pull import Pulled
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.runs import Summary

Metadata = dict[str, Any]
NEEDS_ATTENTION = "needs attention"


def of_pull(session: Session, pulled: Pulled) -> Metadata:
    """The remote side of the pull."""
    window = "changed since the cursor" if pulled.window is None else "a whole creation window"
    return {
        "client": session.client.name,
        "base": session.client.base_id,
        "scope": "everything" if pulled.everything else window,
        "records listed": pulled.listed,
        "records pulled": session.counts.pulled,
        "airtable calls": session.counts.airtable_calls,
        "airtable clock": pulled.moment,
        "fields in use": len(session.fields),
        "fields stopped": dg.MetadataValue.md(_bullets(pulled.stopped)),
        "notes": dg.MetadataValue.md(_bullets(pulled.notes)),
    }


def of_change_set(session: Session, change_set: ChangeSet) -> Metadata:
    """The plan."""
    return {
        "client": session.client.name,
        "leads to change": change_set.leads,
        "leads to insert": change_set.inserts,
        "cells to Postgres": sum(change_set.to_postgres.values()),
        "cells to Airtable": sum(change_set.to_airtable.values()),
        "conflicts": sum(change_set.conflicts.values()),
        "by field": dg.MetadataValue.md(_by_field(change_set)),
        "sample of changes": dg.MetadataValue.table(
            records=[dg.TableRecord(row) for row in change_set.sample],
            schema=dg.TableSchema(
                columns=[
                    dg.TableColumn(name, "string")
                    for name in ("record_id", "field", "side", "old", "new")
                ]
            ),
        ),
    }


def of_run(session: Session, summary: Summary) -> Metadata:
    """The whole run, with a link to the page that shows every change of it."""
    portal = session.settings.portal_url
    link = f"{portal.rstrip('/')}/console/runs/{summary.run_id}" if portal else None
    return {
        "client": session.client.name,
        "outcome": outcome(summary),
        **{name.replace("_", " "): count for name, count in summary.counts.items()},
        **({"what it changed": dg.MetadataValue.url(link)} if link else {}),
    }


def tags_of_run(session: Session, summary: Summary) -> dict[str, str]:
    """Short tags, to be seen and filtered in the list of runs."""
    counts = summary.counts
    writes = f"{counts.get('local_writes', 0)} in, {counts.get('remote_writes', 0)} out"
    return {
        "reconciler/client": session.client.name[:60],
        "reconciler/outcome": outcome(summary),
        "reconciler/calls": str(counts.get("airtable_calls", 0)),
        "reconciler/writes": writes,
    }


def attention(summary: Summary) -> list[str]:
    """Why a run needs a person although it ended; empty where all is well."""
    counts, findings = summary.counts, summary.findings
    reasons = list(findings.get("stopped", ()))
    if summary.state != "succeeded":
        reasons.append(summary.message or "The run did not end well.")
    reasons += findings.get("doubts", ())
    if counts.get("quarantined"):
        reasons.append(f"{counts['quarantined']} records in quarantine.")
    if counts.get("deletions_pending"):
        reasons.append(f"{counts['deletions_pending']} deletions wait for approval.")
    if findings.get("unanswered"):
        reasons.append(
            f"{findings['unanswered']} writes without an answer; the next run settles them."
        )
    return reasons


def outcome(summary: Summary) -> str:
    """``ok`` or ``needs attention``."""
    return NEEDS_ATTENTION if attention(summary) else "ok"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "none"


def _by_field(change_set: ChangeSet) -> str:
    columns = (change_set.to_postgres, change_set.to_airtable, change_set.conflicts)
    names = sorted(set().union(*columns))
    if not names:
        return "nothing to do"
    rows = [" | ".join([name, *(str(cells.get(name, 0)) for cells in columns)]) for name in names]
    head = ["| field | to Postgres | to Airtable | conflicts |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {row} |" for row in rows)])
