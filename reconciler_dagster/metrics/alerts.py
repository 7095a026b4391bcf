"""Alert rules for people who alert with Prometheus, made of the same names as the metrics. Pure.

They are few: who has notices needs none of them, but for the first, which tells that notices and
metrics themselves are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler_dagster.metrics import names
from reconciler_dagster.notices.dagster import DEAD_AFTER


@dataclass(frozen=True)
class Alert:
    """``stands``: how long before it is told, as Prometheus writes it."""

    name: str
    expression: str
    stands: str
    severity: str
    summary: str


_OF = "{{ $labels.client }}"

ALERTS = (
    Alert(
        "ReconcilerUnseen",
        'up{job="reconciler"} == 0',
        "2m",
        "critical",
        "The portal gives no metrics.",
    ),
    Alert(
        "ReconcilerNoSuccess",
        f"{names.LAST_SUCCESS.series} > 1800",
        "1m",
        "critical",
        f"{_OF}: no sync has succeeded for 30 minutes.",
    ),
    Alert(
        "ReconcilerRunsFail",
        f'increase({names.RUNS.series}{{outcome="failed"}}[30m]) >= 2',
        "0m",
        "warning",
        f"{_OF}: runs fail.",
    ),
    Alert(
        "ReconcilerDaemonDead",
        f"{names.HEARTBEAT.series} > {DEAD_AFTER.total_seconds():.0f}",
        "15s",
        "critical",
        "Dagster's daemon gives no sign of life.",
    ),
    Alert(
        "ReconcilerWatcherDead",
        f"{names.WATCHER.series} > 90",
        "1m",
        "warning",
        "The listener gives no sign of life: nobody looks at Dagster.",
    ),
    Alert(
        "ReconcilerQuarantine",
        f"{names.QUARANTINE.series} > 100",
        "5m",
        "warning",
        f"{_OF}: values wait in quarantine.",
    ),
    Alert(
        "ReconcilerFieldStopped",
        f"{names.STOPPED.series} > 0",
        "5m",
        "warning",
        f"{_OF}: a field is not carried over.",
    ),
    Alert(
        "ReconcilerDeletionsWait",
        f"{names.DELETIONS.series} > 0",
        "1h",
        "warning",
        f"{_OF}: deletions wait for a person.",
    ),
    Alert(
        "ReconcilerProofOld",
        f"{names.PROOF.series} > 2 * 86400",
        "1h",
        "warning",
        f"{_OF}: the audit does not keep up.",
    ),
    Alert(
        "ReconcilerMonthShort",
        f"{names.FORECAST.series} - on(workspace) sum by(workspace) ({names.MONTH.series}) "
        f"> on(workspace) {names.LEFT.series}",
        "1h",
        "warning",
        "{{ $labels.workspace }}: the month's calls are forecast to run out.",
    ),
    Alert(
        "ReconcilerMonthGone",
        f"{names.PAUSED.series} == 1",
        "0m",
        "critical",
        "{{ $labels.workspace }}: Airtable takes no call until the month turns.",
    ),
    Alert(
        "ReconcilerNoticesUndelivered",
        f"{names.UNDELIVERED.series} > 0",
        "15m",
        "warning",
        "A channel does not take the notices.",
    ),
)


def rules() -> dict[str, Any]:
    """As Prometheus reads them."""
    return {
        "groups": [
            {
                "name": "reconciler",
                "interval": "15s",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expression,
                        "for": alert.stands,
                        "labels": {"severity": alert.severity},
                        "annotations": {"summary": alert.summary},
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
