"""Configuration from the environment, and from a running embedded default where nothing is set."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from reconciler_dagster import environment, redaction
from reconciler_dagster.core.listed import ListedClient, listed_clients
from reconciler_dagster.core.month import named_workspaces
from reconciler_dagster.sealing import Keys

RUNNING = "running.json"
# Of RECONCILER_ENVIRONMENT: where schedules and sensors run; the second one is set by
# `reconciler up` where nothing real is touched.
PRODUCTION, DEMO = "production", "demo"
SETTLE_SECONDS = 5.0


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message is one sentence for a person; exit code 2."""


def usable_folder(path: Path, setting: str) -> Path:
    """A folder, made when missing. ConfigurationError where it cannot be made or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"The folder {path} cannot be used ({os.strerror(error.errno or 0)}): make it a "
            f"folder that can be written, or set {setting} to another one."
        ) from None
    return path


def state_dir() -> Path:
    """The folder for the embedded default's data and for Dagster's home, made when missing.

    Raises ConfigurationError where it cannot be used.
    """
    configured = environment.value("RECONCILER_STATE_DIR")
    path = Path(configured) if configured else platformdirs.user_state_path("reconciler")
    return usable_folder(path, "RECONCILER_STATE_DIR")


def project_file(name: str) -> Path:
    """A file of the project's top level: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    beside, inside = package.parent / name, package / "_project" / name
    return inside if inside.exists() else beside


def environment_name() -> str:
    """What RECONCILER_ENVIRONMENT says this deployment is."""
    return (environment.value("RECONCILER_ENVIRONMENT") or "not production").lower()


def starts_by_itself(environment: str | None = None) -> bool:
    """Whether schedules, sensors and the listener start runs unless somebody switches them: here,
    or in that environment.

    A copy of a deployment, with its real credentials, must not begin to write.
    """
    return (environment or environment_name()) in (PRODUCTION, DEMO)


class FromEnvironment(BaseModel):
    """Settings whose every value is cleaned and looked at before anybody uses it.

    Each field is read from the variable of its alias or its name in capitals, with ``prefix``; an
    empty one counts as not set. Secrets are ``SecretStr``: they do not show in a repr, a log or an
    exception; and they are remembered, to be struck out of whatever is said
    (:mod:`reconciler_dagster.redaction`).
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)
    prefix: ClassVar[str] = ""

    def __init__(self, **given: Any) -> None:
        super().__init__(**(self._found() | given))

    @classmethod
    def _found(cls) -> dict[str, Any]:
        redaction.know_environment(os.environ)
        keys = [field.alias or name for name, field in cls.model_fields.items()]
        found = {key: environment.value((cls.prefix + key).upper()) for key in keys}
        return {key: text for key, text in found.items() if text is not None}

    @field_validator("*", mode="before")
    @classmethod
    def _clean(cls, given: Any) -> Any:
        secret = given.get_secret_value() if isinstance(given, SecretStr) else given
        if not isinstance(secret, str):
            return given
        return environment.require_text(environment.cleaned(secret))

    def model_post_init(self, _: Any) -> None:
        """Remember the secrets."""
        held = (getattr(self, name) for name in type(self).model_fields)
        redaction.know(*(one.get_secret_value() for one in held if isinstance(one, SecretStr)))

    @classmethod
    def load(cls) -> Self:
        """Read the settings; a malformed one raises ConfigurationError that names it."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_context=False, include_url=False)[0]
            name = f"{cls.prefix}{first['loc'][0]}".upper()
            why = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(
                f"{name} is not usable: {why}. Correct it, or unset it."
            ) from None


def _running() -> dict[str, Any]:
    """What `reconciler up` wrote down about what it started; ignored once that process is gone."""
    try:
        running = json.loads((state_dir() / RUNNING).read_text())
        os.kill(running.pop("pid"), 0)
    except (ConfigurationError, OSError, ValueError, KeyError):
        return {}
    if environment.value("AIRTABLE_API_KEY"):
        # A real token must not be sent to the sandbox that happens to run.
        running.pop("airtable_endpoint_url", None)
    return {key: value for key, value in running.items() if value}


def environment_of_up() -> str | None:
    """What a `reconciler up` that runs here takes for its environment; None where none runs."""
    return _running().get("RECONCILER_ENVIRONMENT")


class Settings(FromEnvironment):
    """Every setting, read from the environment variable of the same name in capitals.

    Raises :class:`ConfigurationError` from the ``require_*`` methods, never a stack trace.
    """

    airtable_api_key: SecretStr | None = None
    airtable_endpoint_url: str = "https://api.airtable.com"
    airtable_leads_table: str | None = None
    database_url: SecretStr | None = None
    dagster_postgres_url: SecretStr | None = None
    portal_jwt_secret: SecretStr | None = None
    # What clients' own tokens are encrypted with in the portal's database; the first one encrypts.
    token_keys: SecretStr | None = Field(default=None, alias="RECONCILER_TOKEN_KEYS")

    overlap_minutes: float = Field(
        default=20, ge=0, le=60 * 24 * 366, alias="RECONCILER_OVERLAP_MINUTES"
    )
    # Airtable allows five. A second and a twentieth for five calls leaves room for ways there that
    # are not equally long.
    calls_per_second: float = Field(default=4.76, gt=0, le=5, alias="RECONCILER_CALLS_PER_SECOND")
    audit_calls_per_hour: int = Field(
        default=20, ge=0, le=18000, alias="RECONCILER_AUDIT_CALLS_PER_HOUR"
    )
    # Airtable facts, section 6: after a 429, requests succeed again once 30 s have passed.
    lockout_seconds: float = Field(default=30, gt=0, le=86400, alias="RECONCILER_LOCKOUT_SECONDS")
    # The first wait before a call is tried again; doubled with each further try.
    retry_seconds: float = Field(default=0.5, gt=0, le=3600, alias="RECONCILER_RETRY_SECONDS")
    # How long a client stays locked by a run that nobody can see any more, on another machine.
    lease_seconds: float = Field(default=30, ge=1, le=600, alias="RECONCILER_LEASE_SECONDS")
    # How long the history is kept: of every field, of runs, conflicts, and answered requests.
    history_days: int = Field(default=90, ge=1, le=36500, alias="RECONCILER_HISTORY_DAYS")
    # Where runs start, and how many at a time: see orchestration.dagster_yaml.
    run_launcher: Literal["here", "celery", "docker", "kubernetes"] = Field(
        default="here", alias="RECONCILER_RUN_LAUNCHER"
    )
    run_slots: int | None = Field(default=None, ge=1, le=1000, alias="RECONCILER_RUN_SLOTS")
    # The broker of the workers, where runs start in those.
    redis_url: SecretStr | None = Field(default=None, alias="RECONCILER_REDIS_URL")
    # How long Dagster keeps what has ended: runs with their events.
    keep_runs_days: int = Field(default=14, ge=1, le=3650, alias="RECONCILER_KEEP_RUNS_DAYS")
    # Seconds that a portal edit may settle before it is synced at once; None: edits wait for the
    # schedule.
    on_edit: float | None = Field(default=None, alias="RECONCILER_ON_EDIT")
    # From more clients than this on, see orchestration.glance.
    glance_above: int = Field(default=40, ge=0, alias="RECONCILER_GLANCE_ABOVE")
    # What the plan allows a workspace in a month (Team: 100000); none: no limit is looked after.
    monthly_calls: int | None = Field(default=None, gt=0, alias="RECONCILER_MONTHLY_CALLS")
    # Which bases share a workspace; all of them unless set.
    workspaces: str | None = Field(default=None, alias="RECONCILER_WORKSPACES")
    # The deployed Dagster UI, for links from the portal and from run summaries.
    dagster_ui_url: str = Field(default="http://127.0.0.1:3000", alias="RECONCILER_DAGSTER_URL")
    # The portal, for links from a run to what it changed; no links unless set.
    portal_url: str | None = Field(default=None, alias="RECONCILER_PORTAL_URL")

    # The clients, where no portal keeps a table of them: name=base id, name=base id.
    clients: str | None = Field(default=None, alias="RECONCILER_CLIENTS")
    # A folder of sync definitions of one's own, and which syncs run, by name.
    syncs_folder: str | None = Field(default=None, alias="RECONCILER_SYNCS_FOLDER")
    syncs: str | None = Field(default=None, alias="RECONCILER_SYNCS")

    @property
    def chosen_syncs(self) -> tuple[str, ...] | None:
        """The names in RECONCILER_SYNCS; None where it is not set."""
        if self.syncs is None:
            return None
        return tuple(filter(None, (name.strip() for name in self.syncs.split(","))))

    @property
    def listed_clients(self) -> tuple[ListedClient, ...]:
        """The clients in RECONCILER_CLIENTS; none where the portal has them."""
        return listed_clients(self.clients) if self.clients else ()

    @field_validator("airtable_api_key")
    @classmethod
    def _token(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            environment.require_token(given.get_secret_value())
        return given

    @field_validator("token_keys")
    @classmethod
    def _keys(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            Keys(given.get_secret_value())
        return given

    @field_validator("monthly_calls", mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        return None if str(given).strip().lower() == "none" else given

    @field_validator("workspaces")
    @classmethod
    def _workspaces(cls, given: str | None) -> str | None:
        named_workspaces(given or "")
        return given

    @field_validator("clients")
    @classmethod
    def _clients(cls, given: str | None) -> str | None:
        if given is not None:
            listed_clients(given)
        return given

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
    def _postgres(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        return SecretStr(environment.require_postgres_address(given.get_secret_value()))

    @field_validator("airtable_endpoint_url", "dagster_ui_url", "portal_url")
    @classmethod
    def _web(cls, given: str | None) -> str | None:
        return given and environment.require_web_address(given)

    @classmethod
    def _found(cls) -> dict[str, Any]:
        """The environment first, then what `reconciler up` runs."""
        return _running() | super()._found()

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
