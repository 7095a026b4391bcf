"""Causes that take hours or days: made for real, and what is stored is dated back."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from reconciler_dagster.core.month import LOW, Month
from reconciler_dagster.orchestration.adopt import adopt_clients
from reconciler_dagster.orchestration.execute import audit_clients
from reconciler_dagster.postgres.calls import months
from reconciler_dagster_tests.notices.stage import Cause, Stage


def _adopt(stage: Stage, *, approve: bool) -> None:
    acme = stage.acme
    list(adopt_clients(acme.settings, stage.instance, acme.client.id, "Ann", approve=approve))


def _rehearsed(stage: Stage) -> None:
    stage.acme.sql("DELETE FROM reconciler.adoption")
    _adopt(stage, approve=False)
    stage.acme.sql("UPDATE reconciler.rehearsal SET rehearsed_at = now() - interval '61 minutes'")


def _audit(stage: Stage) -> None:
    list(audit_clients(stage.acme.settings, stage.instance, None))


def _put_back(stage: Stage) -> None:
    """What was agreed on, to an older state; the audit has no calls left to find and mend it."""
    stage.great_sync()
    stage.acme.sql(
        'UPDATE reconciler.baseline SET fields = fields || \'{"company": "Of long ago"}\''
    )
    stage.acme.sql(
        "INSERT INTO reconciler.call_log SELECT airtable_base_id, date_trunc('hour', now()), "
        "'audit', 1000 FROM clients ON CONFLICT (base_id, hour, purpose) "
        "DO UPDATE SET calls = excluded.calls"
    )
    _audit(stage)


def _compared(stage: Stage) -> None:
    stage.great_sync()
    _audit(stage)


def _days_without_proof(stage: Stage) -> None:
    stage.great_sync()
    stage.acme.sql("UPDATE reconciler.baseline SET verified_at = verified_at - interval '9 days'")


def _month(stage: Stage) -> Month:
    with stage.acme.engine.connect() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        (month,) = months(connection, stage.acme.settings, now)
    return month


def _too_fast(stage: Stage) -> None:
    """A limit that is far from spent, and that calls at this pace go beyond."""
    month = _month(stage)
    limit = int(month.spent / LOW) + 1
    if month.forecast <= limit:
        pytest.skip("the month is about to end: no pace can use up what is left of it")
    stage.acme.settings.monthly_calls = limit


def _spend(stage: Stage) -> None:
    stage.acme.settings.monthly_calls = 1


def _enough(stage: Stage) -> None:
    stage.acme.settings.monthly_calls = 10**6


CAUSES: dict[str, Cause] = {
    "adoption_waits": Cause(
        "a new client is rehearsed, and nobody says yes for an hour",
        _rehearsed,
        lambda stage: _adopt(stage, approve=True),
    ),
    "drift": Cause(
        "what was agreed on is put back to an older state, and the audit looks",
        _put_back,
        _compared,
    ),
    "proof_old": Cause("no lead is compared for nine days", _days_without_proof, _compared),
    "month_short": Cause(
        "calls go on at a pace that the month's limit does not bear", _too_fast, _enough, whom=""
    ),
    "month_low": Cause("four fifths of the month's calls are spent", _spend, _enough, whom=""),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_the_cause_is_told_of_and_so_is_its_end(stage: Stage, kind: str) -> None:
    stage.goes_through(kind, CAUSES[kind])


def test_of_the_month_the_numbers_are_told(stage: Stage) -> None:
    _spend(stage)
    stage.look()
    mail = str(stage.box.mails[-1].get_payload(decode=True), "utf-8")  # type: ignore[arg-type]
    assert "are spent" in mail
