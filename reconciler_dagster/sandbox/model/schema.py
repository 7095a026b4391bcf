"""Bases, tables, fields and views as the metadata API shows them (Airtable facts §7)."""

import copy
from dataclasses import dataclass, field
from typing import Any

COMPUTED = frozenset(
    {
        "formula",
        "rollup",
        "count",
        "multipleLookupValues",
        "createdTime",
        "lastModifiedTime",
        "createdBy",
        "lastModifiedBy",
        "autoNumber",
        "button",
        "aiText",
        "externalSyncSource",
    }
)
"""Types whose cells a client cannot write."""

DERIVED = COMPUTED - {"autoNumber", "aiText", "externalSyncSource"}
"""Types whose cells are not stored but worked out when they are read."""

WRITABLE = frozenset(
    {
        "singleLineText",
        "multilineText",
        "richText",
        "email",
        "phoneNumber",
        "url",
        "number",
        "currency",
        "percent",
        "duration",
        "rating",
        "checkbox",
        "date",
        "dateTime",
        "singleSelect",
        "multipleSelects",
        "multipleRecordLinks",
        "singleCollaborator",
        "multipleCollaborators",
        "multipleAttachments",
        "barcode",
    }
)
"""Types whose cells a client can write."""


@dataclass(slots=True)
class Field:
    """A field; `options` is the object of the metadata API."""

    id: str
    name: str
    type: str
    options: dict[str, Any] = field(default_factory=dict)
    description: str | None = None

    @property
    def computed(self) -> bool:
        """Whether a client cannot write the cells."""
        return self.type in COMPUTED

    @property
    def derived(self) -> bool:
        """Whether the cells are worked out when they are read."""
        return self.type in DERIVED

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The options of a select."""
        choices: list[dict[str, Any]] = self.options.setdefault("choices", [])
        return choices

    def shown(self) -> dict[str, Any]:
        """Return the field as the metadata API shows it, a copy."""
        shown: dict[str, Any] = {"type": self.type, "id": self.id, "name": self.name}
        if self.options:
            shown["options"] = copy.deepcopy(self.options)
        if self.description:
            shown["description"] = self.description
        return shown


@dataclass(slots=True)
class View:
    """A view: an own filter, an own order and hidden fields."""

    id: str
    name: str
    type: str = "grid"
    formula: str | None = None
    sort: list[dict[str, str]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


CHOICE_COLOURS = (
    "blueLight2",
    "cyanLight2",
    "tealLight2",
    "greenLight2",
    "yellowLight2",
    "orangeLight2",
    "redLight2",
    "pinkLight2",
    "purpleLight2",
    "grayLight2",
)
