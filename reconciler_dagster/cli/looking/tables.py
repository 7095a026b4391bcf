"""What the doctor looks at of the portal's tables, before anything is migrated or written."""

from __future__ import annotations

from sqlalchemy import Engine

from reconciler_dagster.cli.looking.finding import State
from reconciler_dagster.config import Settings
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.portal.fit import problems
from reconciler_dagster.portal.tables import look
from reconciler_dagster.syncs.in_force import maps


def fit(settings: Settings, portal: Engine) -> tuple[State, str]:
    """Whether they are where a run looks for them, and as it needs them."""
    if settings.listed_clients or MAIN not in (syncs := maps(settings)):
        return (
            "ok",
            "no portal is used: clients are listed in the settings, or leads are not synced",
        )
    with portal.connect() as connection:
        found = look(connection)
    wrong = problems(found, syncs[MAIN].fields)
    if wrong:
        state: State = "failed" if any(problem.stops for problem in wrong) else "warning"
        return state, "\n".join(map(str, wrong))
    if found.is_empty:
        return "ok", "there is no portal yet: `reconciler migrate` makes its tables, empty"
    return "ok", "the tables are as a run needs them"
