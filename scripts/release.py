"""Build wheel and sdist into dist/, and try the wheel as a stranger would; `make release`.

The wheel is built from the sdist, so that both are whole. It is installed into a new environment
outside the checkout, with the versions of requirements.lock; there `up` is started, and beside it
`doctor`, `migrate` and `run` are called. Ends with 1 where one does not do what it should.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
CEILING = 600  # seconds: a slow machine is none that fails


def main() -> None:
    """Everything, in order."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    wheel = build(version)
    with tempfile.TemporaryDirectory(prefix="reconciler-release-") as name:
        folder = Path(name)
        program = install(wheel, folder / "venv")
        told = call(program, folder, "--version")
        expect(told.strip() == f"reconciler, version {version}", told)
        try_it(program, folder)
    print(f"{wheel.name} works outside the checkout.")


def build(version: str) -> Path:
    """Both distributions; returns the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)], check=True)
    names = {path.name for path in DIST.iterdir()}
    wheel = f"reconciler-{version}-py3-none-any.whl"
    expect(names == {wheel, f"reconciler-{version}.tar.gz"}, f"dist/ has {sorted(names)}")
    return DIST / wheel


def install(wheel: Path, venv: Path) -> Path:
    """The command in a new environment that has the wheel and what it needs."""
    print("Installing the wheel ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    if uv := shutil.which("uv"):  # a tenth of the time
        tool = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        tool = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = ["--constraint", str(ROOT / "requirements.lock")]
    subprocess.run([*tool, *lock, str(wheel)], check=True, cwd=venv)
    return venv / "bin" / "reconciler"


def try_it(program: Path, folder: Path) -> None:
    """Start everything, and use it."""
    log = folder / "up.log"
    with log.open("w") as out:
        command = [program, "up", "--leads", "100"]
        up = subprocess.Popen(
            command, cwd=folder, env=surroundings(folder), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + CEILING
        while "Ready after" not in log.read_text():
            expect(up.poll() is None and time.monotonic() < deadline, log.read_text())
            time.sleep(0.5)
        expect("Up to date" in call(program, folder, "migrate"), "migrate has something to do")
        ran = json.loads(call(program, folder, "run", "--json", codes=(0, 1)))
        expect(len(ran["clients"]) == 1, f"run: {ran}")
        agreed = json.loads(call(program, folder, "status", "--json", codes=(0, 1)))
        expect(agreed["clients"][0]["leads"]["baseline"] == 100, f"status: {agreed}")
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(CEILING)


def surroundings(folder: Path) -> dict[str, str]:
    """An environment without the settings and the packages of this one."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRTABLE_", "DAGSTER_", "PORTAL_", "PYTHON", "RECONCILER_"))
        and name not in ("DATABASE_URL", "VIRTUAL_ENV")
    }
    return kept | {"RECONCILER_STATE_DIR": str(folder / "state")}


def call(program: Path, folder: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a command says on stdout; ends the script where its exit code is another one."""
    print("reconciler", *arguments, flush=True)
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=surroundings(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    expect(done.returncode in codes, f"ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def expect(holds: bool, otherwise: str) -> None:
    """End the script with a reason unless something holds."""
    if not holds:
        sys.exit(f"The release does not work: {otherwise}")


if __name__ == "__main__":
    main()
