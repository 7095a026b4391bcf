"""`reconciler adopt`: see what a client's first contact would do, and say yes to it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reconciler_dagster.cli.output import as_one_object, counted, echo_json, one_client
from reconciler_dagster.cli.results import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.core.adoption import State
from reconciler_dagster.core.rehearsal import Report

if TYPE_CHECKING:  # with Dagster
    from reconciler_dagster.orchestration.adopt import Adoption


@click.command()
@one_client
@click.option("--approve", is_flag=True, help="Adopt, and carry out what was shown.")
@click.option(
    "--guard-trigger",
    "triggers",
    multiple=True,
    metavar="NAME",
    help="Keep a trigger of the portal's from firing at the first contact; `migrate --down` takes "
    "that back. May be given several times.",
)
@as_one_object
def adopt(client_id: str | None, approve: bool, triggers: tuple[str, ...], as_json: bool) -> None:
    """Rehearse what adopting a client would do, and with --approve do it.

    Nothing of a client is written, on either side, before it is adopted. The rehearsal lists the
    base, compares, and tries every write to Postgres in transactions that are rolled back. An
    approval holds for what was shown: where more would be done by now (by 10 and 1 % of any
    figure), the report is shown again. Without an earlier report --approve goes on only where
    nothing is refused and no trigger of the portal's writes rows. All new clients unless one is
    named. Exit code 1: something needs a person; 2: a setting, a base or the field map is wrong.
    """
    settings = Settings.load()
    if triggers:
        _guard(settings, triggers)
    from reconciler_dagster.orchestration.adopt import adopt_clients
    from reconciler_dagster.orchestration.instance import dagster_instance

    results = []
    with dagster_instance(settings) as instance:
        for result in adopt_clients(
            settings, instance, client_id, getpass.getuser(), approve=approve
        ):
            results.append(result)
            if not as_json:
                _show(result)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    if not results:
        click.echo("There is no new client: every active one is adopted.", err=True)
    if as_json:
        echo_json({"clients": [result.as_json() for result in results]})
    raise click.exceptions.Exit(exit_code(results))


def _guard(settings: Settings, names: tuple[str, ...]) -> None:
    from reconciler_dagster.postgres.guarded import as_script, guard
    from reconciler_dagster.postgres.portal import open_portal

    with open_portal(settings).begin() as connection:
        for name in names:
            statements = guard(connection, name, getpass.getuser())
            click.echo(f"Guarded {name}:\n{as_script(statements)}", err=True)


def _show(result: Adoption) -> None:
    if result.report is not None:
        click.echo(f"{result.client.name} ({result.client.id}):")
        for line in lines(result.report):
            click.echo(f"  {line}")
    if result.state is State.ADOPTED and result.report is None:
        click.echo(f"{result.client.name} is adopted.")
    elif result.state is State.ADOPTED:
        click.echo(f"{result.client.name} is adopted. Its first contact:")
        show(result, dry_run=False)
    elif result.report is not None and not result.refusing:
        click.echo(
            "Nothing was written. If this is what is meant: "
            f"`reconciler adopt --client {result.client.id} --approve`."
        )


def lines(report: Report) -> Iterator[str]:
    """A report for a person."""
    plan = report.change_set
    records, leads = counted(report.listed, "record"), counted(report.leads, "lead")
    yield f"{records} in Airtable, {leads} in Postgres"
    yield f"{counted(plan['inserts'], 'lead')} would be inserted"
    if report.without_record:
        some = ", ".join(report.examples_without_record)
        yield (
            f"{counted(report.without_record, 'lead')} without a record in the base (e.g. {some}) "
            "would stay as they are, until a person decides"
        )
    if report.own:
        yield f"{counted(report.own, 'lead')} of the portal's own would be left alone"
    for side, name in (("to_postgres", "Postgres"), ("to_airtable", "Airtable")):
        for column, n in sorted(plan[side].items()):
            yield f"{column} of {counted(n, 'lead')} would be written in {name}"
    for cell in plan["sample"]:
        if cell["old"] or cell["new"]:
            yield (
                f"  e.g. {cell['record_id']} {cell['field']} in {cell['side']}: "
                f"'{cell['old']}' -> '{cell['new']}'"
            )
    for column, n in sorted(plan["conflicts"].items()):
        yield f"the portal's {column} of {counted(n, 'lead')} would lose, and be kept as conflicts"
    for lost in report.loses:
        yield f"  e.g. {lost.record_id} {lost.field}: '{lost.stands}' stands, '{lost.loses}' loses"
    for trigger in report.triggers:
        yield f"the portal's trigger {trigger.name} would fire {counted(trigger.calls, 'time')}"
        if trigger.guard:
            yield (
                "  to keep it from telling old news: `reconciler adopt --guard-trigger "
                f"{trigger.name}`, which is"
            )
            yield from (f"    {statement};" for statement in trigger.guard)
    for row in report.rows:
        yield f"triggers would have {counted(row['rows'], 'row')} {row['kind']} in {row['table']}"
    if report.unexamined:
        yield f"{counted(report.unexamined, 'lead')} could not be tried: somebody held them"
    yield from report.notes
    yield f"about {counted(report.calls, 'call')} to Airtable, {report.seconds} s at the least"
