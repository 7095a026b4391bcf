"""What is told of an answer that is none of Airtable's own."""

from __future__ import annotations

import pytest
import requests

from reconciler_dagster.airtable.errors import from_response


def answered(status: int, body: bytes, kind: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = status, body
    response.headers["Content-Type"] = kind
    response.url = "https://api.airtable.test/v0/app1/tbl1"
    return response


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (403, "text/html", "403 (an HTML page, perhaps of a proxy or firewall that lets nobody"),
        (413, "text/html; charset=utf-8", "413 (an HTML page, perhaps of a proxy that takes only"),
        (502, "TEXT/HTML", "502 (an HTML page, perhaps of a proxy)"),
        (503, "text/plain", "503 (no JSON, perhaps of a proxy)"),
    ],
)
def test_a_page_has_a_reason_and_is_not_quoted(status: int, kind: str, told: str) -> None:
    error = from_response(answered(status, b"<html>secret-of-the-page</html>", kind), "app1")
    assert f"Airtable answered {told}" in str(error)
    assert "secret" not in str(error)
    assert "<" not in str(error)


def test_an_empty_answer_has_one_too() -> None:
    assert str(from_response(answered(500, b" ", ""), "app1")) == (
        "Airtable answered 500 (nothing more)"
    )
