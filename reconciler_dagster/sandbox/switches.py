"""Behaviour of Airtable that is disputed or not documented: one switch for each.

The defaults are the documented behaviour, or the one best attested (Airtable facts §13).
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class Switches(BaseModel):
    """All switches. Times are in seconds of the sandbox's clock unless said otherwise."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Limits, Airtable facts §6.
    calls_per_second_and_base: int = Field(default=5, ge=0, description="0 switches the limit off.")
    calls_per_second_and_user: int = Field(
        default=50, ge=0, description="0 switches the limit off."
    )
    lockout_seconds: float = Field(
        default=30, ge=0, description="How long 429 lasts once exceeded."
    )
    lockout_extends: bool = Field(
        default=False, description="Calls during a lock-out start it anew."
    )
    window: Literal["sliding", "fixed"] = Field(
        default="sliding", description="How a second is counted."
    )
    burst: int = Field(default=0, ge=0, description="Calls tolerated above the limit.")
    retry_after: bool = Field(default=False, description="429 carries a Retry-After header.")
    rate_limit_body: Literal["errors", "error"] = Field(
        default="errors", description="429 body: the list seen in logs, or the documented object."
    )
    foreign_calls_per_second: int = Field(
        default=0, ge=0, description="Calls of other integrations that use up the base's limit."
    )
    monthly_cap: int | None = Field(default=None, ge=0, description="Calls a month for all bases.")
    monthly_cap_spares_meta: bool = Field(
        default=True, description="`/v0/meta` goes on at the cap."
    )
    record_limit: int | None = Field(default=None, ge=0, description="Records a base can hold.")

    # Latency, in milliseconds of real time: the clock cannot move these.
    way_there_ms: float = Field(
        default=0,
        ge=0,
        le=600_000,
        description="A call reaches Airtable this late, and counts then.",
    )
    way_back_ms: float = Field(
        default=0, ge=0, le=600_000, description="An answer is on its way back for so long."
    )
    way_jitter_ms: float = Field(
        default=0, ge=0, le=600_000, description="Each way takes up to so much longer."
    )
    thinking_ms: float = Field(
        default=0, ge=0, le=600_000, description="Airtable works on each call for so long."
    )
    thinking_tail_ms: float = Field(
        default=0, ge=0, le=600_000, description="Mean of an exponential tail of that work."
    )
    latency_seed: int = Field(default=0, description="Seed of jitter and tail.")

    # Answers, Airtable facts §3 and §4.
    missing_record: Literal[403, 404] = Field(default=403, description="GET of a record not there.")
    missing_table: Literal[403, 404] = Field(default=403, description="A table not there.")
    missing_row: Literal[422, 404] = Field(
        default=422, description="Batch naming a record not there."
    )
    whoami_scopes: bool = Field(
        default=True, description="`whoami` tells the scopes, as of an OAuth token."
    )
    long_url_status: Literal[413, 414, 422] = Field(
        default=413, description="Answer to a URL over 16,000 characters."
    )
    is_after_returns_all: bool = Field(
        default=False, description="IS_AFTER on LAST_MODIFIED_TIME() is true for every record."
    )

    # The form in which a text is kept, Airtable facts §8.
    rich_text_form: Literal["own", "as_written"] = Field(
        default="own", description="Rich text is kept in Airtable's own markdown, or as written."
    )
    trim_text: bool = Field(
        default=False, description="Texts are kept without the blanks at their ends."
    )
    crlf_to_lf: bool = Field(
        default=False, description="Line ends of Windows are kept as plain line feeds."
    )

    # Times, Airtable facts §2 and §9.
    time_resolution_ms: Literal[1000, 1] = Field(
        default=1000, description="Resolution of created and last modified times."
    )
    same_value_bumps: bool = Field(
        default=False, description="Writing an equal value counts as a change."
    )
    inverse_link_bumps: bool = Field(
        default=True, description="An inverse link counts as a change."
    )
    untouched_time: Literal["blank", "created"] = Field(
        default="blank", description="Last modified time of chosen fields before their first edit."
    )

    # Listing, Airtable facts §2 and §3.
    iterator_seconds: float = Field(
        default=300, ge=0, description="Life of an offset between two pages."
    )
    paging: Literal["live", "frozen"] = Field(
        default="live", description="Pages show the data of now, or that of the first page."
    )
    largest_page: int = Field(
        default=100, ge=1, le=100, description="Records on a page, whatever is asked for."
    )
    record_order: Literal["id", "random"] = Field(
        default="id", description="Order without view or sort."
    )
    list_lag_seconds: float = Field(
        default=0, ge=0, description="Writes show in listings this late."
    )
    computed_lag_seconds: float = Field(
        default=0, ge=0, description="Lookups, rollups and counts see other records this late."
    )

    # Webhooks, Airtable facts §10.
    webhook_lag_seconds: float = Field(default=0, ge=0, description="Payloads appear this late.")
    webhook_split: bool = Field(
        default=False, description="One payload a record instead of one a call."
    )
    webhook_days: float = Field(
        default=7, ge=0, description="Life of a webhook, and of its payloads."
    )
    expired_cursor: Literal["first", "error"] = Field(
        default="first",
        description="A cursor older than the payloads kept: first kept one, or an error.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Read a number or `none` that was written as a text, as on the command line."""
        if not isinstance(value, str):
            return value
        if value.lower() == "none":
            return None
        return int(value) if value.isascii() and value.isdigit() else value

    def changed(self, values: Mapping[str, Any]) -> "Switches":
        """Return these switches with some set otherwise.

        Raises ValueError with a sentence for a person: which switch, and what was expected.
        """
        for name in values:
            if name not in type(self).model_fields:
                raise ValueError(f"There is no switch {name!r}. docs/sandbox.md lists all of them.")
        try:
            return Switches(**{**self.model_dump(), **values})
        except ValidationError as error:
            wrong = error.errors()[0]
            name, reason = str(wrong["loc"][0]), wrong["msg"]
            raise ValueError(f"The switch {name} cannot be {values[name]!r}: {reason}.") from None
