"""Properties that must hold for whatever is sent: formulas, indices, pages, batches."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.formulas.compiler import compile_formula, evaluate_filter
from reconciler_dagster.sandbox.formulas.functions import FUNCTIONS
from reconciler_dagster.sandbox.formulas.narrowing import narrow
from reconciler_dagster.sandbox.formulas.syntax import InvalidFormula, parse
from reconciler_dagster.sandbox.model.reader import Reader
from reconciler_dagster.sandbox.seed.leads import seed_leads
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

from .conftest import NO_LIMITS
from .raw import call

NOW = 1_795_500_000_000
BASE = seed_leads(DEMO_BASE_ID, 60, 3, NOW)
TABLE = next(iter(BASE.tables.values()))
READER = Reader(BASE, NOW, Switches())
LEADS = f"{DEMO_BASE_ID}/Leads"
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))

FIELDS = [field.name for field in TABLE.fields.values()]
TIMES = [record.modified for record in TABLE.records.values()] + [NOW, 0]
IDS = list(TABLE.records)


def _field(name: str) -> str:
    return "{" + name.replace("}", "\\}") + "}"


atoms = st.one_of(
    st.sampled_from(FIELDS).map(_field),
    st.floats(0, 1e9, allow_nan=False).map(lambda number: f"{number:.3f}"),
    st.text(max_size=8).map(lambda text: "'" + text.replace("\\", "").replace("'", "") + "'"),
    st.sampled_from(["RECORD_ID()", "CREATED_TIME()", "LAST_MODIFIED_TIME()", "NOW()", "BLANK()"]),
    st.sampled_from(FIELDS).map(lambda name: f"LAST_MODIFIED_TIME({_field(name)})"),
)


def _calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "&", "=", "!=", "<", ">", "<=", ">="])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        inner.map(lambda text: f"-{text}"),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=4)).map(
            lambda parts: f"{parts[0]}({', '.join(parts[1])})"
        ),
    )


formulas = st.recursive(atoms, _calls, max_leaves=12)


@QUIET
@given(formulas)
def test_a_formula_evaluates_or_is_refused(formula: str) -> None:
    try:
        evaluate = compile_formula(parse(formula), TABLE.resolve)
    except InvalidFormula:
        return
    for record in list(TABLE.records.values())[:5]:
        assert evaluate_filter(evaluate, READER.row(TABLE, record)) in (True, False)


@QUIET
@given(st.one_of(formulas, st.text(alphabet="{}()'\"\\,+-*/&=<>!.0aé \n", max_size=30)))
def test_a_filter_gives_200_or_422(shared: SandboxClient, formula: str) -> None:
    answer = call(shared, "POST", f"{LEADS}/listRecords", {"filterByFormula": formula})
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        assert answer.json()["error"]["type"] == "INVALID_FILTER_BY_FORMULA"


def _moment(milliseconds: int) -> st.SearchStrategy[str]:
    return st.integers(-2000, 2000).map(
        lambda shift: f"DATETIME_PARSE('{iso(milliseconds + shift)}')"
    )


def _comparison(parts: tuple[str, str, str, bool]) -> str:
    operator, left, right, ordered = parts
    if not ordered:
        left, right = right, left
    return f"{operator}({left}, {right})" if operator[0] == "I" else f"({left} {operator} {right})"


bounds = st.tuples(
    st.sampled_from(["IS_AFTER", "IS_BEFORE", "IS_SAME", ">", "<=", "<", ">=", "="]),
    st.sampled_from(["LAST_MODIFIED_TIME()", "CREATED_TIME()"]),
    st.sampled_from(TIMES).flatmap(_moment),
    st.booleans(),
).map(_comparison)
narrowing = st.recursive(
    st.one_of(
        bounds,
        st.sampled_from(IDS).map(lambda one: f"RECORD_ID() = '{one}'"),
        st.lists(st.sampled_from(IDS)).map(
            lambda some: f"FIND(RECORD_ID(), '{'-'.join(some)}') > 0"
        ),
        st.sampled_from(
            ["{SMS Stop}", "{Notes} = BLANK()", "FIND(RECORD_ID(), 'x') > 0", "ERROR()"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"AND({', '.join(parts)})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"OR({', '.join(parts)})"),
        inner.map(lambda part: f"NOT({part})"),
    ),
    max_leaves=8,
)


@settings(QUIET, max_examples=400)
@given(narrowing)
def test_an_index_never_hides_a_record(formula: str) -> None:
    node = parse(formula)
    evaluate = compile_formula(node, TABLE.resolve)
    found = narrow(node, READER.now)
    for record in TABLE.records.values():
        if evaluate_filter(evaluate, READER.row(TABLE, record)):
            assert found.ids is None or record.id in found.ids
            assert found.modified[0] <= record.modified <= found.modified[1]
            assert found.created[0] <= record.created <= found.created[1]


@pytest.fixture(scope="module")
def busy() -> Iterator[SandboxClient]:
    with running_sandbox(leads=0, **NO_LIMITS) as running:
        yield running


edits = st.lists(
    st.tuples(st.sampled_from(["add", "edit", "delete"]), st.integers(0, 10**6)), max_size=4
)


@settings(QUIET, max_examples=25)
@given(
    count=st.integers(1, 25),
    page_size=st.integers(1, 10),
    rounds=st.lists(edits, max_size=5),
    sort=st.booleans(),
    frozen=st.booleans(),
)
def test_pages_under_concurrent_edits(
    busy: SandboxClient,
    count: int,
    page_size: int,
    rounds: list[list[tuple[str, int]]],
    sort: bool,
    frozen: bool,
) -> None:
    """What stays in the table all the while is seen exactly once, whatever else happens."""
    busy.switch(paging="frozen" if frozen else "live")
    for record_id in busy.records():
        busy.delete(record_id)
    start = {busy.add({"Lead": f"L{number:03d}", "Notes": "0"}) for number in range(count)}
    deleted: set[str] = set()
    added: set[str] = set()
    body: dict[str, Any] = {"pageSize": page_size, "fields": ["Lead"]}
    if sort:
        body["sort"] = [{"field": "Lead", "direction": "desc"}]
    seen: list[str] = []
    todo = iter(rounds)
    while True:
        page = call(busy, "POST", f"{LEADS}/listRecords", body).json()
        seen += [record["id"] for record in page["records"]]
        assert len(page["records"]) <= page_size
        if "offset" not in page:
            break
        body["offset"] = page["offset"]
        for act, number in next(todo, []):
            alive = sorted((start | added) - deleted)
            if act == "add":
                added.add(busy.add({"Lead": f"L{number:03d}"}))
            elif act == "edit":
                busy.edit(alive[number % len(alive)], {"Notes": str(number)})
            elif len(alive) > 1:
                deleted.add(alive[number % len(alive)])
                busy.delete(alive[number % len(alive)])
    assert len(seen) == len(set(seen))
    assert start - deleted <= set(seen)
    assert set(seen) <= start | added
    if frozen:
        assert set(seen) == start


good = st.dictionaries(
    st.sampled_from(["Lead", "Notes", "Email"]), st.one_of(st.none(), st.text(max_size=5))
)
bad = st.sampled_from(
    [
        {"ICP Score": 1},
        {"Nope": 1},
        {"Booked": "x"},
        {"HRQ Status": "Never"},
        {"Lead": 5},
        {"Reply Count": "x"},
    ]
)


@settings(QUIET, max_examples=60)
@given(
    cells=st.lists(st.one_of(good, bad), min_size=1, max_size=10),
    method=st.sampled_from(["POST", "PATCH", "PUT", "UPSERT"]),
)
def test_a_batch_happens_whole_or_not_at_all(
    shared: SandboxClient, cells: list[dict[str, Any]], method: str
) -> None:
    before = shared.records()
    ids = list(before)[: len(cells)]
    items: list[dict[str, Any]] = [{"fields": one} for one in cells]
    body: dict[str, Any] = {"records": items}
    if method != "POST":
        for item, record_id in zip(items, ids, strict=True):
            item["id"] = record_id
    if method == "UPSERT":
        body["performUpsert"] = {"fieldsToMergeOn": ["Lead"]}
    http = "PATCH" if method == "UPSERT" else method
    answer = call(shared, http, LEADS, body)
    after = shared.records()
    broken = any(
        key not in ("Lead", "Notes", "Email") or cell == 5
        for one in cells
        for key, cell in one.items()
    )
    assert answer.status_code == (422 if broken else 200)
    if broken:
        assert after == before
        return
    written = {record["id"]: record["fields"] for record in answer.json()["records"]}
    assert written == {record_id: after[record_id]["fields"] for record_id in written}
    for one, fields in zip(cells, written.values(), strict=True):
        for name, cell in one.items():
            assert fields.get(name) == (cell or None)
    if method == "POST":
        for record_id in written:
            shared.delete(record_id)
