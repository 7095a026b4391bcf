"""What `reconciler up` is to start, and what is real and left alone."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from reconciler_dagster import environment
from reconciler_dagster.config import DEMO, PRODUCTION, RUNNING, ConfigurationError, Settings
from reconciler_dagster.orchestration.home import require_dagster_postgres
from reconciler_dagster.postgres import client_tokens
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import is_current
from reconciler_dagster.sandbox import DEMO_TOKEN
from reconciler_dagster.syncs.reading import SHIPPED, read_folder

# Whether a person says yes.
Asked = Callable[[], bool]
# What says which syncs run; the demo shows all of the portal's where neither is set.
_SYNCS = ("RECONCILER_SYNCS", "RECONCILER_SYNCS_FOLDER")
PORTS = {"dagster": 3000, "sandbox": 8765, "portal": 8000}


@dataclass(frozen=True)
class Plan:
    """Which parts are ours. The others are configured and used as they are. ``listed``: the clients
    are, so that there is no portal.
    """

    portal_postgres: bool
    dagster_postgres: bool
    sandbox: bool
    listed: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """What is not configured is ours to start."""
        return cls(
            portal_postgres=settings.database_url is None,
            dagster_postgres=settings.dagster_postgres_url is None,
            sandbox=settings.airtable_api_key is None,
            listed=bool(settings.listed_clients),
        )

    @property
    def postgres(self) -> bool:
        """Whether the embedded Postgres is needed at all."""
        return self.portal_postgres or self.dagster_postgres

    @property
    def is_demo(self) -> bool:
        """Nothing real is touched: there may be made-up users, and sign-in without a password."""
        return self.portal_postgres and self.sandbox and not self.listed

    def check_real(self, settings: Settings) -> None:
        """Before anything is started: whether the databases that are not ours can be reached.

        Raises ConfigurationError.
        """
        if not self.portal_postgres:
            portal = engine(settings.require_database_url())
            portal.connect().close()
            if self.sandbox and is_current(portal):
                _require_no_real_tokens(portal)
        if settings.dagster_postgres_url is not None:
            require_dagster_postgres(settings.dagster_postgres_url.get_secret_value())

    def is_to_be_migrated(self, settings: Settings, may_migrate: Asked) -> bool:
        """Whether the portal's database is: ours always is, another that is behind where somebody
        says yes. Raises ConfigurationError where nobody does.
        """
        if self.portal_postgres:
            return True
        if is_current(engine(settings.require_database_url())):
            return False
        if not may_migrate():
            raise ConfigurationError(
                "The database of DATABASE_URL is not at this version's migrations, and it is not "
                "this command's own: nothing was changed in it. Run `reconciler migrate` first, or "
                "start with --migrate."
            )
        return True


def _require_no_real_tokens(portal: Engine) -> None:
    """A client's own token must not be sent to the sandbox."""
    with portal.connect() as connection:
        if client_tokens.all_references(connection):
            raise ConfigurationError(
                "Clients have Airtable tokens of their own, and AIRTABLE_API_KEY is not set, so a "
                "sandbox would be started, and those tokens sent to it: set AIRTABLE_API_KEY too, "
                "or take theirs away with `reconciler tokens unset`."
            )


def substitutes(plan: Plan, state: Path, urls: dict[str, str]) -> dict[str, str]:
    """Settings for what is ours, by environment variable. Nothing real is among them.

    ``urls``: of portal, dagster (databases), sandbox, ui, console.
    """
    found = {}
    if not environment.value("RECONCILER_DAGSTER_URL"):
        found["RECONCILER_DAGSTER_URL"] = urls["ui"]
    # Whoever starts everything here by hand means it to sync; a copy says that it is one.
    if not environment.value("RECONCILER_ENVIRONMENT"):
        found["RECONCILER_ENVIRONMENT"] = DEMO if plan.is_demo else PRODUCTION
    if plan.portal_postgres:
        found["DATABASE_URL"] = urls["portal"]
    if plan.dagster_postgres:
        found["DAGSTER_POSTGRES_URL"] = urls["dagster"]
    if plan.sandbox:
        found["AIRTABLE_API_KEY"] = DEMO_TOKEN
        found["AIRTABLE_ENDPOINT_URL"] = urls["sandbox"]
    if plan.is_demo and not any(map(environment.value, _SYNCS)):
        found["RECONCILER_SYNCS"] = ", ".join(read_folder(SHIPPED))
    if plan.is_demo and not environment.value("PORTAL_JWT_SECRET"):
        found["PORTAL_JWT_SECRET"] = _own_secret(state / "portal-secret")
    with_portal = has_token_key() or "PORTAL_JWT_SECRET" in found
    if with_portal and not environment.value("RECONCILER_PORTAL_URL"):
        found["RECONCILER_PORTAL_URL"] = urls["console"]
    return found


def has_token_key() -> bool:
    """Whether the environment says how the portal's tokens are checked; without, it cannot run."""
    return any(map(environment.value, ("PORTAL_JWT_SECRET", "PORTAL_JWKS_URL")))


def write_running(state: Path, found: dict[str, str]) -> None:
    """Leave word for other processes; the file is valid while this process lives."""
    keys = {
        name: name if name.startswith("RECONCILER_") else name.lower() for name in found
    }  # Settings' own names: a few have an alias
    content = {"pid": os.getpid()} | {keys[name]: value for name, value in found.items()}
    _write_private(state / RUNNING, json.dumps(content, indent=1))


def _own_secret(path: Path) -> str:
    """Kept, so that a restart signs nobody out."""
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(48))
    return path.read_text()


def _write_private(path: Path, content: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(content)
    fresh.replace(path)
