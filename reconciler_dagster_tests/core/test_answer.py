from __future__ import annotations

from typing import Any

import pytest

from reconciler_dagster.core.answer import Verdict, judge
from reconciler_dagster.core.codecs import Checkbox, DateTime, Integer, Text
from reconciler_dagster.core.normal import form_of
from reconciler_dagster.core.values import UNKNOWN

OPTION = Text(form=form_of("singleSelect", ("Archive", "Review")))


@pytest.mark.parametrize(
    ("codec", "sent", "before", "held", "verdict"),
    [
        (Text(), "a", "b", "a", Verdict.AGREED),
        (Text(), None, "b", None, Verdict.AGREED),
        (Text(), "a ", "b", "a", Verdict.RESPELLED),
        (Text(), "a ", "a", "a", Verdict.RESPELLED),
        (Text(), "a", "b", "b", Verdict.KEPT),
        (Text(), "a", None, None, Verdict.KEPT),
        (Text(), "a", "b", None, Verdict.OPEN),
        (Text(), "a", "b", "  ", Verdict.OPEN),
        (Text(), "  ", "b", None, Verdict.RESPELLED),
        (Text(), "a", "b", UNKNOWN, Verdict.OPEN),
        (Text(), None, "b", "by default", Verdict.RESPELLED),
        (Text(form=form_of("email")), "A@x.example", "b", "a@x.example", Verdict.RESPELLED),
        (Text(form=form_of("phoneNumber")), "+1 555", "b", "(+1) 555", Verdict.RESPELLED),
        (OPTION, "archive", "Review", "Archive", Verdict.RESPELLED),
        (Integer(), 3, 1, 4, Verdict.RESPELLED),
        (Integer(), 3, 1, 1, Verdict.KEPT),
        (
            DateTime(),
            "2026-03-01T10:00:00.123Z",
            None,
            "2026-03-01T10:00:00.000Z",
            Verdict.RESPELLED,
        ),
        (Checkbox(), True, False, False, Verdict.KEPT),
    ],
)
def test_what_an_answer_means(
    codec: Any, sent: Any, before: Any, held: Any, verdict: Verdict
) -> None:
    assert judge(codec, sent, before, held) is verdict
