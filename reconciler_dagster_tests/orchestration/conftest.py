"""A real Dagster instance, and runs that find a world through the environment."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from reconciler_dagster.sandbox.testing import SandboxClient


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as real:
        yield real


def point_at(monkeypatch: pytest.MonkeyPatch, url: str, sandbox: SandboxClient) -> None:
    """Have every run from here on use this database and this sandbox."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("AIRTABLE_API_KEY", sandbox.token)
    monkeypatch.setenv("AIRTABLE_ENDPOINT_URL", sandbox.url)
