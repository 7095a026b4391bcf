"""The OpenAPI document: complete, and true under generated requests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, scalar

ROUTES = {
    "GET /api/leads",
    "GET /api/leads/{lead_id}",
    "POST /api/leads/{lead_id}/claim",
    "POST /api/leads/{lead_id}/unclaim",
    "POST /api/leads/{lead_id}/remove-from-campaign",
    "GET /api/leads/{lead_id}/notes",
    "POST /api/leads/{lead_id}/notes",
    "POST /api/admin/sync/delta",
    "GET /api/admin/sync/delta/{request_id}",
    "GET /api/admin/sync/status",
    "GET /health",
    "GET /ready",
}


def test_the_document_names_every_route_and_error(server: Server) -> None:
    document = ok(server.client().get("/openapi.json"))
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == ROUTES
    for name, operation in operations.items():
        errors = {status for status in operation["responses"] if status >= "4"}
        assert {"413", "422", "429", "503"} <= errors
        if name not in ("GET /health", "GET /ready"):
            assert operation["security"]
            assert {"401", "404"} <= errors
        for status in errors:
            if (name, status) == ("GET /ready", "503"):  # what is not ready
                continue
            (media,) = operation["responses"][status]["content"]
            assert media == "application/problem+json"
    for act in ("claim", "unclaim", "remove-from-campaign", "notes"):
        operation = operations[f"POST /api/leads/{{lead_id}}/{act}"]
        assert "idempotency-key" in {each["name"].lower() for each in operation["parameters"]}
        assert "409" in operation["responses"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_page_is_served_with_all_its_parts(server: Server) -> None:
    client = server.client()
    page = client.get("/docs")
    assert page.status_code == 200
    for part in ("vendor/swagger-ui-bundle.js", "vendor/swagger-ui.css", "docs.js"):
        assert f"/static/{part}" in page.text
        assert client.get(f"/static/{part}").status_code == 200


@pytest.mark.parametrize("who", ["admin", "user"])
def test_generated_requests_find_nothing(
    server: Server, world: World, db: Engine, tmp_path: Path, who: str
) -> None:
    """All of schemathesis' phases and checks, with the same requests in every run."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        'hooks = "reconciler_dagster_tests.portal.unique_keys"\n'
        f'[parameters]\n"path.lead_id" = "{world.leads[1]}"\n'
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}"),
            *("run", f"{server.url}/openapi.json"),
            *("-H", f"Authorization: Bearer {server.token(getattr(world, who))}"),
            *("--seed=5", "--max-examples=20", "--checks=all"),
            # 503 is what it says where something is not ready.
            *("--exclude-path=/ready", "--continue-on-failure", "--no-color"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"Tested: {len(ROUTES) - 1}" in done.stdout
    # The requests did reach a lead: the edits are in its log.
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") > 10
