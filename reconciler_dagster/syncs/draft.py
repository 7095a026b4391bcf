"""A draft of a definition as text, for a person to edit: what is not sure is a comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from reconciler_dagster.syncs.suggest import Guess

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _/-]*(?<! )")
_HEAD = """\
# A draft: read each line, then try it with `reconciler map check`. Lines that end with "by its
# name" were not proved by values that both sides hold.
"""


def draft(
    name: str,
    airtable_table: str,
    postgres_table: str,
    own: dict[str, str | None],
    guesses: Sequence[Guess],
    left_over: Sequence[str],
) -> str:
    """The YAML. ``own``: the engine's own columns; ``left_over``: fields that feed no column."""
    kept = {"table": postgres_table, **own}
    lines = [
        _HEAD + f"sync: {name}",
        f"airtable: {{table: {_scalar(airtable_table)}}}",
        "postgres: {" + ", ".join(f"{key}: {_scalar(value)}" for key, value in kept.items()) + "}",
        "",
        "fields:",
    ]
    for guess in guesses:
        if guess.field is None:
            others = ", ".join(f"'{other}'" for other in guess.others)
            which = "which of " if len(guess.others) > 1 else "is it "
            lines.append(f"  # {guess.column}: {which}{others}?")
            continue
        said = f"from: {_scalar(guess.field)}"
        if guess.type != "text":
            said += f", type: {guess.type}"
        if guess.type in ("link", "links"):
            said += ", to: NAME_OF_A_SYNC"
        proof = "" if guess.sure else "  # by its name"
        lines.append(f"  {_scalar(guess.column)}: {{{said}}}{proof}")
    if left_over:
        lines += ["", "# Fields of Airtable that feed no column:"]
        lines += [f"#   {name}" for name in left_over]
    return "\n".join(lines) + "\n"


def _scalar(text: str | None) -> str:
    """A text as YAML has it within braces."""
    if text is None:
        return "null"
    if _PLAIN.fullmatch(text) and text.lower() not in ("null", "true", "false"):
        return text
    flow: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000)
    return flow.strip()
