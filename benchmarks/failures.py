"""How soon many failures are told: `python benchmarks/failures.py [clients]`.

Starts the demo and adds clients whose base Airtable does not know (500 unless given). Each is asked
for at once, each run fails, and the watcher has to tell of every one. Prints how long the runs
took, how long after the last failure the notices named all clients, and what the watcher's process,
which is the listener, has used meanwhile.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import psycopg
from capacity import processor_time, value  # beside this file
from delta import demo

LEADS = 20
ADDED = """
    WITH new AS (
        INSERT INTO clients (company_name, airtable_base_id)
        SELECT 'Gone ' || n, 'appGone' || lpad(n::text, 10, '0') FROM generate_series(1, %s) n
        RETURNING id
    ), adopted AS (
        INSERT INTO reconciler.adoption (client_id, state, changed_by)
        SELECT id, 'adopted', 'the benchmark' FROM new
    )
    INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM new
"""
FAILED = "SELECT count(DISTINCT client_id) FROM reconciler.run_summary WHERE state = 'failed'"
NAMED = """
    SELECT count(DISTINCT p ->> 'subject') FROM reconciler.notice n, jsonb_array_elements(present) p
    WHERE n.state = 'open' AND n.kind = 'base_gone'
"""


def main() -> None:
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with (
        demo(LEADS) as (state, running),
        psycopg.connect(running["database_url"], autocommit=True) as portal,
    ):
        up = int(running["pid"])
        before = processor_time(state, up)
        began = time.monotonic()
        portal.execute(ADDED, (clients,))
        failed = _until(portal, FAILED, clients)
        named = _until(portal, NAMED, clients)
        used = processor_time(state, up)
        used.subtract(before)
    print(
        f"{clients:,} failures: the last run had failed after {failed - began:.0f} s, every client "
        f"was named {named - failed:.1f} s later; processor time {used['listener']:.1f} s of the "
        f"listener, {used.total():.0f} s of everything"
    )


def _until(portal: psycopg.Connection[Any], query: str, wanted: int) -> float:
    while value(portal, query) < wanted:
        time.sleep(0.2)
    return time.monotonic()


if __name__ == "__main__":
    main()
