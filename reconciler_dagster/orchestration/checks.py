"""Asset checks: the brake before the push, and what needs a person after it."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator
from itertools import chain

import dagster as dg
from sqlalchemy import Connection, text

from reconciler_dagster.core import guard
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine.brake import Clears, clears, refusals_doubt
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.orchestration.assets import (
    AIRTABLE_LEADS,
    OUTBOUND_CHANGE_SET,
    RECONCILED_LEADS,
)
from reconciler_dagster.orchestration.resources import ClientRun
from reconciler_dagster.orchestration.verdicts import unanswered
from reconciler_dagster.postgres import adoption, fights, rehearsals, runs
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.guard import read_facts
from reconciler_dagster.postgres.migrate import tables_of
from reconciler_dagster.postgres.runs import Summary
from reconciler_dagster.syncs.in_force import definitions, maps


def _listing(name: str, lines: list[str], check_name: str | None = None) -> dg.AssetCheckResult:
    """Passes while there is nothing to list. ``check_name``: where one step has several checks."""
    bullets = "\n".join(f"- {line}" for line in lines) or "none"
    return dg.AssetCheckResult(
        passed=not lines, check_name=check_name, metadata={name: dg.MetadataValue.md(bullets)}
    )


@dg.asset_check(
    asset=AIRTABLE_LEADS,
    name="mapping",
    required_resource_keys={"client_run"},
    description="Every mapped field is there on both sides, with a type that can be read, and "
    "every edit in Postgres is noted.",
)
def mapping_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Red where a field of any client is stopped or one of its syncs is new, the others go on; and
    where edits in Postgres may not have been noted.
    """
    run: ClientRun = context.resources.client_run
    with run.engine.connect() as connection:
        problems = connection.execute(
            text(
                "SELECT c.company_name || ': ' || b.problem FROM reconciler.field_binding b "
                "JOIN reconciler.clients() c ON c.id = b.client_id "
                "WHERE c.is_active AND b.problem IS NOT NULL ORDER BY 1"
            )
        ).scalars()
        new = adoption.why_without(connection, definitions(run.settings))
        return _listing("stopped", [*_unnoted(connection, run), *problems, *new])


def _unnoted(connection: Connection, run: ClientRun) -> list[str]:
    """What keeps edits from being noted now, and what this run came upon and has made up for."""
    now = [
        str(problem)
        for watched in tables_of(maps(run.settings).values())
        for problem in guard.problems(read_facts(connection, watched))
    ]
    found = [s.findings.get("guard", []) for s in runs.summaries(connection, run.run_id)]
    return list(dict.fromkeys([*now, *chain.from_iterable(found)]))


@dg.asset_check(
    asset=OUTBOUND_CHANGE_SET,
    name="clear_brake",
    blocking=True,
    required_resource_keys={"client_run"},
    description="The change-set does not empty cells of a large part of the base in Airtable.",
)
def clear_brake(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Stops the push. Nothing is lost: the cursor stays, the edits stay unsettled."""
    return hold_the_brake(context.resources.client_run)


def hold_the_brake(run: ClientRun) -> dg.AssetCheckResult:
    """Whether the run's change-sets may be carried out; closes the summary of a client where not.

    Blocks where no client is left; else the others are carried out.
    """
    with run.engine.connect() as connection:
        summaries = [
            s for s in runs.summaries(connection, run.run_id) if "change_set" in s.findings
        ]
        names = {client.id: client.name for client in active_clients(connection)}
        counted = {s.client_id: _worst(connection, run, s) for s in summaries}
        refusals = {
            s.client_id: refusals_doubt(
                ChangeSet(**s.findings["change_set"]), rehearsals.approved(connection, s.client_id)
            )
            for s in summaries
        }
    if not summaries:  # launched by itself: nothing was pulled
        raise dg.Failure("This check judges a run of the sync: launch that.", allow_retries=False)
    reasons: list[str] = []
    metadata: dict[str, int] = {}
    for summary in summaries:
        client_id, found = summary.client_id, counted[summary.client_id]
        name = names.get(client_id, client_id)
        metadata |= {
            f"leads with cells to empty: {name}": found.here,
            f"leads with cells emptied in the portal: {name}": found.emptied,
            f"leads: {name}": found.leads,
        }
        doubts = [
            f"{doubt} If it is meant, launch it with {allowed}."
            for doubt, allowed in (
                (found.doubt, "allow_mass_clear"),
                (refusals[client_id], "allow_refusals"),
            )
            if doubt and not summary.findings.get(allowed)
        ]
        if not doubts:
            continue
        reason = " ".join(["The run was stopped.", *doubts])
        reasons.append(f"{name}: {reason}")
        with run.engine.begin() as connection:
            runs.finish(connection, client_id, run.run_id, state="failed", message=reason)
    nobody = len(reasons) == len(summaries)
    return dg.AssetCheckResult(
        passed=not reasons,
        severity=dg.AssetCheckSeverity.ERROR if nobody else dg.AssetCheckSeverity.WARN,
        description="\n".join(reasons) or None,
        metadata=metadata,
    )


def _worst(connection: Connection, run: ClientRun, summary: Summary) -> Clears:
    """Of a client's syncs, the one that would empty most for no reason that is seen."""
    syncs = maps(run.settings)
    change_sets = summary.findings.get("change_sets") or {
        next(iter(syncs)): summary.findings["change_set"]
    }
    found = [
        clears(connection, Pair(summary.client_id, syncs[name]), ChangeSet(**one))
        for name, one in change_sets.items()
    ]
    return max(found, key=lambda one: (bool(one.doubt), one.emptied, one.leads))


@dg.multi_asset_check(
    name="after_the_push",
    specs=[
        dg.AssetCheckSpec(
            "quarantine", asset=RECONCILED_LEADS, description="Every cell could be carried over."
        ),
        dg.AssetCheckSpec(
            "answered", asset=RECONCILED_LEADS, description="Airtable answered every write."
        ),
    ],
    can_subset=True,
    required_resource_keys={"client_run"},
    description="What needs a person after the push.",
)
def checks_after_the_push(
    context: dg.AssetCheckExecutionContext,
) -> Iterator[dg.AssetCheckResult]:
    """Those that are wanted, in one step: a step costs more than what they ask."""
    run: ClientRun = context.resources.client_run
    wanted = {key.name for key in context.selected_asset_check_keys}
    if "quarantine" in wanted:
        yield _quarantine(run)
    if "answered" in wanted:
        yield unanswered(run.engine).result("answered")


def _quarantine(run: ClientRun) -> dg.AssetCheckResult:
    """Red while cells of any client are in quarantine, with their reasons."""
    with run.engine.connect() as connection:
        reasons = connection.execute(
            text(
                "SELECT c.company_name || ', ' || count(*) || ' cells: ' || q.reason "
                "FROM reconciler.quarantine q JOIN reconciler.clients() c ON c.id = q.client_id "
                "WHERE c.is_active GROUP BY c.company_name, q.reason "
                "ORDER BY count(*) DESC, 1 LIMIT 20"
            )
        ).scalars()
        fights_of = fights.sentences_by_client(connection)
        fought = [
            f"{client.name}: {why}"
            for client in active_clients(connection)
            for why in fights_of[client.id]
        ]
        return _listing("reasons", [*fought, *reasons], "quarantine")


CHECKS = [mapping_check, clear_brake, checks_after_the_push]
