"""The one place through which every call to Airtable passes.

Takes a slot from the shared bucket, counts the call, retries by status and verb, and keeps
Airtable's clock. pyairtable's own retry stays off: it gives up after 3 s and resends creates
(Airtable facts, section 12).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Protocol
from weakref import WeakMethod

import orjson
import requests
import urllib3
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from reconciler_dagster import tracing
from reconciler_dagster.airtable.errors import (
    NO_ANSWER,
    NO_CALL,
    MonthlyLimitReached,
    NotUnderstood,
    TokenRefused,
    error_of,
    from_response,
    said,
)
from reconciler_dagster.airtable.token import Token
from reconciler_dagster.airtable.wire import Journey, time_requests
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.source import (
    ATTEMPTS,
    LOCKOUTS_BORNE,
    Clock,
    NotSent,
    OutcomeUnknown,
    Unavailable,
)
from reconciler_dagster.effects import effect

# A write that had to wait longer than this for its slot is not sent: somebody may have edited the
# record meanwhile, and Airtable knows no "only if unchanged".
WRITE_WAITS_SECONDS = 5.0
CALL_TIMEOUT = (10.0, 60.0)
# Airtable's is 30 s; a proxy in between may ask for anything.
LONGEST_LOCKOUT_SECONDS = 3600.0
# A call that is held up longer than this before it leaves takes another slot: others may go in its
# place after twice that, and what is told when it has left would come too late for them.
SLOT_LASTS_SECONDS = 0.5
# A guess on the safe side: a slot given away costs a fraction of a second, a 429 costs everybody
# half a minute.
LONGEST_GUESS = 1.0
# What Airtable says where token or user may do nothing of the kind in the base; where only a table
# or a field is meant, it names that.
NOT_PERMITTED = ("INVALID_PERMISSIONS", "You are not permitted to perform this operation")


class Slot(Protocol):
    """When a call counts as arrived, by this process' clock (``time.monotonic``)."""

    @property
    def began(self) -> float:
        """Seconds."""


class Bucket(Protocol):
    """The shared call budget of one base; see reconciler_dagster.postgres.bucket."""

    rank: int

    def take(self) -> Slot:
        """Wait for a slot."""

    def arrived_late(self, slot: Any, delay: float) -> Slot:
        """Tell that the call of a slot may have arrived so many seconds after it. Returns the slot
        as it counts from now on.
        """

    def lock_out(self, seconds: float, reason: str) -> None:
        """Keep every process from calling this base."""


class Transport(HTTPAdapter):
    """A requests adapter for one base and one purpose.

    ``clock``: counts the requests sent on the wire, retries included; ``answered``: those that
    brought an answer, whatever it says. ``may_write``: called at the last moment before a write
    goes out; raises where it must not. ``wait_for_token``: called with the token before each call;
    waits until one more may be made with it. ``base_locked_out``: called after a 429 that has
    locked the base out, with the token and for how many seconds. ``not_permitted``: called after a
    403 with the token, the scope that the call needs, and whether nothing of it is permitted,
    whatever it is about; may raise ScopeLost.
    """

    # Seconds from sending to the answer, by method, of the fastest call of this process.
    _fastest: ClassVar[dict[str, float]] = {}

    def __init__(
        self,
        base_id: str,
        bucket: Bucket,
        token: Token,
        lockout_seconds: float,
        retry_seconds: float,
    ) -> None:
        super().__init__(max_retries=0)
        # Weakly: urllib3 holds a pool's connections until the pool is gone, these hold the journey.
        tell = WeakMethod(self._tell_left)
        self._journey = Journey(lambda: told() if (told := tell()) else None)
        time_requests(self, self._journey)
        self.base_id, self.bucket, self._lockout_seconds = base_id, bucket, lockout_seconds
        self._token = token
        self._wait = wait_exponential_jitter(
            multiplier=retry_seconds, max=40 * retry_seconds, jitter=retry_seconds
        )
        self.clock = Clock(datetime.now(UTC))
        self.answered = 0
        self.may_write: Callable[[], None] = lambda: None
        self.wait_for_token: Callable[[str], object] = lambda token: None
        self.base_locked_out: Callable[[str, float], object] = lambda token, seconds: None
        self.not_permitted: Callable[[str, str, bool], object] = lambda token, scope, general: None

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        """Send until there is an answer that is worth something; a write only once.

        Raises OutcomeUnknown for a write without an answer, NotSent for one that was not carried
        out and may be sent again, another SourceError for an error answer, and
        ConfigurationError for a bad base, TokenRefused among them.
        """
        options["timeout"] = CALL_TIMEOUT
        with self._token.trial():
            while True:
                value = self._token.value
                request.headers["Authorization"] = f"Bearer {value}"
                try:
                    response = self._send(request, options)
                except TokenRefused:  # so nothing was carried out
                    self._token.renew(value)
                else:
                    self._token.proved()
                    return response

    def _send(
        self, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        if not _reads(request):
            return self._send_once(request, options)
        for attempt in Retrying(
            retry=retry_if_exception_type(OutcomeUnknown),
            wait=self._wait,
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        ):
            with attempt:
                response = self._read_within_limits(request, options)
                _require_whole_json(response)
        return response

    def _read_within_limits(
        self, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        for _ in range(LOCKOUTS_BORNE):
            response = self._call(request, options)
            if response.status_code != 429:
                break
        return self._good(response)

    def _send_once(
        self, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        response = self._call(request, options)
        # 502 and 503 are documented as safe to retry (Airtable facts, section 4); for the other
        # ones only a look at the record can tell whether the write was carried out.
        if response.status_code in (429, 502, 503):
            meant = NotSent if response.status_code == 429 else Unavailable
            raise meant(*said(response.status_code, *error_of(response)))
        return self._good(response)

    def _turn(self, request: requests.PreparedRequest, asked: float) -> Slot:
        """Wait for a slot of the base. Raises NotSent for a write for which that took too long."""
        slot = self.bucket.take()
        if not _reads(request) and time.monotonic() - asked > WRITE_WAITS_SECONDS:
            raise NotSent(*said(None, "not sent", "the write waited too long for its slot"))
        return slot

    def _call(
        self, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        """One request on the wire. After a 429 everybody keeps away from the base."""
        asked = time.monotonic()
        self._slot = self._turn(request, asked)
        self.wait_for_token(self._token.value)  # what that takes counts as late
        try:
            called = f"{request.method} to Airtable"
            with tracing.span(called, base_id=self.base_id), effect(called):
                if time.monotonic() - self._slot.began > SLOT_LASTS_SECONDS:
                    self._slot = self._turn(request, asked)
                if not _reads(request):
                    self.may_write()
                self.clock.calls += 1
                self._journey.left, self._journey.delay = time.monotonic(), None
                response = super().send(request, **options)
            response.content  # noqa: B018 - the body is read here, where its loss is handled
        except requests.exceptions.InvalidHeader as error:  # of the answer: ours was checked before
            raise OutcomeUnknown(*said(None, type(error).__name__, NO_ANSWER)) from None
        except ValueError:  # an address or a header that nothing can be sent with
            self.clock.calls -= 1
            raise ConfigurationError(NO_CALL) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise OutcomeUnknown(*said(None, type(error).__name__, NO_ANSWER)) from None
        self.answered += 1
        elapsed = time.monotonic() - self._journey.left
        self._keep_time(response, elapsed)
        self._tell_delay(str(request.method), elapsed)
        if response.status_code == 429:
            refusal = from_response(response, self.base_id)
            if isinstance(refusal, MonthlyLimitReached):
                raise refusal
            seconds = self._lockout(response)
            self.bucket.lock_out(seconds, "429 from Airtable")
            self.base_locked_out(_token_of(request), seconds)
        return response

    def _good(self, response: requests.Response) -> requests.Response:
        if response.status_code == 403:
            request = response.request
            general = error_of(response) == NOT_PERMITTED
            self.not_permitted(_token_of(request), _scope_of(request), general)
        if response.status_code >= 400:
            raise from_response(response, self.base_id)
        return response

    def _tell_left(self) -> None:
        """Before the answer, which may take longer than until the next calls go."""
        late = self._journey.left - self._slot.began
        self._slot = self.bucket.arrived_late(self._slot, late)

    def _tell_delay(self, method: str, elapsed: float) -> None:
        """When the request left is known, and mostly how late it arrived. Where that is not: of
        what it took longer than the fastest one, all may have been its way there, up to a second.
        """
        fastest = self._fastest.get(method, elapsed)
        self._fastest[method] = min(fastest, elapsed)
        delay = self._journey.delay
        if delay is None:
            delay = min(elapsed - fastest, LONGEST_GUESS) if elapsed > fastest else 0.0
        self.bucket.arrived_late(self._slot, self._journey.left - self._slot.began + delay)

    def _keep_time(self, response: requests.Response, elapsed: float) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return
        self.clock.note(date - timedelta(seconds=math.ceil(elapsed)), datetime.now(UTC))

    def _lockout(self, response: requests.Response) -> float:
        try:
            asked = float(response.headers.get("Retry-After", 0))
        except ValueError:
            asked = 0.0
        asked = min(asked, LONGEST_LOCKOUT_SECONDS) if math.isfinite(asked) else 0.0
        return max(self._lockout_seconds, asked) * random.uniform(1.01, 1.03)


def _token_of(request: requests.PreparedRequest) -> str:
    return request.headers["Authorization"].removeprefix("Bearer ")


def _scope_of(request: requests.PreparedRequest) -> str:
    if "/meta/" in str(request.url):
        return "schema.bases:read"
    return "data.records:read" if _reads(request) else "data.records:write"


def _reads(request: requests.PreparedRequest) -> bool:
    return request.method == "GET" or str(request.url).split("?")[0].endswith("listRecords")


def _require_whole_json(response: requests.Response) -> None:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        # orjson refuses lone surrogates; such an answer is whole, and the codec judges the cell.
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            raise OutcomeUnknown(*said(None, "truncated", "the answer is no whole JSON")) from None
    rows = answer.get("records", answer.get("tables")) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotUnderstood("neither records nor tables")
