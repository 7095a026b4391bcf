"""The npm package `airtable` (airtable.js), unchanged but for its endpoint."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest

from reconciler_dagster.sandbox.testing import SandboxClient

VERSION = "0.12.2"
PROGRAM = Path(__file__).with_name("airtable_js.mjs")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in a folder that has the package; installed once and kept in the user's cache."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    cache = Path(platformdirs.user_cache_dir("reconciler")) / f"airtable-js-{VERSION}"
    if not (cache / "node_modules" / "airtable").is_dir():
        fresh = tmp_path_factory.mktemp("npm")
        (fresh / "package.json").write_text('{"private": true}')
        subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", f"airtable@{VERSION}"],
            cwd=fresh,
            check=True,
            capture_output=True,
            timeout=120,
        )
        cache.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(fresh, cache, dirs_exist_ok=True)
    shutil.copy(PROGRAM, cache / PROGRAM.name)
    return cache / PROGRAM.name


def test_airtable_js(program: Path, sandbox: SandboxClient) -> None:
    before = sandbox.records()
    done = subprocess.run(
        ["node", str(program), sandbox.url, sandbox.token, sandbox.base_id],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr
    scores = sorted((record["fields"]["ICP Score"] for record in before.values()), reverse=True)
    assert json.loads(done.stdout) == {
        "pages": [7, 7, 7, 7, 2],
        "sorted": scores[:5],
        "made": ["One", "Two"],
        "source": "Podcast",
        "notes": "hi",
        "cleared": True,
        "replaced": "Two again",
        "upserted": [True, False],
        "found": [True],
        "long": 0,
        "text": "string",
        "error": ["NOT_AUTHORIZED", 403],
        "unknown": ["UNKNOWN_FIELD_NAME", 'Unknown field name: "Nope"'],
        "deleted": 2,
    }
    left = [record["fields"]["Lead"] for record in sandbox.records().values()]
    assert len(left) == len(before) + 1
    assert "Four" in left
