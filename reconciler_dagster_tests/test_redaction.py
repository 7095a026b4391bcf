"""A known secret is in no text, however it was written down there; and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
import logging
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster import redaction
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.orchestration.stored import clean
from reconciler_dagster.outlets import guard
from reconciler_dagster.redaction import know, redacted, redacted_values
from reconciler_dagster.telling import told

SECRET = "Str4nge/p@ss+wörd 'x\"<&%\r\n%zz"


def _could_be_one(text: str) -> bool:
    return len(text.strip()) >= 8 and text.strip().lower() not in redaction._EVERYDAY


@given(st.text(min_size=8, max_size=40).filter(_could_be_one))
def test_no_form_of_a_secret_is_left(secret: str) -> None:
    redaction._known.clear()  # or each secret is looked for in the texts of all that follow
    know(secret)
    for form in (
        secret,
        repr(secret),
        repr(f"Bearer {secret}".encode()),
        json.dumps(secret),
        json.dumps({"a": repr(secret)}),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        base64.b64encode(secret.encode()).decode(),
    ):
        assert secret not in redacted(f"before {form} after")
        assert form.strip("'\"") not in redacted(f"before {form} after")


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("postgresql://ann:Sw0rd%40fish@host/db", ["Sw0rd%40fish", "Sw0rd@fish"]),
        ("postgresql:///db?host=/tmp&password=Swordf1sh1&user=ann", ["Swordf1sh1"]),
        (r"host=h password='Sword \' f1sh2' user=ann", ["Sword ' f1sh2"]),
        ("postgresql://ann:at@Swordf1sh3/slash@host/db", ["Swordf1sh3"]),
        (
            "https://ann:Swordf1sh4@proxy.example",
            ["Swordf1sh4", base64.b64encode(b"ann:Swordf1sh4").decode()],
        ),
    ],
)
def test_passwords_within_urls_are_known(url: str, hidden: list[str]) -> None:
    know(url)
    for text in hidden:
        assert text not in redacted(f'so "{text}" it is')
    assert "host" in redacted("host")
    assert "ann" in redacted("ann")


def test_a_short_secret_goes_only_where_it_stands_alone_and_keys_stay() -> None:
    know("lemon")
    assert redacted("lemonade, lemon") == "lemonade, ***"
    assert redacted_values({"lemon": ["lemon", 1, {"a": "a lemon"}]}) == {
        "lemon": ["***", 1, {"a": "a ***"}]
    }


def test_credentials_are_struck_out_of_urls_that_nobody_knows() -> None:
    assert "unheard" not in redacted("at postgresql://x:unheard-of@h/d and Bearer unheard.of.01234")


class Foreign(Exception):
    """Somebody's."""


def test_of_foreign_errors_only_what_is_on_the_list_is_told() -> None:
    know(SECRET)
    foreign = [
        ValueError(f"Invalid header value b'Bearer {SECRET}'"),
        Foreign(SECRET),
        KeyError(SECRET),
        DagsterInvariantViolationError(SECRET),
        UnicodeEncodeError("latin-1", SECRET, 0, 1, "ordinal"),
        OSError(SECRET),
        RuntimeError("somebody's value: 42"),
    ]
    for error in foreign:
        sentence = told(error, "the log")
        assert sentence == f"Unforeseen: {type(error).__name__} (the whole story: the log)"
    assert told(ConfigurationError("Set it.")) == "Set it."
    assert told(ConfigurationError(f"It is {SECRET}.")) == "It is ***."
    assert told(PermissionError(13, "no", "/there")) == "/there: Permission denied"
    caused = Foreign(SECRET)
    caused.__cause__ = PermissionError(13, "no", "/there")
    assert told(caused) == "/there: Permission denied"


def test_log_records_hold_no_secret_whoever_writes_them(caplog: pytest.LogCaptureFixture) -> None:
    guard()
    know(SECRET)
    log = logging.getLogger("anybody's")
    for message, arguments in (
        (f"a {SECRET}", ()),
        ("b %s", (SECRET,)),
        ("c %r", (ValueError(SECRET),)),
        ("d %(x)s", ({"x": SECRET},)),
    ):
        log.warning(message, *arguments)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("e")
    handler = logging.Formatter()
    written = "\n".join(handler.format(record) for record in caplog.records)
    assert SECRET not in written
    assert repr(SECRET) not in written
    assert "ValueError" in written
    assert [line[0] for line in written.splitlines() if line[:1] in "abcde"][:4] == list("abcd")


def test_the_trace_that_ends_a_process_holds_no_secret() -> None:
    code = (
        "import os, threading\n"
        "from reconciler_dagster.outlets import guard\n"
        "guard()\n"
        "def fail(): raise ValueError(os.environ['SOME_TOKEN'])\n"
        "one = threading.Thread(target=fail); one.start(); one.join()\n"
        "fail()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"SOME_TOKEN": "a-token-of-somebody", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("ValueError: ***") == 2
    assert "a-token-of-somebody" not in done.stderr


def test_an_event_of_dagster_s_is_stored_without_a_secret() -> None:
    know(SECRET)
    error = SerializableErrorInfo(
        f"ValueError: {SECRET}\n",
        [f"  raise {SECRET}\n"],
        "ValueError",
        cause=SerializableErrorInfo(SECRET, [], "KeyError"),
    )
    event = DagsterEvent(
        DagsterEventType.STEP_FAILURE.value,
        job_name="sync",
        event_specific_data=StepFailureData(error=error, user_failure_data=None),
        message=f"failed: {SECRET}",
    )
    entry = EventLogEntry(None, 10, f"said {SECRET}", "run", 0.0, dagster_event=event)
    stored = clean(entry)
    assert SECRET not in str(stored)
    assert repr(SECRET)[1:-1] not in str(stored)
    assert stored.dagster_event.event_specific_data.error.cls_name == "ValueError"
    quiet = EventLogEntry(None, 10, "said", "run", 0.0)
    assert clean(quiet) is quiet


def test_settings_make_their_secrets_known() -> None:
    Settings(portal_jwt_secret="known-by-being-read", database_url="postgresql://a:known-too@h/d")
    assert redacted("known-by-being-read known-too") == "*** ***"


@pytest.mark.parametrize("word", ["postgres", "portal", "leads"])
def test_a_password_that_is_a_word_of_ours_stays_readable(word: str) -> None:
    """It is none to anybody; but where it is told as one, it is struck out."""
    know(f"postgresql://{word}:{word}@localhost/portal")
    sentence = f"Postgres refuses it: see reconciler_dagster/postgres/runs.py and {word}."
    assert redacted(sentence) == sentence
    assert redacted_values({"direction": "to_postgres"}) == {"direction": "to_postgres"}
    assert f":{word}@" not in redacted(f"postgresql://{word}:{word}@localhost/portal")
    assert redacted(f"({word}:{word})") == "(***)"


def test_an_example_of_our_own_stays_readable() -> None:
    example = "expected postgresql://user:password@host:5432/database"
    assert redacted(example) == example


def test_an_error_of_an_odd_shape_is_told() -> None:
    assert "OSError" in told(OSError("a", "b"))
