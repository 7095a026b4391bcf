"""Adopting a client: rehearse its first contact, show, and on approval carry out what was shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import Any
from uuid import uuid4

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.adoption import State
from reconciler_dagster.core.rehearsal import Report, moved, needs_a_look
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.first_contact import rehearse_client
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.execute import ClientResult, sync_clients
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.resources import EXPLAINED
from reconciler_dagster.postgres import adoption, rehearsals
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.syncs.in_force import definitions, maps
from reconciler_dagster.telling import told


@dataclass(frozen=True)
class Adoption(ClientResult):
    """``report``: what was rehearsed just now; None where there was nothing to rehearse.
    ``refusing``: why what was asked for was not done.
    """

    state: State = State.NEW
    report: Report | None = None
    refusing: list[str] = field(default_factory=list)

    def as_json(self, *, dry_run: bool = False) -> dict[str, Any]:
        """The promised shape of a dry run, with the state and the rest of the report."""
        report = asdict(self.report) if self.report else {}
        change_set = report.pop("change_set", self.change_set)
        return super().as_json() | {
            "change_set": change_set,
            "adoption": self.state.value,
            "report": report,
            "refusing": self.refusing,
        }


def adopt_clients(
    settings: Settings,
    instance: dg.DagsterInstance,
    client_id: str | None,
    by: str,
    *,
    approve: bool,
) -> Iterator[Adoption]:
    """Rehearse one client, or all that are new or have new syncs; with ``approve`` also adopt them
    and wait for the first contact. Raises ConfigurationError before anything is done where a
    setting is missing.
    """
    portal = open_portal(settings)
    settings.require_api_key()
    clients = chosen_clients(portal, client_id)
    with portal.connect() as connection:
        stands = {client.id: adoption.standing(connection, client.id) for client in clients}
    names = definitions(settings)
    for client in clients:
        stand = stands[client.id]
        if client_id is None and stand.state is not State.NEW and not stand.new_syncs(names):
            continue

        def carry_out(chosen: Client = client) -> ClientResult:
            (result,) = sync_clients(settings, instance, chosen.id, SyncConfig())
            return result

        yield adopt_client(settings, portal, client, by, carry_out if approve else None)


def adopt_client(
    settings: Settings,
    portal: Engine,
    client: Client,
    by: str,
    carry_out: Callable[[], ClientResult] | None,
) -> Adoption:
    """One client. ``carry_out``: has the first contact done; None: only rehearse.

    Never raises what has a sentence for a person: the result holds it.
    """
    with portal.connect() as connection:
        stands = adoption.standing(connection, client.id)
    if stands.state is State.PAUSED:
        return Adoption(client, Counts(), [stands.why_not or ""], state=stands.state)
    syncs = maps(settings, client.base_id)
    if stands.state is State.ADOPTED:
        syncs = {name: syncs[name] for name in stands.new_syncs(syncs)}
    if not syncs:
        return Adoption(client, Counts(), state=stands.state)
    try:
        report, counts = _rehearse(settings, portal, client, syncs.values())
    except EXPLAINED as error:
        logging.getLogger(__name__).debug(client.name, exc_info=True)
        wrong = isinstance(error, ConfigurationError)
        return Adoption(client, Counts(), [told(error)], misconfigured=wrong)
    with portal.begin() as connection:
        shown = rehearsals.shown(connection, client.id)
        rehearsal_id = rehearsals.keep(connection, client.id, report)
    refusing = _refusing(shown, report) if carry_out else []
    if carry_out is None or refusing:
        wrong, attention = bool(report.stopped), _attention(report) + refusing
        return Adoption(client, counts, attention, wrong, report=report, refusing=refusing)
    with portal.begin() as connection:
        rehearsals.approve(connection, rehearsal_id, by)
        adoption.adopt(connection, client.id, by, rehearsal_id, syncs)
    done = carry_out()
    counts.add(done.counts)
    return Adoption(
        client,
        counts,
        done.attention + _differences(portal, client),
        done.misconfigured,
        done.change_set,
        State.ADOPTED,
        report,
    )


def _rehearse(
    settings: Settings, portal: Engine, client: Client, syncs: Iterable[SyncMap]
) -> tuple[Report, Counts]:
    run_id, total = f"rehearsal {uuid4()}", Counts()
    sessions = [
        Session(settings, portal, client, sync, run_id, "rehearsal", dry_run=True) for sync in syncs
    ]
    report = rehearse_client(sessions)
    for session in sessions:
        session.counts.airtable_calls = session.calls
        total.add(session.counts)
    return report, total


def _refusing(shown: rehearsals.Kept | None, now: Report) -> list[str]:
    """Why an approval does not hold; empty where it does."""
    if shown is None:
        why, how = needs_a_look(now), "Nobody has seen what would be done, and it needs a look"
    else:
        at = f"{shown.rehearsed_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        why, how = moved(shown.report, now), f"More would be done now than was shown at {at}"
    if not why:
        return []
    return [f"{how}: {'; '.join(why)}. Nothing was written: look at the report, and approve again."]


def _attention(report: Report) -> list[str]:
    """What a person has to know of a rehearsal, whatever is decided."""
    refusals = report.change_set["refusals"]
    return [
        *report.stopped,
        *(
            f"{why['cells']} cells of {why['field']} would be refused by "
            f"{why['side'].capitalize()}: {why['reason']}"
            for why in refusals
        ),
    ]


def _differences(portal: Engine, client: Client) -> list[str]:
    """Where it was not as the rehearsal had said."""
    with portal.connect() as connection:
        kept = rehearsals.latest(connection, client.id)
    return kept.outcome.other_than(kept.report) if kept and kept.outcome else []
