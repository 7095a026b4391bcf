"""Who is told, by which way, and from which numbers on."""

from __future__ import annotations

from datetime import timedelta
from email.utils import getaddresses
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from reconciler_dagster.config import ConfigurationError, FromEnvironment
from reconciler_dagster.environment import cleaned, require_web_address
from reconciler_dagster.notices.decide import Rules
from reconciler_dagster.notices.kinds import Severity
from reconciler_dagster.notices.routes import Quiet, Route

ChannelName = Literal["slack", "email", "webhook", "pagerduty"]


class NoticeSettings(FromEnvironment):
    """Read from ``RECONCILER_NOTIFY_*``. A channel is used once its address is set; ``*_least`` is
    the least severity that it takes (info, warning, critical), ``*_quiet`` the hours in which it
    takes only what is critical.
    """

    prefix = "RECONCILER_NOTIFY_"

    slack_url: SecretStr | None = None
    slack_least: str = "warning"
    slack_quiet: str | None = None

    smtp_url: SecretStr | None = None
    """smtp://user:password@host:587 (STARTTLS where the server has it), smtps://… for TLS."""
    email_from: str | None = None
    email_to: str | None = None
    email_least: str = "info"
    email_quiet: str | None = None

    webhook_url: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    """What the body is signed with; see docs/notices.md."""
    webhook_least: str = "info"
    webhook_quiet: str | None = None

    pagerduty_key: SecretStr | None = None
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    pagerduty_least: str = "critical"
    pagerduty_quiet: str | None = None

    timezone: str = "UTC"
    lead_data: bool = False
    """Whether a notice may hold what might be of a lead: a value that Postgres has refused."""

    success_minutes: str = "30"
    """Minutes without a success; ``30, <client id>=120`` gives one client more."""
    quarantine_cells: int = Field(default=100, ge=0)
    quarantine_hours: float = Field(default=24, gt=0)
    settle_seconds: float = Field(default=30, ge=0, le=3600)
    hold_seconds: float = Field(default=120, ge=0, le=86400)
    remind_hours: float = Field(default=24, gt=0, le=8760)
    heartbeat_url: SecretStr | None = None
    """Called (GET) after each success, and only then; ``{client}`` in it: for each client."""

    @field_validator("slack_least", "email_least", "webhook_least", "pagerduty_least")
    @classmethod
    def _severity(cls, given: str) -> str:
        return Severity.named(given).name

    @field_validator("slack_quiet", "email_quiet", "webhook_quiet", "pagerduty_quiet")
    @classmethod
    def _quiet(cls, given: str | None) -> str | None:
        if given is not None:
            Quiet.read(given, ZoneInfo("UTC"))
        return given

    @field_validator("timezone")
    @classmethod
    def _zone(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected the name of a time zone, like Europe/Berlin") from None
        return given

    @field_validator("slack_url", "webhook_url", "heartbeat_url")
    @classmethod
    def _web(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            require_web_address(given.get_secret_value().replace("{client}", "client"))
        return given

    @field_validator("pagerduty_url")
    @classmethod
    def _pagerduty(cls, given: str) -> str:
        return require_web_address(given)

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            expected = "expected smtp://user:password@host:587, or smtps://…"
            try:
                parts = urlsplit(given.get_secret_value())
                parts.port  # noqa: B018 - raises where it is none
            except ValueError:
                raise ValueError(expected) from None
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
                raise ValueError(expected)
        return given

    @field_validator("email_to", "email_from")
    @classmethod
    def _addresses(cls, given: str | None) -> str | None:
        found = [address for _, address in getaddresses([given or ""])]
        if given is not None and not all("@" in address for address in found):
            raise ValueError("expected e-mail addresses, separated by commas")
        return given

    @field_validator("success_minutes")
    @classmethod
    def _minutes(cls, given: Any) -> Any:
        _minutes_of(given)
        return given

    @property
    def is_set(self) -> dict[ChannelName, bool]:
        """Which channels have an address. ConfigurationError where one is half set."""
        if (self.smtp_url is None) != (self.email_to is None):
            missing = "SMTP_URL" if self.smtp_url is None else "EMAIL_TO"
            raise ConfigurationError(
                f"{self.prefix}{missing} is not set, and without it no e-mail can be sent: set it."
            )
        return {
            "slack": self.slack_url is not None,
            "email": self.email_to is not None,
            "webhook": self.webhook_url is not None,
            "pagerduty": self.pagerduty_key is not None,
        }

    def routes(self) -> list[Route]:
        """The channels that are set, and what each takes."""
        zone = ZoneInfo(self.timezone)
        found = []
        for name in (name for name, there in self.is_set.items() if there):
            quiet = getattr(self, f"{name}_quiet")
            least = Severity.named(getattr(self, f"{name}_least"))
            found.append(Route(name, least, Quiet.read(quiet, zone) if quiet else None))
        return found

    @property
    def rules(self) -> Rules:
        """When something is told, is over, and is told again."""
        return Rules(
            settle=timedelta(seconds=self.settle_seconds),
            hold=timedelta(seconds=self.hold_seconds),
            remind=timedelta(hours=self.remind_hours),
        )

    def success_within(self, client_id: str) -> timedelta:
        """How long a client may be without a success."""
        every, own = _minutes_of(self.success_minutes)
        return timedelta(minutes=own.get(client_id.lower(), every))


def _minutes_of(words: str) -> tuple[float, dict[str, float]]:
    every, own = 30.0, {}
    for part in filter(None, map(cleaned, words.split(","))):
        client, is_own, minutes = part.rpartition("=")
        try:
            number = float(minutes)
        except ValueError:
            number = -1
        if not 0 < number < 1e6:
            raise ValueError("expected minutes, and <client id>=minutes for one client")
        if is_own:
            own[client.strip().lower()] = number
        else:
            every = number
    return every, own
