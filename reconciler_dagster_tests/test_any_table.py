"""Only the definitions know the portal's tables and fields, and the portal's own rooms: its API and
console, the demo and the sandbox.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

import reconciler_dagster
from reconciler_dagster.syncs.reading import read_all

PACKAGE = Path(reconciler_dagster.__file__).parent
ITS_OWN = ("portal/", "sandbox/", "vendor/", "supervisor/demo.py")
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not path.relative_to(PACKAGE).as_posix().startswith(ITS_OWN)
]
# Columns of the engine's own tables, and of the tables of clients and of users; and what a
# definition means that does not name its column of record ids.
COMMON = {"created_at", "updated_at", "lead_id", "is_active", "sent_at", "first_name", "last_name"}
COMMON |= {"airtable_record_id"}


@functools.cache
def names() -> frozenset[str]:
    """Tables, columns and fields of the shipped definitions that are no plain words; what is one
    beside its capital, as it stands in code: in quotes.
    """
    found: set[str] = set()
    for definition in read_all().values():
        found |= {definition.postgres.table, definition.postgres.record_id}
        found |= {column for column in (*definition.fields, *definition.derived) if "_" in column}
        fields = {s for f in definition.fields.values() for s in f.source}
        fields.add(definition.airtable.table)
        found |= {name if re.search(r"\w[ _]\w", name) else f'"{name}"' for name in fields}
        if definition.postgres.log:
            found.add(definition.postgres.log.table)
    return frozenset(name for name in found - COMMON if len(name) > 3)


def named(text: str) -> list[str]:
    return [name for name in names() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_name_of_the_portal_stands_in_the_engine(path: Path) -> None:
    assert named(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELECT FROM public.leads l", "public.leads"),
        ("row.sms_sent_count", "sms_sent_count"),
        ("# of Linked Campaign", "Linked Campaign"),
        ('x = "Notes"', '"Notes"'),
        ('table = "Tasks"', '"Tasks"'),
    ],
)
def test_a_name_is_found_wherever_it_stands(text: str, name: str) -> None:
    assert named(text) == [name]
    assert named("Notes of a run, tasks of a person") == []
