"""Clients that a person has adopted: what every world but those about adoption begins with."""

from __future__ import annotations

from sqlalchemy import Connection, text

ADOPT = (
    "INSERT INTO reconciler.adoption (client_id, state, changed_by) "
    "SELECT id, 'adopted', 'the test' FROM clients ON CONFLICT (client_id) DO NOTHING"
)


def add_clients(connection: Connection, number: int) -> None:
    """So many clients, "Client 1" with the base "appBase1" and so on. Nobody has adopted them."""
    connection.execute(
        text(
            "INSERT INTO clients (company_name, airtable_base_id) "
            "SELECT 'Client ' || n, 'appBase' || n FROM generate_series(1, :number) AS n"
        ),
        {"number": number},
    )
