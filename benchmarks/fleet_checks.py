"""What `fleet.py` looks at when all has ended: pages of Dagster's UI, and each promise."""

from __future__ import annotations

import time
from statistics import quantiles
from typing import TYPE_CHECKING

from delta import graphql  # beside this file

if TYPE_CHECKING:
    from fleet import Fleet

    from reconciler_dagster_tests.spread import Spread

TWICE = {
    # The same cell from the same to the same value, on either side.
    "history": "SELECT record_id, field, side, new_value, count(*) FROM reconciler.history "
    "WHERE new_value IS DISTINCT FROM old_value AND old_value IS NOT NULL "
    "GROUP BY 1, 2, 3, 4, old_value HAVING count(*) > 1",
    # The same cells sent to Airtable: no two edits are equal here.
    "journal": "SELECT record_id, fields, count(*) FROM reconciler.journal "
    "WHERE state <> 'planned' GROUP BY 1, 2 HAVING count(*) > 1",
}

# What the engine did with a record, the latest first.
STORY = """
SELECT * FROM (
    SELECT changed_at AS at, 'wrote to ' || side, run_id, old_value::text, new_value::text
    FROM reconciler.history WHERE record_id = %s AND field = 'notes'
    UNION ALL
    SELECT happened_at, 'lost', run_id, losing_value::text, winning_value::text
    FROM reconciler.conflict WHERE record_id = %s AND field = 'notes'
    UNION ALL
    SELECT planned_at, 'journal: ' || state, run_id, fields::text, merged_over::text
    FROM reconciler.journal WHERE record_id = %s
) AS story ORDER BY at DESC NULLS FIRST LIMIT 12
"""
LEADS = (
    "SELECT c.airtable_base_id || l.airtable_record_id, l.notes "
    "FROM leads l JOIN clients c ON c.id = l.client_id"
)
PAGES = {
    "the newest 30 runs": "{ runsOrError(limit: 30) { ... on Runs { results "
    "{ runId jobName status tags { key value } startTime endTime } } } }",
    "runs by status": "{ queued: runsOrError(filter: {statuses: [QUEUED]}) { ... on Runs "
    "{ count } } failed: runsOrError(filter: {statuses: [FAILURE]}) { ... on Runs { count } } }",
    "an asset's partitions": '{ assetNodeOrError(assetKey: {path: ["airtable_leads"]}) { ... on '
    "AssetNode { partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses "
    "{ materializedPartitions } } } } }",
    "the assets": "{ assetNodes { assetKey { path } assetMaterializations(limit: 1) "
    "{ timestamp } } }",
}


def of_flags(waited: list[float]) -> str:
    """What people waited who asked for a sync."""
    if len(waited) < 2:
        return f"{len(waited)} flag rows"
    cuts = quantiles(waited, n=20, method="inclusive")
    return f"{len(waited)} flag rows, to equal p50 {cuts[9]:.1f} s, p95 {cuts[18]:.1f} s"


def pages(host: Spread) -> str:
    """What takes Dagster's UI how long, the second time that it is asked."""
    address, told = host.start_webserver(), []
    for name, query in PAGES.items():
        for _ in range(2):
            began = time.monotonic()
            found = graphql(address, query)
            took = time.monotonic() - began
        assert found
        told.append(f"{name} {took:.2f} s")
    return ", ".join(told)


def what_is_wrong(fleet: Fleet) -> list[str]:
    """Each promise that does not hold, in a line."""
    wrong = list(fleet.late)
    for number, ids in fleet.runs.items():
        ended = fleet.states(ids)
        if number not in fleet.spoilt and ended != {"SUCCESS": len(fleet.clients)}:
            wrong.append(f"Tick {number} did not end with a success of each: {dict(ended)}.")
    there = {base: fleet.sandbox.on(base).records() for base in fleet.bases}
    here = dict(fleet.host.sql(LEADS))
    for (base, record), said in fleet.said.items():
        found = there[base][record]["fields"].get("Notes"), here.get(base + record)
        if found != (said, said):
            wrong.append(f"Lost: {said!r}; Airtable and Postgres have {found}.")
            wrong += [f"  {row}" for row in fleet.host.sql(STORY, record, record, record)]
    for place, query in TWICE.items():
        wrong += [f"Written twice, says the {place}: {row}." for row in fleet.host.sql(query)]
    if refused := sum(call["status"] == 429 for call in fleet.sandbox.calls()):
        wrong.append(f"{refused} calls were over Airtable's limit.")
    return wrong
