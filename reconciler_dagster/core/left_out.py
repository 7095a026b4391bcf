"""Which cells to leave out of a lead that Postgres refuses, so that everything else goes in. Pure.

A search proposes attempts and is told what came of each. It knows nothing of Postgres but what the
troubles say, so whoever carries the attempts out can do so for many leads at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Way(StrEnum):
    """What stands in a column whose cell is left out.

    ``BEFORE``: a lead that comes back has what it had. ``DEFAULT``: the statement does not name
    it; a new lead has the column's default, another one what it had. ``NULL``: it is emptied.
    """

    BEFORE = "before"
    DEFAULT = "default"
    NULL = "null"


LeftOut = Mapping[str, Way]


@dataclass(frozen=True)
class Trouble:
    """Why an attempt was refused. ``rule``: what tells one trouble from another; ``columns``: those
    that it is certainly about, none where nobody says.
    """

    reason: str
    rule: str
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Attempt:
    """The lead without some cells. ``for_good``: not only to see whether it would be taken."""

    left_out: LeftOut
    for_good: bool = False


@dataclass(frozen=True)
class WriteResult:
    """How a lead was written. ``why``: of each cell that was left out; ``held``: why nothing of the
    lead could be written.
    """

    left_out: LeftOut = field(default_factory=dict)
    why: Mapping[str, Trouble] = field(default_factory=dict)
    held: Trouble | None = None


# Is told None where the attempt was taken.
Search = Generator[Attempt, Trouble | None, WriteResult]
Ways = Mapping[str, Sequence[Way]]
_Step = Generator[Attempt, Trouble | None, Trouble | None]


def search(ways: Ways, first: Trouble) -> Search:
    """Find the cells to leave out; as few as there can be, but not proved to be the fewest.

    ``ways``: of each cell, how it can be left out, the best one first; none where it cannot.
    ``first``: why the lead as a whole was refused.
    """
    out: dict[str, Way] = {}
    why: dict[str, Trouble] = {}
    trouble = yield from _by_name(ways, first, out, why)
    if trouble is not None:
        held = trouble
        trouble = yield from _leave_all_out(ways, out, why)
        if trouble is not None:
            return WriteResult(held=held)
        why.clear()
        yield from _put_back(out, why)
    if len(out) > 1 or any(way is not ways[column][0] for column, way in out.items()):
        yield from _improve(ways, out, why)
    trouble = yield Attempt(dict(out), for_good=True)
    return (
        WriteResult(held=trouble)
        if trouble
        else WriteResult(out, {column: why[column] for column in out})
    )


def _by_name(ways: Ways, trouble: Trouble, out: dict[str, Way], why: dict[str, Trouble]) -> _Step:
    """Leave out what the troubles name, one cell where one is enough. Returns the trouble in which
    nothing that can be left out is named; None once the lead is taken.
    """
    rest: Trouble | None = trouble
    while rest is not None:
        moves = {c: way for c in sorted(rest.columns) if (way := _next(ways, out, c))}
        if not moves:
            return rest
        before, chosen = rest, moves
        for move in ({column: way} for column, way in moves.items()):
            rest = yield Attempt(out | move)
            if rest is None or rest.rule != before.rule:
                chosen = move
                break
        else:
            if len(moves) > 1:
                rest = yield Attempt(out | moves)
        out.update(chosen)
        why.update(dict.fromkeys(chosen, before))
    return None


def _next(ways: Ways, out: LeftOut, column: str) -> Way | None:
    """How to leave a cell out (yet) more; None where all was tried."""
    left = ways.get(column, ())
    if column in out:
        left = left[left.index(out[column]) + 1 :]
    return left[0] if left else None


def _leave_all_out(ways: Ways, out: dict[str, Way], why: dict[str, Trouble]) -> _Step:
    """Fill ``out`` with every cell that can be left out. Returns why even this is refused."""
    trouble: Trouble | None = None
    for best in (True, False):
        out.clear()
        out.update({column: each[0 if best else -1] for column, each in ways.items() if each})
        trouble = yield Attempt(dict(out))
        if trouble is not None:
            trouble = yield from _by_name(ways, trouble, out, why)
        if trouble is None:
            break
    return trouble


def _put_back(
    out: dict[str, Way], why: dict[str, Trouble]
) -> Generator[Attempt, Trouble | None, None]:
    """Put cells back by halves, until those that are refused stand alone."""
    parts = list(_halves(list(out)))
    while parts:
        part = parts.pop()
        trouble = yield Attempt(_without(out, part))
        if trouble is None:
            for column in part:
                del out[column]
        elif len(part) > 1:
            parts += _halves(part)
        else:
            why[part[0]] = trouble


def _halves(columns: list[str]) -> Iterator[list[str]]:
    middle = (len(columns) + 1) // 2
    yield from (half for half in (columns[middle:], columns[:middle]) if half)


def _improve(
    ways: Ways, out: dict[str, Way], why: dict[str, Trouble]
) -> Generator[Attempt, Trouble | None, None]:
    """Cells may have been refused only because others were still out: try each once more, with
    those that its trouble names; or leave it out in a better way.
    """
    improved = True
    while improved:
        improved = False
        for column in list(out):
            if column not in out:
                continue
            together = {column} | (why[column].columns & out.keys())
            better: list[dict[str, Way]] = [_without(out, {column})]
            if len(together) > 1:
                better.append(_without(out, together))
            better += [
                out | {column: way} for way in ways[column][: ways[column].index(out[column])]
            ]
            for attempt in better:
                if (yield Attempt(attempt)) is None:
                    out.clear()
                    out.update(attempt)
                    improved = True
                    break


def _without(out: LeftOut, columns: Sequence[str] | set[str]) -> dict[str, Way]:
    return {column: way for column, way in out.items() if column not in columns}
