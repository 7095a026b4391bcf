"""Calls to the sandbox without any Airtable client, for tests of the bytes."""

from typing import Any

import requests

from reconciler_dagster.sandbox.testing import SandboxClient


def call(
    sandbox: SandboxClient,
    method: str,
    path: str,
    body: Any = None,
    token: str | None = None,
    **settings: Any,
) -> requests.Response:
    """Call `/v0/{path}` with the sandbox's token."""
    headers = {"Authorization": f"Bearer {token or sandbox.token}", **settings.pop("headers", {})}
    return requests.request(
        method, f"{sandbox.url}/v0/{path}", json=body, headers=headers, timeout=30, **settings
    )
