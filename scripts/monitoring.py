"""Write what is made of the metrics' names: monitoring/grafana.json and monitoring/alerts.yml.

python scripts/monitoring.py
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from reconciler_dagster.metrics.alerts import rules
from reconciler_dagster.metrics.dashboard import dashboard

FOLDER = Path(__file__).parent.parent / "monitoring"
HEAD = "# Written by scripts/monitoring.py: change reconciler_dagster/metrics/alerts.py.\n"


def written() -> dict[str, str]:
    """The files and what is in them."""
    return {
        "grafana.json": json.dumps(dashboard(), indent=1) + "\n",
        "alerts.yml": HEAD + yaml.safe_dump(rules(), sort_keys=False, width=100),
    }


if __name__ == "__main__":
    for name, content in written().items():
        (FOLDER / name).write_text(content)
        print(FOLDER / name)
