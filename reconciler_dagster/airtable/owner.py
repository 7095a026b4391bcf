"""Whose token it is, and what it may do: one call outside of any base, for the doctor."""

from __future__ import annotations

from dataclasses import dataclass

import requests

from reconciler_dagster.airtable.errors import (
    NO_ANSWER,
    NO_CALL,
    NotUnderstood,
    TooManyCalls,
    from_response,
    said,
)
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.source import OutcomeUnknown, SourceError
from reconciler_dagster.core.values import printable

# All that a run needs, and nothing that it does not.
NEEDED_SCOPES = ("data.records:read", "data.records:write", "schema.bases:read")


@dataclass(frozen=True)
class Owner:
    """``user``: an id. ``scopes``: None where Airtable does not tell them, as of most personal
    access tokens.
    """

    user: str
    scopes: tuple[str, ...] | None

    @property
    def missing(self) -> list[str]:
        """Scopes without which runs fail."""
        return [] if self.scopes is None else sorted({*NEEDED_SCOPES} - {*self.scopes})

    @property
    def needless(self) -> list[str]:
        """Scopes that no run uses."""
        return sorted({*(self.scopes or ())} - {*NEEDED_SCOPES})


def token_owner(settings: Settings, token: str | None = None) -> Owner:
    """Of a token; of AIRTABLE_API_KEY unless given. Raises ConfigurationError (TokenRefused) where
    it is not accepted, SourceError for any other answer and for none.
    """
    try:
        response = requests.get(
            f"{settings.airtable_endpoint_url.rstrip('/')}/v0/meta/whoami",
            headers={"Authorization": f"Bearer {token or settings.require_api_key()}"},
            timeout=(10, 30),
        )
    except ValueError:  # also of requests' own: an address or a header that cannot be sent
        raise ConfigurationError(NO_CALL) from None
    except (requests.RequestException, OSError) as error:
        raise OutcomeUnknown(*said(None, type(error).__name__, NO_ANSWER)) from None
    if response.status_code >= 400:
        raise from_response(response, "")
    try:
        answer = response.json()
        scopes = answer.get("scopes")
        told = None if scopes is None else tuple(printable(scope, 60) for scope in scopes)
        return Owner(printable(answer["id"], 60), told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotUnderstood("no user's id") from None


def is_limited(settings: Settings, token: str) -> bool:
    """Whether Airtable takes no call of the token's user just now, of whatever base."""
    try:
        token_owner(settings, token)
    except TooManyCalls:
        return True
    except (SourceError, ConfigurationError):
        return False
    return False


def missing_scopes(settings: Settings, token: str) -> list[str] | None:
    """The scopes that a run needs and the token lacks; None where Airtable does not tell."""
    try:
        owner = token_owner(settings, token)
    except (SourceError, ConfigurationError):
        return None
    return None if owner.scopes is None else owner.missing
