"""Whole rows through the codecs: canonical values, and by column why a cell cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.values import Directory, Unreadable, Value

Row = dict[str, Value]
Problems = dict[str, str]


def from_airtable(
    cells: Mapping[str, Any], fields: FieldMap, users: Directory
) -> tuple[Row, Problems]:
    """Airtable cells keyed by column; an absent key is an empty cell, for it was asked for."""
    row: Row = {}
    problems: Problems = {}
    for mapped in fields:
        try:
            row[mapped.column] = mapped.codec.from_airtable(cells.get(mapped.column), users)
        except Unreadable as why:
            problems[mapped.column] = f"{mapped.airtable} {why}"
    return row, problems


def from_postgres(
    columns: Mapping[str, Any], fields: FieldMap, users: Directory
) -> tuple[Row, Problems]:
    """Columns of ``leads`` as Postgres' ``to_jsonb`` gives them."""
    row: Row = {}
    problems: Problems = {}
    for mapped in fields:
        try:
            row[mapped.column] = mapped.codec.from_postgres(columns[mapped.column], users)
        except Unreadable as why:
            problems[mapped.column] = f"{mapped.column} {why}"
    return row, problems
