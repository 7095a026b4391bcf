"""`reconciler` itself: which commands there are, and what becomes of an error.

Commands are imported when they are called: Dagster, pandas and pyairtable take two seconds, and
`reconciler --help` should not.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from reconciler_dagster.outlets import INTERRUPTED, guard, guarded_stderr, quiet_end

# Name: where it is, and its line in the help. A test holds the lines against the commands.
COMMANDS = {
    "up": ("reconciler_dagster.cli.up:up", "Start everything that is not configured, on loopback."),
    "listen": (
        "reconciler_dagster.cli.listen:listen",
        "Start a run as soon as a sync is asked for; `up` has this already.",
    ),
    "adopt": (
        "reconciler_dagster.cli.adopt:adopt",
        "Rehearse what adopting a client would do, and with --approve do it.",
    ),
    "run": ("reconciler_dagster.cli.run:run", "Reconcile once, for all active clients or one."),
    "quarantine": (
        "reconciler_dagster.cli.quarantine:quarantine",
        "List the cells that could not be carried over, and have them tried again.",
    ),
    "great-sync": (
        "reconciler_dagster.cli.great_sync:great_sync",
        "Compare every lead on both sides, repair what differs, and find deletions.",
    ),
    "audit": (
        "reconciler_dagster.cli.audit:audit",
        "Prove the stalest leads, as many as the calls of this hour allow.",
    ),
    "status": (
        "reconciler_dagster.cli.status:status",
        "Say how far Airtable, Postgres and the baseline agree.",
    ),
    "history": (
        "reconciler_dagster.cli.history:history",
        "Show every change that was carried over in a lead, newest first.",
    ),
    "conflicts": (
        "reconciler_dagster.cli.conflicts:conflicts",
        "Show the values that lost against the other side, newest first.",
    ),
    "deletions": (
        "reconciler_dagster.cli.deletions:deletions",
        "Leads that Airtable no longer has, where a person must decide.",
    ),
    "pause": (
        "reconciler_dagster.cli.pause:pause",
        "Write nothing of a client until it is resumed.",
    ),
    "resume": (
        "reconciler_dagster.cli.pause:resume",
        "Write a paused client again; what was edited meanwhile is carried over.",
    ),
    "notify": (
        "reconciler_dagster.cli.notify:notify",
        "Who is told when something is wrong.",
    ),
    "doctor": ("reconciler_dagster.cli.doctor:doctor", "Check settings and surroundings."),
    "deploy": (
        "reconciler_dagster.cli.deploy:deploy",
        "Print files for a deployment: Dagster's settings, systemd units, Kubernetes.",
    ),
    "serve": (
        "reconciler_dagster.cli.serve:serve",
        "Run one process of a deployment in the foreground; SIGTERM ends it in order.",
    ),
    "tokens": (
        "reconciler_dagster.cli.tokens:tokens",
        "Say which Airtable token each client has: its own, or AIRTABLE_API_KEY.",
    ),
    "migrate": (
        "reconciler_dagster.cli.migrate:migrate",
        "Bring the portal's database up to date.",
    ),
    "map": (
        "reconciler_dagster.cli.map:map_",
        "Draft, check and show sync definitions: which Airtable field is which column.",
    ),
    "psql": ("reconciler_dagster.cli.psql:psql", "Open the portal's database in psql."),
    "sandbox": (
        "reconciler_dagster.sandbox.command:sandbox",
        "Run an Airtable-compatible server with a base of made-up leads.",
    ),
}


class CommandLine(click.Group):
    """Loads a command when it is called, and turns its errors into one line and an exit code.

    0: done. 1: failed, or something needs a person. 2: the settings or the call are wrong.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the whole program: nothing secret gets to stderr, and who stops reading ends it."""
        # Imports make a few hundred thousand objects, none of which is garbage: looking for it
        # among them, again and again, is a quarter of what a command takes.
        gc.set_threshold(50_000, 20, 20)
        # And at the end, when Python would look through all of them three times more.
        atexit.register(gc.freeze)
        with guarded_stderr(), quiet_end():
            return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from reconciler_dagster.config import ConfigurationError
        from reconciler_dagster.core.adoption import NotAdopted
        from reconciler_dagster.core.guard import Unfit

        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except ConfigurationError as error:
            _complain(str(error))
            ctx.exit(2)
        except (Unfit, NotAdopted) as error:
            _complain(str(error))
            ctx.exit(1)
        except Exception as error:
            from reconciler_dagster.cli.output import keep_trace
            from reconciler_dagster.telling import told

            if ctx.params["debug"]:
                traceback.print_exc()
            else:
                kept = keep_trace()
                sentence = told(error, kept)
                there = kept in sentence
                _complain(sentence if there else f"{sentence} (the whole story: {kept})")
            ctx.exit(1)


def _complain(sentence: str) -> None:
    click.echo(f"Error: {sentence}", err=True)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reconciler")
@click.option("--debug", is_flag=True, help="Log more, and show the whole trace of an error.")
def main(debug: bool) -> None:
    """Keep Airtable bases and a Postgres lead portal in agreement, both ways.

    With nothing set, `reconciler up` starts a demo of everything. Settings come from the
    environment and from a file .env in the current folder; see .env.example.
    """
    if Path(".env").is_file():
        from dotenv import load_dotenv

        try:
            load_dotenv(".env")
        except (OSError, ValueError):  # not decoded, or a null character
            raise click.UsageError(
                ".env cannot be read: expected a text file in UTF-8, one NAME=value a line."
            ) from None
    guard()
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
