"""Commands whose imports take longer than what they do, handed to a process that has them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from reconciler_dagster.orchestration.home import home_folder
from reconciler_dagster.orchestration.warm import command
from reconciler_dagster.orchestration.warm.protocol import WARM


def hand_over(context: click.Context) -> None:
    """Have a command executed by the warm process that `up` or a launcher has left, and end with
    its exit code; does nothing where there is none, or where this is the warm process.
    """
    if context.obj == WARM:
        return
    called = [*_options(context.find_root()), str(context.info_name), *_options(context)]
    code = command.execute(home_folder(), called)
    if code is not None:
        raise click.exceptions.Exit(code)


def _options(context: click.Context) -> Iterator[str]:
    """As they were given on the command line."""
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if value is True:
            yield option.opts[0]
        elif value not in (None, False):
            yield from (option.opts[0], value)
