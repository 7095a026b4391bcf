"""Clients that are listed in a setting."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.listed import ListedClient, listed_clients

A, B = "appAAAAAAAAAAAAAA", "appBBBBBBBBBBBBBB"
NAMES = st.text(st.characters(exclude_characters=",\n", codec="utf-8"), min_size=1).filter(
    lambda name: name.strip() and name.splitlines() == [name]
)


def test_a_list_is_read_by_name_and_each_base_has_one_id_for_ever() -> None:
    found = listed_clients(f" Globex = {B},\nAcme={A}, ")
    assert found == (ListedClient("Acme", A), ListedClient("Globex", B))
    assert found[0].id == "29f3c7e7-93e7-520f-958d-173c00e4eb6c"
    assert listed_clients(f"Renamed={A}")[0].id == found[0].id
    assert found[0].id != found[1].id


@given(NAMES)
def test_a_name_may_hold_whatever_does_not_part_the_list(name: str) -> None:
    assert listed_clients(f"{name}={A}") == (ListedClient(name.strip(), A),)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (A, f"'{A}' is no client; expected name=base id"),
        (f"={A}", "is no client"),
        ("Acme=appShort", "'appShort' of Acme is no base id"),
        (f"Acme={A}, Other={A}", f"Acme and Other both name the base {A}"),
        (f"Acme={A}, Acme={B}", "two clients are called Acme"),
        (" , ", "there is no client in it"),
    ],
)
def test_what_is_wrong_is_named(words: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        listed_clients(words)
    monkeypatch.setenv("RECONCILER_CLIENTS", words)
    if words.strip():
        with pytest.raises(ConfigurationError, match="RECONCILER_CLIENTS is not usable"):
            Settings.load()
