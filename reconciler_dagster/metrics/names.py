"""Every metric there is: name, kind, help and labels. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CLIENT = ("client", "client_id")


@dataclass(frozen=True)
class Metric:
    """``labels``: in order. A counter's name has no ``_total`` here, as its library wants it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name to ask Prometheus for."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


RUNS = Metric(
    "reconciler_runs", "counter", "Runs that have ended.", (*CLIENT, "purpose", "outcome")
)
DURATION = Metric(
    "reconciler_run_duration_seconds", "histogram", "How long runs took.", (*CLIENT, "purpose")
)
LAG = Metric(
    "reconciler_edit_lag_seconds",
    "histogram",
    "From an edit to its arrival, by lead. to_airtable: from the portal's edit to Airtable's "
    "answer. to_postgres: at most, from the listing before the one that has found it.",
    (*CLIENT, "direction"),
)
CELLS = Metric(
    "reconciler_cells", "counter", "Cells that runs were to write.", (*CLIENT, "direction")
)
CONFLICTS = Metric(
    "reconciler_conflicts", "counter", "Cells edited on both sides to different values.", CLIENT
)
CALLS = Metric(
    "reconciler_airtable_calls", "counter", "Calls to Airtable by runs.", (*CLIENT, "purpose")
)
LAST_SUCCESS = Metric(
    "reconciler_last_success_age_seconds", "gauge", "Since a sync last ended well.", CLIENT
)
QUARANTINE = Metric(
    "reconciler_quarantine_cells", "gauge", "Values that one side cannot take.", CLIENT
)
DELETIONS = Metric(
    "reconciler_deletions_waiting", "gauge", "Deletions that wait for a person.", CLIENT
)
STOPPED = Metric("reconciler_stopped_fields", "gauge", "Fields that are not carried over.", CLIENT)
UNSETTLED = Metric(
    "reconciler_oldest_edit_age_seconds",
    "gauge",
    "Age of the oldest edit in Postgres that no run has taken over; 0 for none.",
    CLIENT,
)
PROOF = Metric(
    "reconciler_stalest_proof_age_seconds",
    "gauge",
    "Since the stalest lead was compared in full.",
    CLIENT,
)
LOCKED = Metric(
    "reconciler_locked_out_seconds",
    "gauge",
    "For how long Airtable will take no call of the base (429); 0 for not.",
    CLIENT,
)
MONTH = Metric(
    "reconciler_month_calls", "gauge", "Calls of this month, by UTC.", ("workspace", "purpose")
)
FORECAST = Metric(
    "reconciler_month_calls_forecast", "gauge", "Calls to expect of the month.", ("workspace",)
)
LEFT = Metric(
    "reconciler_month_calls_left",
    "gauge",
    "Calls of the month that are left; only where RECONCILER_MONTHLY_CALLS is set.",
    ("workspace",),
)
PAUSED = Metric(
    "reconciler_workspace_paused",
    "gauge",
    "1 while Airtable takes no call until the month turns.",
    ("workspace",),
)
REQUESTS = Metric("reconciler_requests_waiting", "gauge", "Requests for a sync that wait.")
QUEUE = Metric("reconciler_queue_length", "gauge", "Runs in Dagster's queue.")
HEARTBEAT = Metric(
    "reconciler_daemon_heartbeat_age_seconds",
    "gauge",
    "Since every thread of Dagster's daemon has given a sign of life.",
)
WATCHER = Metric(
    "reconciler_watcher_age_seconds", "gauge", "Since the watcher last looked at Dagster."
)
NOTICES = Metric(
    "reconciler_notices_standing", "gauge", "Notices that are not over.", ("kind", "severity")
)
UNDELIVERED = Metric(
    "reconciler_notices_undelivered", "gauge", "Notices that a channel has not taken yet."
)

METRICS = (
    *(RUNS, DURATION, LAG, CELLS, CONFLICTS, CALLS, LAST_SUCCESS, QUARANTINE, DELETIONS, STOPPED),
    *(UNSETTLED, PROOF, LOCKED, MONTH, FORECAST, LEFT, PAUSED, REQUESTS, QUEUE, HEARTBEAT),
    *(WATCHER, NOTICES, UNDELIVERED),
)
