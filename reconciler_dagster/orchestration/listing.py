"""Creation months are listed in groups, each group as one window, and staged for what follows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.parts import PART
from reconciler_dagster.core.windows import grouped, months_scope, unknown_grouped
from reconciler_dagster.engine.listing import Course, Progress, Window, list_window
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import staging
from reconciler_dagster.postgres import windows as known

if TYPE_CHECKING:
    import dagster as dg

# Leads listed as one window, and windows listed at a time where a run lists its own.
LISTED_LEADS = 2 * PART
LISTED_AT_A_TIME = 2
# A run with this tag finds its windows listed already, staged under the tag's value.
LISTED_AHEAD_TAG = "reconciler/listed_ahead"


@dataclass(frozen=True)
class Listed:
    """Some months, and the one window that they were listed as."""

    months: list[str]
    window: Window


def list_groups(
    context: dg.AssetExecutionContext, session: Session, months: Sequence[str]
) -> list[Listed]:
    """The months in groups, several of them listed at a time."""
    with session.engine.connect() as connection:
        leads = known.leads_by_month(connection, session.pair)
    groups = grouped(months, leads, LISTED_LEADS) if leads else unknown_grouped(months)
    session.bound, session.users  # noqa: B018 - read once, before there are threads

    def one(number: int) -> Listed:
        group = groups[number]
        expected = sum(leads.get(month, 0) for month in group)

        def progress(records: int, calls: int) -> None:
            if calls % 10 == 0:
                about = f" of about {expected}" if expected else ""
                context.log.info(
                    f"{session.client.name}, {group[0]} to {group[-1]}: "
                    f"{records}{about} records in {calls} calls"
                )

        return list_months(session, group, staging_key.beneath(key_of(session), number), progress)

    with ThreadPoolExecutor(LISTED_AT_A_TIME, thread_name_prefix="list") as pool:
        return list(pool.map(one, range(len(groups))))


def list_months(
    session: Session,
    months: list[str],
    key: str,
    progress: Progress | None = None,
    course: Course | None = None,
) -> Listed:
    """List some months as one window; for a thread of its own. See ``list_window``."""
    scope = months_scope(months[0], months[-1])
    return Listed(months, list_window(session, scope, key, progress, course))


def key_of(session: Session) -> str:
    """What a run's listing is staged under: a run may have several clients."""
    return staging_key.beneath(session.key, session.client.id)


def ahead_key_of(session: Session, listed_as: str) -> str:
    """What a listing ahead of a run is staged under. ``listed_as``: the value of the run's tag."""
    return staging_key.of_run(listed_as, session.map.name)


def stage_listed(session: Session, listed: list[Listed], key: str) -> None:
    """Stage what was listed, for the step or the run that goes on with it."""
    with session.engine.begin() as connection:
        data = {"windows": [asdict(one) for one in listed]}
        staging.stage_pull(connection, key, session.client.id, data)


def staged(session: Session, key: str) -> list[Listed]:
    """What was staged; LookupError where nothing was, or by a release that staged otherwise."""
    with session.engine.connect() as connection:
        data = staging.pull(connection, key)
    try:
        return [Listed(one["months"], Window.from_json(one["window"])) for one in data["windows"]]
    except (KeyError, TypeError):
        raise LookupError(key) from None
