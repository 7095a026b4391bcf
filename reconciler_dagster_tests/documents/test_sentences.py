"""A sentence that tells an operator of trouble says what to do about it."""

from __future__ import annotations

import pytest

from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster_tests.documents.sentences import all_spoken, says_what_to_do, spoken

# Those that do not yet. None may be added; take away what you have mended.
OWED = frozenset(
    {
        "--down has no --dry-run.",
        "DATABASE_URL is not usable: libpq cannot read it as a connection string.",
        "Nothing was entered: the token is read from stdin.",
        "The token is not usable: ….",
        "… is not usable: ….",
        "is a number too large for the column",
        "is '…', which is no date and time",
        "is '…', which is no date",
        "links to …, which has no record in Airtable yet",
        "links to … of …, whose row is not there yet: it is filled once it is",
        "holds '…', which is no option of the Airtable field",
        "holds '…', which has no meaning here",
        "holds values that are neither texts nor numbers",
        "is user …, who is not in the users table",
        "The Airtable token of … (…) is not usable: ….",
        "…… is not set, and without it no e-mail can be sent.",
        "--from lies in the future: there are no leads of then yet.",
        "Neither PORTAL_JWT_SECRET nor PORTAL_JWKS_URL is set: the portal would not know "
        "whose tokens to trust.",
        "PORTAL_JWT_SECRET is too short: it needs at least … bytes.",
        "PORTAL_JWT_SECRET is not set: no token can be made.",
        "Table … has no column …: it is not the table that the sync's definition means.",
        "… has no trigger …….",
        "The trigger … looks at reconciler.writer already.",
        "RECONCILER_SYNCS names …, which is not defined: the syncs are ….",
        "… cannot be read: ….",
        "…: this is no YAML: ….",
        "…: this is no YAML text.",
        "The sync … links to '…', and no sync has that name: the syncs are ….",
        "The sync … derives a column after '…', and no sync has that name: the syncs are ….",
        "…, line …: '…' stands here twice; it stands in line … already.",
    }
)


def test_every_notice_says_what_to_do() -> None:
    silent = {kind.name for kind in KINDS.values() if not says_what_to_do(kind.todo)}
    assert not silent


def test_every_error_says_what_to_do() -> None:
    silent = {sentence for sentence in all_spoken() if not says_what_to_do(sentence)}
    assert silent - OWED == set(), "say what the reader can do"
    assert OWED - silent == set(), "mended, or gone: take them off the list"


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
