"""Clients that a person has adopted: what every world but those about adoption begins with."""

from __future__ import annotations

ADOPT = (
    "INSERT INTO reconciler.adoption (client_id, state, changed_by) "
    "SELECT id, 'adopted', 'the test' FROM clients ON CONFLICT (client_id) DO NOTHING"
)
