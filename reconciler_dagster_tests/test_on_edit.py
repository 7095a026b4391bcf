"""The setting RECONCILER_ON_EDIT."""

from __future__ import annotations

import pytest

from reconciler_dagster.config import ConfigurationError, Settings


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("false", None),
        ("off", None),
        ("true", 5.0),
        ("ON", 5.0),
        ("1", 1.0),
        ("90", 90),
    ],
)
def test_how_long_an_edit_settles(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: float | None
) -> None:
    monkeypatch.setenv("RECONCILER_ON_EDIT", value)
    assert Settings.load().on_edit == seconds


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon", "1e9"])
def test_what_is_no_time_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RECONCILER_ON_EDIT", value)
    with pytest.raises(ConfigurationError, match="RECONCILER_ON_EDIT is not usable: expected true"):
        Settings.load()


def test_unless_set_edits_wait_for_the_schedule() -> None:
    assert Settings.load().on_edit is None
