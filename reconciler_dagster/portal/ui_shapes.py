"""What the portal's own pages read of an answer, beside what the API says anyway.

Their names are in camel case and stay so: docs/portal-ui.md has what the pages do with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from pydantic.alias_generators import to_camel


class UiLead(BaseModel):
    """A lead as the pages read it; `claimedBy` is printed as it comes, so it is a name."""

    id: UUID
    clientId: UUID
    airtableRecordId: str
    firstName: str
    lastName: str
    email: str
    phone: str | None
    company: str | None
    title: str | None
    icpScore: int
    status: str
    processingStatus: str | None
    hrqStatus: str | None
    campaignName: str | None
    campaignBatch: str | None
    smsStop: bool | None
    smsStopReason: str | None
    claimedBy: str | None
    claimedAt: datetime | None
    isActive: bool
    createdAt: datetime
    updatedAt: datetime


class UiNote(BaseModel):
    """One note as the pages read it. What was typed in Airtable bears the lead's own date."""

    timestamp: datetime
    user: str
    content: str
    type: str


class InStage(BaseModel):
    """What came from Airtable."""

    processed: int = 0
    errors: int = 0
    description: str = "Airtable → PostgreSQL"


class OutStage(BaseModel):
    """What went to Airtable. `skipped`: edits that lost to Airtable's; `errors`: values that one
    side could not take.
    """

    updated: int = 0
    skipped: int = 0
    errors: int = 0
    description: str = "PostgreSQL → Airtable"


class Stages(BaseModel):
    """What a sync has done so far, as the pages show it."""

    stage1: InStage
    stage2: OutStage


def camel(lead: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a lead under the pages' names; ``lead`` as ``models.Lead`` has it."""
    holder = lead["claimed_by"]
    named = {to_camel(name): value for name, value in lead.items() if name != "sync"}
    return {**named, "claimedBy": holder.name if holder else None}
