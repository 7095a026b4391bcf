"""The token that a run's calls carry: read when it is first needed, and again once it is refused.

A token that Airtable does not accept costs one call: until an answer has shown that it is good, the
calls of all threads go one at a time, and after a refusal none goes at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

from reconciler_dagster import redaction
from reconciler_dagster.airtable.errors import DEFAULT_REFUSED, TokenRefused
from reconciler_dagster.config import Settings


class Token:
    """One client's, for one run. ``read``: gives it as it is now; raises ConfigurationError.
    ``refused``: what to tell where Airtable does not accept it.
    """

    def __init__(self, read: Callable[[], str], refused: Callable[[], str]) -> None:
        self._read, self._refused = read, refused
        self._lock = RLock()
        self._value = ""
        self._is_good = self._is_bad = False
        self._refusals = 0

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Around a call. Raises TokenRefused where an earlier one was refused."""
        if not self._is_good or self._is_bad:
            with self._lock:
                if self._is_bad:
                    raise TokenRefused(self._refused())
                if not self._is_good:
                    yield
                    return
        yield  # without the lock: those who waited for the first answer go on together

    @property
    def value(self) -> str:
        """The token."""
        with self._lock:
            if not self._value:
                self._value = self._current()
            return self._value

    def proved(self) -> None:
        """An answer has shown that it is good."""
        self._is_good = True

    def renew(self, refused: str) -> None:
        """Have another value for one that was refused, where somebody has rotated it meanwhile.

        Raises TokenRefused where nobody has, and where the second one is refused too.
        """
        with self._lock:
            self._refusals += refused == self._value
            if refused == self._value and self._refusals < 2:
                self._value, self._is_good = self._current(), False
            if refused == self._value:
                self._is_bad = True
                raise TokenRefused(self._refused())

    def _current(self) -> str:
        value = self._read()
        redaction.know(value)
        return value


def default_token(settings: Settings) -> Token:
    """The one of every client that has none of its own."""
    return Token(settings.require_api_key, lambda: DEFAULT_REFUSED)
