"""Creation months are listed in groups, each group as one window, and staged for what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice

import dagster as dg

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.parts import PART
from reconciler_dagster.core.source import NotLetIn
from reconciler_dagster.core.windows import grouped, months_scope, unknown_grouped
from reconciler_dagster.engine.listing import CHAINS, Progress, Window, list_window
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import staging
from reconciler_dagster.postgres import windows as known

# Leads listed as one window, and windows listed at a time: one chain of pages cannot use up the
# call budget (about 150 ms a call against 210 ms a slot, and the pages have to be stored too).
LISTED_LEADS = 2 * PART
LISTED_AT_A_TIME = 2
# At first contact a window is mostly one chain, so that fewer end in a page that is not full.
FIRST_LISTED_AT_A_TIME = CHAINS
LAST_CHAINS = 2
# Windows that may be listed and wait for their run, besides those that are being listed; their rows
# lie in Postgres.
AHEAD = 1
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
    sample: Sequence[datetime] = (),
    chains: int = 1,
) -> Listed:
    """List some months as one window; for a thread of its own. ``sample``, ``chains``: see
    ``list_window``.
    """
    scope = months_scope(months[0], months[-1])
    return Listed(months, list_window(session, scope, key, progress, sample, chains))


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


def listed_ahead(
    sessions: list[Session], groups: list[list[str]], samples: Mapping[str, Sequence[datetime]]
) -> Iterator[tuple[list[str], str | None]]:
    """The groups as the listings of all their syncs come in, each with the key that it was listed
    under; the next ones are being listed meanwhile. None where that failed: the run tries itself,
    and records why it cannot.
    """
    for session in sessions:
        session.users  # noqa: B018 - read once, before there are threads

    def list_one(session: Session, number: int, listed_as: str) -> None:
        key, sample = ahead_key_of(session, listed_as), samples.get(session.map.name, ())
        # While the last ones are listed, fewer go on at a time than the call rate would bear.
        chains = 1 if number + at_a_time <= len(groups) else LAST_CHAINS
        listed = list_months(session, groups[number], key, sample=sample, chains=chains)
        stage_listed(session, [listed], key)

    def begin(number: int) -> list[Future[None]]:
        as_ = staging_key.beneath(sessions[0].run_id, number)
        return [pool.submit(list_one, session, number, as_) for session in sessions]

    at_a_time = FIRST_LISTED_AT_A_TIME if samples else LISTED_AT_A_TIME
    with ThreadPoolExecutor(at_a_time, thread_name_prefix="list") as pool:
        numbers = iter(range(len(groups)))
        waiting = {n: begin(n) for n in islice(numbers, at_a_time + AHEAD)}
        while waiting:
            ended = (n for n, each in waiting.items() if all(part.done() for part in each))
            if (number := next(ended, None)) is None:
                parts = [part for each in waiting.values() for part in each]
                wait([part for part in parts if not part.done()], return_when=FIRST_COMPLETED)
                continue
            failed = [error for part in waiting.pop(number) if (error := part.exception())]
            waiting |= {n: begin(n) for n in islice(numbers, 1)}
            for error in failed:
                if isinstance(error, NotLetIn):  # every run would be told so, at a call
                    raise error
            yield (
                groups[number],
                None if failed else staging_key.beneath(sessions[0].run_id, number),
            )
