"""The form in which Airtable keeps a text, where that is not the form it was written in (facts §8).

Every text that the API or a person writes into a text field goes through `kept_text`. What comes
out is a form of its own: written again it stays as it is.
"""

import re

from reconciler_dagster.sandbox.switches import Switches

TEXT = frozenset({"singleLineText", "multilineText", "richText", "email", "phoneNumber", "url"})
"""The types whose cells are one text."""

EMPTIED = "\n"
"""What a rich text holds that was typed once and is empty now (recorded)."""

LONGEST_SPAN = 500
"""Emphasis over more characters is left as it is written, so that no text takes long to read."""


def kept_text(type_: str, written: str, switches: Switches) -> str:
    """Return what a cell of a text type keeps of `written`; "" where nothing is left."""
    kept = written
    if switches.crlf_to_lf:
        kept = kept.replace("\r\n", "\n").replace("\r", "\n")
    if switches.trim_text:
        kept = kept.strip()
    if type_ == "richText" and switches.rich_text_form == "own" and kept:
        kept = own_markdown(kept)
        kept = kept if kept.endswith("\n") else kept + "\n"
    return kept


def emptied_text(type_: str, held: str | None, switches: Switches) -> str | None:
    """Return what a text cell that held `held` keeps once it is cleared, None for nothing."""
    if type_ == "richText" and switches.rich_text_form == "own" and held:
        return EMPTIED
    return None


def own_markdown(written: str) -> str:
    """Spell markdown as Airtable does: lists with `-`, emphasis as `_x_` and `**x**`.

    Code is left alone, and so are marks that stand alone, within a word or beside other marks.
    """
    return _MARKS.sub(_spelled, written)


def _spelled(found: re.Match[str]) -> str:
    groups = found.groupdict()
    if groups.get("indent") is not None:
        return groups["indent"] + "-"
    if groups["marks"] is None:  # code
        return found[0]
    own = {1: "_", 2: "**", 3: "**_"}[len(groups["marks"])]
    return own + _EMPHASIS.sub(_spelled, groups["text"]) + own[::-1]


_EMPHASIS = re.compile(
    r"(?<![\w*_\\])(?P<marks>\*{1,3}|_{1,3})"
    rf"(?P<text>[^\s*_`](?:[^\n`]{{0,{LONGEST_SPAN}}}?[^\s*_`\\])??)(?P=marks)(?![\w*_])"
)
_MARKS = re.compile(
    r"```(?s:.*?)(?:```|\Z)|`[^`\n]+`|(?m:^)(?P<indent>[ \t]*)[*+](?= )|" + _EMPHASIS.pattern
)
