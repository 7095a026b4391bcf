"""The demo's client and users (the sandbox's staff), put into an empty portal of our own.

`python -m reconciler_dagster.supervisor.demo` does it where compose runs the demo.
"""

from __future__ import annotations

from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.portal import open_portal
from reconciler_dagster.sandbox import DEMO_BASE_ID

CLIENT = "Demo Client"
ADMIN, CLIENT_ADMIN, CLIENT_USER = "ann@example.com", "ben@example.com", "cleo@example.com"
_USERS = [
    (ADMIN, "Ann", "Keller", "SUPER_ADMIN", False),
    (CLIENT_ADMIN, "Ben", "Ortiz", "CLIENT_ADMIN", True),
    (CLIENT_USER, "Cleo", "Park", "CLIENT_USER", True),
]


def seed(portal: Engine, base_id: str) -> None:
    """Add a client with this base and one user of each role, where there is no client yet."""
    with portal.begin() as connection:
        # Two at once would both find the table empty.
        connection.execute(text("LOCK TABLE public.clients IN SHARE ROW EXCLUSIVE MODE"))
        if connection.execute(text("SELECT EXISTS (SELECT FROM public.clients)")).scalar():
            return
        client_id = connection.execute(
            text(
                "INSERT INTO public.clients (company_name, email, airtable_base_id) "
                "VALUES (:name, :email, :base_id) RETURNING id"
            ),
            {"name": CLIENT, "email": CLIENT_ADMIN, "base_id": base_id},
        ).scalar_one()
        adoption.adopt(connection, str(client_id), "the demo")
        connection.execute(
            text(
                "INSERT INTO public.users (email, first_name, last_name, role, client_id) "
                "VALUES (:email, :first, :last, :role, :client_id) ON CONFLICT (email) DO NOTHING"
            ),
            [
                {
                    "email": email,
                    "first": first,
                    "last": last,
                    "role": role,
                    "client_id": client_id if of_client else None,
                }
                for email, first, last, role, of_client in _USERS
            ],
        )


if __name__ == "__main__":
    seed(open_portal(Settings.load()), DEMO_BASE_ID)
