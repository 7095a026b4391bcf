"""Turning a value that a client wrote into what the cell keeps, with help of the whole base.

Selects may get new options, links new records: these are staged, not made.
"""

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.ids import is_id, new_id
from reconciler_dagster.sandbox.model.attachments import attached
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.cells import PLAIN, Unacceptable, accept_plain
from reconciler_dagster.sandbox.model.definition import choice_colour
from reconciler_dagster.sandbox.model.forms import emptied_text
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.switches import Switches

NOT_LINKS = "Value is not an array of record IDs."


@dataclass(slots=True)
class Draft:
    """A record as it shall be. `written`: set directly; `linked`: from the far side."""

    table: Table
    record_id: str
    before: Record | None
    cells: dict[str, Any]
    written: set[str] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    deleted: bool = False


class Acceptance:
    """Accepts values for the drafts of one transaction.

    `create` stages a record of a table with this primary cell and returns its id.
    """

    def __init__(
        self,
        base: Base,
        drafts: Mapping[str, Draft],
        create: Callable[[Table, str], str],
        switches: Switches,
    ) -> None:
        self._base = base
        self._switches = switches
        self._drafts = drafts
        self._create = create
        self.new_choices: dict[str, list[dict[str, Any]]] = {}

    def accept(self, draft: Draft, field_: Field, value: Any, typecast: bool) -> Any:
        """Return what the cell keeps, None if it is empty. Raises Unacceptable or a Refusal."""
        if value is None:
            return self._cleared(draft, field_)
        if field_.type in PLAIN:
            kept = accept_plain(field_, value, typecast, self._switches)
            return self._cleared(draft, field_) if kept is None else kept
        match field_.type:
            case "singleSelect":
                return self._choice(field_, value, typecast)
            case "multipleSelects":
                named = _list(value, typecast)
                chosen = [self._choice(field_, name, typecast) for name in named]
                return list(dict.fromkeys(name for name in chosen if name)) or None
            case "multipleRecordLinks":
                return self._linkable(field_, value, typecast)
            case "singleCollaborator":
                return self._collaborator(value, typecast)
            case "multipleCollaborators":
                return [self._collaborator(one, typecast) for one in _list(value, typecast)] or None
            case "multipleAttachments":
                files = _list(value, False)
                return [self._attachment(draft, field_, one) for one in files] or None
        raise Unacceptable

    def _cleared(self, draft: Draft, field_: Field) -> str | None:
        """Return what the cell keeps once it is emptied."""
        return emptied_text(field_.type, draft.cells.get(field_.id), self._switches)

    def _choice(self, field_: Field, value: Any, typecast: bool) -> str | None:
        if typecast and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise Unacceptable
        known = [*field_.choices, *self.new_choices.get(field_.id, ())]
        if any(choice["name"] == value for choice in known):
            return value
        if typecast and not value.strip():
            return None
        if not typecast:
            raise errors.unknown_choice(value)
        wanted = value.strip()
        for choice in known:
            if choice["name"].strip().lower() == wanted.lower():
                return str(choice["name"])
        colour = choice_colour(len(known))
        self.new_choices.setdefault(field_.id, []).append(
            {"id": new_id("sel"), "name": wanted, "color": colour}
        )
        return wanted

    def _linkable(self, field_: Field, value: Any, typecast: bool) -> list[str]:
        try:
            named = _list(value, typecast)
        except Unacceptable:
            raise Unacceptable(NOT_LINKS) from None
        if not all(isinstance(one, str) for one in named):
            raise Unacceptable(NOT_LINKS)
        other = self._base.tables[field_.options["linkedTableId"]]
        ids: list[str] = []
        for one in named:
            if one in other.records or self._is_draft(other, one):
                ids.append(one)
            elif not typecast:
                if not is_id(one, "rec"):
                    raise Unacceptable(NOT_LINKS)
                raise errors.row_does_not_exist(one)
            else:
                ids.append(self._by_primary(other, one))
        return list(dict.fromkeys(ids))

    def _is_draft(self, table: Table, record_id: str) -> bool:
        draft = self._drafts.get(record_id)
        return draft is not None and draft.table is table

    def _by_primary(self, other: Table, name: str) -> str:
        for record in other.records.values():
            if record.cells.get(other.primary) == name:
                return record.id
        for draft in self._drafts.values():
            if draft.table is other and draft.cells.get(other.primary) == name:
                return draft.record_id
        return self._create(other, name)

    def _collaborator(self, value: Any, typecast: bool) -> dict[str, str]:
        if typecast and isinstance(value, str):
            value = {"email": value}
        if not isinstance(value, dict):
            raise Unacceptable
        for person in self._base.people.values():
            known_by = person.id if "id" in value else person.email
            if value.get("id", value.get("email")) == known_by:
                return person.cell()
        raise Unacceptable

    def _attachment(self, draft: Draft, field_: Field, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Unacceptable
        if "id" in value:
            for kept in draft.cells.get(field_.id, ()):
                if kept["id"] == value["id"]:
                    return dict(kept)
            raise Unacceptable
        url, name = value.get("url"), value.get("filename")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise Unacceptable
        size, kind = value.get("size"), value.get("type")
        if not isinstance(name, str) or not name:
            name = urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1] or "file"
        return attached(
            url,
            name,
            kind if isinstance(kind, str) else None,
            size if isinstance(size, int) else None,
        )


def _list(value: Any, split: bool) -> list[Any]:
    if split and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise Unacceptable
    return value
