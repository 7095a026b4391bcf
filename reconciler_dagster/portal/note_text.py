"""The text of a lead's notes as its entries. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from reconciler_dagster.portal.models import Note, NoteType

_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)"
# As notes are written here, and as an older version of the portal wrote them into Airtable.
_HEADS = (
    rf"\[(?P<stamp>{_MOMENT})\] (?P<author>[^:\n]{{1,255}}): ",
    rf"\[(?P<type>{'|'.join(NoteType)})\] (?P<old_stamp>{_MOMENT}) - "
    r"(?P<old_author>[^:\n]{1,255}):",
)
_HEAD = re.compile("|".join(_HEADS))
_ENTRY = re.compile(rf"^(?=\[{_MOMENT}\] |{_HEADS[1]})", re.MULTILINE)


def parse_notes(notes: str, types: dict[str, str]) -> list[Note]:
    """Split the text at the lines that begin with a stamp; ``types`` by stamp."""
    items = []
    starts = [found.start() for found in _ENTRY.finditer(notes)]
    for start, end in zip([0, *starts], [*starts, len(notes)], strict=True):
        chunk = notes[start:end]
        head = _HEAD.match(chunk)
        said = head.groupdict() if head else {}
        when = said.get("stamp") or said.get("old_stamp")
        moment = _moment(when) if when else None
        if head and when and moment:
            kind = said["type"] or types.get(when)
            note_type = NoteType(kind) if kind in list(NoteType) else None
            author = said["author"] or said["old_author"]
            content = chunk[head.end() :].strip("\n")
            items.append(Note(time=moment, author=author, type=note_type, content=content))
        elif chunk.strip():
            items.append(Note(time=None, author=None, type=None, content=chunk.strip("\n")))
    return items


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None
