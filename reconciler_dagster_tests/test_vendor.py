"""The libraries of others: one copy each, with licence and version, served to the pages."""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

import pytest
import requests

import reconciler_dagster
from reconciler_dagster import vendor
from reconciler_dagster.sandbox.testing import running_sandbox

PACKAGE = Path(reconciler_dagster.__file__).parent
VENDOR = Path(vendor.__file__).parent
ROWS = re.findall(
    r"^\| (\w+) \| [^|]*? (\d[\d.]*)[^|]* \| ([^|]*) \|",
    (VENDOR / "README.md").read_text(encoding="utf-8"),
    re.M,
)


def test_every_library_is_listed() -> None:
    folders = {path.name for path in VENDOR.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert {name for name, _, _ in ROWS} == folders
    assert {vendor.AG_GRID.name, vendor.HTMX.name, vendor.SWAGGER_UI.name} == folders


@pytest.mark.parametrize(("name", "version", "licence"), ROWS)
def test_a_library_has_its_licence_and_the_version_that_is_told(
    name: str, version: str, licence: str
) -> None:
    told = (VENDOR / name / "LICENSE").read_text(encoding="utf-8")
    title = {"MIT": "MIT License", "0BSD": "Zero-Clause BSD", "Apache-2.0": "Apache License"}
    assert title[licence.split(",")[0].strip()] in told
    scripts = list((VENDOR / name).glob("*.js"))
    assert any(f'"{version}"' in script.read_text(encoding="utf-8") for script in scripts)


def test_swagger_ui_comes_with_its_notice_and_the_licences_within() -> None:
    for name in ("NOTICE", "swagger-ui-bundle.js.LICENSE.txt"):
        assert (vendor.SWAGGER_UI / name).stat().st_size


def test_no_library_stands_twice() -> None:
    copies = defaultdict(list)
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".js", ".css") and path.stat().st_size > 10_000:
            copies[hashlib.sha256(path.read_bytes()).digest()].append(path)
    assert [paths for paths in copies.values() if len(paths) > 1] == []
    assert len({path.name for path in PACKAGE.rglob("swagger-ui-bundle.js")}) == 1


def test_the_sandbox_s_pages_find_theirs() -> None:
    with running_sandbox(leads=1) as sandbox:
        for page in ("/", "/sandbox/api/docs"):
            text = requests.get(sandbox.url + page, timeout=30).text
            parts = re.findall(r'(?:src|href)="(/sandbox/page/[^"]+)"', text)
            assert len(parts) >= 2
            for part in parts:
                assert requests.get(sandbox.url + part, timeout=30).status_code == 200, part
