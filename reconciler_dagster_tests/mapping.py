"""The shipped definitions as the engine takes them, for tests."""

from __future__ import annotations

from reconciler_dagster.syncs.reading import read_all
from reconciler_dagster.syncs.resolve import resolve

SYNC = resolve(read_all()["leads"].within(["leads"]))
LEADS = SYNC.fields
