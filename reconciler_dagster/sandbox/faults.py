"""Faults on demand: what goes wrong, for which calls, how often."""

import random
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Act = Literal[
    "status",
    "status_after_commit",
    "cut_before_commit",
    "cut_after_commit",
    "slow",
    "hang",
    "truncate",
    "short_listing",
    "kill_iterator",
]


class Fault(BaseModel):
    """A fault to come: the next `times` calls that match, or each with a probability."""

    model_config = ConfigDict(extra="forbid")

    act: Act = Field(
        description="status: answer without executing. status_after_commit: execute, then answer "
        "with the status. cut_*: drop the connection without an answer. slow: answer late. hang: "
        "execute nothing and answer nothing for `seconds`, then drop. truncate: half of the JSON. "
        "short_listing: only `keep` records and no offset. kill_iterator: the offset that leads "
        "to page `page` is no longer valid."
    )
    method: str = Field(default="", description="Regular expression for the method.")
    path: str = Field(default="", description="Regular expression for path and query.")
    times: int | None = Field(default=1, ge=1, description="Calls it hits; null: no end.")
    skip: int = Field(default=0, ge=0, description="Matching calls that pass first.")
    probability: float = Field(default=1.0, ge=0, le=1, description="Chance of a hit.")
    seed: int = Field(default=0, description="Seed of the chance.")
    status: int = Field(default=500, ge=200, le=599)
    body: Any = Field(default=None, description="Body; null: the usual one.")
    headers: dict[str, str] = Field(default_factory=dict)
    seconds: float = Field(default=3600, ge=0, description="Real seconds of slow and hang.")
    keep: int = Field(default=0, ge=0, description="Records that a short listing keeps.")
    page: int = Field(default=2, ge=2, description="Page that a killed iterator refuses.")

    @field_validator("method", "path")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


_USUAL: dict[int, dict[str, Any]] = {
    429: {
        "errors": [
            {
                "error": "RATE_LIMIT_REACHED",
                "message": "Rate limit exceeded. Please try again later",
            }
        ]
    },
    500: {"error": {"type": "SERVER_ERROR", "message": "Server error"}},
    502: {"error": {"type": "SERVER_ERROR", "message": "Bad gateway"}},
    503: {
        "error": {
            "type": "RETRIABLE_ERROR",
            "message": "Server encountered an error while processing your request, and it is safe "
            "to retry the request",
        }
    },
}


def usual_body(status: int) -> dict[str, Any]:
    """Return the body that Airtable gives with a status."""
    return _USUAL.get(status, {"error": {"type": "SERVER_ERROR", "message": f"Status {status}"}})


@dataclass
class _Armed:
    fault: Fault
    chance: random.Random
    seen: int = 0
    hits: int = 0


@dataclass
class Faults:
    """The faults that are armed."""

    armed: list[_Armed] = field(default_factory=list)

    def arm(self, fault: Fault) -> None:
        """Add a fault."""
        self.armed.append(_Armed(fault, random.Random(fault.seed)))

    def clear(self) -> None:
        """Forget all faults."""
        self.armed.clear()

    def strike(self, method: str, target: str, page: int | None) -> Fault | None:
        """Return the fault that hits this call, if any. `page`: where its offset leads."""
        for armed in self.armed:
            fault = armed.fault
            if fault.times is not None and armed.hits >= fault.times:
                continue
            if not re.search(fault.method, method, re.IGNORECASE):
                continue
            if not re.search(fault.path, target):
                continue
            if fault.act == "kill_iterator" and page != fault.page:
                continue
            armed.seen += 1
            if armed.seen <= fault.skip or armed.chance.random() >= fault.probability:
                continue
            armed.hits += 1
            return fault
        return None
