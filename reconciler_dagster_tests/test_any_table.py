"""The engine knows no table and no field of the portal: they stand in the definitions alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reconciler_dagster
from reconciler_dagster.syncs.reading import read_all

PACKAGE = Path(reconciler_dagster.__file__).parent
ROOMS = ("core", "engine", "postgres", "airtable")
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).glob("*.py"))]
# Columns of the engine's own tables, and of the table of clients.
COMMON = {"created_at", "updated_at", "lead_id", "is_active", "sent_at"}


def names() -> set[str]:
    """Tables, columns and fields of the shipped definitions that are no plain words."""
    found: set[str] = set()
    for definition in read_all().values():
        found |= {definition.postgres.table, definition.postgres.record_id}
        found |= {column for column in definition.fields if "_" in column}
        found |= {s for f in definition.fields.values() for s in f.source if " " in s}
        if definition.postgres.log:
            found.add(definition.postgres.log.table)
    return {name for name in found - COMMON if len(name) > 3}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_name_of_the_portal_stands_in_the_engine(path: Path) -> None:
    text = path.read_text()
    found = [name for name in names() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    assert found == []
