"""Settings as they come: from a `.env` with CRLF, a mounted file, quotes, a web page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.environment import cleaned
from reconciler_dagster.portal.settings import PortalSettings

TOKEN = "patAbc0123456789.f00"
AROUND = st.text(
    st.sampled_from([*" \t\r\n\x0b\x0c\x00\xa0\u2003\u2028\u200b\u200d\u2060\ufeff\x85\xad"])
)


@given(before=AROUND, after=AROUND, quote=st.sampled_from(["", '"', "'"]))
def test_what_sticks_to_a_value_comes_off(before: str, after: str, quote: str) -> None:
    assert cleaned(f"{before}{quote}{after}{TOKEN}{before}{quote}{after}") == TOKEN
    given_ = Settings(airtable_api_key=f"{before}{TOKEN}{after}")
    assert given_.require_api_key() == TOKEN


@given(st.text())
def test_cleaning_is_done_once_and_keeps_what_is_inside(text: str) -> None:
    inside = f"a{text}b"
    assert cleaned(inside) == inside


def test_every_variable_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRTABLE_API_KEY", f"{TOKEN}\r\n")
    monkeypatch.setenv("AIRTABLE_ENDPOINT_URL", "\ufeffhttps://airtable.example/ \r")
    monkeypatch.setenv("AIRTABLE_LEADS_TABLE", "'Leads of 2026'\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://ann:pw@host:5432/portal\n")
    monkeypatch.setenv("RECONCILER_CALLS_PER_SECOND", "4.5\r")
    monkeypatch.setenv("RECONCILER_PORTAL_URL", " \r\n")
    monkeypatch.setenv("PORTAL_DEMO", "true\r")
    monkeypatch.setenv("PORTAL_JWT_ISSUER", "\xa0me\xa0")
    settings = Settings.load()
    assert settings.require_api_key() == TOKEN
    assert settings.airtable_endpoint_url == "https://airtable.example/"
    assert settings.airtable_leads_table == "Leads of 2026"
    assert settings.require_database_url() == "postgresql://ann:pw@host:5432/portal"
    assert settings.calls_per_second == 4.5
    assert settings.portal_url is None
    portal = PortalSettings.load()
    assert portal.demo
    assert portal.jwt_issuer == "me"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AIRTABLE_API_KEY", f"{TOKEN}\r\n{TOKEN}"),
        ("AIRTABLE_API_KEY", f"pat\x00{TOKEN}"[:3] + f"\x07{TOKEN}"),
        ("AIRTABLE_API_KEY", f"{TOKEN}\u20ac{TOKEN}"),
        ("AIRTABLE_API_KEY", f"{TOKEN} {TOKEN}"),
        ("AIRTABLE_API_KEY", f"{TOKEN}\u200b{TOKEN}"),
        ("PORTAL_JWT_SECRET", f"{TOKEN}\n{TOKEN}"),
        ("AIRTABLE_LEADS_TABLE", "Lea\nds"),
        ("AIRTABLE_ENDPOINT_URL", "airtable.example"),
        ("AIRTABLE_ENDPOINT_URL", "https://air table.example"),
        ("AIRTABLE_ENDPOINT_URL", "https://"),
        ("AIRTABLE_ENDPOINT_URL", "https://air..example"),
        ("AIRTABLE_ENDPOINT_URL", "https://[::1"),
        ("AIRTABLE_ENDPOINT_URL", "https://airtable.example:99999"),
        ("AIRTABLE_ENDPOINT_URL", f"https://ann:{TOKEN}@airtable.example"),
        ("RECONCILER_DAGSTER_URL", "javascript:alert(1)"),
        ("RECONCILER_PORTAL_URL", "file:///etc/passwd"),
        ("DATABASE_URL", "not a url"),
        ("DATABASE_URL", f"mysql://ann:{TOKEN}@host/portal"),
        ("DATABASE_URL", f"postgresql://ann:{TOKEN} @host/portal"),
        ("DATABASE_URL", f"postgresql://ann:{TOKEN}@host:0/portal"),
        ("DATABASE_URL", f"postgresql://ann:{TOKEN}@host:99999/portal"),
        ("DATABASE_URL", f"postgresql://ann:{TOKEN}@one,two:x/portal"),
        ("DAGSTER_POSTGRES_URL", f"sqlite://ann:{TOKEN}@host/portal"),
        ("RECONCILER_OVERLAP_MINUTES", "nan"),
        ("RECONCILER_OVERLAP_MINUTES", "inf"),
        ("RECONCILER_LOCKOUT_SECONDS", "1e300"),
        ("RECONCILER_HISTORY_DAYS", "1000000000000"),
        ("PORTAL_JWKS_URL", "ftp://host/keys"),
        ("PORTAL_RATE_LIMIT_PER_MINUTE", "inf"),
    ],
)
def test_what_cannot_be_is_one_sentence_that_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    of = PortalSettings if name in ("PORTAL_JWKS_URL", "PORTAL_RATE_LIMIT_PER_MINUTE") else Settings
    with pytest.raises(ConfigurationError) as refused:
        of.load()
    sentence = str(refused.value)
    assert sentence.startswith(f"{name} is not usable: ")
    assert "\n" not in sentence
    assert TOKEN not in sentence
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:pw@host:5432,other:5433/portal?target_session_attrs=read-write",
        "postgres://ann:pw@[::1]:5432/portal",
        "postgresql:///portal?host=/tmp",
        "host=h user=ann password='p w' dbname=portal",
    ],
)
def test_what_libpq_takes_is_taken(url: str) -> None:
    assert Settings(database_url=url).require_database_url() == url
