"""docs/reference/ is what the code says, and leaves nothing out."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from reconciler_dagster.cli.group import COMMANDS
from reconciler_dagster.config import Settings
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster_tests.documents.rooms import PACKAGE, ROOT

FOLDER = ROOT / "docs" / "reference"


def script(name: str) -> Any:
    """A script of scripts/ as a module."""
    spec = spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


script("reference_words")  # which the next one imports
reference = script("reference")


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_page_is_what_the_code_says(page: str) -> None:
    assert (FOLDER / page).read_text() == reference.PAGES[page](), "run `make reference`"


def test_the_tables_are_those_of_a_migrated_database(portal_db: str) -> None:
    assert (FOLDER / "tables.md").read_text() == reference.tables(portal_db), "run `make reference`"


def test_every_page_is_written_by_something() -> None:
    written = {*reference.PAGES, "tables.md", "json.md"}
    assert {path.name for path in FOLDER.iterdir()} == written


def test_every_setting_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", (FOLDER / "settings.md").read_text(), re.M)
    assert [name for name, said in rows if len(said.split()) < 3] == []
    named = {name for name, _ in rows}
    example = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(example) <= named
    for kind in (Settings, NoticeSettings, PortalSettings):
        for name, field in kind.model_fields.items():
            assert f"{kind.prefix}{field.alias or name}".upper() in named


def test_every_variable_that_is_read_is_a_setting() -> None:
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    read = set(re.findall(r'environment\.value\(\s*"(\w+)"', source))
    read |= set(re.findall(r'envvar="(\w+)"', source))
    assert read >= {"RECONCILER_STATE_DIR", "RECONCILER_ROLE"}, "the pattern finds them"
    told = (FOLDER / "settings.md").read_text()
    foreign = {"SSL_CERT_FILE"}
    assert {name for name in read - foreign if f"`{name}`" not in told} == set()


def test_every_command_is_told() -> None:
    told = (FOLDER / "commands.md").read_text()
    assert re.findall(r"^## (?!Exit codes)(\S+)$", told, re.M)[: len(COMMANDS)]
    for name in COMMANDS:
        assert f"\n## {name}\n" in told
