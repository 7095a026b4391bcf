"""`reconciler status`: how far both sides agree, and what needs a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler_dagster.cli.output import (
    as_one_object,
    counted,
    echo_json,
    one_client,
    say_if_nobody,
)
from reconciler_dagster.cli.warm import hand_over
from reconciler_dagster.config import Settings
from reconciler_dagster.core.adoption import Standing, State
from reconciler_dagster.processes import importing

if TYPE_CHECKING:
    from reconciler_dagster.portal.shown import Shown

# Values without an option that are told one by one.
OPTIONS_TOLD = 5


@click.command()
@one_client
@click.option("--storage", is_flag=True, help="Show what the engine stores, and how long.")
@as_one_object
@click.pass_context
def status(context: click.Context, client_id: str | None, storage: bool, as_json: bool) -> None:
    """Say how far Airtable, Postgres and the baseline agree, and what is left of the month's calls.

    From what Postgres knows: no call is made. Exit code 1: something needs a person.
    """
    hand_over(context)
    with importing():
        from reconciler_dagster.cli import stored
        from reconciler_dagster.core.guard import problems
        from reconciler_dagster.core.sync import Pair
        from reconciler_dagster.portal.shown import Shown
        from reconciler_dagster.postgres import adoption, fights
        from reconciler_dagster.postgres.guard import read_facts
        from reconciler_dagster.postgres.portal import chosen_clients, open_portal
        from reconciler_dagster.postgres.report import drift_report, of_client
        from reconciler_dagster.postgres.trigger import Watched
        from reconciler_dagster.syncs.in_force import maps

    settings = Settings.load()
    portal = open_portal(settings)
    if storage:
        stored.show_storage(portal, settings, as_json)
        return
    clients = chosen_clients(portal, client_id)
    say_if_nobody(clients)
    pairs = [
        [Pair(client.id, sync) for sync in maps(settings, client.base_id).values()]
        for client in clients
    ]
    shown = [{pair.sync: Shown(pair.map, ()) for pair in own} for own in pairs]
    with portal.connect() as connection:
        of_months = stored.the_months(connection, settings)
        reports = [
            of_client({pair.sync: drift_report(connection, pair) for pair in own}) for own in pairs
        ]
        guards = [
            list(
                dict.fromkeys(
                    str(problem)
                    for pair in own
                    for problem in problems(
                        read_facts(connection, Watched(pair.table, pair.sync), pair.client_id)
                    )
                )
            )
            for own in pairs
        ]
        stands = [adoption.standing(connection, client.id) for client in clients]
        fights_of = fights.sentences_by_client(connection)
        fought = [fights_of[client.id] for client in clients]
    attention = [
        [*_new(standing, report), *guard, *fight, *reasons(report, own)]
        for standing, guard, fight, report, own in zip(
            stands, guards, fought, reports, shown, strict=True
        )
    ]
    reports = [
        report | {"adoption": standing.state.value}
        for report, standing in zip(reports, stands, strict=True)
    ]
    if as_json:
        told = zip(reports, attention, strict=True)
        of_clients = {"clients": [report | {"attention": why} for report, why in told]}
        of_all = (
            {"months": [stored.month_as_json(month) for month in of_months]} if of_months else {}
        )
        echo_json(of_clients | of_all)
    for report, why, own in zip(reports, attention, shown, strict=True):
        if not as_json:
            _show(report, own)
        for reason in why:
            click.echo(f"{report['company_name']}: {reason}", err=True)
    if not as_json:
        for month in of_months:
            click.echo(stored.month_in_words(month))
    raise click.exceptions.Exit(1 if any(attention) else 0)


def _new(standing: Standing, report: Mapping[str, Any]) -> list[str]:
    """That nobody has adopted the client, or some of its syncs; a pause is meant."""
    if standing.state is State.NEW:
        return [standing.why_not or ""]
    return standing.why_without(report["syncs"])


def reasons(report: Mapping[str, Any], shown: Mapping[str, Shown]) -> list[str]:
    """Why a client needs a person, each with where to look; empty where all is well. ``shown``:
    what the rows of each sync are called.
    """
    found = [f"The last run failed: {report['last_failure']}"] if report["last_failure"] else []
    for name, own in report["syncs"].items():
        prefix = f"{name}: " if len(report["syncs"]) > 1 else ""
        found += [prefix + reason for reason in _of_a_sync(own, shown[name])]
    return found


def _of_a_sync(report: Mapping[str, Any], shown: Shown) -> list[str]:
    from reconciler_dagster.core.drift import unexplained

    found = list(report["stopped_fields"])
    found += _waiting(report["waiting_for_options"], shown)
    others = report["quarantine"] - sum(one["leads"] for one in report["waiting_for_options"])
    if others:
        found.append(
            f"{counted(others, 'refusal')} in quarantine: see `reconciler quarantine list`."
        )
    if waiting := report["deletions_pending"]:
        found.append(
            f"{counted(waiting, 'deletion')} {'waits' if waiting == 1 else 'wait'} for approval: "
            "see `reconciler deletions list`."
        )
    return found + [shown.said(line) for line in unexplained(report)]


def _waiting(values: Sequence[Mapping[str, Any]], shown: Shown) -> list[str]:
    """Values that are no option of Airtable's, one line each, and one for the rarest of many."""
    found = []
    for one in values[:OPTIONS_TOLD]:
        wait = "waits" if one["leads"] == 1 else "wait"
        found.append(
            f"{shown.rows(one['leads'])} {wait} for the option '{one['value']}' of "
            f"{one['airtable']}: add it in Airtable, or choose another value."
        )
    if rest := values[OPTIONS_TOLD:]:
        number = shown.rows(sum(one["leads"] for one in rest))
        found.append(
            f"{number} more with {len(rest)} other values that are no option in Airtable: "
            "see `reconciler quarantine list`."
        )
    return found


def _show(report: Mapping[str, Any], shown: Mapping[str, Shown]) -> None:
    paused = ", paused" if report["adoption"] == State.PAUSED else ""
    click.echo(f"{report['company_name']} ({report['client_id']}){paused}")
    for name, own in report["syncs"].items():
        _show_sync(shown[name], own)
    click.echo(f"  last success: {report['last_success_at'] or 'never'}")


def _show_sync(shown: Shown, report: Mapping[str, Any]) -> None:
    name = shown.name
    leads = report["leads"]
    own = report["portal_only"]
    if own:
        click.echo(f"  {counted(own, 'row')} of {name} in Postgres without an Airtable record")
    for line in (
        f"{name}: {leads['airtable']} in Airtable, {leads['postgres']} active in Postgres, "
        f"{leads['baseline']} agreed on",
        f"agreed on, not in Postgres: {report['without_lead']}; "
        f"in Postgres, never found in Airtable: {report['not_in_airtable']}",
        f"fields that differ from what was agreed on: {_by_field(report['differing_fields'])}",
        f"empty in Airtable, kept in the portal: {_by_field(report['held_back'])}",
        f"edits in Postgres not carried over yet: {report['unsettled']}, "
        f"quarantine: {report['quarantine']}, "
        f"deletions waiting: {report['deletions_pending']}, missing: {report['missing']}",
        shown.said(_proof(report)),
    ):
        click.echo(f"  {line}")
    if report["moved"]:
        click.echo(f"  since {report['moved_at']:%Y-%m-%d %H:%M}: {report['moved']}")


def _by_field(count: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in count.items()) or "none"


def _proof(report: Mapping[str, Any]) -> str:
    """How old the proof is that both sides agree."""
    never, oldest = report["never_verified"], report["oldest_verified_at"]
    if oldest is None and not never:
        return "no lead to compare: nothing is agreed on yet"
    if oldest is None:
        return f"no lead was compared in full yet; {never} are still to be compared"
    hours = (datetime.now(UTC) - oldest) / timedelta(hours=1)
    return (
        f"the stalest lead was compared in full {hours:.1f} hours ago; {never} were never compared"
    )
