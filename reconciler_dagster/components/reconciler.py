"""The component: what its `defs.yaml` says stands for the settings of the same meaning."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import os

import dagster as dg
from pydantic import Field

from reconciler_dagster.config import Settings


class Reconciler(dg.Component, dg.Model, dg.Resolvable):
    """Keeps Airtable bases and Postgres tables in step, both ways.

    Adds the engine's assets, a group for each sync, its jobs, schedules and sensors to the project.
    Which fields belong together is said by sync definitions, one YAML file each (`reconciler map
    schema` prints what they may say). Secrets come from the environment: AIRTABLE_API_KEY and
    DATABASE_URL.
    """

    syncs_folder: str | None = Field(
        None,
        description="The folder of the sync definitions, beside this file; "
        "RECONCILER_SYNCS_FOLDER where that is set.",
    )
    syncs: list[str] | None = Field(
        None,
        description="Which syncs run, by name; all of the folder unless said. RECONCILER_SYNCS "
        "where that is set.",
    )
    clients: dict[str, str] | None = Field(
        None,
        description="Each client's name and the id of its base, where no portal keeps a table of "
        "them. RECONCILER_CLIENTS where that is set.",
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The engine's definitions. Raises ConfigurationError where a sync definition, or a
        setting, is wrong.
        """
        from reconciler_dagster.definitions import wired
        from reconciler_dagster.syncs.in_force import definitions

        folder = self.syncs_folder and str((context.path / self.syncs_folder).resolve())
        clients = ", ".join(f"{name}={base_id}" for name, base_id in (self.clients or {}).items())
        # Runs, ticks and commands read their settings from the environment, each in a process that
        # has loaded these definitions: so what stands here is put there.
        for variable, value in (
            ("RECONCILER_SYNCS_FOLDER", folder),
            ("RECONCILER_SYNCS", ", ".join(self.syncs or ())),
            ("RECONCILER_CLIENTS", clients),
        ):
            if value and not os.environ.get(variable):
                os.environ[variable] = value
        return wired(definitions(Settings.load()).values())
