from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.cuts import (
    chains_wanted,
    pieces_of_base_sample,
    pieces_of_known,
    pieces_of_sample,
)
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE
from reconciler_dagster.core.windows import months_scope, months_until, unknown_grouped

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=300)
times = st.lists(
    st.integers(0, 10**9).map(lambda n: START + timedelta(milliseconds=n)), max_size=400
)
windows = st.sampled_from(
    [
        Scope("created"),
        Scope("created", START),
        Scope("created", START, NOW),
        Scope("created", None, START + timedelta(days=5)),
    ]
)


def whole(pieces: list[Scope], window: Scope) -> None:
    assert (pieces[0].start, pieces[-1].end) == (window.start, window.end)
    assert all(one.end == other.start for one, other in pairwise(pieces))


@given(times, windows, st.integers(1, 6), st.integers(1, 6))
def test_the_pieces_are_the_window(
    created: list[datetime], window: Scope, most: int, least: int
) -> None:
    known = sorted(moment for moment in created if window.holds(moment))
    for pieces in (
        pieces_of_known(known, window, most),
        pieces_of_sample(known, window, most, NOW),
        pieces_of_sample(known[::-1], window, most, NOW),
        pieces_of_base_sample(created, window, least, most),
    ):
        whole(pieces, window)
        assert len(pieces) <= most
        for moment in created:
            holding = sum(piece.holds(moment) for piece in pieces)
            assert holding == window.holds(moment)


def test_known_records_are_cut_into_whole_pages() -> None:
    created = [START + timedelta(minutes=n) for n in range(1950)]
    pieces = pieces_of_known(created, Scope("created"), 4)
    held = [sum(piece.holds(moment) for moment in created) for piece in pieces]
    assert held == [500, 500, 500, 450]
    assert pieces_of_known(created[:100], Scope("created"), 4) == [Scope("created")]
    assert pieces_of_known([], Scope("created"), 4) == [Scope("created")]


def test_a_page_in_any_order_cuts_by_quarters_of_what_it_holds() -> None:
    crowded = [START + timedelta(seconds=(n * 37) % 100) for n in range(100)]
    pieces = pieces_of_sample(crowded, Scope("created"), 4, NOW)
    assert [sum(piece.holds(moment) for moment in crowded) for piece in pieces] == [25] * 4


def test_a_page_in_order_of_creation_cuts_the_rest_by_time() -> None:
    oldest = [START + timedelta(minutes=n) for n in range(100)]
    pieces = pieces_of_sample(oldest, Scope("created", START), 3, NOW)
    assert len(pieces) == 3
    assert all(pieces[0].holds(moment) for moment in oldest)
    lengths = [(one.end or NOW) - one.start for one in pieces if one.start]
    assert max(lengths) - min(lengths) < timedelta(hours=3)


def test_a_window_is_cut_by_its_share_of_a_page_of_the_base() -> None:
    """Of a hundred records, half came in with one import, within an hour."""
    bulk = [START + timedelta(minutes=n) for n in range(50)]
    others = [START + timedelta(days=5 * n + 1) for n in range(50)]
    sample = others[25:] + bulk + others[:25]
    january = Scope("created", START, START + timedelta(days=30))
    pieces = pieces_of_base_sample(sample, january, 1, 4)
    held = [sum(piece.holds(moment) for moment in sample) for piece in pieces]
    assert (len(held), sum(held)) == (2, 56)
    assert max(held) - min(held) <= 1
    rest = Scope("created", START + timedelta(days=30), START + timedelta(days=120))
    assert pieces_of_base_sample(sample, rest, 1, 4) == [rest]
    assert len(pieces_of_base_sample(sample, rest, 2, 4)) == 2
    assert pieces_of_base_sample(sample, Scope("created", NOW), 2, 4) == [Scope("created", NOW)]


def test_first_contact_costs_little_more_than_a_call_a_page() -> None:
    """Ten thousand leads over two years: at most a page for each window's end."""
    months = months_until(NOW)
    for seed in range(5):
        chance = random.Random(seed)
        created = [NOW - timedelta(seconds=chance.randrange(720 * 86400)) for _ in range(10_000)]
        sample = created[:PAGE]
        calls = 0
        groups = unknown_grouped(months, sample, at_a_time=4)
        for number, group in enumerate(groups, start=1):
            window = months_scope(group[0], group[-1])
            least = chains_wanted(len(groups) + 1 - number)
            for piece in pieces_of_base_sample(sample, window, least, 4):
                calls += max(1, math.ceil(sum(map(piece.holds, created)) / PAGE))
        assert calls <= 110


def test_one_moment_is_not_cut() -> None:
    same = [START] * 100
    assert (
        len(pieces_of_sample(same, Scope("created", START, START + timedelta(seconds=1)), 4, NOW))
        == 1
    )
