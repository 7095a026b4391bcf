"""Codecs: how a cell of Airtable and a column of Postgres become one canonical value, and back.

What cannot be carried over raises :class:`Unreadable`, which stops that cell alone. What is marked
``repr=False`` does not change what a codec's values mean, nor therefore a field's fingerprint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dateutil.parser import isoparse

from reconciler_dagster.core.normal import Form, pick, plain
from reconciler_dagster.core.values import Directory, Unreadable, Value, printable
from reconciler_dagster.core.words import MEND_OPTION, NO_OPTION

INT4 = 2**31
# The longest text that an Airtable cell holds (Airtable facts, section 5).
LONGEST_TEXT = 100_000
# How far from a whole number a formula's whole number may be.
_NOISE = 1e-6
_DAY = re.compile(r"\d{4}(-?\d\d){0,2}")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """The plain codec: the value is the same on both sides.

    ``blank`` is the canonical value that an empty Airtable cell stands for (an empty cell is left
    out of an answer: Airtable facts, section 2). It is also what NULL and ``''`` stand for.
    """

    blank: Value = None

    def from_airtable(self, cell: Any, users: Directory) -> Value:
        """The canonical value of an Airtable cell; ``None`` is an empty cell."""
        return self.blank if cell is None or cell == "" else self.read(cell, users)

    def read(self, cell: Any, users: Directory) -> Value:
        """The canonical value of a cell that is not empty."""
        raise NotImplementedError

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """The canonical value of a column, as Postgres' ``to_jsonb`` gives it."""
        return self.blank if value is None or value == "" else value

    def to_airtable(self, value: Value) -> Any:
        """The cell to write; ``None`` clears it (Airtable facts, section 5)."""
        return None if value == self.blank else value

    def to_postgres(self, value: Value, users: Directory) -> Any:
        """The JSON that ``jsonb_populate_record`` takes for the column."""
        return value

    def normal(self, value: Value) -> Value:
        """Equal for values that differ in form alone, as Airtable may keep them."""
        return value

    def arrives(self, value: Value) -> Value:
        """What Airtable holds once a value was written."""
        return value

    def gives_way(self, value: Value, there: Value) -> bool:
        """Whether a value of Postgres is never written over what Airtable holds."""
        return False


def text_of(cell: Any) -> str:
    """A cell that must be a text, and one that can be stored."""
    if not isinstance(cell, str):
        raise Unreadable(f"holds {kind(cell)} where text was expected")
    if len(cell) > LONGEST_TEXT:
        raise Unreadable(f"is {len(cell)} characters long, more than Airtable takes: shorten it")
    if "\x00" in cell:
        raise Unreadable("contains a NUL character, which Postgres cannot store: remove it")
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise Unreadable("contains half a character (a lone surrogate): type it again") from None
    return cell


def kind(cell: Any) -> str:
    """What a cell holds, for people."""
    if isinstance(cell, dict):
        if "error" in cell:
            return f"a formula error ({printable(cell['error'], 40)})"
        if "specialValue" in cell:
            return f"no number ({printable(cell['specialValue'], 40)})"
        return "an object"
    return {bool: "a checkbox value", list: "a list", str: "text"}.get(type(cell), "a number")


@dataclass(frozen=True, kw_only=True)
class Text(Codec):
    """Text of up to ``limit`` characters. One of line ends alone is blank: so Airtable says that a
    rich text was emptied.

    ``form``: how texts of the Airtable field are compared. ``padded``: the column is a char(n), and
    drops the blanks at the end. ``on_write``: what is written to Airtable in place of values that
    it has no option for; ``never_over``: what it holds that such a value gives way to.
    ``blank_cell``: what is written for a blank value, where Airtable has an option of that name.
    """

    limit: int | None = None
    form: Form = field(default=plain, repr=False, compare=False)
    padded: bool = field(default=False, repr=False)
    on_write: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    never_over: Mapping[str, Collection[str]] = field(
        default_factory=dict, repr=False, compare=False
    )
    blank_cell: str | None = field(default=None, repr=False, compare=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        text = self._kept(text_of(cell))
        if self.limit is not None and text and len(text) > self.limit:
            raise Unreadable(
                f"is {len(text)} characters long, the column takes {self.limit}: shorten it"
            )
        return text

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return self._kept(value) if isinstance(value, str) else super().from_postgres(value, users)

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        written = super().to_airtable(self.arrives(value))
        return self.blank_cell if written is None else written

    def arrives(self, value: Value) -> Value:
        """See Codec."""
        return self.on_write.get(value, value) if isinstance(value, str) else value

    def gives_way(self, value: Value, there: Value) -> bool:
        """See Codec."""
        return isinstance(value, str) and there in self.never_over.get(value, ())

    def _kept(self, text: str) -> Value:
        kept = text.rstrip(" ") if self.padded else text
        return kept if kept.strip("\r\n") else self.blank

    def normal(self, value: Value) -> Value:
        """See Codec. Nothing but blanks is blank."""
        return (self.form(value) or self.blank) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class Choice(Codec):
    """A select whose options have other names in the portal, e.g. Green and High."""

    portal_by_airtable: Mapping[str, str]

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        option = pick(text_of(cell), self.portal_by_airtable)
        if option is None:
            known = ", ".join(self.portal_by_airtable)
            raise Unreadable(f"is '{cell[:40]}', which has no meaning here: use {known}")
        return self.portal_by_airtable[option]

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        if value is None:
            return None
        for cell, portal in self.portal_by_airtable.items():
            if portal == value:
                return cell
        raise Unreadable(f"is '{str(value)[:40]}', which {NO_OPTION}: {MEND_OPTION}")


@dataclass(frozen=True, kw_only=True)
class Integer(Codec):
    """A whole number within ``limit``; formula errors are not read.

    ``rounds``: a fraction is rounded half up. Else it is not read: nobody asked for that.
    """

    rounds: bool = field(default=False, repr=False)
    limit: int = field(default=INT4, repr=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if isinstance(cell, bool) or not isinstance(cell, int | float) or not math.isfinite(cell):
            raise Unreadable(f"holds {kind(cell)} where a whole number was expected")
        number = math.floor(cell + 0.5) if isinstance(cell, float) else cell
        if not -self.limit <= number < self.limit:
            raise Unreadable(
                "is a number too large for the column: correct it, or widen the column"
            )
        if not self.rounds and abs(cell - number) > _NOISE:
            raise Unreadable(f"is {cell:g}, and the column takes whole numbers: round it there")
        return number

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec. A numeric column may say 5.00."""
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return super().from_postgres(value, users)


@dataclass(frozen=True, kw_only=True)
class Checkbox(Codec):
    """A checkbox: absence is false (Airtable facts, section 8)."""

    blank: Value = False

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if not isinstance(cell, bool):
            raise Unreadable(f"holds {kind(cell)} where a checkbox was expected")
        return cell

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return bool(value)


@dataclass(frozen=True, kw_only=True)
class Unchecked(Checkbox):
    """A checkbox that says the contrary: an empty one is true in Postgres."""

    blank: Value = True

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        return not super().read(cell, users)

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return not value


@dataclass(frozen=True, kw_only=True)
class Flag(Codec):
    """A formula that says 0 or 1."""

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if isinstance(cell, int | float) and cell in (0, 1):
            return bool(cell)
        raise Unreadable(f"holds {kind(cell)} where 0 or 1 was expected")


@dataclass(frozen=True, kw_only=True)
class DateTime(Codec):
    """A moment, cut to milliseconds.

    ``days``: a bare date is read, as its midnight in UTC. Else it is not: it would take the time of
    day from what the portal wrote.
    """

    days: bool = field(default=True, repr=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        text = text_of(cell)
        if not self.days and _DAY.fullmatch(text):
            raise Unreadable(f"is {text}, a day without a time: give the field a time")
        try:
            moment = datetime.fromisoformat(text) if len(text) == 24 else isoparse(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            moment = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Unreadable(f"is '{text[:40]}', which is no date and time: correct it") from None
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return self.from_airtable(value, users)

    def normal(self, value: Value) -> Value:
        """See Codec. Whole seconds: who keeps no finer time means the same moment."""
        return value[:19] if isinstance(value, str) else value
