"""What runs did, as their commands tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from reconciler_dagster.core.plan import NEW_LEAD

if TYPE_CHECKING:  # with Dagster
    from reconciler_dagster.orchestration.execute import ClientResult


def exit_code(results: Iterable[ClientResult]) -> int:
    """0 all well, 1 something needs a person, 2 something is set up wrongly."""
    codes = [2 if r.misconfigured else 1 if r.attention else 0 for r in results]
    return max(codes, default=0)


def show(result: ClientResult, *, dry_run: bool) -> None:
    """What a run did, or what a dry run would do, for a person."""
    counts = {name.replace("_", " "): n for name, n in asdict(result.counts).items() if n}
    summary = ", ".join(f"{name}: {n}" for name, n in counts.items())
    click.echo(f"{result.client.name} ({result.client.id}): {summary}")
    if not dry_run or not result.change_set:
        return
    plan = result.change_set
    click.echo(f"  would insert {plan['inserts']} leads")
    for side, name in (("to_postgres", "Postgres"), ("to_airtable", "Airtable")):
        for column, n in sorted(plan[side].items()):
            click.echo(f"  would write {column} of {n} leads in {name}")
    for column, n in sorted(plan["conflicts"].items()):
        click.echo(f"  would keep the portal's {column} of {n} leads in the conflict log")
    for cell in plan["sample"]:
        change = "" if cell["field"] == NEW_LEAD else f": '{cell['old']}' -> '{cell['new']}'"
        click.echo(f"  e.g. {cell['record_id']} {cell['field']} in {cell['side']}{change}")
