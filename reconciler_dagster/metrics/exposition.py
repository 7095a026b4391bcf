"""The metrics in Prometheus' text format, out of Postgres: the runs of all processes count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Connection, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.metrics import names
from reconciler_dagster.notices import dagster, store
from reconciler_dagster.notices.heartbeat import successes
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.postgres import totals
from reconciler_dagster.postgres.calls import months
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.windows import oldest_verified, unproved_since
from reconciler_dagster.redaction import redacted
from reconciler_dagster.syncs.in_force import maps

CONTENT_TYPE = CONTENT_TYPE_LATEST
Labels = tuple[str, ...]
Family = CounterMetricFamily | GaugeMetricFamily

# One query a gauge: client id and value, of clients for which it is not 0.
_OF_CLIENTS = {
    names.QUARANTINE: "SELECT client_id::text, count(*) FROM reconciler.quarantine GROUP BY 1",
    names.DELETIONS: "SELECT client_id::text, count(*) FROM reconciler.tombstone "
    "WHERE state = 'awaiting_approval' GROUP BY 1",
    names.STOPPED: "SELECT client_id::text, count(*) FROM reconciler.field_binding "
    "WHERE problem IS NOT NULL GROUP BY 1",
    names.UNSETTLED: "SELECT client_id::text, extract(epoch FROM clock_timestamp() - "
    "min(noted_at)) FROM reconciler.unsettled GROUP BY 1",
    names.LOCKED: "SELECT c.id::text, greatest(0, extract(epoch FROM b.locked_until - "
    "clock_timestamp())) FROM reconciler.call_bucket b JOIN reconciler.clients() c "
    "ON b.base_id = regexp_replace(c.airtable_base_id, '[^A-Za-z0-9]', '', 'g') "
    "WHERE b.locked_until > clock_timestamp()",
}
_COUNTERS = {
    totals.RUNS: (names.RUNS, ("purpose", "outcome")),
    totals.CELLS: (names.CELLS, ("direction",)),
    totals.CONFLICTS: (names.CONFLICTS, ()),
    totals.CALLS: (names.CALLS, ("purpose",)),
}


@dataclass(frozen=True)
class _Histogram:
    """``count``, ``seconds``, ``bucket``: the totals that it is made of."""

    metric: names.Metric
    label: str
    ends: tuple[float, ...]
    count: str
    seconds: str
    bucket: str


_HISTOGRAMS = (
    _Histogram(
        *(names.DURATION, "purpose", totals.BUCKETS),
        *(totals.RUNS, totals.SECONDS, totals.BUCKET),
    ),
    _Histogram(
        *(names.LAG, "direction", totals.LAG_BUCKETS),
        *(totals.LAGS, totals.LAG_SECONDS, totals.LAG_BUCKET),
    ),
)
_PURPOSES = ("delta", "manual", "audit", "great_sync")
_FROM_ZERO: dict[str, list[Labels]] = {
    totals.RUNS: [(p, outcome) for p in _PURPOSES for outcome in ("succeeded", "failed")],
    totals.CELLS: [("to_postgres",), ("to_airtable",)],
    totals.CONFLICTS: [()],
    totals.CALLS: [(purpose,) for purpose in _PURPOSES],
}


def exposition(connection: Connection, settings: Settings) -> bytes:
    """All metrics. Summaries that have ended since are counted on the way."""
    totals.count(connection)
    registry = CollectorRegistry()
    registry.register(_Collected(connection, settings))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection, self._settings = connection, settings
        self._now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        self._clients = active_clients(connection)

    def describe(self) -> Iterable[Metric]:
        """Nothing is collected before it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield from self._totals()
        yield from self._of_clients()
        yield from self._month()
        yield from self._of_all()

    def _labels(self, client: Client) -> Labels:
        return redacted(client.name), client.id

    def _totals(self) -> Iterator[Metric]:
        known = {client.id: self._labels(client) for client in self._clients}
        by_name: Mapping[str, list[totals.Total]] = defaultdict(list)
        for total in totals.load(self._connection):
            if total.client_id in known:
                by_name[total.name].append(total)
        for name, (metric, labels) in _COUNTERS.items():
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            # From 0 on: what begins at 1 has not increased, as Prometheus sees it.
            values = dict.fromkeys(
                ((*mine, *own) for mine in known.values() for own in _FROM_ZERO[name]), 0.0
            )
            for each in by_name[name]:
                own = tuple(str(each.labels[label]) for label in labels)
                values[(*known[each.client_id], *own)] = each.value
            for key, value in values.items():
                family.add_metric(key, value)
            yield family
        for histogram in _HISTOGRAMS:
            yield _histogram(histogram, by_name, known)

    def _of_clients(self) -> Iterator[Metric]:
        for metric, statement in _OF_CLIENTS.items():
            found = {row[0]: float(row[1]) for row in self._connection.execute(text(statement))}
            yield self._gauge(metric, {c: found.get(c.id, 0.0) for c in self._clients})
        done = successes(self._connection)
        yield self._gauge(
            names.LAST_SUCCESS,
            {c: self._age(moment) for c in self._clients if (moment := done.get(c.id))},
        )
        proofs = {}
        for client in (client for client in self._clients if client.id in done):
            moments: list[datetime | None] = []
            for sync in maps(self._settings, client.base_id).values():
                pair = Pair(client.id, sync)
                never, stalest = oldest_verified(self._connection, pair)
                moments += [stalest, unproved_since(self._connection, pair) if never else None]
            if oldest := min((moment for moment in moments if moment), default=None):
                proofs[client] = self._age(oldest)
        yield self._gauge(names.PROOF, proofs)

    def _gauge(self, metric: names.Metric, values: Mapping[Client, float]) -> Metric:
        family = _family(metric)
        for client, value in values.items():
            family.add_metric(self._labels(client), value)
        return family

    def _month(self) -> Iterator[Metric]:
        spent, forecast, left, paused = (
            _family(metric) for metric in (names.MONTH, names.FORECAST, names.LEFT, names.PAUSED)
        )
        for month in months(self._connection, self._settings, self._now):
            for purpose, calls in sorted(month.by_purpose.items()):
                spent.add_metric((month.workspace, purpose), calls)
            forecast.add_metric((month.workspace,), month.forecast)
            paused.add_metric((month.workspace,), month.paused)
            if month.left is not None:
                left.add_metric((month.workspace,), month.left)
        yield from (spent, forecast, left, paused)

    def _of_all(self) -> Iterator[Metric]:
        waiting = "SELECT count(*) FROM reconciler.manual_sync_request WHERE state = 'pending'"
        yield _single(names.REQUESTS, self._connection.execute(text(waiting)).scalar_one())
        seen = dagster.noted(self._connection)
        if seen is not None:
            yield _single(names.WATCHER, self._age(seen.seen_at))
            yield _single(names.QUEUE, seen.queued)
            if seen.heartbeat is not None:
                yield _single(names.HEARTBEAT, self._age(seen.heartbeat))
        yield _single(names.UNDELIVERED, store.undelivered(self._connection))
        standing = _family(names.NOTICES)
        going: dict[str, int] = dict.fromkeys(KINDS, 0)
        for kind, count in store.standing(self._connection).items():
            going[kind] = count
        for kind, count in going.items():
            standing.add_metric((kind, KINDS[kind].severity.name.lower()), count)
        yield standing

    def _age(self, moment: datetime) -> float:
        return max(0.0, (self._now - moment).total_seconds())


def _histogram(
    made: _Histogram, by_name: Mapping[str, list[totals.Total]], known: Mapping[str, Labels]
) -> Metric:
    family = HistogramMetricFamily(made.metric.name, made.metric.help, labels=made.metric.labels)

    def key(total: totals.Total) -> Labels:
        return (*known[total.client_id], str(total.labels[made.label]))

    buckets: dict[Labels, dict[float, float]] = defaultdict(dict)
    counts: dict[Labels, float] = defaultdict(float)
    for each in by_name[made.bucket]:
        buckets[key(each)][float(each.labels["le"])] = each.value
    for each in by_name[made.count]:
        counts[key(each)] += each.value
    for each in by_name[made.seconds]:
        own = key(each)
        rows = [(f"{end:g}", buckets[own].get(end, 0.0)) for end in made.ends]
        family.add_metric(own, [*rows, ("+Inf", counts[own])], each.value)
    return family


def _family(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def _single(metric: names.Metric, value: float) -> Metric:
    return GaugeMetricFamily(metric.name, metric.help, value=float(value))
