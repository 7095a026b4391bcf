"""The dead man's switch: a monitor outside is called after a success, and misses the call else."""

from __future__ import annotations

import logging
from datetime import datetime
from urllib.parse import quote

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import starts_by_itself
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.postgres.adoption import adopted_clients
from reconciler_dagster.postgres.outcomes import DELTAS, last_successes
from reconciler_dagster.telling import told

log = logging.getLogger("reconciler_dagster.notices")

HEARTBEAT_TIMEOUT = 10.0
_OF_EACH = "{client}"
_ALL = ""


def successes(connection: Connection) -> dict[str, datetime | None]:
    """When the last delta of each client that may be written ended well, by id; None for never."""
    found = last_successes(connection, DELTAS)
    clients, _ = adopted_clients(connection)
    return {client.id: found.get(client.id) for client in clients}


def beat(portal: Engine, settings: NoticeSettings) -> None:
    """Call the monitor, if there was a success since it was called last. With one address for all,
    only while no client is without a success for too long.
    """
    if settings.heartbeat_url is None or not starts_by_itself():
        return
    url = settings.heartbeat_url.get_secret_value()
    with portal.connect() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        of_clients = successes(connection)
        sent = {
            row.client: row.success_at
            for row in connection.execute(text("SELECT * FROM reconciler.heartbeat"))
        }
    if _OF_EACH in url:
        due = {client: moment for client, moment in of_clients.items() if moment is not None}
    elif of_clients and all(
        moment is not None and now - moment <= settings.success_within(client)
        for client, moment in of_clients.items()
    ):
        due = {_ALL: max(moment for moment in of_clients.values() if moment is not None)}
    else:
        due = {}
    for client, moment in due.items():
        if client not in sent or moment > sent[client]:
            if not _call(url.replace(_OF_EACH, quote(client, safe=""))):
                break
            _note(portal, client, moment)


def _call(url: str) -> bool:
    import requests  # slow to import

    try:
        answer = requests.get(url, timeout=HEARTBEAT_TIMEOUT, headers={"User-Agent": "reconciler"})
    except (OSError, ValueError) as error:
        log.warning("the outside monitor could not be called: %s", told(error))
        return False
    if answer.status_code >= 400:
        log.warning("the outside monitor answered HTTP %s", answer.status_code)
    return answer.status_code < 400


def _note(portal: Engine, client: str, moment: datetime) -> None:
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.heartbeat VALUES (:client, :moment, clock_timestamp()) "
                "ON CONFLICT (client) DO UPDATE SET success_at = excluded.success_at, "
                "sent_at = excluded.sent_at"
            ),
            {"client": client, "moment": moment},
        )
