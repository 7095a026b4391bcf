"""Where texts leave a process of ours: log records, stderr, the trace of an error that ends it.

:func:`guard` is called first thing in every process: command line, portal, and whatever of Dagster
opens the instance or loads the definitions.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO, cast

from reconciler_dagster import redaction

_guarded = False


def guard() -> None:
    """Strike secrets out of all that this process logs, and out of a trace that it ends with."""
    global _guarded
    redaction.know_environment(os.environ)
    if _guarded:
        return
    _guarded = True
    make = logging.getLogRecordFactory()

    def made(*arguments: Any, **more: Any) -> logging.LogRecord:
        return _struck(make(*arguments, **more))

    # Not a filter: filters of a logger do not see the records of those below it, and handlers
    # are added by whoever likes.
    logging.setLogRecordFactory(made)
    sys.excepthook = _last_words
    threading.excepthook = lambda told: _last_words(
        told.exc_type, cast(BaseException, told.exc_value), told.exc_traceback
    )


def _struck(record: logging.LogRecord) -> logging.LogRecord:
    try:
        if isinstance(record.args, tuple):
            # One by one: some formatters look for their own ones.
            record.args = tuple(_argument(one) for one in record.args)
        message = record.getMessage()
    except Exception:  # logging's own handlers tell it
        return record
    if (clean := redaction.redacted(message)) != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (clean := redaction.redacted(trace)) != trace:
            # Formatters take the text that is there already; others find no error to look at.
            record.exc_text, record.exc_info = clean, None
    return record


def _argument(one: object) -> object:
    if isinstance(one, str):
        return redaction.redacted(one)
    if isinstance(one, BaseException):
        text = str(one)
        clean = redaction.redacted(text)
        return one if clean == text else clean
    return one


def _last_words(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):
        return
    told = "".join(traceback.format_exception(kind, error, at))
    if sys.stderr is not None:
        sys.stderr.write(redaction.redacted(told))


class Struck:
    """A text stream without secrets."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what may be read."""
        self._stream.write(redaction.redacted(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded_stderr() -> Iterator[None]:
    """Strike secrets out of all that is written to stderr in the block."""
    stream = sys.stderr
    if stream is None:
        yield
        return
    sys.stderr = cast(TextIO, Struck(stream))
    try:
        yield
    finally:
        sys.stderr = stream


class _Outlet:
    """Stdout; where nobody reads it any more, the program ends as other tools do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write."""
        with _reader_may_go():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush."""
        with _reader_may_go():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# What a shell says of a program that SIGPIPE or SIGINT ended. The signals themselves are not let
# through: connections write to sockets that may be closed, and a run has to be ended in order.
NOBODY_READS, INTERRUPTED = 128 + 13, 128 + 2


@contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # What is buffered is not tried again at the end of the program.
        if sys.__stdout__ is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
        raise SystemExit(NOBODY_READS) from None


@contextmanager
def quiet_end() -> Iterator[None]:
    """End without a word where nobody reads stdout any more."""
    stream = sys.stdout
    if stream is None:  # closed by whoever started the program
        yield
        return
    sys.stdout = outlet = cast(TextIO, _Outlet(stream))
    try:
        yield
    finally:
        sys.stdout = stream
        outlet.flush()
