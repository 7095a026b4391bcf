"""What may be told of an error: a positive list.

Texts of foreign exceptions quote what they were given: a header, a URL, a value. So an error that
is not known here is told by its kind alone.
"""

from __future__ import annotations

import os
from typing import Any

from reconciler_dagster.redaction import redacted

_PACKAGE = __name__.partition(".")[0]

# What libpq says where there is no connection (yet): told in our words, because it quotes the URL.
# Where a character of the password is not escaped, what libpq takes for the host or the port is a
# part of the password.
_CONNECTION = {
    "resolve host": "its host name cannot be resolved",
    "translate host name": "its host name cannot be resolved",
    "connection option": "a part of the URL has no usable value",
    "invalid port": "a part of the URL has no usable value",
    "password authentication failed": "it does not accept this user and password",
    "authentication failed": "it does not accept this user",
    "no password supplied": "it wants a password, and none is set",
    "no pg_hba.conf entry": "its pg_hba.conf does not let this user in from here",
    "Connection refused": "nobody listens there: connection refused",
    "No such file or directory": "its socket is not there",
    "Permission denied": "its socket may not be used: permission denied",
    "timeout expired": "it did not answer in time",
    "timed out": "it did not answer in time",
    "No route to host": "there is no way to its host",
    "Network is unreachable": "there is no way to its network",
    "too many connections": "too many connections, none is left for this user",
    "too many clients": "too many clients already, no connection is left",
    "remaining connection slots": "no connection is left: the remaining slots are reserved",
    "starting up": "it is starting up",
    "shutting down": "it is shutting down",
    "in recovery mode": "it is in recovery mode",
    "server closed the connection": "the server closed the connection",
    "terminating connection": "the server ended the connection",
    "connection is lost": "the connection was lost",
    "connection is closed": "the connection was lost",
    "certificate": "its certificate is not accepted",
    "SSL": "it does not agree on SSL",
}
_EXISTENCE = (
    ("database", "does not exist", "it has no database of this name"),
    ("role", "does not exist", "it does not know this user"),
)
# Kinds of `requests`, by name: it is slow to import, and most who ask have not.
_REQUESTS = {
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "Timeout": "no answer in time",
    "SSLError": "the certificate or the TLS version is not accepted",
    "ProxyError": "the proxy cannot be reached or refuses",
    "ConnectionError": "no connection",
    "ChunkedEncodingError": "the answer was cut off",
    "ContentDecodingError": "the answer cannot be decompressed",
    "JSONDecodeError": "the answer is no JSON",
    "TooManyRedirects": "too many redirects",
}


def told(error: BaseException, whole_story: str = "") -> str:
    """One or more lines for a person. ``whole_story``: where it is kept, told with what is only
    named by its kind.
    """
    sentence = _foreseen(error)
    if sentence is None:
        sentence = f"Unforeseen: {type(error).__name__}"
        sentence += f" (the whole story: {whole_story})" if whole_story else ""
    return redacted(sentence)


def is_foreseen(error: BaseException) -> bool:
    """Whether `told` has a sentence for an error, and does not only name its kind."""
    return _foreseen(error) is not None


def told_of_record(message: str, whole_story: str) -> str:
    """The same of an error that only its record is left of: `module.Kind: text`."""
    kind, _, text = message.strip().partition(": ")
    if kind.partition(".")[0] == _PACKAGE:
        return redacted(text)
    return redacted(f"Unforeseen: {kind.rpartition('.')[2]} (the whole story: {whole_story})")


def why_no_connection(error: BaseException) -> str:
    """Why libpq has no connection, without anything of the URL."""
    text = str(error)
    for part, reason in _CONNECTION.items():
        if part in text:
            return reason
    for what, how, reason in _EXISTENCE:
        if f"{what} " in text and how in text:
            return reason
    return "no connection"


def _foreseen(error: BaseException) -> str | None:
    cause: BaseException | None = error
    while cause is not None and (sentence := _sentence(cause)) is None:
        cause = cause.__cause__
    return sentence if cause is not None else None


def _sentence(error: BaseException) -> str | None:
    if type(error).__module__.partition(".")[0] == _PACKAGE:  # it was written here
        return str(error)
    kind = type(error)
    family = kind.__module__.partition(".")[0]
    if family == "sqlalchemy":
        return _of_sqlalchemy(error)
    if family == "dagster" and kind.__name__ == "Failure":  # raised by this package alone
        return getattr(error, "description", None)
    if family in ("psycopg", "psycopg2"):
        return _of_postgres(error)
    if family == "requests" and kind.__name__ in _REQUESTS:
        return f"HTTP: {_REQUESTS[kind.__name__]}"
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory."
    return None


def _of_sqlalchemy(error: BaseException) -> str | None:
    original = getattr(error, "orig", None)
    if original is not None:
        return _sentence(original)
    if type(error).__name__ == "TimeoutError":
        return "No connection to Postgres became free in time."
    return None


def _of_postgres(error: BaseException) -> str | None:
    """By SQLSTATE and the message itself: details, context and statement hold people's data."""
    diagnostic: Any = getattr(error, "diag", None)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    message = getattr(diagnostic, "message_primary", None)
    if state and message:
        return f"Postgres says: {message} ({state})"
    if type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout"):
        return f"Postgres: {why_no_connection(error)}"
    return None


def _of_the_system(error: OSError) -> str | None:
    """By number: the text of a subclass may be anybody's."""
    if not isinstance(error.errno, int):
        return None
    reason = os.strerror(error.errno) if error.errno > 0 else type(error).__name__
    if isinstance(error.filename, str | bytes | os.PathLike):
        name = os.fsdecode(error.filename)
        return f"{name}: {reason}"
    return reason
