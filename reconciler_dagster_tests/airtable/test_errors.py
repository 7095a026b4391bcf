"""What is told of an answer that is none of Airtable's own."""

from __future__ import annotations

import pytest
import requests

from reconciler_dagster.airtable.errors import (
    IteratorLost,
    MonthlyLimitReached,
    TokenRefused,
    TooManyCalls,
    from_response,
)
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.source import (
    Forbidden,
    NotAsRemembered,
    NotLetIn,
    OutcomeUnknown,
    Refused,
    SourceError,
)


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


MEANT = {
    401: TokenRefused,
    403: Forbidden,
    404: NotAsRemembered,
    413: Refused,
    422: NotAsRemembered,
    429: TooManyCalls,
}


@pytest.mark.parametrize("status", [*range(400, 430), 451, 499, 500, 502, 503, 504, 520, 599])
def test_each_status_has_one_meaning(status: int) -> None:
    error = from_response(answered(status, b"{}", "application/json"), "app1")
    assert type(error) is (OutcomeUnknown if status >= 500 else MEANT.get(status, SourceError))


def test_the_meanings_include_one_another() -> None:
    """What is halved is more than what asks for the metadata, and that more than what is forbidden;
    a token that is refused is a wrong setting for people, and of use to nobody for the engine.
    """
    assert issubclass(Forbidden, NotAsRemembered)
    assert issubclass(NotAsRemembered, Refused)
    assert not issubclass(TooManyCalls, Refused)
    assert issubclass(TokenRefused, ConfigurationError)
    assert issubclass(TokenRefused, NotLetIn)


@pytest.mark.parametrize(
    ("status", "kind", "meant"),
    [
        (422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE", IteratorLost),
        (429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", MonthlyLimitReached),
    ],
)
def test_two_answers_are_known_by_their_kind(
    status: int, kind: str, meant: type[SourceError]
) -> None:
    body = f'{{"error": {{"type": "{kind}", "message": "in words"}}}}'.encode()
    error = from_response(answered(status, body, "application/json"), "app1")
    assert type(error) is meant
    assert str(error) == f"Airtable answered {status} {kind}: in words"
    assert error.reason == "in words"


def test_without_a_message_the_reason_is_the_kind() -> None:
    body = b'{"error": {"type": "ROW_DOES_NOT_EXIST"}}'
    error = from_response(answered(404, body, "application/json"), "app1")
    assert isinstance(error, SourceError)
    assert (str(error), error.reason) == (
        "Airtable answered 404 ROW_DOES_NOT_EXIST",
        "ROW_DOES_NOT_EXIST",
    )
