"""Configuration from the environment, and from a running embedded default where nothing is set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

RUNNING = "running.json"
SETTLE_SECONDS = 5.0


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message is one sentence for a person; exit code 2."""


def state_dir() -> Path:
    """The folder for the embedded default's data and for Dagster's home, made when missing."""
    configured = os.environ.get("RECONCILER_STATE_DIR")
    path = Path(configured) if configured else platformdirs.user_state_path("reconciler")
    path.mkdir(parents=True, exist_ok=True)
    return path


def project_file(name: str) -> Path:
    """A file of the project's top level: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    beside, inside = package.parent / name, package / "_project" / name
    return inside if inside.exists() else beside


def _splits_as_meant(url: str) -> bool:
    """Whether libpq takes a URL apart where its writer meant it to.

    libpq ends the password at the first @, and knows of none where a / comes before that: what is
    left of the password is then a host, a port or a database to it, and stands in its errors.
    """
    _, scheme, rest = url.partition("://")
    if not scheme:
        return True  # a connection string of keywords
    credentials, at, place = rest.partition("@")
    if not at or "?" in credentials.partition("/")[2]:
        return True  # no credentials; an @ of a parameter is well where it is
    return "/" not in credentials and "@" not in place.partition("?")[0]


class _RunningSource(PydanticBaseSettingsSource):
    """What `reconciler up` wrote down about what it started; ignored once that process is gone."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        try:
            running = json.loads((state_dir() / RUNNING).read_text())
            os.kill(running.pop("pid"), 0)
        except (OSError, ValueError, KeyError):
            return {}
        if os.environ.get("AIRTABLE_API_KEY"):
            # A real token must not be sent to the sandbox that happens to run.
            running.pop("airtable_endpoint_url", None)
        return {key: value for key, value in running.items() if value}


class Settings(BaseSettings):
    """Every setting, read from the environment variable of the same name in capitals.

    Raises :class:`ConfigurationError` from the ``require_*`` methods, never a stack trace.
    Secrets are ``SecretStr``: they do not show in a repr, a log or an exception.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    airtable_api_key: SecretStr | None = None
    airtable_endpoint_url: str = "https://api.airtable.com"
    airtable_leads_table: str = "Leads"
    database_url: SecretStr | None = None
    dagster_postgres_url: SecretStr | None = None
    portal_jwt_secret: SecretStr | None = None

    overlap_minutes: float = Field(default=20, ge=0, alias="RECONCILER_OVERLAP_MINUTES")
    calls_per_second: float = Field(default=4.8, gt=0, le=5, alias="RECONCILER_CALLS_PER_SECOND")
    audit_calls_per_hour: int = Field(default=20, ge=0, alias="RECONCILER_AUDIT_CALLS_PER_HOUR")
    # Airtable facts, section 6: after a 429, requests succeed again once 30 s have passed.
    lockout_seconds: float = Field(default=30, gt=0, alias="RECONCILER_LOCKOUT_SECONDS")
    # The first wait before a call is tried again; doubled with each further try.
    retry_seconds: float = Field(default=0.5, gt=0, alias="RECONCILER_RETRY_SECONDS")
    # How long the history of every field is kept.
    history_days: int = Field(default=90, ge=1, alias="RECONCILER_HISTORY_DAYS")
    # Seconds that a portal edit may settle before it is synced at once; None: edits wait for the
    # schedule.
    on_edit: float | None = Field(default=None, alias="RECONCILER_ON_EDIT")
    # The deployed Dagster UI, for links from the portal and from run summaries.
    dagster_ui_url: str = Field(default="http://127.0.0.1:3000", alias="RECONCILER_DAGSTER_URL")
    # The portal, for links from a run to what it changed; no links unless set.
    portal_url: str | None = Field(default=None, alias="RECONCILER_PORTAL_URL")

    @field_validator("on_edit", mode="before")
    @classmethod
    def _settle_seconds(cls, value: Any) -> Any:
        word = str(value).strip().lower()
        if word in ("true", "yes", "on"):
            return SETTLE_SECONDS
        if word in ("none", "false", "no", "off"):
            return None
        try:
            seconds = float(word)
        except ValueError:
            seconds = -1
        if not 0 < seconds <= 3600:
            raise ValueError("expected true, false, or the seconds that an edit may settle")
        return seconds

    @field_validator("database_url", "dagster_postgres_url")
    @classmethod
    def _escaped(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _splits_as_meant(url.get_secret_value()):
            raise ValueError("write @ in the password as %40, and / as %2F")
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what `reconciler up` runs."""
        return init_settings, env_settings, _RunningSource(settings_cls)

    @classmethod
    def load(cls) -> Settings:
        """Read the settings; a malformed one raises ConfigurationError that names it."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            name = str(first["loc"][0]).upper()
            why = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"{name} is not usable: {why}.") from None

    def require_database_url(self) -> str:
        """The portal's libpq URL."""
        if self.database_url is None:
            raise ConfigurationError(
                "DATABASE_URL is not set and no embedded Postgres is running: set it to the "
                "portal's Postgres, or start everything with `reconciler up`."
            )
        return self.database_url.get_secret_value()

    def require_api_key(self) -> str:
        """Airtable's token."""
        if self.airtable_api_key is None:
            raise ConfigurationError(
                "AIRTABLE_API_KEY is not set and no sandbox is running: set it to a personal "
                "access token, or start everything with `reconciler up`."
            )
        return self.airtable_api_key.get_secret_value()
