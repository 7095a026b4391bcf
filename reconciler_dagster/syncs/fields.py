"""What a definition may say of one field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

FieldType = Literal[
    "text",
    "rich_text",
    "integer",
    "decimal",
    "currency",
    "percent",
    "rating",
    "duration",
    "checkbox",
    "flag",
    "date",
    "datetime",
    "select",
    "multi_select",
    "comma_list",
    "user",
    "collaborator",
    "link",
    "links",
    "lookup",
    "attachments",
]
Policy = Literal["airtable_wins", "merge_appends", "postgres_wins", "hold"]

TEXTS = ("text", "rich_text")
LINKS = ("link", "links")
READ_ONLY = ("flag", "lookup", "attachments")
TRANSLATED = ("text", "select", "multi_select")


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...],
    BeforeValidator(_names, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]


class Strict(BaseModel):
    """No key but the known ones, and no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _StandIn(Strict):
    """What is written to Airtable in place of a value that it has no option for."""

    write: str = Field(description="The option that is written.")
    never_over: Names = Field(
        (),
        description="What Airtable may hold that it is not written over: Postgres gets that back.",
    )


def _stand_in(value: Any) -> Any:
    return {"write": value} if isinstance(value, str) else value


OnWrite = Annotated[_StandIn, BeforeValidator(_stand_in, json_schema_input_type=str | _StandIn)]


class _FieldKeys(Strict):
    """What a field and an override of it may say alike."""

    type: FieldType = Field("text", description="What kind of value it is.")
    length: int | None = Field(
        None, gt=0, description="The longest text; the column's own length unless given."
    )
    blank: str | int | bool | None = Field(
        None, description="What the column holds where the Airtable cell is empty."
    )
    edited: Literal["airtable", "both"] = Field(
        "airtable",
        description="Who edits it: Airtable alone (an edit in Postgres is put back), or both.",
    )
    policy: Policy = Field(
        "airtable_wins",
        description="What happens where both sides edited it differently. airtable_wins: the other "
        "value goes to the conflict log. postgres_wins: the other way round. merge_appends: lines "
        "that were added in Postgres are put on top of Airtable's text. hold: both values stay "
        "until a person chooses.",
    )
    values: dict[str, str] | None = Field(
        None, description="Airtable's words and what they are called in Postgres."
    )
    on_write: dict[str, OnWrite] | None = Field(
        None,
        description="Values of Postgres for which Airtable has no option, and what is written "
        "there instead. Both sides hold that then.",
    )
    inverted: bool = Field(False, description="A checked box is false in Postgres.")
    rounds: bool = Field(False, description="Fractions may be rounded to whole numbers.")
    optional: bool = Field(
        False,
        description="A base without this field is no problem. One that is added later is seen by "
        "the next manual sync, else within a day.",
    )
    required: bool = Field(
        False, description="A record in which this cell is empty has no row in Postgres."
    )
    to: str | None = Field(None, description="Of a link: the sync whose rows it points to.")
    of: str | None = Field(
        None,
        description="The column without whose value this one means nothing, like the time of a "
        "claim without its holder: the two are taken together, and refused together.",
    )
    fills: bool = Field(
        False, description="Written only where the column is empty; what stands there stays."
    )


class FieldDefinition(_FieldKeys):
    """One column of Postgres, and the Airtable field that feeds it."""

    source: Names = Field(
        alias="from",
        description="The Airtable field: its name exactly as the base spells it, or its id. Of "
        "several, the first that is not empty counts; such a field is never written to Airtable.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> FieldDefinition:
        for wrong, why in self._contradictions():
            if wrong:
                raise ValueError(why)
        return self

    def _contradictions(self) -> list[tuple[bool, str]]:
        both = self.edited == "both"
        words = list((self.values or {}).values())
        return [
            (
                both and len(self.source) > 1,
                "has several sources and is read only: remove `edited: both` or name one",
            ),
            (
                both and self.type in READ_ONLY,
                f"is of type {self.type} and read only: remove `edited: both`",
            ),
            (
                self.policy != "airtable_wins" and not both,
                f"has policy {self.policy}, which needs `edited: both`",
            ),
            (
                self.policy == "merge_appends" and self.type not in TEXTS,
                f"has policy merge_appends, which is for text and rich_text, not for {self.type}",
            ),
            (
                self.values is not None and self.type not in TRANSLATED,
                f"has values, which are for text, select and multi_select, not for {self.type}",
            ),
            (
                both and len(set(words)) < len(words),
                "writes its values back, so they must differ: two Airtable words have the same one",
            ),
            (self.on_write is not None and not both, "has on_write, which needs `edited: both`"),
            (
                self.inverted and self.type != "checkbox",
                f"is inverted, which is for checkbox, not for {self.type}",
            ),
            (
                self.rounds and self.type != "integer",
                f"rounds, which is for integer, not for {self.type}",
            ),
            (
                (self.to is not None) != (self.type in LINKS),
                "must say both or neither: `type: link` (or `links`), and the sync it points `to`",
            ),
            (self.fills and both, "fills an empty column and is read only: remove `edited: both`"),
            (
                self.length is not None and self.type not in (*TEXTS, "select"),
                f"has a length, which is for text, not for {self.type}",
            ),
        ]


class FieldOverride(_FieldKeys):
    """What one base has otherwise; of a field that no other base has, everything."""

    source: Names | None = Field(
        None, alias="from", description="What the field is called in this base."
    )
