"""The listener's sign of life, for whoever asks whether the doorbell works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

# A listener gives a sign of life every 15 s.
SILENT_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Doorbell:
    """``word``: off, listening, deaf or silent. ``sentence``: what that means, for a person."""

    word: str
    sentence: str


OFF = Doorbell("off", "no listener runs: a request is found by the sensor, within seconds")


def note(connection: Connection, process: str, *, hears: bool) -> None:
    """Give a sign of life."""
    connection.execute(
        text(
            "INSERT INTO reconciler.listener (process, hears) VALUES (:process, :hears) "
            "ON CONFLICT (single) DO UPDATE SET process = excluded.process, "
            "hears = excluded.hears, seen_at = clock_timestamp()"
        ),
        {"process": process, "hears": hears},
    )


def forget(connection: Connection, process: str) -> None:
    """It has been ended on purpose."""
    connection.execute(
        text("DELETE FROM reconciler.listener WHERE process = :process"), {"process": process}
    )


def doorbell(connection: Connection) -> Doorbell:
    """Whether a request rings."""
    row = connection.execute(
        text(
            "SELECT process, hears, extract(epoch FROM clock_timestamp() - seen_at) "
            "FROM reconciler.listener"
        )
    ).first()
    if row is None:
        return OFF
    if row[2] > SILENT_AFTER_SECONDS:
        return Doorbell(
            "silent",
            f"the listener ({row[0]}) has given no sign of life for {row[2]:.0f} s, so the sensor "
            "finds the requests: start `reconciler listen` again",
        )
    if not row[1]:
        return Doorbell(
            "deaf",
            "notices do not arrive, so the listener looks every second: behind a pooler in "
            "transaction mode nothing can be listened to; give `reconciler listen` a DATABASE_URL "
            "that leads to Postgres itself",
        )
    return Doorbell("listening", f"a request starts at once ({row[0]})")


def silent_since(connection: Connection) -> datetime | None:
    """The last sign of life of a listener that should be there and gives none any more."""
    return connection.execute(
        text(
            "SELECT seen_at FROM reconciler.listener "
            "WHERE seen_at < clock_timestamp() - make_interval(secs => :after)"
        ),
        {"after": SILENT_AFTER_SECONDS},
    ).scalar()
