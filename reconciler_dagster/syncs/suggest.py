"""A first draft of a definition: which Airtable field feeds which column, by what both sides show.

Evidence, strongest first: rows that both sides hold (the same values in the same records), the
types, the names; among these those that a shipped definition of the table has. What stays in doubt
is left to the person who edits the draft: a wrong line would be carried out, a missing one is seen.
Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler_dagster.core.normal import key

# Rows that both sides hold, below which their values say nothing.
ENOUGH_ROWS = 5
# Of these, how many must be the same for a pair to be sure, and how few rule it out.
SAME, OTHER = 0.9, 0.5
# A name that says more than this is taken where no other comes near.
SAYS_ENOUGH, NEAR = 0.45, 0.15


@dataclass(frozen=True)
class FieldSeen:
    """An Airtable field. ``cells``: by record id, empty ones left out."""

    name: str
    type: str
    cells: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnSeen:
    """A column, with its type as Postgres names it inside. ``values``: by record id, as JSON.
    ``refers_to``: the table of its foreign key.
    """

    name: str
    type: str
    values: Mapping[str, Any] = field(default_factory=dict)
    refers_to: str | None = None


@dataclass(frozen=True)
class Guess:
    """A column and the field that most likely feeds it. ``sure``: the values prove it. ``others``:
    fields that are as likely; then ``field`` is None.
    """

    column: str
    field: str | None
    type: str = "text"
    sure: bool = False
    others: tuple[str, ...] = ()


_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Airtable's type: what a definition calls it, and the columns that hold such values.
    "singleLineText": ("text", ("text", "varchar", "bpchar", "uuid", "_text", "_varchar")),
    "multilineText": ("text", ("text", "varchar", "_text", "_varchar")),
    "richText": ("rich_text", ("text", "varchar")),
    "email": ("text", ("text", "varchar", "uuid", "citext")),
    "url": ("text", ("text", "varchar")),
    "phoneNumber": ("text", ("text", "varchar")),
    "singleSelect": ("select", ("text", "varchar", "bpchar")),
    "multipleSelects": ("multi_select", ("_text", "_varchar", "jsonb")),
    "checkbox": ("checkbox", ("bool",)),
    "number": ("decimal", ("int2", "int4", "int8", "numeric", "float4", "float8")),
    "currency": ("currency", ("numeric", "int4", "int8", "float8")),
    "percent": ("percent", ("numeric", "float4", "float8")),
    "rating": ("rating", ("int2", "int4")),
    "duration": ("duration", ("int4", "int8", "numeric", "interval")),
    "count": ("integer", ("int2", "int4", "int8")),
    "autoNumber": ("integer", ("int4", "int8")),
    "date": ("date", ("date", "timestamptz", "timestamp")),
    "dateTime": ("datetime", ("timestamptz", "timestamp")),
    "createdTime": ("datetime", ("timestamptz", "timestamp")),
    "lastModifiedTime": ("datetime", ("timestamptz", "timestamp")),
    "multipleRecordLinks": ("link", ("uuid", "int4", "int8", "_uuid", "text", "varchar")),
    "multipleLookupValues": ("lookup", ("jsonb", "_text", "text")),
    "rollup": ("lookup", ("int4", "int8", "numeric", "text", "jsonb")),
    "multipleAttachments": ("attachments", ("jsonb",)),
    "singleCollaborator": ("collaborator", ("uuid", "text", "varchar")),
    "formula": ("text", ("text", "varchar", "int2", "int4", "int8", "numeric", "float8", "bool",
                         "timestamptz")),
}  # fmt: skip
_INTEGERS = ("int2", "int4", "int8")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def guesses(
    fields: Sequence[FieldSeen],
    columns: Sequence[ColumnSeen],
    known: Mapping[str, Sequence[str]] | None = None,
) -> list[Guess]:
    """A guess for each column that some field may feed, in the order of the columns. ``known``: by
    column, what a shipped definition of the table has it from, which says more than a likeness.
    """
    known = known or {}
    shared = {column.name: _proved(column, fields) for column in columns}
    left = [column for column in columns if shared[column.name] is None]
    named = {
        column.name: Guess(column.name, seen.name, _type(seen, column))
        for column in left
        if (seen := _as_known(column, fields, known.get(column.name, ())))
    }
    taken = {f.name for f in shared.values() if f} | {g.field for g in named.values() if g.field}
    alike = _by_name(fields, [column for column in left if column.name not in named], taken)
    named |= {c: _in_doubt(guess) if c in known else guess for c, guess in alike.items()}
    found = []
    for column in columns:
        proof = shared[column.name]
        if proof is not None:
            found.append(Guess(column.name, proof.name, _type(proof, column), sure=True))
        elif column.name in named:
            found.append(named[column.name])
    return found


def _proved(column: ColumnSeen, fields: Sequence[FieldSeen]) -> FieldSeen | None:
    """The field whose values the column holds, record by record; of several the best name."""
    same = [f for f in fields if _fits(f, column) and _agreement(f, column) >= SAME]
    return max(
        same, key=lambda f: (_agreement(f, column), _likeness(f.name, column.name)), default=None
    )


def _as_known(
    column: ColumnSeen, fields: Sequence[FieldSeen], names: Sequence[str]
) -> FieldSeen | None:
    """The first of these fields that is there and may feed the column."""
    by_name = {f.name: f for f in fields if _fits(f, column) and not _is_ruled_out(f, column)}
    return next((by_name[name] for name in names if name in by_name), None)


def _in_doubt(guess: Guess) -> Guess:
    """Of a column that is known to come from elsewhere: a likeness is not enough."""
    return guess if guess.field is None else Guess(guess.column, None, others=(guess.field,))


def _is_ruled_out(seen: FieldSeen, column: ColumnSeen) -> bool:
    return 0 <= _agreement(seen, column) < OTHER


def _agreement(seen: FieldSeen, column: ColumnSeen) -> float:
    """Which part of the rows that both hold says the same; -1 where there are too few. A value
    that nearly every row has proves nothing.
    """
    empty = ("", "0") if column.type == "bool" else ("",)  # a formula says 0 for no
    pairs = [(_plain(value), _plain(seen.cells.get(r))) for r, value in column.values.items()]
    held = [
        ("" if one in empty else one, "" if other in empty else other)
        for one, other in pairs
        if one not in empty or other not in empty
    ]
    if len(held) < ENOUGH_ROWS or (len({one for one, _ in held}) < 2 and column.type != "bool"):
        return -1.0
    return sum(one == other for one, other in held) / len(held)


def _plain(value: Any) -> str:
    """A value as it is compared: the same for a cell and its column, whatever their types."""
    if value is None or value is False or value == [] or value == "":
        return ""
    if isinstance(value, list):
        return ",".join(filter(None, map(_plain, value)))
    if isinstance(value, dict):
        return key(str(value.get("email") or value.get("name") or sorted(value.items())))
    if isinstance(value, bool):
        return "1"
    if isinstance(value, int | float):
        return f"{round(value, 6):g}"
    text = str(value)
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            return key(text)
        return str(round(moment.timestamp())) if moment.tzinfo else text[:10]
    return key(text).replace(", ", ",")


def _by_name(
    fields: Sequence[FieldSeen],
    columns: Sequence[ColumnSeen],
    taken: set[str],
) -> dict[str, Guess]:
    words = Counter(word for f in fields for word in set(_words(f.name)))
    scored = {
        (column.name, seen.name): score
        for column in columns
        for seen in fields
        if seen.name not in taken
        and _fits(seen, column)
        and not _is_ruled_out(seen, column)
        and (score := _likeness(seen.name, column.name, words)) > SAYS_ENOUGH
    }
    by_name, by_column = {f.name: f for f in fields}, {c.name: c for c in columns}
    found: dict[str, Guess] = {}
    for (column, name), score in sorted(scored.items(), key=lambda item: -item[1]):
        if column in found or name in taken:
            continue
        near = [
            other
            for (c, other), s in scored.items()
            if c == column and other != name and other not in taken and s > score - NEAR
        ]
        if near and score < 1:
            found[column] = Guess(column, None, others=(name, *sorted(near)))
            continue
        taken.add(name)
        found[column] = Guess(column, name, _type(by_name[name], by_column[column]))
    return found


def _fits(seen: FieldSeen, column: ColumnSeen) -> bool:
    kind, types = _KINDS.get(seen.type, ("", ()))
    if column.refers_to is not None and column.refers_to.rpartition(".")[2] != "users":
        return kind == "link"
    return column.type in types or (column.type == "user-defined" and "varchar" in types)


def _type(seen: FieldSeen, column: ColumnSeen) -> str:
    """What a definition calls the pair."""
    kind = _KINDS[seen.type][0]
    if column.type in _INTEGERS and seen.type in ("number", "currency", "formula", "rollup"):
        return "integer"
    if seen.type == "formula":
        return {"bool": "flag", "timestamptz": "datetime"}.get(
            column.type, "decimal" if column.type in ("numeric", "float8") else "text"
        )
    if column.type in ("_text", "_varchar") and kind == "text":
        return "comma_list"
    if column.type == "uuid" and kind == "text":
        return "user"
    if column.type == "_uuid":
        return "links"
    if kind == "date" and column.type == "timestamptz":
        return "date"
    return kind


def _likeness(name: str, column: str, words: Mapping[str, int] | None = None) -> float:
    """How alike two names are, 0 to 1. ``words``: in how many fields each word stands; a word that
    stands in one alone says more.
    """
    one, other = _words(name), _words(column)
    if not one or not other:
        return 0.0
    if "".join(one) == "".join(other):
        return 1.0
    common = set(one) & set(other)
    if not common:
        return 0.0
    if set(one) == set(other):
        return 0.95
    share = len(common) / max(len(set(one)), len(set(other)))
    if common in (set(one), set(other)):
        return 0.6 + 0.3 * share
    telling = any((words or {}).get(word) == 1 for word in common)
    return 0.4 + 0.2 * share if telling else 0.3 * share


def _words(name: str) -> list[str]:
    """Words in small letters; what stands in brackets is a remark."""
    bare = re.sub(r"\([^)]*\)", " ", name)
    return [word.lower() for word in _WORD.findall(bare) or _WORD.findall(name)]


def own_columns(columns: Iterable[ColumnSeen]) -> dict[str, str | None]:
    """The engine's own columns, as far as names and types show them."""
    types = {column.name: column.type for column in columns}

    def first(*wanted: str, of: tuple[str, ...]) -> str | None:
        return next((name for name in wanted if types.get(name) in of), None)

    texts, times = ("text", "varchar"), ("timestamptz", "timestamp")
    return {
        "record_id": first("airtable_record_id", "airtable_id", "record_id", of=texts),
        "client": first("client_id", of=("uuid",)),
        "active": first("is_active", "active", of=("bool",)),
        "created_at": first("created_at", of=times),
        "updated_at": first("updated_at", of=times),
    }
