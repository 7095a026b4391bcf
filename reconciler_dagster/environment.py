"""Environment variables as they were meant, and what a usable value looks like.

A value comes out of a `.env` with CRLF, a mounted file, a shell's quotes or a web page: what sticks
to its ends is taken off before anybody looks at it. What is wrong inside is refused, never told.
"""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import urlsplit

# Blanks of every kind, line ends, NUL, the byte order mark, soft hyphens, zero-width characters.
_STICKS = r"[\s\x00\u00ad\u180e\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060-\u2064\ufeff]+"
_AT_AN_END = re.compile(rf"\A{_STICKS}|{_STICKS}\Z")
_QUOTES = "\"'"
_LABEL = range(1, 64)  # of a host name, in characters

_POSTGRES = "expected postgresql://user:password@host:5432/database"


def cleaned(text: str) -> str:
    """Without what sticks to the ends; one pair of quotes around it all goes as well."""
    bare = _AT_AN_END.sub("", text)
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in _QUOTES:
        bare = _AT_AN_END.sub("", bare[1:-1])
    return bare


def value(name: str) -> str | None:
    """A variable, cleaned; None where it is not set, or nothing is left of it."""
    found = os.environ.get(name, os.environ.get(name.lower(), ""))
    return cleaned(found) or None


def require_text(text: str) -> str:
    """A text without line ends, other control characters and broken letters.

    Raises ValueError, as all below, with a sentence that does not quote the text.
    """
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError("it holds a line end or another control character: enter it once more")
    return text


def require_token(text: str) -> str:
    """A text that can stand in an HTTP header as a token."""
    if not all("!" <= letter <= "~" for letter in text):
        raise ValueError(
            "it holds a blank, a control character or a letter that is not ASCII, and no token "
            "does: copy it once more"
        )
    return text


def require_web_address(text: str) -> str:
    """An address of HTTP, without credentials: it is shown to people."""
    expected = "expected https://host, or http://host:port"
    if re.search(r"\s", text):
        raise ValueError(f"it holds a blank; {expected}")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is no number, or too large
    except ValueError:
        raise ValueError(expected) from None
    labels = (parts.hostname or "").removesuffix(".").split(".")
    if parts.scheme not in ("http", "https") or not all(len(one) in _LABEL for one in labels):
        raise ValueError(expected)
    if "@" in parts.netloc:
        raise ValueError("it holds a user or a password, and must not")
    return text


def require_postgres_address(text: str) -> str:
    """A libpq URL, or a connection string of keywords. Answers it without SQLAlchemy's driver."""
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        if not re.match(r"\w+\s*=", text):
            raise ValueError(_POSTGRES)
        return text
    if not splits_as_meant(rest):
        raise ValueError("write @ in the password as %40, and / as %2F")
    if re.search(r"\s", text):
        raise ValueError("it holds a blank: write it as %20")
    kind = scheme.partition("+")[0]
    if kind not in ("postgres", "postgresql"):
        raise ValueError(_POSTGRES)
    place = re.split(r"[/?]", rest.rpartition("@")[2])[0]
    ports = (one.rpartition("]")[2].partition(":")[2] for one in place.split(","))
    if any(port and not _is_port(port) for port in ports):
        raise ValueError(f"the part after the host is no port; {_POSTGRES}")
    return f"{kind}://{rest}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def splits_as_meant(rest: str) -> bool:
    """Whether libpq takes a URL apart where its writer meant it to.

    libpq ends the password at the first @, and knows of none where a / comes before that: what is
    left of the password is then a host, a port or a database to it, and stands in its errors.
    """
    credentials, at, place = rest.partition("@")
    if not at or "?" in credentials.partition("/")[2]:
        return True  # no credentials; an @ of a parameter is well where it is
    return "/" not in credentials and "@" not in place.partition("?")[0]
