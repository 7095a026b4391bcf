"""The reference model: who wrote what since the last time both sides agreed, and what may come of
it. Plain Python over histories; it shares nothing with the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster_tests.model.people import FIELDS, Field, Side, is_bad


def bare(line: str) -> str:
    """A line without what only spells it: marks, blanks, line ends."""
    return re.sub(r"[^A-Za-z0-9]", "", line)


def bare_lines(text: str | None) -> list[str]:
    """The lines of a text that are not empty, bare."""
    return [line for line in map(bare, (text or "").split("\n")) if line]


@dataclass(frozen=True)
class Edit:
    """``epoch``: how many runs had been begun when it was made; a run that was disturbed may have
    carried over the edits of earlier epochs, and cannot have those of later ones.
    """

    epoch: int
    side: Side
    value: Any
    token: str | None = None
    rewrote: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a cell may end. ``loser``: a value that the conflict log must then hold, exactly once.
    ``refused``: the sides differ, and the quarantine says why.
    """

    remote: Any
    local: Any
    loser: Edit | None = None
    refused: bool = False


@dataclass
class Cell:
    """One field of one lead since both sides agreed on ``base``.

    ``lenient``: the lead was deleted in the portal or the baseline lost; then Airtable's value
    stands, or either side's where nothing says who was first. ``forgotten``: the portal lost the
    lead, and the engine what was agreed on; then a new lead is blank where Airtable cannot be read.
    ``since``: the id of the last conflict before. ``held``: what each side was ever seen to hold.
    """

    field: Field
    base: Any
    edits: list[Edit] = field(default_factory=list)
    lenient: bool = False
    forgotten: bool = False
    since: int = 0
    held: dict[Side, list[Any]] = field(default_factory=lambda: {"airtable": [], "portal": []})

    def is_bad(self, value: Any) -> bool:
        """Whether the other side refuses it."""
        return is_bad(value)

    def last(self, side: Side) -> Edit | None:
        """The side's last edit."""
        return next((e for e in reversed(self.edits) if e.side == side), None)

    def possible(self) -> list[Any]:
        """Every value that anybody gave the cell."""
        return [self.base, *(e.value for e in self.edits)]

    def settle(self, value: Any) -> None:
        """Both sides agree."""
        self.base, self.edits, self.lenient, self.forgotten = value, [], False, False

    def may_hold(self, value: Any) -> bool:
        """Whether a side may hold this, be it for a while."""
        unknown = (self.field.blank, self.field.default)
        return value in self.possible() or (self.forgotten and value in unknown)

    def outcomes(self) -> Iterator[Outcome]:
        """Every way in which the cell may end after a clean run."""
        remote, local = self.last("airtable"), self.last("portal")
        if self.lenient:
            for value in self.possible():
                yield Outcome(value, value)
                yield from self._stuck(remote.value if remote else self.base, value)
                if not self.field.both:  # first contact: nothing blank wins over a value
                    yield Outcome(self.field.blank, value)
            if self.forgotten:
                for value in (self.field.blank, self.field.default):
                    yield from self._stuck(remote.value if remote else self.base, value)
            return
        there = remote.value if remote else self.base
        here = local.value if local else self.base
        if remote and self.is_bad(there):
            yield from (Outcome(there, v, refused=True) for v in [*self.possible()])
            return
        if local is None:
            yield Outcome(there, there)
            return
        if not self.field.both:
            yield from self._put_back(there, local)
            return
        if remote is None or there == here:
            yield from self._stuck(there, here)
            if not self.is_bad(here):
                yield Outcome(here, here)
            return
        at_once = local.epoch >= remote.epoch and self._is_fresh(remote) and self._is_fresh(local)
        yield Outcome(there, there, local if at_once else None)
        if local.epoch > remote.epoch or not self._is_fresh(remote):
            yield from self._stuck(there, here)
            if not self.is_bad(here):
                yield Outcome(here, here)

    def _stuck(self, there: Any, here: Any) -> Iterator[Outcome]:
        if self.is_bad(here) or self.is_bad(there):
            for value in (there, *self.possible()):
                yield Outcome(value, here, refused=True)

    def _put_back(self, there: Any, local: Edit) -> Iterator[Outcome]:
        """Airtable owns the field: the portal's edit is kept in the log alone."""
        kept = local.value != there and self._is_fresh(local)
        yield Outcome(there, there, local if kept else None)
        if kept and self._met(local):
            yield Outcome(there, there)

    def _met(self, local: Edit) -> bool:
        """Whether Airtable has said the same meanwhile: a run that was broken off later may have
        agreed on it then, and nobody lost.
        """
        return any(e.side == "airtable" and e.value == local.value for e in self.edits)

    def _is_fresh(self, edit: Edit) -> bool:
        """Whether nobody gave the cell this value before, so that it was an edit for certain."""
        index = self.edits.index(edit)
        return edit.value not in [self.base, *(e.value for e in self.edits[:index])]


@dataclass
class Notes(Cell):
    """Notes: every token that a person wrote stands, unless a person took it out again."""

    def lost(self, text: str | None, losers: list[str]) -> list[str]:
        """Tokens that have to be in the final text, or in the log, and are not."""
        lines = bare_lines(text)
        logged = "\n".join(line for loser in losers for line in bare_lines(loser))
        missing = []
        for index, edit in enumerate(self.edits):
            if edit.token is None or self.lenient or self._taken_out(index, edit):
                continue
            in_log_will_do = edit.side == "portal" and any(
                e.side == "portal" and e.rewrote for e in self.edits
            )
            token = bare(edit.token)
            if token in lines or (in_log_will_do and token in logged):
                continue
            missing.append(edit.token)
        return missing

    def _taken_out(self, index: int, edit: Edit) -> bool:
        for later in self.edits[index + 1 :]:
            # Its own side wrote the text anew; or the other side did, having perhaps seen it.
            if later.rewrote and (later.side == edit.side or later.epoch > edit.epoch):
                return True
        return False


@dataclass
class Memory:
    """All cells of all leads, and the epoch."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    epoch: int = 0
    tokens: set[str] = field(default_factory=set)

    def meet(self, record_id: str, row: dict[str, Any]) -> None:
        """A lead whose two sides agree."""
        for column, value in row.items():
            kind = Notes if column == "notes" else Cell
            self.cells[record_id, column] = kind(FIELDS[column], value)

    def note(self, record_id: str, column: str, edit: Edit) -> None:
        """A person's edit."""
        self.cells[record_id, column].edits.append(edit)
        if edit.token:
            self.tokens.add(bare(edit.token))

    def see(self, remote: dict[str, dict[str, Any]], local: dict[str, dict[str, Any]]) -> None:
        """Note what both sides were seen to hold."""
        sides: tuple[tuple[Side, Any], ...] = (("airtable", remote), ("portal", local))
        for side, rows in sides:
            for (record_id, column), cell in self.cells.items():
                if record_id in rows and rows[record_id][column] not in cell.held[side]:
                    cell.held[side].append(rows[record_id][column])

    def of(self, record_id: str) -> list[Cell]:
        """The cells of a lead."""
        return [cell for (key, _), cell in self.cells.items() if key == record_id]

    @property
    def records(self) -> list[str]:
        """The leads."""
        return sorted({record_id for record_id, _ in self.cells})

    def forgive(self, record_id: str) -> None:
        """From here on nothing says who edited the lead last."""
        for cell in self.of(record_id):
            cell.lenient = True

    def forget(self, record_id: str) -> None:
        """Nobody but Airtable knows the lead any more."""
        for cell in self.of(record_id):
            cell.lenient = cell.forgotten = True

    def forgive_field(self, column: str) -> None:
        """The same for a field of all leads."""
        for record_id in self.records:
            self.cells[record_id, column].lenient = True
