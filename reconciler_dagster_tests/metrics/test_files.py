"""What is made of the metrics' names is up to date, and names nothing that there is not."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from reconciler_dagster.metrics.alerts import ALERTS
from reconciler_dagster.metrics.dashboard import PANELS
from reconciler_dagster.metrics.names import METRICS

ROOT = Path(__file__).parents[2]
_spec = spec_from_file_location("monitoring", ROOT / "scripts" / "monitoring.py")
assert _spec
assert _spec.loader
monitoring = module_from_spec(_spec)
sys.modules[_spec.name] = monitoring
_spec.loader.exec_module(monitoring)


@pytest.mark.parametrize(("name", "content"), monitoring.written().items(), ids=lambda v: v[:12])
def test_the_file_is_what_the_script_writes(name: str, content: str) -> None:
    assert (ROOT / "monitoring" / name).read_text() == content, "run scripts/monitoring.py"


def test_dashboard_and_alerts_name_only_what_there_is() -> None:
    told = [alert.expression for alert in ALERTS]
    told += [expression for panel in PANELS for expression, _ in panel.queries]
    named = set(re.findall(r"reconciler_\w+", " ".join(told)))
    series = {metric.series for metric in METRICS}
    series |= {f"{metric.name}_bucket" for metric in METRICS if metric.kind == "histogram"}
    assert named <= series
    shown = {name.removesuffix("_bucket") for name in named}
    missing = {metric.series for metric in METRICS} - shown
    assert missing <= {"reconciler_requests_waiting"}, "what nobody looks at, nobody needs"
