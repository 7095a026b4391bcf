"""Codecs of cells that hold several things: options, lookups, attachments, lists in a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core.codecs import Codec, kind, text_of
from reconciler_dagster.core.normal import pick
from reconciler_dagster.core.values import Directory, Unreadable, Value
from reconciler_dagster.core.words import MEND_OPTION, NO_OPTION


@dataclass(frozen=True, kw_only=True)
class MultiSelect(Codec):
    """Options; ``text[]`` or ``jsonb`` in Postgres. Their order says nothing: canonical values are
    sorted. ``words``: Airtable's options and what they are called in Postgres.
    """

    words: Mapping[str, str] = field(default_factory=dict)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if not isinstance(cell, list) or not all(isinstance(option, str) for option in cell):
            raise Unreadable(f"holds {kind(cell)} where options were expected")
        return _sorted(self._word(option) for option in cell)

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return _sorted(map(str, value)) if isinstance(value, list) else value or None

    def to_airtable(self, value: Value) -> Any:
        """See Codec. An empty list clears the cell."""
        return [self._option(word) for word in value or ()]

    def _word(self, option: str) -> str:
        if not self.words:
            return option
        known = pick(option, self.words)
        if known is None:
            raise Unreadable(
                f"holds '{option[:40]}', which has no meaning here: use {', '.join(self.words)}"
            )
        return self.words[known]

    def _option(self, word: str) -> str:
        if not self.words:
            return word
        for option, meaning in self.words.items():
            if meaning == word:
                return option
        raise Unreadable(f"holds '{word[:40]}', which {NO_OPTION}: {MEND_OPTION}")


@dataclass(frozen=True, kw_only=True)
class Lookup(Codec):
    """Values of other records, which Airtable alone can change. ``joined``: the column is a text,
    and holds them with commas between.
    """

    joined: bool = field(default=False, repr=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        parts = cell if isinstance(cell, list) else [cell]
        if not all(isinstance(part, str | int | float) for part in parts):
            raise Unreadable(
                "holds values that are neither texts nor numbers: map the field to another column"
            )
        if self.joined:
            return ", ".join(map(str, parts)) or None
        return parts or None

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return value or None


@dataclass(frozen=True, kw_only=True)
class Attachments(Codec):
    """Files as JSON of id, name, type and size; the bytes, and addresses that expire, stay in
    Airtable.
    """

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if not isinstance(cell, list) or not all(isinstance(file, dict) for file in cell):
            raise Unreadable(f"holds {kind(cell)} where attachments were expected")
        return [
            {
                "id": file.get("id"),
                "name": file.get("filename"),
                "type": file.get("type"),
                "size": file.get("size"),
            }
            for file in cell
        ] or None

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return value or None


def _sorted(options: Any) -> Value:
    return sorted(dict.fromkeys(options)) or None


@dataclass(frozen=True, kw_only=True)
class CommaList(Codec):
    """A comma-separated text in Airtable, ``text[]`` in Postgres."""

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        return _parts(text_of(cell).split(","))

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return _parts(value) if isinstance(value, list) else value or None

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return None if value is None else ", ".join(value)


def _parts(texts: Iterable[Any]) -> Value:
    return [part for text in texts if (part := str(text or "").strip())] or None
