"""Reading and writing a base over HTTP, with Airtable's ways of saying no."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from inspect import signature

import pytest
from pydantic import SecretStr

from reconciler_dagster.airtable.base import Base
from reconciler_dagster.airtable.errors import MonthlyLimitReached
from reconciler_dagster.airtable.filters import created_between, modified_since
from reconciler_dagster.airtable.owner import token_owner
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.source import (
    NotSent,
    OutcomeUnknown,
    Refused,
    Source,
    SourceError,
    Unavailable,
)
from reconciler_dagster.postgres.bucket import Slot
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox


class Unlimited:
    """A bucket without a bottom that keeps what it was told."""

    rank = 0

    def __init__(self) -> None:
        self.lockouts: list[float] = []

    def take(self) -> Slot:
        """Never wait."""
        return Slot(time.monotonic(), 0)

    def arrived_late(self, slot: Slot, delay: float) -> Slot:
        """Never mind."""
        return slot

    def lock_out(self, seconds: float, reason: str) -> None:
        """Note it."""
        self.lockouts.append(seconds)


@pytest.fixture
def sandbox() -> Iterator[SandboxClient]:
    with running_sandbox(leads=120) as running:
        running.switch(calls_per_second_and_base=0, calls_per_second_and_user=0)
        yield running


def open_base(sandbox: SandboxClient, **settings: object) -> Base:
    chosen = {"airtable_api_key": sandbox.token, "airtable_endpoint_url": sandbox.url, **settings}
    return Base(Settings(**chosen), sandbox.base_id, Unlimited())


@pytest.fixture
def base(sandbox: SandboxClient) -> Base:
    return open_base(sandbox)


def field_id(base: Base, name: str) -> str:
    return next(f.id for f in base.schema("Leads").fields if f.name == name)


VERBS = sorted(name for name in vars(Source) if not name.startswith("_"))


def test_a_base_is_a_source(base: Base) -> None:
    assert VERBS == ["changed_since", "clock", "created_between", "read", "schema", "write"]
    source: Source = base
    assert source.clock.calls == 0
    for verb in set(VERBS) - {"clock"}:
        assert signature(getattr(Base, verb)) == signature(getattr(Source, verb)), verb


@pytest.mark.parametrize(
    ("status", "meant"), [(429, NotSent), (502, Unavailable), (503, Unavailable)]
)
def test_a_write_that_was_certainly_not_carried_out_is_told_as_such(
    sandbox: SandboxClient, base: Base, status: int, meant: type[SourceError]
) -> None:
    record_id, table = min(sandbox.records()), base.schema("Leads").id
    sandbox.fault("status", method="PATCH", status=status)
    with pytest.raises(NotSent, match=f"^Airtable answered {status} ") as told:
        base.write(table, {record_id: {}})
    assert type(told.value) is meant


def test_the_schema_comes_with_types_and_options(base: Base) -> None:
    schema = base.schema("Leads")
    by_name = {field.name: field for field in schema.fields}
    assert schema.name == "Leads"
    assert by_name["ICP Score"].type == "formula"
    assert by_name["Enrichment Outcome"].choices == (
        "Success",
        "No Match",
        "Error",
        " Success",
        " No Match",
    )


def test_a_base_that_nobody_holds_keeps_no_connection(sandbox: SandboxClient) -> None:
    base = open_base(sandbox)
    base.schema("Leads")
    transport = weakref.ref(base.transport)
    del base
    gc.collect()
    assert transport() is None


def test_every_call_on_the_wire_is_counted(sandbox: SandboxClient, base: Base) -> None:
    table = base.schema("Leads").id
    list(base.records(table, None, [field_id(base, "Email")]))
    sandbox.fault("status", status=503, method="GET")
    list(base.records(table, None, []))
    assert base.clock.calls == len(sandbox.calls())


def test_a_modification_in_the_asked_second_is_listed(sandbox: SandboxClient, base: Base) -> None:
    record_id = min(sandbox.records())
    sandbox.advance(3600)
    sandbox.edit(record_id, {"Company": "x"})
    edited = datetime.fromisoformat(sandbox.record(record_id)["lastModified"])
    table = base.schema("Leads").id

    def listed(moment: datetime, *left_out: object) -> list[str]:
        pages = base.records(table, modified_since(moment, *left_out), [])  # type: ignore[arg-type]
        return [record.id for page in pages for record in page]

    assert listed(edited) == [record_id]
    assert listed(edited + timedelta(seconds=1)) == []
    assert listed(edited, [record_id], edited + timedelta(seconds=1)) == []
    assert listed(edited, [record_id], edited) == [record_id]
    assert listed(edited, ["recOther000000000"], edited + timedelta(seconds=1)) == [record_id]


def test_windows_of_creation_are_half_open_and_tile(sandbox: SandboxClient, base: Base) -> None:
    created = sorted(record["createdTime"] for record in sandbox.records().values())
    cut = datetime.fromisoformat(created[60]).astimezone(UTC)
    table = base.schema("Leads").id

    def count(start: datetime | None, end: datetime | None) -> int:
        return sum(len(page) for page in base.records(table, created_between(start, end), []))

    assert count(None, cut) == sum(datetime.fromisoformat(c) < cut for c in created)
    assert count(None, cut) + count(cut, None) == count(None, None) == 120


def test_reading_by_id_leaves_out_what_is_gone_or_no_id(sandbox: SandboxClient, base: Base) -> None:
    first, second = sorted(sandbox.records())[:2]
    sandbox.delete(second)
    found = base.read(base.schema("Leads").id, [first, second, "rec'); DROP", "nonsense"], [])
    assert [record.id for record in found] == [first]


def test_a_patch_is_all_or_nothing_and_answers_whole_records(
    sandbox: SandboxClient, base: Base
) -> None:
    first, second = sorted(sandbox.records())[:2]
    hrq, email = field_id(base, "HRQ Status"), field_id(base, "Email")
    table = base.schema("Leads").id
    with pytest.raises(Refused, match="INVALID_MULTIPLE_CHOICE_OPTIONS"):
        base.write(table, {first: {hrq: "Archive"}, second: {hrq: "Nowhere"}})
    assert sandbox.record(first)["fields"].get("HRQ Status") != "Archive"
    (answer,) = base.write(table, {first: {hrq: "Archive"}})
    assert answer.cells[hrq] == "Archive"
    assert answer.cells.get(email) == sandbox.record(first)["fields"].get("Email")


@pytest.mark.parametrize("act", ["cut_before_commit", "cut_after_commit", "status_after_commit"])
def test_a_write_without_an_answer_is_not_sent_again(
    sandbox: SandboxClient, base: Base, act: str
) -> None:
    record_id, table = min(sandbox.records()), base.schema("Leads").id
    hrq = field_id(base, "HRQ Status")
    sandbox.reset_calls()
    sandbox.fault(act, method="PATCH", status=500)
    with pytest.raises(OutcomeUnknown):
        base.write(table, {record_id: {hrq: "Archive"}})
    assert [call["method"] for call in sandbox.calls()] == ["PATCH"]


@pytest.mark.parametrize("act", ["cut_before_commit", "truncate"])
def test_a_read_without_a_whole_answer_is_asked_again(
    sandbox: SandboxClient, base: Base, act: str
) -> None:
    table = base.schema("Leads").id
    sandbox.fault(act, method="GET")
    assert sum(len(page) for page in base.records(table, None, [])) == 120


def test_a_429_locks_the_base_and_the_call_is_repeated(sandbox: SandboxClient) -> None:
    base = open_base(sandbox, RECONCILER_LOCKOUT_SECONDS=30)
    table = base.schema("Leads").id
    sandbox.fault("status", status=429, times=2)
    assert sum(len(page) for page in base.records(table, None, [])) == 120
    bucket = base.transport.bucket
    assert isinstance(bucket, Unlimited)
    assert len(bucket.lockouts) == 2
    assert all(30 < seconds < 32 for seconds in bucket.lockouts)


def test_the_monthly_limit_is_not_tried_again(sandbox: SandboxClient, base: Base) -> None:
    table = base.schema("Leads").id
    sandbox.switch(monthly_cap=1)
    sandbox.reset_calls()
    with pytest.raises(MonthlyLimitReached):
        list(base.records(table, None, []))
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"airtable_api_key": "patWrong"}, "AIRTABLE_API_KEY is not accepted"),
        ({}, "has no table 'Nope'.*set AIRTABLE_LEADS_TABLE"),
    ],
)
def test_wrong_settings_are_one_sentence(
    sandbox: SandboxClient, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        open_base(sandbox, **settings).schema("Nope")


def test_no_message_tells_the_token(sandbox: SandboxClient) -> None:
    base = open_base(sandbox, airtable_api_key="patSecret0000")
    with pytest.raises(ConfigurationError) as error:
        base.schema("Leads")
    assert "patSecret" not in str(error.value)
    assert "patSecret" not in repr(base.transport.__dict__)


BROKEN: list[dict[str, object]] = [
    {"airtable_api_key": SecretStr("two\r\nlines")},
    {"airtable_api_key": SecretStr("not \u20ac latin")},
    {"airtable_endpoint_url": "no-scheme"},
    {"airtable_endpoint_url": "ftp://127.0.0.1"},
    {"airtable_endpoint_url": f"http://{'x' * 70}.example"},
    {"airtable_endpoint_url": "http://[::1"},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_call_that_cannot_be_made_is_a_wrong_setting_and_no_answer(
    sandbox: SandboxClient, broken: dict[str, object]
) -> None:
    """Settings that were let through: what the client says of them is not passed on."""
    right = Settings(airtable_api_key=sandbox.token, airtable_endpoint_url=sandbox.url)
    settings = right.model_copy(update=broken)
    base = Base(settings, sandbox.base_id, Unlimited())
    for call in (
        lambda: base.schema("Leads"),
        lambda: list(base.records("tblLeads000000000", None, [])),
        lambda: base.write("tblLeads000000000", {"rec00000000000000": {}}),
        lambda: token_owner(settings),
    ):
        with pytest.raises(ConfigurationError) as refused:
            call()
        assert "AIRTABLE_API_KEY and AIRTABLE_ENDPOINT_URL" in str(refused.value)
        assert "two" not in str(refused.value)
    assert base.clock.calls == 0


@pytest.mark.parametrize("status", [403, 413])
def test_a_page_without_a_reason_is_told_by_its_status(
    sandbox: SandboxClient, base: Base, status: int
) -> None:
    table = base.schema("Leads").id
    sandbox.fault("status", status=status, body="<html>Blocked</html>", times=None)
    with pytest.raises(Refused) as refused:
        list(base.records(table, None, []))
    sandbox.clear_faults()
    assert str(refused.value).startswith(f"Airtable answered {status} ")
    assert "perhaps of a proxy" in str(refused.value)
    assert "Blocked" not in str(refused.value)
