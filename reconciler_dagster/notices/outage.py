"""The one notice that Postgres cannot keep: that it is down. It is kept in a file meanwhile."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from zlib import crc32

from reconciler_dagster.config import ConfigurationError, state_dir
from reconciler_dagster.notices.decide import Cause, Notice, State, step
from reconciler_dagster.notices.routes import wait_after
from reconciler_dagster.notices.words import Message, message, severity_of
from reconciler_dagster.processes import this_process

if TYPE_CHECKING:
    from reconciler_dagster.notices.keeper import Keeper

KIND = "postgres_down"


class Outage:
    """Keeps the notice and its deliveries in the state folder: a restart tells nobody twice."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._lock = RLock()
        self._path: Path | None = None
        with suppress(ConfigurationError):
            self._path = state_dir() / "outage.json"
        self._notice, self._waiting = self._read()

    def look(self, problem: str | None) -> None:
        """What becomes of the notice. ``problem``: why Postgres cannot be used; None: it can."""
        if problem is None and self._notice is None and not self._waiting:
            return
        now = datetime.now(UTC)
        with self._lock:
            self._step([] if problem is None else [Cause(KIND, "", "", now, problem)], now)
            self._write()
        self._tell(now)

    def _step(self, causes: list[Cause], now: datetime) -> None:
        before = [] if self._notice is None else [self._notice]
        done = step(causes, before, now, self._keeper.notices.rules)
        self._notice = next(iter(done.notices), None)
        if self._notice is not None and self._notice.id is None:
            # Told apart from those of other hosts and times.
            number = crc32(f"{this_process()} {now.isoformat()}".encode())
            self._notice = replace(self._notice, id=10**12 + number)
        for event in done.events:
            assert self._notice is not None
            said = message(replace(event, notice=self._notice), now, self._keeper.around)
            self._have_told(said, now)
        if self._notice is not None and self._notice.state is State.OVER:
            self._notice = None

    def _have_told(self, said: Message, now: datetime) -> None:
        for route in self._keeper.notices.routes():
            due = route.due(severity_of(KIND), now)
            if due is not None:
                self._waiting = [w for w in self._waiting if w["channel"] != route.channel]
                self._waiting.append(
                    {
                        "channel": route.channel,
                        "message": said.as_json(),
                        "due": due.timestamp(),
                        "attempts": 0,
                    }
                )

    def _tell(self, now: datetime) -> None:
        with self._lock:
            due = [one for one in self._waiting if one["due"] <= now.timestamp()]
        self._keeper.tell({each["channel"]: partial(self._tell_one, each, now) for each in due})

    def _tell_one(self, each: dict[str, Any], now: datetime) -> None:
        send = self._keeper.ways.get(each["channel"])
        with self._lock:
            each["attempts"] += 1
            each["due"] = (now + wait_after(each["attempts"])).timestamp()
            self._write()
        said = Message(**each["message"])
        if send is None or send(said, f"{said.notice}-{said.what}").taken:
            with self._lock:
                self._waiting = [one for one in self._waiting if one is not each]
                self._write()

    def _read(self) -> tuple[Notice | None, list[dict[str, Any]]]:
        try:
            assert self._path is not None
            kept = json.loads(self._path.read_text())
            return _notice(kept["notice"]), list(kept["waiting"])
        except (AssertionError, OSError, ValueError, KeyError, TypeError):
            return None, []

    def _write(self) -> None:
        if self._path is None:
            return
        content = {"notice": _plain(self._notice), "waiting": self._waiting}
        fresh = self._path.with_suffix(".new")
        with suppress(OSError):
            if self._notice is None and not self._waiting:
                self._path.unlink(missing_ok=True)
                return
            fresh.write_text(json.dumps(content))
            fresh.replace(self._path)


def _plain(notice: Notice | None) -> dict[str, Any] | None:
    if notice is None:
        return None
    return {
        "since": notice.since.isoformat(),
        "state": notice.state.value,
        "changed_at": notice.changed_at.isoformat(),
        "told_at": notice.told_at and notice.told_at.isoformat(),
        "returns": notice.returns,
        "detail": notice.present[0].detail if notice.present else "",
        "id": notice.id,
    }


def _notice(kept: dict[str, Any] | None) -> Notice | None:
    if kept is None:
        return None
    since = datetime.fromisoformat(kept["since"])
    return Notice(
        KIND,
        "",
        since,
        State(kept["state"]),
        datetime.fromisoformat(kept["changed_at"]),
        (Cause(KIND, "", "", since, kept["detail"]),),
        ("",),
        datetime.fromisoformat(kept["told_at"]) if kept["told_at"] else None,
        kept["returns"],
        kept["id"],
    )
