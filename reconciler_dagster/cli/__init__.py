"""The command line: `reconciler`."""

from reconciler_dagster.cli.group import main

__all__ = ["main"]
