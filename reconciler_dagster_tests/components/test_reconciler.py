"""The component in a project of another team, by `dg` itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from reconciler_dagster_tests.test_second_domain import blocks

DG = Path(sys.executable).with_name("dg")
PROJECT = """
[project]
name = "theirs"
version = "0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "theirs"
registry_modules = ["reconciler_dagster.components"]
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    package = tmp_path / "src" / "theirs"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "from pathlib import Path\n"
        "from dagster import definitions, load_from_defs_folder\n"
        "@definitions\n"
        "def defs():\n"
        "    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    return tmp_path


def dg(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(project / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [DG, *words],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path, "DG_CLI_CONFIG": str(project / "none.toml")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_project_adds_the_engine_by_one_file(theirs: Path) -> None:
    listed = dg(theirs, "list", "components")
    assert "reconciler_dagster.components.Reconciler" in listed.stdout, listed.stderr
    made = dg(theirs, "scaffold", "defs", "reconciler_dagster.components.Reconciler", "crm")
    assert made.returncode == 0, made.stderr
    here = theirs / "src" / "theirs" / "defs" / "crm"
    (here / "crm").mkdir()
    for block in blocks("yaml"):
        (here / block.partition("\n")[0].removeprefix("# ")).write_text(block)
    (file,) = blocks("defs")
    (here / "defs.yaml").write_text(file)
    checked = dg(theirs, "check", "yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    code = (
        "from theirs.definitions import defs; import os; own = defs()\n"
        "print(own.resolve_job_def('sync').name, os.environ['RECONCILER_CLIENTS'])\n"
        "from reconciler_dagster.config import Settings\n"
        "from reconciler_dagster.syncs.in_force import maps\n"
        "print(*maps(Settings.load()))\n"
        "print(*sorted({spec.group_name for spec in own.resolve_all_asset_specs()}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=theirs,
        env={**os.environ, "PYTHONPATH": f"{theirs / 'src'}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.stdout.splitlines()[-3:] == [
        "sync Acme=appAAAAAAAAAAAAAA",
        "companies contacts deals",
        "companies contacts deals great_sync leads",
    ], loaded.stderr

    (here / "defs.yaml").write_text(file.replace("syncs_folder", "folder_of_syncs"))
    checked = dg(theirs, "check", "yaml")
    assert checked.returncode == 1
    assert "folder_of_syncs" in checked.stdout + checked.stderr
    shutil.rmtree(here)


def test_the_package_tells_dg_where_its_components_are() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    points = tomllib.loads(pyproject.read_text())["project"]["entry-points"]
    (module,) = points["dagster_dg_cli.registry_modules"].values()
    assert import_module(module).Reconciler
