"""A sentence that tells an operator of trouble says what to do about it."""

from __future__ import annotations

import pytest

from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster_tests.documents.sentences import all_spoken, says_what_to_do, spoken


def test_every_notice_says_what_to_do() -> None:
    silent = {kind.name for kind in KINDS.values() if not says_what_to_do(kind.todo)}
    assert not silent


def test_every_error_says_what_to_do() -> None:
    silent = {sentence for sentence in all_spoken() if not says_what_to_do(sentence)}
    assert not silent, "say what the reader can do"


def test_enough_is_read() -> None:
    assert len(all_spoken()) > 80


@pytest.mark.parametrize(
    ("sentence", "helps"),
    [
        ("The folder x cannot be used: set RECONCILER_STATE_DIR to another one.", True),
        ("Run `reconciler migrate`.", True),
        ("The run ended without a word.", False),
        ("The setting is not usable.", False),
        ("A run stands until later ones have looked.", False),
    ],
)
def test_what_helps(sentence: str, helps: bool) -> None:
    assert says_what_to_do(sentence) is helps


def test_a_sentence_is_found_wherever_it_is_raised() -> None:
    source = 'raise ConfigurationError(f"{name} is no " "table here: name another.") from None'
    assert list(spoken(source)) == ["… is no table here: name another."]
