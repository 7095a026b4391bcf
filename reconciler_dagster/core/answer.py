"""What Airtable's answer to a write of ours means for a cell. Pure."""

from __future__ import annotations

from enum import StrEnum

from reconciler_dagster.core.codecs import Codec
from reconciler_dagster.core.values import UNKNOWN, Value


class Verdict(StrEnum):
    """What became of a cell that was sent.

    ``AGREED``: it holds what was sent. ``RESPELLED``: it holds that in a form of Airtable's own,
    which becomes the value of both sides. ``KEPT``: it holds what it had. ``OPEN``: nothing is left
    of the value, or the answer cannot be read.
    """

    AGREED = "agreed"
    RESPELLED = "respelled"
    KEPT = "kept"
    OPEN = "open"


def judge(codec: Codec, sent: Value, before: Value, held: Value) -> Verdict:
    """``before``: what Airtable had; ``held``: what it answers; both UNKNOWN where unreadable."""
    if held is UNKNOWN:
        return Verdict.OPEN
    if held == sent:
        return Verdict.AGREED
    if codec.normal(held) in (codec.normal(sent), codec.normal(codec.arrives(sent))):
        return Verdict.RESPELLED
    if held == before:
        return Verdict.KEPT
    # Nothing blank overwrites a value.
    return Verdict.OPEN if codec.normal(held) == codec.normal(codec.blank) else Verdict.RESPELLED
