"""What Airtable can answer instead of data, as exceptions that a person can read."""

from __future__ import annotations

from typing import Any

import requests

from reconciler_dagster.config import ConfigurationError


class AirtableError(Exception):
    """An answer that is not data. ``status``: HTTP, or None where no answer came."""

    def __init__(self, status: int | None, kind: str, message: str) -> None:
        super().__init__(f"Airtable answered {status or 'nothing'} {kind}: {message}".rstrip(": "))
        self.status, self.kind, self.message = status, kind, message


class OutcomeUnknown(AirtableError):
    """A write whose answer never came: it may or may not have been carried out."""


class MonthlyLimitReached(AirtableError):
    """The workspace's calls of this month are used up: no retry helps until the month turns."""


def error_of(response: requests.Response) -> tuple[str, str]:
    """Type and message out of the four shapes that Airtable uses (Airtable facts, section 4)."""
    try:
        body: Any = response.json()
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error") or next(iter(body.get("errors") or []), "")
    if isinstance(error, dict):
        kind = str(error.get("type") or error.get("error") or "")
        return kind, str(error.get("message") or "")[:500]
    return str(error), ""


def from_response(response: requests.Response, base_id: str) -> Exception:
    """The exception for an answer of status 400 or more."""
    status = response.status_code
    kind, message = error_of(response)
    if status == 401:
        return ConfigurationError(
            "AIRTABLE_API_KEY is not accepted by Airtable: set it to a valid personal access token."
        )
    if status in (403, 404) and "/meta/" in str(response.url):
        return ConfigurationError(
            f"Base {base_id} cannot be read with this token: check the client's airtable_base_id, "
            "and that the token has access to the base and the scope schema.bases:read."
        )
    if kind == "PUBLIC_API_BILLING_LIMIT_EXCEEDED":
        return MonthlyLimitReached(status, kind, message)
    return AirtableError(status, kind, message)
