"""Texts to which people append on both sides, compared line by line. Pure.

Lines are compared in their normal form (codec.normal), and empty ones not at all: Airtable keeps a
text in a spelling of its own, and what differs in that alone is no addition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.normal import LINE_END
from reconciler_dagster.core.values import Value

Normal = Callable[[Value], Value]
_PLAIN: Normal = Text().normal


@dataclass(frozen=True)
class _Lines:
    """``forms``: the lines that are not empty, in normal form; ``starts``: where each begins."""

    text: str
    forms: list[Value]
    starts: list[int]

    def begins_like(self, other: _Lines) -> bool:
        return self.forms[: len(other.forms)] == other.forms

    def since(self, line: int) -> str:
        """The text from a line on."""
        return self.text[self.starts[line] :]


def _lines(value: Value, normal: Normal) -> _Lines:
    text = str(value or "")
    forms, starts, start = [], [], 0
    for line in LINE_END.split(text):
        if form := normal(line):
            forms.append(form)
            starts.append(start)
        start += len(line)
        start += 2 if text.startswith("\r\n", start) else 1
    return _Lines(text, forms, starts)


def append(base: Value, there: Value, here: Value, normal: Normal = _PLAIN) -> str | None:
    """Airtable's text with the portal's addition on top; None where the portal did not append.

    An addition is whole lines: neither a text that was written anew and happens to begin like the
    old one, nor a line that was gone on with, of which half would be put on top. What both texts
    already share beyond the baseline (a push that was cut off half way) counts as baseline, and
    what Airtable has got since is not put on top of it: no addition is ever put on twice.
    """
    before, remote, local = (_lines(text, normal) for text in (base, there, here))
    if not local.begins_like(before):
        return None
    if remote.begins_like(local):
        return remote.text
    grown = remote.begins_like(before) and local.begins_like(remote)
    if grown and local.text.startswith(remote.text):
        return local.text
    new = max(len(before.forms), _shared(remote.forms, local.forms))
    if new == len(local.forms):
        return None
    if _has_got(before, remote, local.forms[new:]):
        return remote.text
    addition = local.since(new)
    kept = remote.text.rstrip("\r\n")
    return f"{kept}\n{addition}" if kept else addition


def begins_like(text: Value, start: Value, normal: Normal) -> bool:
    """Whether a text is the other one, or that with lines after it."""
    return _lines(text, normal).begins_like(_lines(start, normal))


def has_got(base: Value, there: Value, sent: Value, normal: Normal) -> bool:
    """Whether Airtable's text holds what a text that was sent has added to the baseline, whatever
    people have made of the rest since.
    """
    before, remote, added = (_lines(text, normal) for text in (base, there, sent))
    new = added.forms[len(before.forms) :]
    return added.begins_like(before) and bool(new) and _has_got(before, remote, new)


def _has_got(before: _Lines, remote: _Lines, added: list[Value]) -> bool:
    return _times(remote.forms, added) > _times(before.forms, added)


def _times(lines: list[Value], run: list[Value]) -> int:
    """How often these lines stand there, one after the other."""
    return sum(lines[i : i + len(run)] == run for i in range(len(lines) - len(run) + 1))


def _shared(left: list[Value], right: list[Value]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))
