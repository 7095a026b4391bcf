"""A person's word on a cell that both sides edited and whose field is on hold."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.postgres.jsonb import dump

Side = Literal["airtable", "postgres"]


def both_values(there: Value, here: Value) -> dict[str, Value]:
    """The two values, as they wait in quarantine."""
    return {"airtable": there, "postgres": here}


def choose(
    connection: Connection, pair: Pair, run_id: str, record_id: str, field: str, side: Side
) -> bool:
    """Give up the other side's value: the next run carries over the chosen one, unless somebody
    edits the other again. False where no such cell waits.

    What is given up counts as agreed on from now on, so that the chosen value is the only edit; it
    is kept in the conflict log.
    """
    parameters = {
        **pair.keys,
        "run_id": run_id,
        "record_id": record_id,
        "field": field,
        "side": side,
        "other": "postgres" if side == "airtable" else "airtable",
    }
    waiting = connection.execute(
        text(
            "UPDATE reconciler.quarantine SET next_attempt_at = clock_timestamp() "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = :record_id "
            "AND field = :field AND jsonb_typeof(value) = 'object' "
            "AND value ?& ARRAY['airtable', 'postgres'] "
            "RETURNING value -> CAST(:side AS text), value -> CAST(:other AS text)"
        ),
        parameters,
    ).one_or_none()
    if waiting is None:
        return False
    chosen, given_up = waiting
    connection.execute(
        text(
            "WITH agreed AS (UPDATE reconciler.baseline SET fields = fields || "
            "jsonb_build_object(CAST(:field AS text), CAST(:given_up AS jsonb)) "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = :record_id "
            "RETURNING lead_id) "
            "INSERT INTO reconciler.conflict (run_id, client_id, sync, lead_id, record_id, field, "
            "kind, winning_value, losing_value) SELECT :run_id, :client_id, :sync, lead_id, "
            ":record_id, :field, 'both_edited', CAST(:chosen AS jsonb), CAST(:given_up AS jsonb) "
            "FROM agreed"
        ),
        {**parameters, "chosen": dump(chosen), "given_up": dump(given_up)},
    )
    return True
