"""What the API takes and gives, as its OpenAPI document shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    model_validator,
)

from reconciler_dagster.portal.ui_shapes import Stages, UiLead, UiNote
from reconciler_dagster.redaction import redacted

# Anything that says something: no NUL, which Postgres cannot store, and not only blanks.
_SAYS_SOMETHING = r"^[^\x00]*[^\s\x00][^\x00]*$"
# Bounds that fit Postgres' bigint; beyond them there is certainly no such request.
RequestId = Annotated[int, Field(ge=1, le=2**63 - 1)]
SearchText = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
# A sentence of a run, which may be older than what keeps secrets out of it.
Told = Annotated[str, AfterValidator(redacted)]
Name = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", regex_engine="python-re")


class NoteType(StrEnum):
    """What a note is about."""

    CALL = "Call"
    EMAIL = "Email"
    TEXT = "Text"
    MEETING = "Meeting"
    GENERAL = "General"
    ISSUE = "Issue"
    SUCCESS = "Success"


def _or_note(schema: dict[str, Any]) -> None:
    schema["properties"]["note"] = {**schema["properties"]["content"], "title": "Note"}
    del schema["required"]
    schema["oneOf"] = [{"required": ["content"]}, {"required": ["note"]}]


class NewNote(_Body):
    """A note to append to a lead's notes; its text may also be called `note`."""

    model_config = ConfigDict(json_schema_extra=_or_note)

    content: Annotated[
        str, StringConstraints(min_length=1, max_length=10_000, pattern=_SAYS_SOMETHING)
    ]
    type: NoteType = NoteType.GENERAL

    @model_validator(mode="before")
    @classmethod
    def _by_its_other_name(cls, body: Any) -> Any:
        if not isinstance(body, dict) or "note" not in body or "content" in body:
            return body
        return {"content" if name == "note" else name: value for name, value in body.items()}


class Removal(_Body):
    """Why a lead is taken out of its campaign; it becomes the lead's SMS stop reason."""

    # One line, as the Airtable field is.
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=500, pattern=_SAYS_SOMETHING),
        AfterValidator(lambda reason: " ".join(reason.split())),
    ]


class DeltaSync(_Body):
    """Whose leads to sync; without it, those of the user's own client.

    `minutes` is what the portal's pages send, who name no client: it stands for every client that
    the user sees. How far back a sync looks, it knows by itself.
    """

    client_id: UUID | None = None
    minutes: Annotated[float, Field(ge=1, le=1440, strict=True)] | None = None


class Holder(BaseModel):
    """The user who has claimed a lead."""

    id: UUID
    name: str
    email: str


SyncState = Literal["in_step", "waiting", "quarantined"]


class Lead(BaseModel):
    """A lead as lists show it. `sync` is `waiting` while an edit has not reached Airtable."""

    id: UUID
    client_id: UUID
    airtable_record_id: str
    first_name: str
    last_name: str
    email: str
    phone: str | None
    company: str | None
    title: str | None
    icp_score: int
    status: str
    processing_status: str | None
    hrq_status: str | None
    campaign_name: str | None
    campaign_batch: str | None
    sms_stop: bool | None
    sms_stop_reason: str | None
    claimed_by: Holder | None
    claimed_at: datetime | None
    is_active: bool
    created_at: datetime
    updated_at: datetime
    sync: SyncState


class LeadPage(BaseModel):
    """One page of the leads that match."""

    items: list[Lead]
    total: int
    page: int
    page_size: int


class QuarantinedField(BaseModel):
    """A value that one side cannot take, and why."""

    field: str
    direction: Literal["to_postgres", "to_airtable"]
    value: Any
    reason: Told
    attempts: int
    next_attempt_at: datetime


class Activity(BaseModel):
    """One entry of the lead's activity log."""

    time: datetime
    event_type: str
    description: str
    author: str | None
    content: str | None


class Note(BaseModel):
    """One entry of the lead's notes; what was typed in Airtable has no author, time or type."""

    time: datetime | None
    author: str | None
    type: NoteType | None
    content: str


class Notes(BaseModel):
    """The lead's notes: the text that both sides share, and its entries, oldest first."""

    text: str
    items: list[Note]


class NoteAdded(Note):
    """The note, and what the portal's pages read of the lead: all its notes, as one text."""

    success: bool = True
    timestamp: datetime
    user: str
    notes: str
    lead: UiLead


class NoteList(RootModel[list[UiNote]]):
    """The notes as the portal's pages read them, the newest first."""


class LeadAnswer(Lead, UiLead):
    """A lead after something was done to it, also as the portal's pages read it."""

    lead: UiLead


class Removed(LeadAnswer):
    """A lead that was taken out of its campaign. `updatedFields` are named as in Airtable."""

    success: bool = True
    updatedFields: dict[str, Any]
    timestamp: datetime


class LeadDetail(Lead, UiLead):
    """A lead with its notes, its latest activity, and what keeps it from being in step."""

    notes: str | None
    quarantine: list[QuarantinedField]
    activity: list[Activity]


class SyncCounts(BaseModel):
    """What a run did."""

    model_config = ConfigDict(extra="allow")

    airtable_calls: int = 0
    pulled: int = 0
    local_writes: int = 0
    remote_writes: int = 0
    conflicts: int = 0
    quarantined: int = 0
    deletions: int = 0
    deletions_pending: int = 0


class SyncRequest(BaseModel):
    """A manual sync, from the press to its end."""

    id: int
    client_id: UUID
    state: Literal["pending", "started", "succeeded", "failed"]
    requested_by: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_id: str | None
    run_url: str | None
    counts: SyncCounts | None
    message: Told | None


class AskedSync(SyncRequest):
    """A manual sync, also as the portal's pages read it. `message` is for a person; `minutes` is
    what was sent.
    """

    success: bool
    message: Told
    triggeredBy: str | None
    minutes: float | None = None
    duration: str
    results: Stages


class SyncStatus(BaseModel):
    """The drift report of every client that the user may sync: that of its leads, or of its first
    sync where these are not synced, and under `syncs` that of each.
    """

    clients: list[dict[str, Any]]
