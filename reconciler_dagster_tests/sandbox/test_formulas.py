"""What formulas give: blanks, coercions, errors, and every documented function."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.functions import FUNCTIONS
from reconciler_dagster.sandbox.formulas.inference import result_kind
from reconciler_dagster.sandbox.formulas.syntax import (
    InvalidFormula,
    parse,
    references,
    rewrite_references,
)
from reconciler_dagster.sandbox.formulas.values import FormulaError

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MODIFIED = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
CELLS: dict[str, Any] = {
    "Name": "Ann Keller",
    "Empty": None,
    "Five": 5.0,
    "Zero": 0.0,
    "Yes": True,
    "No": False,
    "Tags": ["red", "blue", "red", None, ""],
    "Day": datetime(2026, 1, 31, 15, 30, tzinfo=UTC),
    "a } b": "brace",
}


class OneRow:
    """A record with the cells above."""

    record_id = "recAAAAAAAAAAAAAA"
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def operand(self, field_id: str) -> Any:
        return CELLS[field_id]

    def created(self) -> datetime:
        return CREATED

    def modified(self, field_ids: tuple[str, ...]) -> datetime | None:
        return CREATED if field_ids else MODIFIED


def value_of(formula: str) -> Any:
    return compile_formula(parse(formula), lambda name: name if name in CELLS else None)(OneRow())


ROWS: list[tuple[str, Any]] = [
    # Blanks and coercions
    ("{Empty} = BLANK()", True),
    ("{Empty} = ''", True),
    ("{Empty} = 0", True),
    ("{Empty} = FALSE()", True),
    ("'' = 0", True),
    ("{Zero} = BLANK()", True),
    ("{Empty} + 2", 2),
    ("{Empty} & 'x'", "x"),
    ("{Five} & ''", "5"),
    ("{Yes} + {Yes}", 2),
    ("{No} = BLANK()", True),
    ("{Yes} = 1", True),
    ("{Name} = 'ann keller'", False),
    ("{Name} != 'x'", True),
    ("'5' = 5", True),
    ("'b' > 'a'", True),
    ("Name", "Ann Keller"),
    (r"{a \} b}", "brace"),
    # Precedence and operators
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("-2 - -3", 1),
    ("2 * -3", -6),
    ("1 & 1 + 1 = '12'", True),
    ("1 < 2 & ''", True),
    ("5 >= 5", True),
    ("10 / 4", 2.5),
    ("1 / 0", math.inf),
    ("-1 / 0", -math.inf),
    # Logic
    ("AND(1, 'x', {Yes})", True),
    ("AND(1, {Empty})", False),
    ("OR(0, '', {Empty})", False),
    ("OR(0, 2)", True),
    ("XOR(1, 1, 1)", True),
    ("NOT({Empty})", True),
    ("IF({Empty}, 'a')", None),
    ("IF({Five} > 4, 'a', 'b')", "a"),
    ("IF(TRUE(), 1, 1/'x')", 1),
    ("ISERROR(1/'x')", True),
    ("ISERROR(ERROR())", True),
    ("ISERROR(0/0)", True),
    ("ISERROR(1)", False),
    ("SWITCH({Five}, 1, 'a', 5, 'b', 'c')", "b"),
    ("SWITCH({Five}, 1, 'a', 'c')", "c"),
    ("SWITCH({Five}, 1, 'a')", None),
    # Text
    ("CONCATENATE('a', 1, {Empty}, 'b')", "a1b"),
    ("ENCODE_URL_COMPONENT('a b&c/ü')", "a%20b%26c%2F%C3%BC"),
    ("EXACT('a', 'A')", False),
    ("FIND('n', {Name})", 2),
    ("FIND('n', {Name}, 3)", 3),
    ("FIND('zz', {Name})", 0),
    ("SEARCH('KELL', {Name})", 5),
    ("SEARCH('zz', {Name})", None),
    ("LEFT({Name}, 3)", "Ann"),
    ("RIGHT({Name}, 3)", "ler"),
    ("MID({Name}, 5, 2)", "Ke"),
    ("LEN({Name})", 10),
    ("LOWER('AB')", "ab"),
    ("UPPER('ab')", "AB"),
    ("TRIM('  a b ')", "a b"),
    ("T(5)", None),
    ("T('x')", "x"),
    ("REPLACE('abcdef', 2, 3, 'X')", "aXef"),
    ("REPLACE('abcdef', 2, 30, 'X')", "aX"),
    ("REPLACE('abcdef', 7, 1, 'X')", "abcdef"),
    ("REPLACE('abcdef', 30, 3, 'X')", "abcdef"),
    ("REPT('ab', 3)", "ababab"),
    ("SUBSTITUTE('a-b-c', '-', '+')", "a+b+c"),
    ("SUBSTITUTE('a-b-c', '-', '+', 2)", "a-b+c"),
    ("VALUE('$1,234.50')", 1234.5),
    ("REGEX_MATCH('abc123', '[0-9]+')", True),
    ("REGEX_EXTRACT('abc123', '[0-9]+')", "123"),
    ("REGEX_REPLACE('abc123', '([a-z])([0-9])', '$2$1')", "ab1c23"),
    # Numbers
    ("ABS(-3)", 3),
    ("SUM(1, {Five}, {Empty}, 2)", 8),
    ("AVERAGE(1, 2, {Empty})", 1.5),
    ("MAX(1, {Five})", 5),
    ("MIN({Five}, 2)", 2),
    ("MAX({Empty})", 0),
    ("COUNT(1, 'a', {Empty}, 2)", 2),
    ("COUNTA(1, 'a', {Empty})", 2),
    ("COUNTALL(1, 'a', {Empty})", 3),
    ("INT(-2.5)", -3),
    ("EVEN(3)", 4),
    ("EVEN(-3)", -4),
    ("ODD(4)", 5),
    ("EXP(0)", 1),
    ("LOG(1000)", 3),
    ("LOG(8, 2)", 3),
    ("SQRT(9)", 3),
    ("POWER(2, 10)", 1024),
    ("MOD(7, 3)", 1),
    ("MOD(-7, 3)", 2),
    ("ROUND(2.345, 2)", 2.35),
    ("ROUND(-2.5, 0)", -3),
    ("ROUNDUP(2.1, 0)", 3),
    ("ROUNDDOWN(-2.9, 0)", -2),
    ("CEILING(7, 5)", 10),
    ("FLOOR(7, 5)", 5),
    # Arrays
    ("ARRAYJOIN({Tags}, '/')", "red/blue/red//"),
    ("ARRAYUNIQUE({Tags})", ["red", "blue", None, ""]),
    ("ARRAYCOMPACT({Tags})", ["red", "blue", "red"]),
    ("ARRAYFLATTEN({Tags}, 1)", ["red", "blue", "red", None, "", 1]),
    ("ARRAYSLICE({Tags}, 1, 2)", ["red", "blue"]),
    ("ARRAYSLICE({Tags}, -1)", [""]),
    ("COUNTA({Tags})", 3),
    # Records and dates
    ("RECORD_ID()", "recAAAAAAAAAAAAAA"),
    ("CREATED_TIME()", CREATED),
    ("LAST_MODIFIED_TIME()", MODIFIED),
    ("LAST_MODIFIED_TIME({Name}, {Five})", CREATED),
    ("NOW()", OneRow.now),
    ("TODAY()", datetime(2026, 11, 24, tzinfo=UTC)),
    ("IS_AFTER(LAST_MODIFIED_TIME(), CREATED_TIME())", True),
    ("IS_AFTER({Day}, {Day})", False),
    ("IS_AFTER({Empty}, {Day})", False),
    ("IS_BEFORE({Day}, '2026-02-01')", True),
    ("IS_SAME({Day}, '2026-01-31T15:30:00.000Z')", True),
    ("IS_SAME({Day}, '2026-01-31', 'day')", True),
    ("IS_SAME({Day}, '2026-02-01', 'week')", False),
    ("IS_SAME({Day}, '2026-01-01', 'month')", True),
    ("IS_SAME({Day}, '2026-03-31', 'quarter')", True),
    ("DATETIME_FORMAT(DATEADD({Day}, 1, 'month'), 'YYYY-MM-DD')", "2026-02-28"),
    ("DATETIME_FORMAT(DATEADD({Day}, -90, 'minutes'), 'HH:mm')", "14:00"),
    ("DATEADD({Empty}, 1, 'day')", None),
    ("DATETIME_DIFF('2026-02-03', '2026-02-01', 'days')", 2),
    ("DATETIME_DIFF('2026-02-01', '2026-02-03')", -172800),
    ("DATETIME_DIFF('2027-02-01', '2026-01-01', 'months')", 13),
    (
        "DATETIME_PARSE('4 Mar 2026 23:00', 'D MMM YYYY HH:mm')",
        datetime(2026, 3, 4, 23, tzinfo=UTC),
    ),
    ("DATETIME_PARSE('2026-03-04T05:06:07.890Z')", datetime(2026, 3, 4, 5, 6, 7, 890000, UTC)),
    (
        "DATETIME_FORMAT({Day}, 'dddd, MMMM Do YYYY, h:mm A')",
        "Saturday, January 31st 2026, 3:30 PM",
    ),
    ("DATETIME_FORMAT({Day}, '[Q]Q')", "Q1"),
    ("DATETIME_FORMAT(SET_TIMEZONE({Day}, 'America/New_York'), 'HH:mm Z')", "10:30 -05:00"),
    ("DATETIME_FORMAT(SET_LOCALE({Day}, 'de'), 'YYYY')", "2026"),
    ("DATESTR({Day})", "2026-01-31"),
    ("TIMESTR({Day})", "15:30:00"),
    ("YEAR({Day}) * 100 + MONTH({Day})", 202601),
    ("DAY({Day})", 31),
    ("HOUR({Day}) + MINUTE({Day}) + SECOND({Day})", 45),
    ("WEEKDAY({Day})", 6),
    ("WEEKDAY({Day}, 'Monday')", 5),
    ("WEEKNUM('2026-01-04')", 2),
    ("DATESTR(WORKDAY('2026-01-30', 1))", "2026-02-02"),
    ("DATESTR(WORKDAY('2026-01-30', 1, '2026-02-02'))", "2026-02-03"),
    ("WORKDAY_DIFF('2026-01-30', '2026-02-03')", 3),
    ("FROMNOW(DATEADD(NOW(), -2, 'days'))", "2 days"),
    ("TONOW(DATEADD(NOW(), 1, 'hour'))", "an hour"),
    ("{Day} & ''", "2026-01-31T15:30:00.000Z"),
    ("FIND('2026-01', {Day})", 1),
]


@pytest.mark.parametrize(("formula", "expected"), ROWS)
def test_value(formula: str, expected: Any) -> None:
    value = value_of(formula)
    assert value == pytest.approx(expected) if isinstance(expected, float) else value == expected
    assert isinstance(value, bool) == isinstance(expected, bool)


def test_every_function_is_tried_above() -> None:
    written = " ".join(formula for formula, _ in ROWS)
    assert [name for name in FUNCTIONS if f"{name}(" not in written] == []


@pytest.mark.parametrize(
    "formula",
    [
        "1 + 'x'",
        "ERROR()",
        "ERROR() & 'x'",
        "AND(FALSE(), ERROR())",
        "OR(TRUE(), ERROR())",
        "IF(ERROR(), 1, 2)",
        "REPT('x', 100001)",
        "REPT(REPT('x', 1000), 1000)",
        "LEFT('x', -1)",
        "DATEADD('x', 1, 'day')",
        "DATEADD('2026-01-01', 1, 'fortnight')",
        "DATEADD('2026-01-01', POWER(10, 300), 'years')",
        "SET_TIMEZONE(NOW(), 'Mars/Base')",
        "YEAR({Empty})",
        "REGEX_MATCH('a', '(')",
        "REGEX_EXTRACT('a', 'b')",
        "REGEX_MATCH('aa', '(a)\\\\1')",
        "VALUE('none')",
        "INT(1/0)",
        "WORKDAY('2026-01-01', 99999999)",
    ],
)
def test_error(formula: str) -> None:
    with pytest.raises(FormulaError):
        value_of(formula)


@pytest.mark.parametrize("formula", ["0/0", "SQRT(-1)", "MOD(1, 0)", "AVERAGE({Empty})", "LOG(0)"])
def test_not_a_number(formula: str) -> None:
    assert math.isnan(value_of(formula))


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "   ",
        "(",
        "1 +",
        "1 1",
        "'open",
        "{open",
        "NOSUCH(1)",
        "LEN()",
        "LEN(1, 2)",
        "IF(1)",
        "LAST_MODIFIED_TIME('x')",
        "RECORD_ID(1)",
        "1 == 2",
        "(" * 500 + "1" + ")" * 500 + "+" + "-" * 500 + "1",
        "NOT(" * 400 + "1" + ")" * 400,
    ],
)
def test_invalid(formula: str) -> None:
    with pytest.raises(
        InvalidFormula, match=r"^Invalid formula\. Please check your formula text\.$"
    ):
        value_of(formula)


def test_unknown_fields_are_named_once_in_order() -> None:
    with pytest.raises(InvalidFormula, match=r"^Unknown field names: nope, other$"):
        value_of("AND({nope}, {Name}, {other}, {nope})")


def test_field_mentions_can_be_rewritten() -> None:
    text = "IF({Name}='Name', Name & \"{Name}\", name({x}, NOT(y)))"
    assert rewrite_references(text, lambda name: f"fld {name}") == (
        "IF({fld Name}='Name', {fld Name} & \"{Name}\", name({fld x}, NOT({fld y})))"
    )
    assert list(references(parse("a & {b c} & LEN(d) & -e"))) == ["a", "b c", "d", "e"]


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        ("1 + 1", "number"),
        ("{Five}", "number"),
        ("{Name} & 1", "text"),
        ("IF({Yes}, 1, 0)", "number"),
        ("IF({Yes}, 1)", "number"),
        ("IF({Yes}, 1, 'x')", "text"),
        ("SWITCH({Name}, 'a', 1, 'b', 2, 3)", "number"),
        ("DATEADD({Day}, 1, 'day')", "date"),
        ("IF({Yes}, NOW())", "date"),
        ("AND(1, 2)", "number"),
        ("ARRAYJOIN({Tags})", "text"),
        ("BLANK()", "any"),
    ],
)
def test_kind_of_result(formula: str, kind: str) -> None:
    kinds = {"Five": "number", "Day": "date"}
    assert result_kind(parse(formula), lambda name: kinds.get(name, "text")) == kind
