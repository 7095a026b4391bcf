"""What a run shows to a person in the Dagster UI: counts, calls, a table of what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.core.words import counted
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.pull import Pulled
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.calls import month_of_base
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


def of_rows(session: Session, read: int, edits: int) -> Metadata:
    """The local side of the pull."""
    return {"client": session.client.name, _rows(session): read, "unsettled edits": edits}


def _rows(session: Session) -> str:
    return "leads" if session.map.name == MAIN else "rows"


def of_leads(told: Mapping[str, Metadata]) -> Metadata:
    """What the leads' assets say: of the other syncs only where a run was over these alone."""
    return told.get(MAIN) or of_all_syncs(told)


def of_all_syncs(told: Mapping[str, Metadata]) -> Metadata:
    """By sync: of the leads by their own names, of the others after the sync's."""
    return {
        key if sync == MAIN or key in ("client", "base") else f"{sync}: {key}": value
        for sync, one in told.items()
        for key, value in one.items()
    }


def of_change_set(session: Session, change_set: ChangeSet) -> Metadata:
    """The plan."""
    return {
        "client": session.client.name,
        f"{_rows(session)} to change": change_set.leads,
        f"{_rows(session)} to insert": change_set.inserts,
        "cells to Postgres": sum(change_set.to_postgres.values()),
        "cells to Airtable": sum(change_set.to_airtable.values()),
        "conflicts": sum(change_set.conflicts.values()),
        "foreseen to be refused": change_set.refused,
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


def of_run(session: Session, summary: Summary, counts: Counts | None = None) -> Metadata:
    """What a run has come to, and what it costs the client. ``counts``: as for `of_sync`."""
    with session.engine.connect() as connection:
        month = month_of_base(connection, session.client.base_id)
    # Numbers, which Dagster plots over the runs.
    spent = {"calls of this month": month.spent, "calls to expect": month.forecast}
    return of_sync(session, summary, counts) | spent


def of_sync(session: Session, summary: Summary, counts: Counts | None) -> Metadata:
    """What a run has come to, with a link to the page that shows every change of it. ``counts``: of
    one sync; of the whole run unless given.
    """
    portal = session.settings.portal_url
    link = f"{portal.rstrip('/')}/console/runs/{summary.run_id}" if portal else None
    did = summary.counts if counts is None else asdict(counts)
    return {
        "client": session.client.name,
        "outcome": outcome(summary),
        **{name.replace("_", " "): count for name, count in did.items()},
        **({"what it changed": dg.MetadataValue.url(link)} if link else {}),
    }


def tags_of_run(clients: list[str], summaries: list[Summary]) -> dict[str, str]:
    """Short tags, to be seen and filtered in the list of runs. ``clients``: their names."""

    def total(count: str) -> int:
        return sum(s.counts.get(count, 0) for s in summaries)

    outcomes = {outcome(s) for s in summaries}
    return {
        "reconciler/client": ", ".join(clients)[:60],
        "reconciler/outcome": NEEDS_ATTENTION if NEEDS_ATTENTION in outcomes else "ok",
        "reconciler/calls": str(total("airtable_calls")),
        "reconciler/writes": f"{total('local_writes')} in, {total('remote_writes')} out",
    }


def attention(summary: Summary) -> list[str]:
    """Why a run needs a person although it ended; empty where all is well."""
    counts = summary.counts
    return attention_of_findings(summary) + attention_of_client(
        counts.get("quarantined", 0), counts.get("deletions_pending", 0)
    )


def attention_of_findings(summary: Summary) -> list[str]:
    """What a run came upon itself."""
    findings = summary.findings
    reasons = [
        *findings.get("guard", ()),
        *findings.get("new_syncs", ()),
        *findings.get("stopped", ()),
        *findings.get("moved", ()),
        *findings.get("fights", ()),
    ]
    if summary.state != "succeeded":
        reasons.append(summary.message or "The run did not end well.")
    reasons += findings.get("doubts", ())
    if findings.get("dry_run"):
        reasons += _foreseen(findings.get("change_set", {}))
    if findings.get("unanswered"):
        reasons.append(
            f"Airtable did not answer {counted(findings['unanswered'], 'write')}. Do nothing: the "
            "next run finds out whether they arrived."
        )
    return reasons


def _foreseen(change_set: dict[str, Any]) -> list[str]:
    """What a dry run says of refusals: what it would take a person to mend after the run."""
    return [
        f"{why['cells']} cells of {why['field']} would be refused by {why['side'].capitalize()}: "
        f"{why['reason']}"
        for why in change_set.get("refusals", ())
    ]


def attention_of_client(quarantined: int, pending: int) -> list[str]:
    """What stands, whichever run it came from."""
    reasons = []
    if quarantined:
        reasons.append(
            f"{counted(quarantined, 'record')} in quarantine: see `reconciler quarantine list`."
        )
    if pending:
        wait = "waits" if pending == 1 else "wait"
        reasons.append(
            f"{counted(pending, 'deletion')} {wait} for approval: see `reconciler deletions list`."
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
