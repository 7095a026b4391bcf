"""What the application holds while it runs, and how a request reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection

from reconciler_dagster.config import Settings
from reconciler_dagster.core.adoption import Standing
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.portal.auth import Tokens, User
from reconciler_dagster.portal.problems import Problem
from reconciler_dagster.portal.rate import RateLimit, mark_counted
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.portal.shown import Shown
from reconciler_dagster.postgres.clients import base_of
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.syncs.in_force import definitions, maps, titles


@dataclass(frozen=True)
class Portal:
    """The portal's settings, its database and its keys; ``app.state.portal``."""

    settings: Settings
    portal_settings: PortalSettings
    database_url: str
    tokens: Tokens
    rate_limit: RateLimit

    @classmethod
    def build(cls, settings: Settings, portal_settings: PortalSettings) -> Portal:
        """Raises ConfigurationError when a setting is missing or wrong."""
        return cls(
            settings=settings,
            portal_settings=portal_settings,
            database_url=settings.require_database_url(),
            tokens=Tokens(settings, portal_settings),
            rate_limit=RateLimit(portal_settings.rate_limit_per_minute),
        )

    def shown(self, base_id: str | None = None) -> dict[str, Shown]:
        """The syncs that are in force, for one base or as the definitions have them."""
        by = titles(self.settings)
        return {name: Shown(own, by[name]) for name, own in maps(self.settings, base_id).items()}

    def why_without(self, standing: Standing) -> list[str]:
        """Which syncs of a client are new, as a sentence; empty where none is."""
        return standing.why_without(definitions(self.settings))

    def leads_of(self, connection: Connection, client_id: UUID) -> Shown | None:
        """How a client's leads are mapped; None where they are not synced."""
        return self.shown(base_of(connection, str(client_id))).get(MAIN)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction that commits when the block ends well."""
        with engine(self.database_url).begin() as connection:
            yield connection

    def sign_in(self, token: str, request: Request) -> User:
        """The user of a token. Whoever fails too often from one address has to wait."""
        try:
            with self.transaction() as connection:
                user = self.tokens.user(connection, token)
        except Problem as problem:
            if problem.status == 401:
                self.rate_limit.take_for_address(request)
            raise
        mark_counted(request)
        self.rate_limit.take(f"user {user.id}")
        return user


def portal_of(request: Request) -> Portal:
    """The running portal."""
    portal: Portal = request.app.state.portal
    return portal


ThePortal = Annotated[Portal, Depends(portal_of)]
_bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="HS256 by the portal's secret, or RS256 by its JWKS.",
)


def _signed_in(
    request: Request,
    portal: ThePortal,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> User:
    if credentials is None:
        raise Problem(
            401, "Send a token: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
        )
    return portal.sign_in(credentials.credentials, request)


SignedIn = Annotated[User, Depends(_signed_in)]
"""The user whose token came with the request. A cookie is never taken here."""
