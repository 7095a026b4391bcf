"""Normal forms: when two spellings are the same key, and when two texts differ in form alone.

Each is idempotent, and is applied to both sides of a comparison. A normal form is never written
anywhere: what stands is what a person, or Airtable, made of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

# How texts of a field are compared, by its Airtable type; of one line or of all of them.
Form = Callable[[str], str]

LINE_END = re.compile(r"\r\n|\r|\n")
_BLANKS = re.compile(r"\s+")
# Blanks of no width and marks of direction, which come along when people copy.
_UNSEEN = dict.fromkeys(
    [0x00AD, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)


def key(text: str) -> str:
    """An e-mail, or the name of an option, a field or a table: without case, blanks around it and
    what nobody sees; any blank within is a plain one.
    """
    seen = unicodedata.normalize("NFC", text).translate(_UNSEEN)
    lower = unicodedata.normalize("NFC", seen.lower())
    return _BLANKS.sub(" ", lower).strip()


def identifier(text: str) -> str:
    """An id of Airtable: case counts, blanks and what nobody sees do not."""
    return _BLANKS.sub("", text.translate(_UNSEEN))


def pick(wanted: str, names: Iterable[str]) -> str | None:
    """The name that is meant: the very same one, else the only one with that key, else None."""
    listed = list(names)
    if wanted in listed:
        return wanted
    alike = {name for name in listed if key(name) == key(wanted)}
    return alike.pop() if len(alike) == 1 else None


def exact(text: str) -> str:
    """Every character counts."""
    return text


def plain(text: str) -> str:
    """Long text: line ends of any kind, empty lines, and blanks at the ends of lines are form."""
    lines = LINE_END.split(unicodedata.normalize("NFC", text))
    return "\n".join(line.strip() for line in lines if line.strip())


def line(text: str) -> str:
    """Text of one line: a line end may have become a blank."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip()


def phone(text: str) -> str:
    """A phone number: its digits and letters, and a plus in front."""
    kept = re.sub(r"[^\w+]|_", "", line(text))
    return unicodedata.normalize("NFC", kept[:1] + kept[1:].replace("+", ""))


def rich(text: str) -> str:
    """Rich text, of which Airtable keeps a markdown of its own: besides what is form in a long
    text, which of several signs marks emphasis or a list, and what is escaped.
    """
    return "\n".join(filter(None, map(_rich_line, LINE_END.split(text))))


_BULLET = re.compile(r"^[*+_-] ")
_NUMBER = re.compile(r"^\d+[.)] ")


def _rich_line(text: str) -> str:
    unescaped = line(text.replace("\\", ""))
    return _NUMBER.sub("1. ", _BULLET.sub("- ", unescaped)).replace("_", "*")


BY_TYPE: dict[str, Form] = {
    "richText": rich,
    "multilineText": plain,
    "singleLineText": line,
    "url": line,
    "email": key,
    "phoneNumber": phone,
}
PLAIN_TEXTS = BY_TYPE.keys() - {"richText"}


def form_of(type_: str, choices: Iterable[str] | None = None) -> Form:
    """How texts of a field of that Airtable type are compared; ``choices``: of a select."""
    if choices is None:
        return BY_TYPE.get(type_, exact)
    listed = tuple(choices)
    return lambda text: pick(text, listed) or text
