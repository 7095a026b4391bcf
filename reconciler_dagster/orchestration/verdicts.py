"""What the checks say. A check has no partitions and its latest word stands, so each judges the
state of all active clients: a run of one client must not turn green what is wrong with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.core.words import counted
from reconciler_dagster.orchestration.metadata import attention_of_client, attention_of_findings
from reconciler_dagster.postgres import decisions, quarantine, runs
from reconciler_dagster.postgres.clients import active_clients


@dataclass(frozen=True)
class Verdict:
    """Red where there are reasons, each of which names its client."""

    reasons: list[str]
    metadata: dict[str, Any]

    def result(self, check_name: str | None = None) -> dg.AssetCheckResult:
        """As Dagster takes it."""
        return dg.AssetCheckResult(
            passed=not self.reasons,
            check_name=check_name,
            description="\n".join(self.reasons) or None,
            metadata=self.metadata,
        )


def deletions(portal: Engine, purpose: str) -> Verdict:
    """Red where absences were not believed, or deletions wait for a person."""
    with portal.connect() as connection:
        judged = runs.standing(connection, [purpose], "doubts")
        waiting = decisions.pending_by_client(connection)
        pending = [(client.name, waiting[client.id]) for client in active_clients(connection)]
    reasons = [f"{name}: {doubt}" for name, run in judged for doubt in run.findings["doubts"]]
    reasons += [f"{name}: {line}" for name, n in pending for line in attention_of_client(0, n)]
    return Verdict(
        list(dict.fromkeys(reasons)), {"waiting for approval": sum(n for _, n in pending)}
    )


def attention(portal: Engine, purpose: str) -> Verdict:
    """Red where anything needs a person: what the runs came upon, and what stands by now."""
    reasons = []
    with portal.connect() as connection:
        judged = runs.standing(connection, [purpose])
        held = quarantine.records_by_client(connection)
        pending = decisions.pending_by_client(connection)
        for client in active_clients(connection):
            whys = attention_of_client(held[client.id], pending[client.id])
            reasons += [f"{client.name}: {why}" for why in whys]
    found = [f"{name}: {why}" for name, run in judged for why in attention_of_findings(run)]
    return Verdict(list(dict.fromkeys(found + reasons)), {})


def unanswered(portal: Engine) -> Verdict:
    """Red where a delta does not know the outcome of a write."""
    with portal.connect() as connection:
        writes = runs.unanswered(connection)
    return Verdict(
        [
            f"{name}: Airtable did not answer {counted(n, 'write')}; the next run finds out "
            "whether they arrived."
            for name, n in writes
        ],
        {"writes without answer": sum(n for _, n in writes)},
    )


def drift(portal: Engine) -> Verdict:
    """Red where a client's sides differ by more than is explained, as its latest audit saw it."""
    with portal.connect() as connection:
        judged = runs.standing(connection, ["audit"], "drift")
    return Verdict(
        [f"{name}: {line}" for name, run in judged for line in run.findings["drift"]], {}
    )
