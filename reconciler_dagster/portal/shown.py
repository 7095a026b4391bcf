"""A sync as people are shown it: what its rows are called, and what may be edited. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from reconciler_dagster.core.sync import MAIN, SyncMap

_TABLE_ID = re.compile(r"tbl[A-Za-z0-9]{14}")


@dataclass(frozen=True)
class Shown:
    """``title``: the columns by which people know a row."""

    map: SyncMap
    title: tuple[str, ...]

    @property
    def name(self) -> str:
        """The sync's name."""
        return self.map.name

    @property
    def path(self) -> str:
        """The sync's page, below the console."""
        return f"/tables/{self.name}"

    @cached_property
    def heading(self) -> str:
        """What the table is called: as in Airtable, but for the leads, which the portal names."""
        by_id = self.name == MAIN or _TABLE_ID.fullmatch(self.map.airtable)
        words = " ".join((self.name if by_id else self.map.airtable).replace("_", " ").split())
        return words[:1].upper() + words[1:]

    @cached_property
    def plural(self) -> str:
        """Its rows, within a sentence: `campaigns`, `SMS templates`, `project status rows`."""
        words = [w if w.isupper() else w.lower() for w in self.heading.split()]
        name = " ".join(words)
        return name if _is_plural(words[-1]) else f"{name} rows"

    @cached_property
    def singular(self) -> str:
        """One of its rows."""
        return f"{self.plural[:-3]}y" if self.plural.endswith("ies") else self.plural[:-1]

    def rows(self, count: int) -> str:
        """A number of its rows."""
        return f"{count:,} {self.singular if count == 1 else self.plural}"

    def said(self, sentence: str) -> str:
        """A sentence about leads, of these rows."""
        told = re.sub(r"\bleads\b", self.plural, sentence)
        return re.sub(r"\blead\b", self.singular, told)

    @cached_property
    def editable(self) -> frozenset[str]:
        """The columns that people edit on either side."""
        return frozenset(field.column for field in self.map.fields if field.both)

    @cached_property
    def locked(self) -> frozenset[str]:
        """The columns that are Airtable's alone: an edit here would be put back."""
        return frozenset(self.map.fields.columns) - self.editable

    def label(self, column: str) -> str:
        """A column as people know it: the name of its Airtable field."""
        fields = self.map.fields
        return fields[column].airtable if column in fields else column


def in_order(shown: Mapping[str, Shown]) -> list[Shown]:
    """As people look for them: the leads, then by name."""
    return sorted(shown.values(), key=lambda one: (one.name != MAIN, one.heading))


def _is_plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))
