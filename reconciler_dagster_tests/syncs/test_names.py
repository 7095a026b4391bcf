"""The portal's tables and fields are named in its definitions and its own rooms, nowhere else."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import reconciler_dagster
from reconciler_dagster.syncs.reading import read_all

ROOT = Path(reconciler_dagster.__file__).parent
# The portal's own rooms, the demo, the sandbox, and what others wrote.
ROOMS = ("portal/", "sandbox/", "vendor/", "supervisor/demo.py")
# Columns of clients and users, which every portal has, or of the engine's own tables.
ELSEWHERE = {"is_active", "first_name", "last_name", "sent_at"}

# Since 3.12 the texts of an f-string are tokens of their own.
KINDS = {tokenize.NAME, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def names() -> set[str]:
    """Tables, columns and Airtable fields of the shipped definitions."""
    found: set[str] = set()
    for one in read_all().values():
        found |= {one.airtable.table, one.postgres.table, *one.fields, *one.derived}
        found |= {source for field in one.fields.values() for source in field.source}
    return found - ELSEWHERE


def is_telling(name: str) -> bool:
    """Whether a name cannot stand in a text by chance."""
    return bool(re.search(r"\w[_. ]\w", name))


def offences(source: str, wanted: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name: a telling name within a text or as a name in the code; of the others the
    capitalised ones, where they are all of a text.
    """
    anywhere = re.compile(
        "|".join(rf"(?<!\w){re.escape(n)}(?!\w)" for n in sorted(wanted) if is_telling(n))
    )
    alone = {name for name in wanted if not is_telling(name) and name[:1].isupper()}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in KINDS:
            continue
        if found := anywhere.search(token.string):
            yield token.start[0], found[0]
        elif token.string.strip("rbf\"'") in alone and token.type != tokenize.NAME:
            yield token.start[0], token.string


def test_no_table_or_field_of_the_portal_is_named_elsewhere() -> None:
    wanted = names()
    assert {"public.leads", "Lead Record ID", "sms_sent_count", "Tasks"} <= wanted
    files = [p for p in ROOT.rglob("*.py") if not p.relative_to(ROOT).as_posix().startswith(ROOMS)]
    assert len(files) > 150
    found = [
        f"{path.relative_to(ROOT)}, line {line}: {name}"
        for path in sorted(files)
        for line, name in offences(path.read_text(encoding="utf-8"), wanted)
    ]
    assert found == []


def test_a_name_is_found_wherever_it_stands() -> None:
    wanted = names()
    for source, name in (
        ('x = "SELECT FROM public.leads"\n', "public.leads"),
        ('x = f"SET {a}, claimed_by = 1"\n', "claimed_by"),
        ("row.sms_sent_count\n", "sms_sent_count"),
        ("x = 'Notes'\n", "'Notes'"),
        ('"""Of Linked Campaign."""\n', "Linked Campaign"),
    ):
        assert [found for _, found in offences(source, wanted)] == [name]
    assert list(offences('x = "Notes of a run"\n', wanted)) == []
