"""Lists of record ids as arrays of Postgres, of which statements take a thousand at a time."""

from __future__ import annotations

from typing import Any

from psycopg.abc import Buffer
from psycopg.types.array import ListDumper


class TextsDumper(ListDumper):
    """As psycopg's own, which looks at each text by itself; ids need no quotes."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        """The array as Postgres reads it."""
        try:
            joined = "".join(obj)
        except TypeError:  # not of texts
            return super().dump(obj)
        if "" in obj or not (joined.isascii() and joined.isalnum()) or "null" in joined.lower():
            return super().dump(obj)
        return f"{{{','.join(obj)}}}".encode()
