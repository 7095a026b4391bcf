"""Which deployments use this database. Two of them would do everything twice."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

# A daemon gives a sign of life every 15 s. After this long it counts as gone.
GONE_AFTER_SECONDS = 600.0


@dataclass(frozen=True)
class Deployment:
    """One whose sensors run. ``id``: of its Dagster storage, which all its processes share.
    ``environment``: as RECONCILER_ENVIRONMENT says.
    """

    id: str
    environment: str
    host: str
    ui_url: str

    def __str__(self) -> str:
        return f"{self.environment} on {self.host} ({self.ui_url})"


def beat(connection: Connection, own: Deployment) -> None:
    """Give a sign of life, and forget those that have gone long ago."""
    connection.execute(
        text(
            "INSERT INTO reconciler.deployment (id, environment, host, ui_url) "
            "VALUES (:id, :environment, :host, :ui_url) "
            "ON CONFLICT (id) DO UPDATE SET environment = excluded.environment, "
            "host = excluded.host, ui_url = excluded.ui_url, seen_at = clock_timestamp()"
        ),
        vars(own),
    )
    connection.execute(
        text(
            "DELETE FROM reconciler.deployment "
            "WHERE seen_at < clock_timestamp() - interval '30 days'"
        )
    )


def seen_lately(connection: Connection) -> list[Deployment]:
    """All that are at work, the oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, environment, host, ui_url FROM reconciler.deployment "
            "WHERE seen_at > clock_timestamp() - make_interval(secs => :seconds) "
            "ORDER BY first_seen_at, id"
        ),
        {"seconds": GONE_AFTER_SECONDS},
    )
    return [Deployment(*row) for row in rows]


def crowd(connection: Connection) -> str | None:
    """What to tell where two deployments use this database at the same time; None while it is one.

    The lease keeps them from writing for a client at the same time, so nothing is lost: but each
    spends calls, and each knows only its own runs.
    """
    found = seen_lately(connection)
    if len(found) < 2:
        return None
    named = "; ".join(map(str, found))
    return (
        f"{len(found)} deployments start runs on this portal database: {named}. End all but one of "
        "them, or give a copy a database and bases of its own. Nothing is written twice meanwhile."
    )
