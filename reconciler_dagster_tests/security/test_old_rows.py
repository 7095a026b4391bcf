"""What an earlier version may have stored: the portal and the commands do not pass it on."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.held import held
from reconciler_dagster.postgres.report import drift_report
from reconciler_dagster.redaction import redacted_values
from reconciler_dagster_tests.mapping import SYNC
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server, db, serve, settings, signed_in, world
from reconciler_dagster_tests.security.marked import TOKEN, assert_untold

__all__ = ["db", "serve", "settings", "world"]

LEAKED = f"ValueError: Invalid header value b'Bearer {TOKEN}\\r'"


def test_a_message_that_was_stored_with_the_token_is_answered_without_it(
    db: Engine, world: data.World, settings: Settings, serve: Callable[..., Server]
) -> None:
    Settings(airtable_api_key=TOKEN)  # as the portal's process reads it
    client = world.client
    with db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, "
                "finished_at, message) VALUES ('old', :client, 'delta', 'changed', 'failed', "
                "now(), :said)"
            ),
            {"client": client, "said": LEAKED},
        )
        request_id = connection.execute(
            text(
                "INSERT INTO reconciler.manual_sync_request (client_id, state, message) "
                "VALUES (:client, 'failed', :said) RETURNING id"
            ),
            {"client": client, "said": LEAKED},
        ).scalar_one()
        record_id = connection.execute(
            text("SELECT airtable_record_id FROM leads WHERE client_id = :client LIMIT 1"),
            {"client": client},
        ).scalar_one()
        connection.execute(
            text(
                "INSERT INTO reconciler.quarantine (client_id, record_id, field, direction, "
                "reason, next_attempt_at) "
                "VALUES (:client, :record, 'notes', 'to_airtable', :said, now())"
            ),
            {"client": client, "record": record_id, "said": LEAKED},
        )
        lead_id = connection.execute(
            text("SELECT id FROM leads WHERE airtable_record_id = :record"), {"record": record_id}
        ).scalar_one()
    server = serve()
    # The operator, who is told everything but secrets.
    api, browser = server.as_user(world.root), signed_in(server, world.root)
    pages = [
        api.get("/api/admin/sync/status"),
        api.get(f"/api/admin/sync/delta/{request_id}"),
        api.get(f"/api/leads/{lead_id}"),
        browser.get("/console"),
        browser.get("/console/runs/old"),
        browser.get("/console/quarantine"),
        browser.get(f"/console/leads/{lead_id}"),
    ]
    assert [page.status_code for page in pages] == [200] * len(pages)
    assert sum("Invalid header value" in page.text for page in pages) >= 5
    assert_untold("".join(page.text for page in pages), [TOKEN])
    with db.connect() as connection:
        assert_untold(str(drift_report(connection, Pair(str(client), SYNC))), [TOKEN])
        told = redacted_values([vars(cell) for cell in held(connection)])
    assert_untold(str(told), [TOKEN])
