"""`reconciler notify`: who is told when something is wrong, and whether they can be reached."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from reconciler_dagster.cli.output import as_one_object, echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.notices.channels import channels
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import Message, Surroundings

NOBODY = (
    "No notice is sent to anybody: set an address, e.g. RECONCILER_NOTIFY_SLACK_URL "
    "(docs/notices.md has them all)."
)


@click.group()
def notify() -> None:
    """Who is told when something is wrong."""


@notify.command("test")
@as_one_object
def test(as_json: bool) -> None:
    """Send one notice by each channel that is set, and say what came of it.

    Sends whatever the hour. Exit code 1: one was not taken; 2: no channel is set.
    """
    settings, own = Settings.load(), NoticeSettings.load()
    ways = channels(own)
    if not ways:
        raise ConfigurationError(NOBODY)
    name = f"test-{int(time.time())}"
    around = Surroundings(settings.dagster_ui_url, settings.portal_url)
    answers = {channel: send(_test_message(around), name) for channel, send in ways.items()}
    rows = [
        {"channel": channel, "taken": answer.taken, "answer": answer.words}
        for channel, answer in answers.items()
    ]
    if as_json:
        echo_json({"channels": rows})
    else:
        for row in rows:
            verb = "taken" if row["taken"] else "not taken"
            click.echo(f"{row['channel']:<10} {verb}: {row['answer']}")
    raise click.exceptions.Exit(0 if all(row["taken"] for row in rows) else 1)


def _test_message(around: Surroundings) -> Message:
    return Message(
        notice=0,
        kind="test",
        # An end: it opens no incident that somebody would have to close.
        what="recovered",
        severity="info",
        title="This is a test: nothing is wrong",
        happened="Somebody has run `reconciler notify test`, and this way works.",
        whom="nobody",
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        todo="",
        link=around.link("notices"),
        count=0,
    )


@notify.command("list")
@as_one_object
def list_notices(as_json: bool) -> None:
    """List the notices that are open and the last ones that are over, and who got them."""
    from reconciler_dagster.notices import store
    from reconciler_dagster.notices.decide import State
    from reconciler_dagster.notices.kinds import KINDS
    from reconciler_dagster.notices.words import happened
    from reconciler_dagster.postgres.portal import open_portal

    with open_portal(Settings.load()).connect() as connection:
        found = store.latest(connection)
    if as_json:
        rows = [
            {
                "id": notice.id,
                "kind": notice.kind,
                "severity": KINDS[notice.kind].severity.name.lower(),
                "state": notice.state.value,
                "happened": KINDS[notice.kind].happened,
                "since": notice.since.isoformat(),
                "clients": [name for name in notice.affected if name],
                "told": deliveries,
            }
            for notice, deliveries in found
        ]
        echo_json({"notices": rows})
        return
    for notice, deliveries in found:
        whom = ", ".join(filter(None, notice.affected)) or "the whole deployment"
        kind, over = KINDS[notice.kind], notice.state is State.OVER
        what = kind.happened if over else happened(notice)
        click.echo(
            f"{'over' if over else 'open'}  since {notice.since:%Y-%m-%d %H:%M}  {whom}: {what}"
        )
        if not over:
            click.echo(f"    {kind.todo}")
        for each in deliveries:
            outcome = each["answer"] or "waits"
            click.echo(f"    {each['what']} by {each['channel']}: {outcome}")
    if not found:
        click.echo("No notice yet: nothing was wrong.")
