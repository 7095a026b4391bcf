"""Who asks: JSON Web Tokens, checked against the keys of this portal and the users table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.portal.settings import PortalSettings

# RFC 7518, 3.2: an HS256 key has at least the hash's 256 bits.
_SHORTEST_SECRET = 32
_REFRESH_SECONDS = 30


class Role(StrEnum):
    """What a user may do."""

    SUPER_ADMIN = "SUPER_ADMIN"
    CLIENT_ADMIN = "CLIENT_ADMIN"
    CLIENT_USER = "CLIENT_USER"

    @classmethod
    def _missing_(cls, value: object) -> Role | None:
        """Roles as they were called before, which some users still have."""
        return {"ADMIN": cls.CLIENT_ADMIN, "CLIENT": cls.CLIENT_USER}.get(str(value))


@dataclass(frozen=True)
class User:
    """An active user of the portal, as the token and the users table agree."""

    id: UUID
    email: str
    name: str
    role: Role
    client_id: UUID | None

    @property
    def is_admin(self) -> bool:
        """Whether the sync of some client is this user's business."""
        return self.role is not Role.CLIENT_USER

    @property
    def sees_all(self) -> bool:
        """Whether every client, and the deployment itself, is this user's business."""
        return self.role is Role.SUPER_ADMIN

    def sees(self, client_id: UUID) -> bool:
        """Whether this client's leads are this user's to see and change."""
        return self.sees_all or client_id == self.client_id

    def require_super_admin(self) -> None:
        """Raise 403 for whoever does not see all clients."""
        if not self.sees_all:
            raise Problem(403, "This needs the role SUPER_ADMIN.")

    def require_admin(self, client_id: UUID | None = None) -> None:
        """Raise 403 for a plain user, 404 for the admin of another client."""
        if not self.is_admin:
            raise Problem(403, "This needs the role CLIENT_ADMIN or SUPER_ADMIN.")
        if client_id is not None and not self.sees(client_id):
            raise not_found("client")


class Tokens:
    """Checks tokens; in the demo and in tests it also makes them. Where there is no table of users,
    a token's word is all that is known of its user.

    Each algorithm has a key of its own, and the key decides the algorithm: a public key is never
    taken for an HS256 secret, and ``none`` has no key at all.
    """

    def __init__(self, settings: Settings, portal: PortalSettings) -> None:
        secret = settings.portal_jwt_secret
        self._secret = secret.get_secret_value() if secret else None
        if self._secret is None and portal.jwks_url is None:
            raise ConfigurationError(
                "Neither PORTAL_JWT_SECRET nor PORTAL_JWKS_URL is set, so the portal cannot tell "
                "whose tokens are valid: set one of them."
            )
        if self._secret is not None and len(self._secret.encode()) < _SHORTEST_SECRET:
            raise ConfigurationError(
                f"PORTAL_JWT_SECRET is too short: set it to at least {_SHORTEST_SECRET} bytes."
            )
        self._portal = portal
        self._next_refresh = 0.0
        self._jwks = (
            jwt.PyJWKClient(portal.jwks_url, cache_keys=True, timeout=5)
            if portal.jwks_url
            else None
        )

    def mint(self, user: User, lifetime: timedelta = timedelta(hours=8)) -> str:
        """An HS256 token for a user."""
        if self._secret is None:
            raise ConfigurationError(
                "PORTAL_JWT_SECRET is not set, and tokens are signed with it: set it."
            )
        claims = {
            "sub": str(user.id),
            "role": user.role.value,
            "client_id": str(user.client_id) if user.client_id else None,
            "iat": datetime.now(UTC),
            "exp": datetime.now(UTC) + lifetime,
            "iss": self._portal.jwt_issuer,
            "aud": self._portal.jwt_audience,
        }
        named = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(named, self._secret, algorithm="HS256")

    def user(self, connection: Connection, token: str) -> User:
        """The user of a token; raises a 401 problem that does not say what a forger could use."""
        claims = self._claims(token)
        try:
            user_id, role = UUID(claims["sub"]), Role(claims["role"])
            client = claims.get("client_id")
            client_id = UUID(client) if client is not None else None
        except (KeyError, ValueError, TypeError, AttributeError):
            raise _refused("The token lacks a usable sub, role or client_id.") from None
        if not has_users(connection):
            return _by_token_alone(user_id, role, client_id, claims)
        user = find_user(connection, user_id)
        # A token outlives a change of the user: what it says must still be so.
        if user is None or user.role is not role:
            raise _refused(
                "The token's user is not active, or has another role by now. Sign in again."
            )
        if role is not Role.SUPER_ADMIN and (client_id is None or user.client_id != client_id):
            raise _refused("The token's user does not belong to its client.")
        return user

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm == "HS256" and self._secret is not None:
                key: Any = self._secret
            elif algorithm == "RS256" and self._jwks is not None:
                key = self._public_key(self._jwks, header.get("kid"))
            else:
                raise _refused("The token is not signed with an algorithm that is accepted here.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._portal.jwt_issuer,
                audience=self._portal.jwt_audience,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("The token has expired.") from None
        except jwt.PyJWKClientConnectionError:
            raise Problem(
                503, "The keys to check tokens with cannot be fetched. Try again in a moment."
            ) from None
        # RecursionError: a header may be any JSON, nested as deep as its sender likes.
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused("The token is not valid.") from None
        return claims

    def _public_key(self, jwks: jwt.PyJWKClient, key_id: object) -> Any:
        """The key of that id. One that is not known may be new, so the keys are fetched again,
        but no more often than made-up ids should be able to make this portal ask.
        """
        for refresh in (False, True):
            if refresh:
                if time.monotonic() < self._next_refresh:
                    break
                self._next_refresh = time.monotonic() + _REFRESH_SECONDS
            for known in jwks.get_signing_keys(refresh=refresh):
                if known.key_id == key_id:
                    return known.key
        raise _refused("The token is signed with a key that is not known here. Sign in again.")


def _refused(detail: str) -> Problem:
    return Problem(
        401,
        detail,
        kind="token",
        headers={"WWW-Authenticate": 'Bearer realm="portal", error="invalid_token"'},
    )


_USER = """
    SELECT id, email, role, client_id,
           coalesce(nullif(trim(concat_ws(' ', first_name, last_name)), ''), email) AS name
    FROM public.users WHERE is_active
"""


def _as_user(row: Any) -> User | None:
    try:
        role = Role(row.role)
    except ValueError:
        return None
    return User(row.id, row.email, row.name, role, row.client_id)


def has_users(connection: Connection) -> bool:
    """Whether there is a table of users: not where clients are listed in the settings."""
    return connection.execute(text("SELECT to_regclass('public.users')")).scalar() is not None


def _by_token_alone(
    user_id: UUID, role: Role, client_id: UUID | None, claims: dict[str, Any]
) -> User:
    """Who a token says that asks, where no table says more of its user."""
    if role is not Role.SUPER_ADMIN and client_id is None:
        raise _refused("The token's user does not belong to its client.")
    email = claims.get("email")
    email = email if isinstance(email, str) and email else str(user_id)
    name = claims.get("name")
    return User(user_id, email, name if isinstance(name, str) and name else email, role, client_id)


def find_user(connection: Connection, user_id: UUID) -> User | None:
    """An active user with a role that is known here."""
    row = connection.execute(text(f"{_USER} AND id = :id"), {"id": user_id}).one_or_none()
    return _as_user(row) if row else None


def all_users(connection: Connection) -> list[User]:
    """Every active user, for the demo's sign-in page."""
    rows = connection.execute(text(f"{_USER} ORDER BY role DESC, email LIMIT 100"))
    return [user for row in rows if (user := _as_user(row)) is not None]
