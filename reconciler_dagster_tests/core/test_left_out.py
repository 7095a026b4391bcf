"""The search for the cells that are to blame, against databases of plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.left_out import Attempt, Trouble, Way, WriteResult, search

BOTH = (Way.DEFAULT, Way.NULL)
# What an attempt is refused for; None where it is taken.
Database = Callable[[Mapping[str, Way]], Trouble | None]


def run(
    ways: Mapping[str, tuple[Way, ...]], database: Database
) -> tuple[WriteResult, list[Attempt]]:
    """Carry a search out."""
    first = database({})
    assert first is not None
    looking, made = search(ways, first), []
    attempt = next(looking)
    while True:
        made.append(attempt)
        try:
            attempt = looking.send(database(attempt.left_out))
        except StopIteration as end:
            return end.value, made


def bad(*columns: str, named: bool = True) -> Database:
    """Each of these cells is refused for itself."""

    def database(out: Mapping[str, Way]) -> Trouble | None:
        for column in columns:
            if column not in out:
                about = frozenset({column}) if named else frozenset[str]()
                return Trouble(f"{column} is bad", column, about)
        return None

    return database


CELLS = dict.fromkeys("abcdefgh", BOTH)


def test_a_named_cell_costs_one_attempt_and_the_writing() -> None:
    found, made = run(CELLS, bad("c"))
    assert found.left_out == {"c": Way.DEFAULT}
    assert made == [Attempt({"c": Way.DEFAULT}), Attempt({"c": Way.DEFAULT}, for_good=True)]


def test_an_unnamed_cell_is_found_by_halving() -> None:
    cells = dict.fromkeys((f"c{n}" for n in range(40)), BOTH)
    found, made = run(cells, bad("c17", named=False))
    assert (found.left_out, found.why["c17"].reason) == ({"c17": Way.DEFAULT}, "c17 is bad")
    assert len(made) < 16


def test_a_default_that_is_refused_too_is_left_empty() -> None:
    def database(out: Mapping[str, Way]) -> Trouble | None:
        refused = out.get("c") is not Way.NULL
        return Trouble("no", "check", frozenset("c")) if refused else None

    assert run(CELLS, database)[0].left_out == {"c": Way.NULL}


def test_of_a_rule_over_two_columns_one_cell_is_enough() -> None:
    def database(out: Mapping[str, Way]) -> Trouble | None:
        refused = "b" not in out
        return Trouble("no", "check", frozenset("ab")) if refused else None

    assert run(CELLS, database)[0].left_out == {"b": Way.DEFAULT}


def test_cells_that_need_each_other_both_go_in_beside_one_that_is_bad() -> None:
    """The bad one is not named, so that they are put back by halves, which part them."""

    def database(out: Mapping[str, Way]) -> Trouble | None:
        if "g" not in out:
            return Trouble("no", "g")
        if ("a" in out) != ("f" in out):
            return Trouble("no", "pair", frozenset("af"))
        return None

    assert run(CELLS, database)[0].left_out == {"g": Way.DEFAULT}


def test_a_lead_is_held_only_where_a_cell_can_be_neither() -> None:
    ways = CELLS | {"d": ()}
    found, _ = run(ways, bad("b", "d"))
    assert found.held is not None
    assert found.held.columns == {"d"}
    assert run(ways, bad("b"))[0].held is None


def test_a_trouble_that_names_another_column_than_the_one_to_blame() -> None:
    """A trigger makes one column from another cell."""

    def database(out: Mapping[str, Way]) -> Trouble | None:
        return None if "h" in out else Trouble("no", "made", frozenset({"a", "unmapped"}))

    assert run(CELLS, database)[0].left_out == {"h": Way.DEFAULT}


def test_of_what_was_put_back_after_all_nothing_is_told() -> None:
    """The first rule is kept without "a"; the second one needs "d" out, and that does for both."""

    def database(out: Mapping[str, Way]) -> Trouble | None:
        if not out:
            return Trouble("no", "both", frozenset("ad"))
        return None if "d" in out else Trouble("no", "one", frozenset("d"))

    found, _ = run(CELLS, database)
    assert found.left_out.keys() == found.why.keys() == {"d"}


RULES = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=3),  # all of them together
        st.sampled_from(["kept", "default", "null"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@given(rules=RULES, firm=st.frozensets(st.sampled_from("abcdefgh"), max_size=3))
def test_whatever_is_refused_as_few_cells_as_possible_stay_out(
    rules: list[tuple[frozenset[str], str, bool]], firm: frozenset[str]
) -> None:
    """Each rule refuses some columns where they are all in one state."""

    def database(out: Mapping[str, Way]) -> Trouble | None:
        for number, (columns, state, named) in enumerate(rules):
            if all(out.get(c, "kept") == state for c in columns):
                return Trouble("no", f"rule {number}", columns if named else frozenset())
        return None

    ways = {c: () if c in firm else BOTH for c in "abcdefgh"}
    if database({}) is None:
        return
    found, made = run(ways, database)
    assert sum(attempt.for_good for attempt in made) <= 1
    if found.held is not None:
        return
    assert database(found.left_out) is None
    assert made[-1] == Attempt(found.left_out, for_good=True)
    assert found.left_out.keys() == found.why.keys()
    for column, way in found.left_out.items():
        rest = {c: w for c, w in found.left_out.items() if c != column}
        assert column not in firm
        assert database(rest) is not None, f"{column} need not be left out"
        if way is Way.NULL:
            assert database(rest | {column: Way.DEFAULT}) is not None
