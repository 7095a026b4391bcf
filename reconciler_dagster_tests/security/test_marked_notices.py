"""No notice, metric or trace holds a secret or anything of a lead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from reconciler_dagster import tracing
from reconciler_dagster.metrics.exposition import exposition
from reconciler_dagster_tests.notices.receivers import endpoint, mailbox
from reconciler_dagster_tests.notices.test_causes import Stage
from reconciler_dagster_tests.orchestration.conftest import instance, point_at  # noqa: F401
from reconciler_dagster_tests.world import world

# In a name, an address and a note of leads, on either side; and in what is no lead's.
OF_A_LEAD = ["Markedsurname", "marked.person@lead.example", "MARKED NOTE 4711", "+49 151 23456789"]


@pytest.fixture
def marked(
    portal_db: str,
    monkeypatch: pytest.MonkeyPatch,
    instance: object,  # noqa: F811
) -> Iterator[Stage]:
    with world(portal_db, leads=12) as here, endpoint() as web, mailbox() as box:
        point_at(monkeypatch, portal_db, here.sandbox)
        monkeypatch.setenv("RECONCILER_ENVIRONMENT", "production")
        monkeypatch.setenv("RECONCILER_RETRY_SECONDS", "0.01")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{web.url}/otel")
        tracing._made.cache_clear()
        yield Stage(here, instance, web, box, monkeypatch)  # type: ignore[arg-type]
        tracing._made.cache_clear()
        here.engine.dispose()


def test_what_leaves_holds_nothing_of_a_lead_and_no_secret(marked: Stage) -> None:
    acme = marked.acme
    first, second = marked.records()[:2]
    name, mail, noted, phone = OF_A_LEAD
    acme.sandbox.edit(first, {"Last Name": name, "Email": mail, "Notes": noted, "Phone": phone})
    marked.run()
    acme.sandbox.edit(second, {"Claimed By": mail, "Notes": noted})
    acme.update(first, notes=f"{noted} again")
    marked.run()
    # A portal that refuses a value by naming it, for each run of a client.
    acme.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION 'no \"{name}\" of {mail} here' USING ERRCODE = '57P01'; END $$"
    )
    acme.sql("CREATE TRIGGER refuse BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION refuse()")
    acme.sandbox.edit(first, {"Company": "Other"})
    marked.run(times=3)
    titles = marked.look(quarantine_cells=0)
    assert len(titles) >= 2, titles
    with acme.engine.begin() as connection:
        metrics = exposition(connection, acme.settings).decode()
    assert f'client_id="{acme.client.id}"' in metrics
    spans = [
        span
        for posted in marked.web.of("/otel/v1/traces")
        for resource in ExportTraceServiceRequest.FromString(posted.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    names = {span.name for span in spans}
    assert names >= {"pull Airtable", "pull Postgres", "diff", "push", "GET to Airtable"}
    traces: dict[bytes, set[str]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, set()).add(span.name)
    assert [of_run for of_run in traces.values() if "pull Airtable" not in of_run] == []
    assert len(traces) == 5  # one a run
    mails = "".join(str(m.get_payload(decode=True), "utf-8") + str(m) for m in marked.box.mails)  # type: ignore[arg-type]
    posted = "".join(
        str(each.json) for each in marked.web.posted if not each.path.startswith("/otel")
    )
    left = {
        "mails": mails,
        "posted": posted.replace("pdkey0123456789abcdef0123456789ab", ""),  # PagerDuty's own
        "metrics": metrics,
        "spans": "".join(map(str, spans)),
    }
    secrets = [acme.sandbox.token, "whsec-0123456789abcdef", "T0000SLACKTOKEN", "pass word/1"]
    for where, text in left.items():
        for value in [*OF_A_LEAD, *secrets]:
            assert value not in text, f"{where} holds {value}"


def test_nothing_is_imported_where_no_traces_are_asked_for() -> None:
    code = (
        "import sys; from reconciler_dagster import tracing\n"
        "with tracing.step('a', 'b'), tracing.span('c'): pass\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
