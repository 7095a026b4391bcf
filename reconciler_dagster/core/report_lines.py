"""A rehearsal's report in lines for a person, whoever shows them."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler_dagster.core.rehearsal import Report
from reconciler_dagster.core.words import counted


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
        yield f"  e.g. {lost.record_id} {lost.field}: '{lost.stands}' wins, '{lost.loses}' loses"
    for trigger in report.triggers:
        yield f"the portal's trigger {trigger.name} would fire {counted(trigger.calls, 'time')}"
        if trigger.guard:
            yield (
                "  to keep it from logging old events as new: `reconciler adopt --guard-trigger "
                f"{trigger.name}`, which is"
            )
            yield from (f"    {statement};" for statement in trigger.guard)
    for row in report.rows:
        yield f"triggers would have {counted(row['rows'], 'row')} {row['kind']} in {row['table']}"
    for row in report.follows:
        yield (
            f"the definition's derived columns and events would have up to "
            f"{counted(row['rows'], 'row')} {row['kind']} in {row['table']}"
        )
    if report.unexamined:
        yield (
            f"{counted(report.unexamined, 'lead')} could not be tried: somebody else had them "
            "locked"
        )
    yield from report.notes
    yield f"about {counted(report.calls, 'call')} to Airtable, {report.seconds} s at the least"
