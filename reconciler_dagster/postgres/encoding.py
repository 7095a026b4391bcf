"""Which characters the portal's database can store: all of them, unless its encoding is an old one.

One that it cannot store would refuse the whole statement that it stands in. So texts from outside
are looked at before they are written anywhere. Postgres itself is asked, once for each character:
its tables of conversion are not quite Python's.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.postgres.connection import at_once, server_encoding
from reconciler_dagster.postgres.errors import sqlstate

# These take every character: SQL_ASCII is no encoding, it keeps bytes as they come.
_TAKE_ALL = {"UTF8", "SQL_ASCII"}
# Classes of SQLSTATE: a character without an equivalent, or bytes that are none.
_NO_SUCH_CHARACTER = {"22P05", "22021"}


class Repertoire:
    """The characters of one database. ``encoding``: its name in Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.encoding = server_encoding(engine)
        self._known: dict[str, bool] = {}

    @property
    def takes_all(self) -> bool:
        """Whether there is no character that the database cannot store."""
        return self.encoding in _TAKE_ALL

    def lacks(self, written: str) -> list[str]:
        """The characters of a text that the database cannot store, in their order."""
        if written.isascii() or self.takes_all:
            return []
        characters = dict.fromkeys(written)
        new = "".join(c for c in characters if c not in self._known and not c.isascii())
        self._ask(new)
        return [c for c in characters if not self._known.get(c, True)]

    def fit(self, told: str) -> str:
        """A text for people with a question mark for each character that cannot be stored."""
        lacking = self.lacks(told)
        return told.translate(dict.fromkeys(map(ord, lacking), "?")) if lacking else told

    def why_not(self, written: str) -> str | None:
        """Why a text cannot be stored, in plain words that can be; None where it can."""
        lacking = self.lacks(written)
        if not lacking:
            return None
        named = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip() for c in lacking[:3])
        return (
            f"contains characters that the portal's database, encoded in {self.encoding}, cannot "
            f"store ({named}): remove them, or move the portal to a database in UTF8"
        )

    def _ask(self, characters: str) -> None:
        """Find out about characters; where some are refused, half by half."""
        if not characters:
            return
        if self._stores(characters):
            self._known |= dict.fromkeys(characters, True)
        elif len(characters) == 1:
            self._known[characters] = False
        else:
            middle = len(characters) // 2
            self._ask(characters[:middle])
            self._ask(characters[middle:])

    def _stores(self, characters: str) -> bool:
        """Whether they come back as they went: some become others on their way."""
        try:
            with at_once(self._engine) as connection:
                back = connection.execute(
                    text("SELECT CAST(:characters AS text)"), {"characters": characters}
                ).scalar()
        except (DBAPIError, UnicodeEncodeError) as error:
            if isinstance(error, DBAPIError) and sqlstate(error) not in _NO_SUCH_CHARACTER:
                raise
            return False
        return back == characters


@lru_cache(maxsize=4)
def repertoire(engine: Engine) -> Repertoire:
    """What the database of an engine can store."""
    return Repertoire(engine)


def storable(connection: Connection, told: str) -> str:
    """A text for people, or JSON of such texts, as the database can store it."""
    return repertoire(connection.engine).fit(told)
