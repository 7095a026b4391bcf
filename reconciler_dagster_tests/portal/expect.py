"""What is expected again and again."""

from __future__ import annotations

from typing import Any

import httpx
from sqlalchemy import Engine, text


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The answer is a problem document of this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "status", "detail"} <= document.keys()
    assert response.headers["x-content-type-options"] == "nosniff"
    return document


def ok(response: httpx.Response, status: int = 200) -> Any:
    """The answer is a success of this status."""
    assert response.status_code == status, response.text
    return response.json()


def rows(db: Engine, statement: str, **parameters: Any) -> list[Any]:
    """What a statement finds now."""
    with db.connect() as connection:
        return list(connection.execute(text(statement), parameters))


def scalar(db: Engine, statement: str, **parameters: Any) -> Any:
    """The one value that a statement finds now."""
    return rows(db, statement, **parameters)[0][0]


def engine_writes(db: Engine, statement: str, **parameters: Any) -> None:
    """A write as the engine makes it: unnoticed by the trigger."""
    with db.begin() as connection:
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        connection.execute(text(statement), parameters)


def log(db: Engine, lead_id: object) -> list[str]:
    """The kinds of a lead's log entries, the oldest first."""
    found = rows(
        db,
        "SELECT event_type FROM lead_activity_log WHERE lead_id = :l ORDER BY timestamp, id",
        l=lead_id,
    )
    return [row.event_type for row in found]
