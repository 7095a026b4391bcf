"""A real Prometheus reads the portal's metrics and judges the alert rules."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler_dagster.config import Settings
from reconciler_dagster.metrics.alerts import ALERTS, rules
from reconciler_dagster.metrics.dashboard import PANELS
from reconciler_dagster.metrics.names import METRICS
from reconciler_dagster.notices import dagster
from reconciler_dagster.notices.dagster import Dagster
from reconciler_dagster.portal.app import create_app
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.postgres import totals
from reconciler_dagster.postgres.totals import Arrived
from reconciler_dagster_tests.notices.conftest import Office, office  # noqa: F401
from reconciler_dagster_tests.notices.receivers import free_port
from reconciler_dagster_tests.portal.conftest import SECRET, serving

TOKEN = "metrics-0123456789abcdef"
_CEILING = 120
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Debian's package prometheus"
)


def wait_for(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _CEILING
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """The rules as they are, but judged each second and at once."""
    quick = rules()
    quick["groups"][0]["interval"] = "1s"
    for rule in quick["groups"][0]["rules"]:
        rule["for"] = "0s"
    (folder / "alerts.yml").write_text(yaml.safe_dump(quick))
    (folder / "token").write_text(TOKEN)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "alerts.yml")],
        "scrape_configs": [
            {
                "job_name": "reconciler",
                "authorization": {"credentials_file": str(folder / "token")},
                "static_configs": [{"targets": [target.removeprefix("http://")]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def is_ready() -> bool:
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                try:
                    return client.get("/-/ready").status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(is_ready)
            yield client
    finally:
        process.kill()
        process.wait()


def test_the_rules_are_sound() -> None:
    file = Path(__file__).parents[2] / "monitoring" / "alerts.yml"
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_prometheus_reads_all_and_the_rules_find_what_is_wrong(
    office: Office,  # noqa: F811
    tmp_path: Path,
) -> None:
    acme, beta = office.clients("Acme", 'Beta "quoted" \\ and\nbroken')
    office.ran(
        acme,
        ago="2 h",
        counts='{"airtable_calls": 3, "conflicts": 2}',
        findings='{"change_set": {"to_postgres": {"notes": 4, "status": 1}, '
        '"to_airtable": {"notes": 2}}}',
    )
    office.ran(beta)
    office.sql(
        "INSERT INTO reconciler.quarantine (client_id, record_id, field, direction, reason, "
        "next_attempt_at) SELECT CAST(:c AS uuid), 'rec' || n, 'notes', 'to_airtable', 'no', now() "
        "FROM generate_series(1, 101) n",
        c=acme,
    )
    office.sql(
        "INSERT INTO reconciler.baseline (client_id, record_id, lead_id, created_time, "
        "verified_at) SELECT id, 'recA', gen_random_uuid(), now(), now() - interval '1 hour' "
        "FROM clients"
    )
    office.sql(
        "INSERT INTO reconciler.call_log SELECT airtable_base_id, date_trunc('hour', now()), "
        "'delta', 900 FROM clients WHERE company_name = 'Acme'"
    )
    with office.engine.begin() as connection:
        now = datetime.now(UTC)
        silent = (now - timedelta(minutes=10)).timestamp()
        dagster.note(connection, Dagster(now, {"SENSOR": silent}, queued=7))
        totals.add_arrived(
            connection, acme, [Arrived("to_airtable", 3.5), Arrived("to_postgres", 40, 7)]
        )
    settings = Settings(
        database_url=office.url,  # type: ignore[arg-type]
        portal_jwt_secret=SECRET,  # type: ignore[arg-type]
        RECONCILER_MONTHLY_CALLS=1000,
    )
    app = create_app(settings, PortalSettings(metrics_token=TOKEN))  # type: ignore[arg-type]
    with serving(app) as url, prometheus(tmp_path, url) as asked:

        def query(expression: str) -> list[dict[str, Any]]:
            answer = asked.get("/api/v1/query", params={"query": expression}).json()
            assert answer["status"] == "success", (expression, answer)
            return list(answer["data"]["result"])

        def there(expression: str) -> list[dict[str, Any]]:
            """What one look at a slow machine did not bring in time, the next one does."""
            return list(wait_for(lambda: query(expression)))

        def value(expression: str) -> float:
            (row,) = there(expression)
            return float(row["value"][1])

        for metric in METRICS:
            name = f"{metric.name}_count" if metric.kind == "histogram" else metric.series
            for row in there(name):
                assert set(metric.labels) <= set(row["metric"])
        of_acme = f'{{client="Acme",client_id="{acme}"}}'
        assert value("reconciler_queue_length") == 7
        assert value(f"reconciler_quarantine_cells{of_acme}") == 101
        assert value(f"reconciler_conflicts_total{of_acme}") == 2
        assert value('reconciler_cells_total{client="Acme",direction="to_postgres"}') == 5
        assert value('reconciler_cells_total{client="Acme",direction="to_airtable"}') == 2
        assert value('sum(reconciler_airtable_calls_total{client="Acme"})') == 3
        assert 7200 <= value(f"reconciler_last_success_age_seconds{of_acme}") < 7300
        assert value("reconciler_month_calls_left") == 100
        assert value('reconciler_run_duration_seconds_bucket{client="Acme",le="2.5"}') == 1
        lag = 'reconciler_edit_lag_seconds_bucket{client="Acme",direction="%s",le="%s"}'
        assert [value(lag % ("to_postgres", le)) for le in ("30", "60", "+Inf")] == [0, 7, 7]
        assert [value(lag % ("to_airtable", le)) for le in ("2", "5", "+Inf")] == [0, 1, 1]
        for panel in PANELS:
            for expression, _ in panel.queries:
                query(expression.replace("$client", ".*"))
        for _ in range(2):
            office.ran(acme, "Airtable answered 503")

        def firing() -> set[str]:
            alerts = asked.get("/api/v1/alerts").json()["data"]["alerts"]
            return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

        expected = {
            "ReconcilerNoSuccess",
            "ReconcilerDaemonDead",
            "ReconcilerQuarantine",
            "ReconcilerMonthShort",
            "ReconcilerRunsFail",
        }
        wait_for(lambda: firing() >= expected)
        assert firing() <= expected | {"ReconcilerWatcherDead"}
    # What is pruned later takes nothing away from what was counted.
    office.sql("DELETE FROM reconciler.run_summary WHERE counted")
    with serving(app) as url:
        answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert f'reconciler_conflicts_total{{client="Acme",client_id="{acme}"}} 2.0' in answer.text
