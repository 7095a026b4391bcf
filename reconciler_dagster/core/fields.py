"""The field map, declared once: which Airtable field feeds which column, and who may edit it.

Airtable names are exact, as real bases spell them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from reconciler_dagster.core.codecs import (
    Checkbox,
    Choice,
    Codec,
    CommaList,
    DateTime,
    Flag,
    Integer,
    Text,
    UserEmail,
)


class Policy(StrEnum):
    """What happens to a field that both sides edited differently."""

    AIRTABLE_WINS = "airtable_wins"
    # Lines that were appended in the portal since the baseline are put on top of Airtable's text.
    MERGE_APPENDS = "merge_appends"


@dataclass(frozen=True)
class MappedField:
    """One row of the map.

    ``types``: Airtable field types whose values the codec can read. ``both``: people edit it on
    either side; otherwise Airtable owns it, and an edit in Postgres is put back. ``of``: the column
    without whose value this one's means nothing (core.together).
    """

    airtable: str
    column: str
    types: tuple[str, ...]
    codec: Codec
    both: bool = False
    policy: Policy = Policy.AIRTABLE_WINS
    of: str | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when codec, policy or direction change: baselines taken before are then void."""
        declared = repr((self.codec, self.both, self.policy))
        return hashlib.sha256(declared.encode()).hexdigest()[:16]


class FieldMap:
    """The mapped fields in order, also to be found by column."""

    def __init__(self, fields: Iterable[MappedField]) -> None:
        self._by_column: dict[str, MappedField] = {}
        for field in fields:
            if self._by_column.setdefault(field.column, field) is not field:
                raise ValueError(f"the column {field.column} is mapped twice")
        self.dependent = [f for f in self if f.of in self._by_column]
        """Fields whose ``of`` is in the map too."""
        self._partners: dict[str, tuple[str, ...]] = {}
        for field in self.dependent:
            assert field.of is not None
            self._partners[field.of] = (*self._partners.get(field.of, ()), field.column)
            self._partners[field.column] = (field.of,)

    def __iter__(self) -> Iterator[MappedField]:
        return iter(self._by_column.values())

    def __len__(self) -> int:
        return len(self._by_column)

    def __contains__(self, column: str) -> bool:
        return column in self._by_column

    def __getitem__(self, column: str) -> MappedField:
        return self._by_column[column]

    def partners(self, column: str) -> tuple[str, ...]:
        """The columns that are carried over together with one; mostly none."""
        return self._partners.get(column, ())

    @property
    def columns(self) -> list[str]:
        """The mapped columns of ``leads``."""
        return list(self._by_column)

    def refined(self, by: FieldMap) -> FieldMap:
        """The map with those fields as another one has them that it has as well."""
        return FieldMap((self._by_column | by._by_column)[column] for column in self._by_column)

    def only(self, columns: Collection[str]) -> FieldMap:
        """The map without the fields that are stopped."""
        return FieldMap(field for field in self if field.column in columns)


TEXT = ("singleLineText", "multilineText", "richText", "email", "url", "phoneNumber", "formula")
SELECT = ("singleSelect", "singleLineText")
NUMBER = ("number", "formula", "count", "rollup", "autoNumber", "percent", "rating", "currency")
TIME = ("dateTime", "date", "lastModifiedTime", "createdTime", "formula")


def _text(
    airtable: str,
    column: str,
    limit: int | None,
    *,
    types: tuple[str, ...] = TEXT,
    blank: str | None = None,
    both: bool = False,
    policy: Policy = Policy.AIRTABLE_WINS,
) -> MappedField:
    return MappedField(airtable, column, types, Text(limit=limit, blank=blank), both, policy)


_select = partial(_text, types=SELECT)


def _number(
    airtable: str, column: str, blank: int | None = None, *, rounds: bool = False
) -> MappedField:
    return MappedField(airtable, column, NUMBER, Integer(blank=blank, rounds=rounds))


def _time(airtable: str, column: str, *, both: bool = False, of: str | None = None) -> MappedField:
    return MappedField(airtable, column, TIME, DateTime(days=not both), both, of=of)


def _checkbox(airtable: str, column: str, *, both: bool = False) -> MappedField:
    return MappedField(airtable, column, ("checkbox",), Checkbox(), both)


LEADS = FieldMap(
    [
        _text("First Name", "first_name", 255, blank="Unknown"),
        _text("Last Name", "last_name", 255, blank=""),
        _text("Email", "email", 255, blank=""),
        _text("Phone", "phone", 20),
        _text("Company", "company", 255),
        _text("Job Title", "title", 255),
        _number("ICP Score", "icp_score", blank=0, rounds=True),
        _select("SMS Status", "status", 50, blank="New"),
        _select("Processing Status", "processing_status", 50, both=True),
        _select("HRQ Status", "hrq_status", 50, both=True),
        MappedField("Claimed By", "claimed_by", TEXT, UserEmail(), both=True),
        _time("Claimed At", "claimed_at", both=True, of="claimed_by"),
        _text("Notes", "notes", None, both=True, policy=Policy.MERGE_APPENDS),
        _select("Campaign (CORRECTED)", "campaign_name", 255),
        _select("Lead Source", "lead_source", 50),
        _select("SMS Variant", "campaign_variant", 10),
        _select("SMS Batch Control", "campaign_batch", 100, both=True),
        _number("SMS Sequence Position", "sms_sequence_position"),
        _number("SMS Sent Count", "sms_sent_count"),
        _number("Click Count", "click_count"),
        _time("SMS Last Sent At", "sms_last_sent_at"),
        _time("Booked At", "booked_at"),
        _time("First Clicked At", "first_clicked_at"),
        _time("Webinar Datetime", "webinar_datetime"),
        MappedField("SMS Eligible", "sms_eligible", NUMBER, Flag()),
        _checkbox("SMS Stop", "sms_stop", both=True),
        _text("SMS Stop Reason", "sms_stop_reason", 500, both=True),
        _checkbox("Booked", "booked"),
        _checkbox("Clicked Link", "clicked_link"),
        _text("Short Link ID", "short_link_id", 100),
        _text("Short Link URL", "short_link_url", 500),
        _text("Linkedin URL - Person", "linkedin_url", 500),
        _text("Company LinkedIn", "company_linkedin", 500),
        _select("Enrichment Outcome", "enrichment_outcome", 100),
        _time("Enrichment Attempted At", "enrichment_attempted_at"),
        _text("Form ID", "form_id", 255),
        MappedField("Kajabi Tags", "kajabi_tags", TEXT, CommaList()),
        MappedField(
            "Engagement - Level",
            "engagement_level",
            SELECT,
            Choice(portal_by_airtable={"Green": "High", "Yellow": "Medium", "Red": "Low"}),
        ),
    ]
)
