"""`reconciler deploy`: files for those who run a deployment, all from one source."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from reconciler_dagster.deploying import kubernetes, systemd
from reconciler_dagster.orchestration.dagster_yaml import LAUNCHERS, as_yaml, content_for

_SLOTS = click.option(
    "--slots", type=click.IntRange(1, 1000), help="Runs at a time, if not the project's number."
)
_IMAGE = click.option("--image", default="reconciler:latest", show_default=True, help="The image.")


@click.group()
def deploy() -> None:
    """Print files for a deployment: Dagster's settings, systemd units, Kubernetes.

    All come from the project's dagster.yaml and the list of roles, so they cannot drift apart.
    """


@deploy.command("dagster-yaml")
@click.option("--launcher", type=click.Choice(LAUNCHERS), default="here", show_default=True)
@_SLOTS
def dagsteras_yaml(launcher: str, slots: int | None) -> None:
    """Print Dagster's settings for a way to run; for a DAGSTER_HOME of your own.

    Without one, each process makes its home by RECONCILER_RUN_LAUNCHER and RECONCILER_RUN_SLOTS.
    """
    chosen = next(one for one in LAUNCHERS if one == launcher)
    click.echo(as_yaml(content_for(chosen, slots, os.environ)), nl=False)


@deploy.command("helm-values")
@_IMAGE
@_SLOTS
def helm_values(image: str, slots: int | None) -> None:
    """Print values for Dagster's Helm chart; runs are Kubernetes Jobs."""
    click.echo(as_yaml(kubernetes.values(image, slots)), nl=False)


@deploy.command("manifests")
@_IMAGE
def manifests(image: str) -> None:
    """Print Kubernetes manifests for what the chart does not have: migration, portal, listener."""
    click.echo("---\n".join(as_yaml(one) for one in kubernetes.manifests(image)), nl=False)


@deploy.command("systemd")
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--environment-file", default="/etc/reconciler.env", show_default=True)
def systemd_(folder: Path, environment_file: str) -> None:
    """Write systemd units for one machine into a folder."""
    program = str(Path(sys.executable).with_name("reconciler"))
    for name, content in systemd.units(program, environment_file).items():
        (folder / name).write_text(content)
        click.echo(str(folder / name))
