"""How values, times and runs look to a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup
from sqlalchemy import RowMapping

from reconciler_dagster.core.due import GLANCE
from reconciler_dagster.redaction import redacted

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_PURPOSES = {
    "delta": "Delta",
    "manual": "Manual sync",
    "audit": "Audit",
    "great_sync": "Great Sync",
}


def value(canonical: Any) -> str | Markup:
    """A canonical value; an empty one is shown as such."""
    if canonical is None or canonical == "" or canonical == []:
        return Markup('<span class="empty">empty</span>')
    if isinstance(canonical, bool):
        return "yes" if canonical else "no"
    if isinstance(canonical, list):
        return ", ".join(str(item) for item in canonical)
    shown = str(canonical)
    if _TIME.fullmatch(shown):
        return f"{shown[:10]} {shown[11:19]} UTC"
    return shown if len(shown) <= 400 else f"{shown[:400]}…"


def when(moment: datetime | None) -> str | Markup:
    """A moment relative to now, with the exact time behind it."""
    if moment is None:
        return "never"
    exact = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), exact, ago(moment)
    )


def ago(moment: datetime) -> str:
    """How long ago, or in how long, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    units = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"))
    unit, name = next(each for each in units if size >= each[0])
    count = int(size // unit)
    length = f"{count} {name}{'s' if name == 'day' and count > 1 else ''}"
    return f"{length} ago" if seconds > 0 else f"in {length}"


def duration(seconds: float | None) -> str:
    """A run's time."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def purpose(name: str) -> str:
    """Why a run was made."""
    return _PURPOSES.get(name, name)


def kind_of_run(run: RowMapping) -> str:
    """What a run, or what stands for one, is called."""
    return "Glance" if run["scope"] == GLANCE else purpose(run["purpose"])


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def every(interval: timedelta) -> str:
    """How often something is done."""
    minutes = int(interval.total_seconds() // 60)
    if minutes == 60:
        return "every hour"
    return f"every {minutes} minutes" if minutes % 60 else f"every {minutes // 60} hours"


FILTERS: dict[str, Callable[..., Any]] = {
    "value": value,
    "when": when,
    "duration": duration,
    "every": every,
    "purpose": purpose,
    "kind_of_run": kind_of_run,
    "plural": plural,
    "told": lambda sentence: redacted(sentence or ""),
}


@dataclass(frozen=True)
class Bar:
    """One run in one strip of the chart, in per cent of the strip's height; drawn from below."""

    x: float
    width: float
    parts: tuple[tuple[str, float, float], ...]
    """Class, top and height of each part of the bar."""
    title: str


@dataclass(frozen=True)
class Strip:
    """One measure over the last runs: a row of bars."""

    name: str
    largest: str
    bars: tuple[Bar, ...]


def chart(runs: Sequence[RowMapping], rows: str) -> list[Strip]:
    """The last runs as three strips of bars, the newest at the right. ``rows``: what is synced."""
    ordered = list(reversed(runs))
    width = 100 / max(len(ordered), 12)
    start = 100 - width * len(ordered)

    def strip(
        name: str,
        parts: Callable[[RowMapping], list[tuple[str, float]]],
        text: Callable[[float], str],
    ) -> Strip:
        values = [parts(run) for run in ordered]
        largest = max((sum(size for _, size in each) for each in values), default=0)
        bars = []
        for index, (run, sizes) in enumerate(zip(ordered, values, strict=True)):
            base, drawn = 0.0, []
            for kind, size in sizes:
                # What is there shows, however small beside the largest.
                height = max(4.0, 94 * size / largest) if size else 0.0
                drawn.append((kind, round(100 - base - height, 2), round(height, 2)))
                base += height
            total = sum(size for _, size in sizes)
            title = f"{kind_of_run(run)}, {ago(run['started_at'])}: {text(total)}"
            bars.append(
                Bar(round(start + index * width, 3), round(width * 0.72, 3), tuple(drawn), title)
            )
        return Strip(name, text(largest), tuple(bars))

    def count(run: RowMapping, key: str) -> float:
        return float(run["counts"].get(key, 0) or 0)

    def state(run: RowMapping) -> str:
        return "failed" if run["state"] == "failed" else "plain"

    return [
        strip(
            f"{rows.capitalize()} written",
            lambda run: [
                ("inward", count(run, "local_writes")),
                ("outward", count(run, "remote_writes")),
            ],
            lambda size: f"{size:.0f}",
        ),
        strip(
            "Airtable calls",
            lambda run: [(state(run), count(run, "airtable_calls"))],
            lambda size: f"{size:.0f}",
        ),
        strip("Time", lambda run: [(state(run), run["seconds"] or 0.0)], duration),
    ]
