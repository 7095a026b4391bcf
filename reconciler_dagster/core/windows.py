"""Creation windows: the months of the Great Sync, the windows of the audit, and its allowance.

A record's creation time never changes, so a lead belongs to one month for life. Windows are
half-open and cut at whole seconds, as Airtable's CREATED_TIME() is compared.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE

# The first month is open to the past: older records belong to it.
FIRST_MONTH = "2022-01-01"


def months_until(now: datetime) -> list[str]:
    """Every month from the first one to that of ``now``, as the key of its first day."""
    months, month = [], datetime.fromisoformat(FIRST_MONTH).replace(tzinfo=UTC)
    while month <= now:
        months.append(month.strftime("%Y-%m-%d"))
        month = _next(month)
    return months


def month_of(moment: datetime) -> str:
    """The month that a record created at that moment belongs to."""
    return max(moment.astimezone(UTC).strftime("%Y-%m-01"), FIRST_MONTH)


def months_scope(first: str, last: str) -> Scope:
    """The window from the start of one month to the end of another."""
    start = None if first <= FIRST_MONTH else datetime.fromisoformat(first).replace(tzinfo=UTC)
    return Scope("created", start, _next(datetime.fromisoformat(last).replace(tzinfo=UTC)))


def _next(month: datetime) -> datetime:
    return (month + timedelta(days=32)).replace(day=1)


def contiguous(months: Sequence[str]) -> list[tuple[str, str]]:
    """Months as ranges without gaps, so that neighbours share one listing."""
    ranges: list[tuple[str, str]] = []
    for month in sorted(months):
        if ranges and months_scope(ranges[-1][0], ranges[-1][1]).end == _start(month):
            ranges[-1] = (ranges[-1][0], month)
        else:
            ranges.append((month, month))
    return ranges


def _start(month: str) -> datetime:
    return datetime.fromisoformat(month).replace(tzinfo=UTC)


def grouped(
    months: Sequence[str],
    leads: Mapping[str, int],
    most: int,
    at_a_time: int = 1,
    *,
    tapered: bool = False,
) -> list[list[str]]:
    """Neighbouring months in groups of at most ``most`` leads, or of one month that has any.

    An empty month is listed with a neighbour and costs no call. ``leads``: known leads by month.
    ``at_a_time``: as many are listed together. The first ones hold less, so that no two end
    together: what follows a listing is then done while others go on. ``tapered``: the last ones
    hold less too, so that little is left to do when the last listing is in.
    """
    groups: list[list[str]] = []
    held, room, left = 0, 0, sum(leads.get(month, 0) for month in months)
    for month in sorted(months):
        count = leads.get(month, 0)
        adjoining = bool(groups) and len(contiguous([groups[-1][-1], month])) == 1
        if adjoining and (not held or held + count <= room):
            groups[-1].append(month)
            held += count
        else:
            groups.append([month])
            held = count
            room = most * min(len(groups), at_a_time) // at_a_time
            if tapered:
                room = min(room, max(left, most) // 3)
        left -= count
    return groups


# Records of a page that stand for as many pages as one chain is to list: a fifth of the base. Each
# chain ends in a page that is not full.
SAMPLED_CHAIN = PAGE // 5


def tells_of_all(sample: Sequence[datetime]) -> bool:
    """Whether a page is like the whole base: it is full, and not just the oldest records.

    ``sample``: creation times in the order of the page.
    """
    return len(sample) == PAGE and list(sample) != sorted(sample)


def unknown_grouped(
    months: Sequence[str], sample: Sequence[datetime] = (), at_a_time: int = 1
) -> list[list[str]]:
    """Months of a base that was never listed, in groups of about as many leads each.

    ``sample``: creation times of a page of the base, in its order. Less than a page is the whole
    base. A page in order of creation, and none, say nothing of the rest: then the newest months
    stand alone, so that little is left to do when the last listing is in; two years follow by
    quarters, and what is older by years, most of which may be empty. ``at_a_time``: see
    ``grouped``.
    """
    if sample and len(sample) < PAGE:
        return [sorted(months)] if months else []
    if tells_of_all(sample):
        leads = Counter(map(month_of, sample))
        return grouped(months, leads, SAMPLED_CHAIN, at_a_time, tapered=True)
    groups: list[list[str]] = []
    for age, month in enumerate(sorted(months, reverse=True)):
        size = 1 if age < 2 else 3 if age < 26 else 12
        if groups and age != 2 and age != 26 and len(groups[-1]) < size:
            groups[-1].append(month)
        else:
            groups.append([month])
    return [sorted(group) for group in reversed(groups)]


@dataclass(frozen=True)
class KnownRecord:
    """A lead as the audit sees it; ``verified_at`` is None where it never was compared in full."""

    created_time: datetime
    verified_at: datetime | None


def stalest_window(leads: Sequence[KnownRecord], most: int, before: datetime) -> Scope | None:
    """The window that begins at the stalest lead; None where all were verified since ``before``.

    ``leads``: in order of creation. Window after window this walks through the whole base, gaps
    between the leads included, and begins anew.
    """
    never = datetime.min.replace(tzinfo=UTC)
    stalest = min(leads, key=lambda lead: lead.verified_at or never, default=None)
    if stalest is None or (stalest.verified_at or never) >= before:
        return None
    return window_at(leads, stalest.created_time, most)


def window_at(leads: Sequence[KnownRecord], moment: datetime, most: int) -> Scope:
    """The window that begins with the second of ``moment`` and holds ``most`` leads.

    It never ends between two leads of one second, and holds that second at least. Before the
    first lead and after the last one it is open.
    """
    second = _second(moment)
    first = bisect_left(leads, second, key=lambda lead: lead.created_time)
    end = first + most
    while first < end < len(leads) and _same_second(leads[end - 1], leads[end]):
        end -= 1
    if end <= first:
        end = bisect_left(leads, second + timedelta(seconds=1), key=lambda lead: lead.created_time)
    return Scope(
        "created",
        second if first else None,
        _second(leads[end].created_time) if end < len(leads) else None,
    )


def _same_second(one: KnownRecord, other: KnownRecord) -> bool:
    return _second(one.created_time) == _second(other.created_time)


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def allowance(budget: int, spent: Sequence[int]) -> int:
    """Calls that the audit may make now.

    ``budget``: calls an hour; ``spent``: calls of this hour, the one before, and so on. An hour
    that overdrew is paid back by the next ones; an hour that saved gives no credit.
    """
    balances = [budget * hours - sum(spent[:hours]) for hours in range(1, len(spent) + 1)]
    return max(0, min([budget, *balances]))


def cycle_hours(leads: int, budget: int) -> float:
    """How long the audit takes for all leads: pages of 100 at ``budget`` calls an hour."""
    return math.ceil(leads / PAGE) / budget if budget else math.inf


# A base has to be proved once a day, or within two cycles where the budget is smaller.
_PROVED_WITHIN_HOURS = 24.0


def proof_allowed(leads: int, budget: int) -> timedelta:
    """How old the proof of the stalest lead may be."""
    return timedelta(hours=max(_PROVED_WITHIN_HOURS, min(2 * cycle_hours(leads, budget), 24 * 365)))
