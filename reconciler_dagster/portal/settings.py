"""The portal's own settings: what it trusts, and how much it lets one user ask."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from reconciler_dagster.config import FromEnvironment
from reconciler_dagster.environment import cleaned, require_web_address


class PortalSettings(FromEnvironment):
    """Read from the environment variables ``PORTAL_*``."""

    prefix = "PORTAL_"

    jwks_url: str | None = None
    """Where the public keys of RS256 tokens are; without it only HS256 tokens are taken."""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None

    demo: bool = False
    """Sign-in without a password, as any user. Only `reconciler up` sets it, for its own data."""

    metrics_token: SecretStr | None = None
    """What whoever reads /metrics has to send as a bearer; without it, this machine alone may."""

    rate_limit_per_minute: float = Field(default=300, gt=0)
    """Of one user; and of one address, of what needs no sign-in."""
    body_limit_bytes: int = Field(default=256 * 1024, gt=0)
    body_timeout_seconds: float = Field(default=20, gt=0)
    header_limit_bytes: int = Field(default=32 * 1024, gt=0)
    header_limit_count: int = Field(default=100, gt=0)
    header_timeout_seconds: float = Field(default=10, gt=0)
    half_open_limit: int = Field(default=200, gt=0)
    """Connections that have not sent a whole request yet; the oldest makes room for a new one."""
    half_open_limit_per_address: int = Field(default=50, gt=0)
    allowed_hosts: str | None = None
    """Host names that are answered, comma-separated. In the demo loopback alone, else any."""

    @field_validator("jwks_url")
    @classmethod
    def _web(cls, given: str | None) -> str | None:
        return given and require_web_address(given)

    def hosts(self) -> frozenset[str] | None:
        """The host names that are answered; None for any."""
        if self.allowed_hosts is not None:
            return frozenset(cleaned(name).lower() for name in self.allowed_hosts.split(","))
        # A page of another site whose name is made to point at this machine is a stranger here.
        return frozenset({"127.0.0.1", "localhost", "[::1]"}) if self.demo else None
