"""Whose token it is: one call outside of any base and its budget, for the doctor."""

from __future__ import annotations

import requests

from reconciler_dagster.airtable.errors import (
    NO_ANSWER,
    NO_CALL,
    NotUnderstood,
    OutcomeUnknown,
    from_response,
)
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.values import printable


def token_owner(settings: Settings) -> str:
    """The id of the token's user. Raises ConfigurationError where it is not accepted, AirtableError
    for any other answer and for none.
    """
    try:
        response = requests.get(
            f"{settings.airtable_endpoint_url.rstrip('/')}/v0/meta/whoami",
            headers={"Authorization": f"Bearer {settings.require_api_key()}"},
            timeout=(10, 30),
        )
    except ValueError:  # also of requests' own: an address or a header that cannot be sent
        raise ConfigurationError(NO_CALL) from None
    except (requests.RequestException, OSError) as error:
        raise OutcomeUnknown(None, type(error).__name__, NO_ANSWER) from None
    if response.status_code >= 400:
        raise from_response(response, "")
    try:
        return printable(response.json()["id"], 60)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotUnderstood("no user's id") from None
