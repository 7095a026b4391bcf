"""The Grafana dashboard, made of the same names as the metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from reconciler_dagster.metrics import names
from reconciler_dagster.notices.dagster import DEAD_AFTER

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_CLIENTS = '{client=~"$client"}'


@dataclass(frozen=True)
class Panel:
    """``queries``: expression and legend of each. ``red``: from which value on it is."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Literal["timeseries", "stat"] = "timeseries"
    red: float | None = None
    width: int = 12


def _of(metric: names.Metric) -> str:
    return f"{metric.series}{_CLIENTS}"


PANELS = (
    Panel(
        "Since the last success, worst client",
        ((f"max({_of(names.LAST_SUCCESS)})", ""),),
        unit="s",
        kind="stat",
        red=1800,
        width=4,
    ),
    Panel(
        "Notices that stand",
        ((f"sum({names.NOTICES.series})", ""),),
        kind="stat",
        red=1,
        width=4,
    ),
    Panel(
        "Daemon's last sign of life",
        ((names.HEARTBEAT.series, ""),),
        unit="s",
        kind="stat",
        red=DEAD_AFTER.total_seconds(),
        width=4,
    ),
    Panel("Queue", ((names.QUEUE.series, ""),), kind="stat", red=50, width=4),
    Panel("Quarantine", ((f"sum({_of(names.QUARANTINE)})", ""),), kind="stat", red=100, width=4),
    Panel(
        "Deletions waiting", ((f"sum({_of(names.DELETIONS)})", ""),), kind="stat", red=1, width=4
    ),
    Panel(
        "Runs by outcome",
        ((f"sum by(outcome) (increase({_of(names.RUNS)}[15m]))", "{{outcome}}"),),
    ),
    Panel(
        "How long runs take",
        tuple(
            (
                f"histogram_quantile({share}, sum by(le, purpose) "
                f"(rate({names.DURATION.name}_bucket{_CLIENTS}[1h])))",
                f"{{{{purpose}}}}, {share:.0%} are faster",
            )
            for share in (0.5, 0.95)
        ),
        unit="s",
    ),
    Panel(
        "From an edit to its arrival (to Postgres: at most)",
        tuple(
            (
                f"histogram_quantile({share}, sum by(le, direction) "
                f"(rate({names.LAG.name}_bucket{_CLIENTS}[1h])))",
                f"{{{{direction}}}}, {share:.0%} are faster",
            )
            for share in (0.5, 0.95)
        ),
        unit="s",
    ),
    Panel("Since the last success", ((_of(names.LAST_SUCCESS), "{{client}}"),), unit="s", red=1800),
    Panel(
        "Cells written",
        ((f"sum by(direction) (increase({_of(names.CELLS)}[15m]))", "{{direction}}"),),
    ),
    Panel("Conflicts", ((f"increase({_of(names.CONFLICTS)}[1h])", "{{client}}"),)),
    Panel("Oldest edit on its way to Airtable", ((_of(names.UNSETTLED), "{{client}}"),), unit="s"),
    Panel("Quarantine by client", ((_of(names.QUARANTINE), "{{client}}"),)),
    Panel("Stalest proof", ((_of(names.PROOF), "{{client}}"),), unit="s", red=2 * 86400),
    Panel(
        "Calls by purpose",
        ((f"sum by(purpose) (increase({_of(names.CALLS)}[15m]))", "{{purpose}}"),),
    ),
    Panel("Locked out by Airtable", ((_of(names.LOCKED), "{{client}}"),), unit="s", red=1),
    Panel(
        "The month's calls",
        (
            (f"sum by(workspace) ({names.MONTH.series})", "{{workspace}}: spent"),
            (names.FORECAST.series, "{{workspace}}: forecast"),
            (names.LEFT.series, "{{workspace}}: left"),
        ),
    ),
    Panel(
        "Dagster",
        (
            (names.HEARTBEAT.series, "daemon's sign of life"),
            (names.WATCHER.series, "watcher's look"),
        ),
        unit="s",
        red=DEAD_AFTER.total_seconds(),
    ),
)


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "title": "Reconciler",
        "uid": "reconciler",
        "tags": ["reconciler"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "client",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": f"label_values({names.QUARANTINE.series}, client)",
                    "includeAll": True,
                    "multi": True,
                    "refresh": 2,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": list(_placed()),
    }


def _placed() -> Iterator[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(PANELS, start=1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > 24:
            x, y = 0, y + (4 if PANELS[number - 2].kind == "stat" else 8)
        yield _panel(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}}
        x += panel.width


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "targets": [
            {"refId": chr(ord("A") + n), "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
    }
