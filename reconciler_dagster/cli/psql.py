"""`reconciler psql`: the portal's database at hand, with the psql of the embedded Postgres."""

from __future__ import annotations

import os

import click
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.sandbox.account import binaries

# libpq's environment variable for each part of a URL that people use.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "options": "PGOPTIONS",
}


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": ["--help"],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open the portal's database in psql.

    ARGUMENTS are psql's own, e.g. -c "SELECT count(*) FROM leads".
    """
    url = Settings.load().require_database_url()
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:  # its text quotes a part of it
        raise ConfigurationError(
            "DATABASE_URL is not usable: libpq cannot read it as a connection string; set it to "
            "postgresql://user:password@host/database."
        ) from None
    # By environment: a URL among the arguments would show its password to everybody.
    own = {_VARIABLES[name]: str(value) for name, value in parts.items() if name in _VARIABLES}
    program = str(binaries() / "psql")
    os.execve(program, [program, *arguments], os.environ | own)
