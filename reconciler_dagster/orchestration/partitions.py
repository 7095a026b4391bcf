"""One partition per active client, whose key is the client's id; for whole windows one per client
and creation month.
"""

from __future__ import annotations

import dagster as dg

from reconciler_dagster.core.windows import FIRST_MONTH
from reconciler_dagster.postgres.clients import Client

CLIENTS = dg.DynamicPartitionsDefinition(name="client")
# Of a run of one client; Dagster's own.
PARTITION_TAG = "dagster/partition"
WINDOWS = dg.MultiPartitionsDefinition(
    {
        "client": CLIENTS,
        "month": dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1),
    }
)


def ensure_partitions(instance: dg.DagsterInstance, clients: list[Client]) -> int:
    """Make a partition of every client that has none; old ones stay for their history.

    Returns how many were made.
    """
    known = set(instance.get_dynamic_partitions("client"))
    new = [client.id for client in clients if client.id not in known]
    if new:
        instance.add_dynamic_partitions("client", new)
    return len(new)


def partition_tags(client_id: str) -> dict[str, str]:
    """For a run request of a partition that `ensure_partitions` has just made sure of.

    Dagster looks each partition up again, over a connection of its own, unless the request
    carries the tag: for a thousand clients that is longer than a schedule may take.
    """
    return {PARTITION_TAG: client_id}
