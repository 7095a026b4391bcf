"""The last line of defence: known secrets are struck out of every text that leaves the process.

What may be told of an error is decided in :mod:`reconciler_dagster.telling`; this is for what gets
past it. A secret is known once a setting that holds it was read. Shorter ones than four characters
are not struck out, nor is a password that is a word of ours: nothing could be read any more.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from reconciler_dagster.environment import cleaned, splits_as_meant

STRUCK_OUT = "***"
_SHORTEST = 4
# From this length on a secret is struck out inside of words too.
_UNMISTAKABLE = 8
# Passwords that no sentence, path or field could do without. Those of URLs are struck out by shape.
_EVERYDAY = {
    *("postgres", "postgresql", "airtable", "dagster", "reconciler", "reconciler_dagster"),
    *("portal", "lead", "leads", "client", "clients", "public", "sync", "user", "password"),
}
# Of somebody else's variables, by their name alone.
_NAMED_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)S?$", re.IGNORECASE)
_URL = re.compile(r"://(\S*@\S*)")
_PASSWORD_PARAMETER = re.compile(r"password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&#]+)", re.IGNORECASE)
# But for the example in our own sentences.
_ANY_CREDENTIALS = re.compile(r"(://(?!user:password@)[^\s/?#:@]*:)[^\s/?#@]+(?=@)")
_ANY_BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]{12,}")

_known: set[str] = set()
_pattern: re.Pattern[str] | None = None
_lock = Lock()


def know(*secrets: str) -> None:
    """Remember secrets, or URLs and connection strings that hold a password."""
    global _pattern
    found = {form for secret in secrets for text in _within(secret) for form in _forms(text)}
    fresh = {f for f in found if len(f) >= _SHORTEST and f.lower() not in _EVERYDAY}
    with _lock:
        if not fresh <= _known:
            _known.update(fresh)
            _pattern = None


def know_environment(variables: Mapping[str, str]) -> None:
    """Remember what looks like a secret in an environment, ours or not."""
    for name, text in variables.items():
        named = _NAMED_SECRET.search(name) and len(cleaned(text)) >= _UNMISTAKABLE
        if named or _URL.search(text) or _PASSWORD_PARAMETER.search(text):
            know(text)


def redacted(text: str) -> str:
    """A text without known secrets, and without credentials in any URL."""
    if (pattern := _of_all_known()) is not None:
        text = pattern.sub(STRUCK_OUT, text)
    text = _ANY_CREDENTIALS.sub(rf"\1{STRUCK_OUT}", text)
    return _ANY_BEARER.sub(rf"\1{STRUCK_OUT}", text)


def _of_all_known() -> re.Pattern[str] | None:
    global _pattern
    with _lock:
        if _pattern is None and _known:
            longest_first = sorted(_known, key=len, reverse=True)
            _pattern = re.compile("|".join(map(_matcher, longest_first)), re.IGNORECASE)
        return _pattern


def redacted_values(value: Any) -> Any:
    """The same for every text of a JSON value. Keys are ours, and stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: redacted_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(item) for item in value]
    return value


def _within(secret: str) -> Iterator[str]:
    """The secrets of a setting: itself, or the password within it and what goes with that."""
    urls = _URL.findall(secret)
    passwords = [one.strip("'") for one in _PASSWORD_PARAMETER.findall(secret)]
    if not (urls or passwords):
        yield secret
    for url in urls:
        as_meant = splits_as_meant(url)
        credentials = url.partition("@")[0] if as_meant else url.rpartition("@")[0]
        user, _, password = credentials.partition(":")
        if as_meant and re.search(r"[/?#]", user):
            continue  # the @ is a parameter's
        if password:
            yield password
            yield f"{user}:{password}"
            yield f"{unquote(user)}:{unquote(password)}"
        if not as_meant:  # every part of the password is taken for something else
            yield from (part for part in re.split(r"[@:/?#]", password) if len(part) > 5)
    for password in passwords:
        yield password
        yield re.sub(r"\\(.)", r"\1", password)


def _forms(secret: str) -> set[str]:
    """How a secret can stand in a text: as it is, cleaned, decoded, escaped, encoded."""
    pieces = re.split(r"[\s\x00-\x1f]+", secret)
    texts = {secret, cleaned(secret), unquote(secret), unquote_plus(secret)}
    texts |= {piece for piece in pieces if len(piece) >= _UNMISTAKABLE}
    for _ in range(2):  # an escaped text may be quoted once more
        texts |= {form for text in texts for form in _escaped(text)}
    raw = secret.encode("utf-8", "surrogateescape")
    bare = cleaned(secret).encode("utf-8", "surrogateescape")
    encoded = {encode(one) for one in (raw, bare) for encode in (b64encode, urlsafe_b64encode)}
    return texts | {one.decode().rstrip("=") for one in encoded}


def _escaped(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogateescape")
    yield repr(text)[1:-1]
    yield repr(raw)[2:-1]
    yield raw.decode("latin-1")
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield quote(raw)
    yield quote(raw, safe="")
    yield quote_plus(raw)
    yield html.escape(text)


def _matcher(form: str) -> str:
    if len(form) >= _UNMISTAKABLE:
        return re.escape(form)
    return rf"(?<!\w){re.escape(form)}(?!\w)"
