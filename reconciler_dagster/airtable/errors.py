"""What Airtable can answer instead of data, as exceptions that a person can read."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any

import requests

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.source import (
    Forbidden,
    NotAsRemembered,
    NotLetIn,
    OutcomeUnknown,
    Refused,
    SourceError,
)
from reconciler_dagster.core.values import printable

NO_ANSWER = "check the network and AIRTABLE_ENDPOINT_URL"
DEFAULT_REFUSED = (
    "AIRTABLE_API_KEY is not accepted by Airtable: set it to a valid personal access token and "
    "restart the processes, or give the client a token of its own with `reconciler tokens set`."
)
NO_CALL = (
    "No call to Airtable can be made with these settings: check AIRTABLE_API_KEY and "
    "AIRTABLE_ENDPOINT_URL."
)


class TokenRefused(ConfigurationError, NotLetIn):
    """Airtable does not accept a token: it was revoked, has expired, or never was one."""


class ScopeLost(ConfigurationError):
    """Airtable knows the token, and does not permit with it what every run needs."""


class NotUnderstood(SourceError):
    """An answer of status 200 that is not what was asked for. Nothing of it is used."""

    def __init__(self, what: str) -> None:
        super().__init__(*said(200, "an answer that cannot be understood", what))


class IteratorLost(NotAsRemembered):
    """Airtable has forgotten how far a listing had come: it is begun anew."""


class TooManyCalls(SourceError):
    """A 429 that outlasts all patience."""


class MonthlyLimitReached(SourceError):
    """The workspace's calls of this month are used up: no retry helps until the month turns."""


# What an answer's status means; see Airtable facts, section 4. What is not here is told as it is,
# and ends the run.
_MEANT: dict[int, type[SourceError]] = {
    403: Forbidden,
    404: NotAsRemembered,
    413: Refused,
    422: NotAsRemembered,
    429: TooManyCalls,
}


def said(status: int | None, kind: str, message: str) -> tuple[str, str]:
    """What Airtable said, for a person, and the reason alone. ``status``: None for no answer."""
    sentence = f"Airtable answered {status or 'nothing'} {kind}: {message}".rstrip(": ")
    return sentence, message or kind


def error_of(response: requests.Response) -> tuple[str, str]:
    """Type and message out of the four shapes that Airtable uses (Airtable facts, section 4).

    A page of a proxy, or anything else that gives no reason, has the name of its status.
    """
    try:
        body: Any = response.json()
    except (ValueError, RecursionError):
        return _not_json(response), ""
    kind, message = _reason(body) if isinstance(body, dict) else ("", "")
    if not kind and not message:
        with suppress(ValueError):
            kind = HTTPStatus(response.status_code).phrase
        message = "the answer gives no reason"
    return kind, message


def _reason(body: dict[str, Any]) -> tuple[str, str]:
    errors = body.get("errors")
    error = body.get("error") or (errors[0] if isinstance(errors, list) and errors else "")
    if isinstance(error, dict):
        kind = printable(error.get("type") or error.get("error") or "", 100)
        return kind, printable(error.get("message") or "")
    return printable(error or "", 100), ""


def _not_json(response: requests.Response) -> str:
    """What came in the place of an answer, and perhaps from whom; never the page itself."""
    if not response.content.strip():
        return "(nothing more)"
    is_page = "html" in response.headers.get("Content-Type", "").lower()
    who = {
        403: "perhaps of a proxy or firewall that lets nobody through",
        407: "perhaps of a proxy that wants to know who asks",
        413: "perhaps of a proxy that takes only smaller requests",
    }.get(response.status_code, "perhaps of a proxy")
    return f"({'an HTML page' if is_page else 'no JSON'}, {who})"


def from_response(response: requests.Response, base_id: str) -> Exception:
    """The exception for an answer of status 400 or more."""
    status = response.status_code
    kind, message = error_of(response)
    if status == 401:
        return TokenRefused(DEFAULT_REFUSED)
    if status in (403, 404) and "/meta/" in str(response.url):
        return ConfigurationError(
            f"Base {base_id} cannot be read with this token: check the client's airtable_base_id, "
            "and that the token has access to the base and the scope schema.bases:read."
        )
    if kind == "PUBLIC_API_BILLING_LIMIT_EXCEEDED":
        return MonthlyLimitReached(*said(status, kind, message))
    if status == 422 and kind == "LIST_RECORDS_ITERATOR_NOT_AVAILABLE":
        return IteratorLost(*said(status, kind, message))
    meant = OutcomeUnknown if status >= 500 else _MEANT.get(status, SourceError)
    return meant(*said(status, kind, message))
