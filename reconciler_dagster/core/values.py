"""The one form in which a field's value is compared, whichever side it came from.

A *canonical* value is JSON: ``None``, ``str``, ``int``, ``float``, ``bool``, or a list. Times are
``YYYY-MM-DDTHH:MM:SS.mmmZ`` (UTC; Airtable keeps milliseconds, so Postgres' microseconds are cut).
Frames of canonical values have dtype ``object`` and one column per mapped column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:  # they take half a second, and most who need a value need no frame
    import numpy as np
    import pandas as pd

from reconciler_dagster.core.normal import key

Value = Any


class Unknown(Enum):
    """The engine does not know this cell: not read, not readable, or never agreed on."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


class Unreadable(ValueError):
    """A cell that the other side cannot take; the message says why and what to do."""


def printable(text: object, limit: int = 500) -> str:
    """A foreign text as it may stand in a reason: no NUL and no half characters, cut short."""
    cut = str(text)[:limit].replace("\x00", "\ufffd")
    return cut.encode("utf-8", "replace").decode()


class Rows(Protocol):
    """The rows of one sync, known by key and by record id."""

    def key_of_record(self, record_id: str) -> Any:
        """The key, as JSON; None where there is no such row."""

    def record_of_key(self, key: str) -> str | None:
        """The record id; None where the row has none."""


class Directory:
    """Who and what values may point to: the portal's users, both ways (``users.id`` as text, and
    the e-mail in its normal form, which may be that of several users), their full names, which only
    Airtable uses, and rows of other syncs.
    """

    def __init__(
        self,
        email_by_id: Mapping[str, str] | None = None,
        rows: Mapping[str, Rows] | None = None,
        name_by_id: Mapping[str, str] | None = None,
    ) -> None:
        keys = {id_: key(email) for id_, email in (email_by_id or {}).items()}
        self.email_by_id = {id_: email for id_, email in keys.items() if email}
        self.ids_by_email: defaultdict[str, list[str]] = defaultdict(list)
        for id_, email in self.email_by_id.items():
            self.ids_by_email[email].append(id_)
        self._ids_by_name: defaultdict[str, list[str]] = defaultdict(list)
        for id_, name in (name_by_id or {}).items():
            if id_ in self.email_by_id:
                self._ids_by_name[key(name)].append(id_)
        self._rows = rows or {}

    def ids_by_name(self, name: str) -> list[str]:
        """The users of that full name, whatever its case and blanks."""
        return self._ids_by_name.get(key(name), []) if key(name) else []

    def rows(self, sync: str) -> Rows:
        """The rows of a sync that a field links to."""
        return self._rows[sync]


def frame(rows: Mapping[str, Mapping[str, Value]], columns: Sequence[str]) -> pd.DataFrame:
    """Canonical rows as a frame: index ``record_id``, object columns, absent keys ``UNKNOWN``."""
    import numpy as np
    import pandas as pd

    data = {}
    for column in columns:
        cells = np.empty(len(rows), dtype=object)
        cells[:] = [row.get(column, UNKNOWN) for row in rows.values()]
        data[column] = cells
    index = pd.Index(list(rows), name="record_id", dtype=object)
    return pd.DataFrame(data, index=index, columns=list(columns), dtype=object)


def object_array(values: Iterable[Value]) -> np.ndarray[Any, Any]:
    """A one-dimensional object array, also where the values are lists of one length."""
    import numpy as np

    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array
