"""What one check of the doctor found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reconciler_dagster.cli.output import keep_trace
from reconciler_dagster.telling import is_foreseen, told

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at and what was found."""

    check: str
    state: State
    detail: str


def tried(check: str, look: Callable[[], tuple[State, str]]) -> Finding:
    """Look; an error is a finding too."""
    try:
        return Finding(check, *look())
    except Exception as error:
        # A trace is kept only where the sentence names it.
        return Finding(check, "failed", told(error, "" if is_foreseen(error) else keep_trace()))
