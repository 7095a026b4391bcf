"""Which changes of base and table count."""

from __future__ import annotations

import pytest

from reconciler_dagster.core.place import Place, moved


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (Place("appA", "tblA"), None),
        (Place(None, "tblA"), None),
        (Place("appB", "tblA"), "base is another one: appB before, appA now"),
        (Place("appB", "tblB"), "base is another one: appB before, appA now"),
        (Place("appA", "tblB"), "another table: tblB before, tblA now"),
        (Place(None, "tblB"), "another table: tblB before, tblA now"),
    ],
)
def test_what_is_told(before: Place, told: str | None) -> None:
    sentence = moved(before, Place("appA", "tblA"))
    assert sentence == told if told is None else told in str(sentence)
