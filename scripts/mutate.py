"""Mutation proof: breaks the engine in each known way, in a copy, and has the tests find it.

Writes docs/mutants.md. Ends with 1 if a mutant was found by nothing. Arguments: numbers of
mutants (all unless given; then nothing is written).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
COPIED = (
    *("reconciler_dagster", "reconciler_dagster_tests", "migrations", "pyproject.toml"),
    *("dagster.yaml", "workspace.yaml"),
)
WITH_MODEL = bool(os.environ.get("MUTATE_WITH_MODEL"))
MODEL = ["reconciler_dagster_tests/model"]
EXAMPLES = [
    "reconciler_dagster_tests/engine/test_nothing_is_lost.py",
    "reconciler_dagster_tests/engine/test_old_failures.py",
    "reconciler_dagster_tests/engine/test_sync.py",
    "reconciler_dagster_tests/engine/test_forms.py",
    "reconciler_dagster_tests/engine/test_types.py",
    "reconciler_dagster_tests/engine/test_deletions.py",
    "reconciler_dagster_tests/engine/test_budget.py",
    "reconciler_dagster_tests/engine/test_cells.py",
    "reconciler_dagster_tests/engine/test_places.py",
    "reconciler_dagster_tests/engine/test_lease.py",
    "reconciler_dagster_tests/engine/test_database.py",
    "reconciler_dagster_tests/engine/test_two_syncs.py",
    "reconciler_dagster_tests/engine/test_parts.py",
    "reconciler_dagster_tests/engine/test_rounds.py",
    "reconciler_dagster_tests/engine/test_source.py",
    "reconciler_dagster_tests/core/test_policies.py",
    "reconciler_dagster_tests/syncs/test_resolve.py",
    "reconciler_dagster_tests/syncs/test_reading.py",
    "reconciler_dagster_tests/owner/test_tables.py",
    "reconciler_dagster_tests/postgres/test_lock.py",
    "reconciler_dagster_tests/postgres/test_bucket.py",
    "reconciler_dagster_tests/engine/test_guard.py",
    "reconciler_dagster_tests/engine/test_tokens.py",
    "reconciler_dagster_tests/orchestration/test_environments.py",
    "reconciler_dagster_tests/orchestration/test_submission.py",
    "reconciler_dagster_tests/orchestration/test_storage.py",
    "reconciler_dagster_tests/postgres/test_trigger.py",
    "reconciler_dagster_tests/postgres/test_requests.py",
    "reconciler_dagster_tests/engine/test_consent.py",
    "reconciler_dagster_tests/engine/test_rehearsal.py",
    "reconciler_dagster_tests/engine/test_fights.py",
    "reconciler_dagster_tests/core/test_rehearsal.py",
    "reconciler_dagster_tests/notices/test_decide.py",
    "reconciler_dagster_tests/notices/test_keeper.py",
    "reconciler_dagster_tests/notices/test_observe.py",
    "reconciler_dagster_tests/notices/test_dagster.py",
    "reconciler_dagster_tests/postgres/test_token_bucket.py",
    "reconciler_dagster_tests/core/test_together.py",
    "reconciler_dagster_tests/engine/test_claims.py",
    "reconciler_dagster_tests/owner/test_following.py",
    "reconciler_dagster_tests/orchestration/test_great_sync_of_several.py",
    "reconciler_dagster_tests/deploying/test_upgrade.py",
    "reconciler_dagster_tests/orchestration/test_celery.py",
    "reconciler_dagster_tests/engine/test_glance.py",
    "reconciler_dagster_tests/orchestration/test_glance.py",
    "reconciler_dagster_tests/orchestration/test_bookkeeping.py",
    "reconciler_dagster_tests/orchestration/test_listed_ahead.py",
    "reconciler_dagster_tests/engine/test_frames.py",
    "reconciler_dagster_tests/engine/test_windows.py",
    "reconciler_dagster_tests/test_turns.py",
]
HISTORIES = "40"


def main() -> int:
    chosen = [int(number) for number in sys.argv[1:]] or range(1, len(MUTANTS) + 1)
    rows = []
    for number in chosen:
        mutant = MUTANTS[number - 1]
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            copy = Path(folder)
            _copy(copy)
            _break(copy, mutant)
            example = _caught(copy, [*_files(mutant), "-k", mutant.example])
            model = _caught(copy, MODEL) if WITH_MODEL or not example else ""
        rows.append((number, mutant.what, model, example))
        print(*rows[-1], sep=" | ", flush=True)
    if len(sys.argv) == 1:
        (ROOT / "docs" / "mutants.md").write_text(_page(rows))
    return any(not model and not example for _, _, model, example in rows)


def _files(mutant: Mutant) -> list[str]:
    """Where its examples may stand: to read all of the tests takes longer than to run one."""
    names = mutant.example.split(" or ")
    found = [f for f in EXAMPLES if any(name in f + (ROOT / f).read_text() for name in names)]
    return found or sys.exit(f"'{mutant.what}': no file of EXAMPLES has {mutant.example}.")


def _copy(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis")
            )
        else:
            shutil.copy(source, folder)


def _break(folder: Path, mutant: Mutant) -> None:
    path = folder / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        sys.exit(f"'{mutant.what}': the patch no longer fits {mutant.file}.")
    path.write_text(source.replace(mutant.old, mutant.new))


def _caught(folder: Path, tests: list[str]) -> str:
    """Which test failed first, and after how many seconds; empty when none did."""
    environment = os.environ | {"MODEL_HISTORIES": HISTORIES, "MODEL_SHRINK": ""}
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) \S+?::(\w+)", ran.stdout, re.MULTILINE)
    if failed is None:
        sys.exit(f"The tests of a mutant did not run:\n{ran.stdout}{ran.stderr}")
    return f"`{failed[1]}`, {time.monotonic() - started:.0f} s"


def _page(rows: list[tuple[int, str, str, str]]) -> str:
    caught = sum(bool(model or example) for _, _, model, example in rows)
    lines = [
        "# Mutants",
        "",
        "Written by `python scripts/mutate.py`: the engine broken on purpose, and what found it.",
        f"{caught} of {len(rows)} found: by the first example that fails, or by up to {HISTORIES}",
        "random histories of the model test (MUTATE_WITH_MODEL=1 has it try them all).",
        "",
        "| | The engine was made to | Example | Model |",
        "|---|---|---|---|",
    ]
    for number, what, model, example in rows:
        by_model = "found in " + model.split(", ")[1] if model else ""
        lines.append(f"| {number} | {what} | {example or 'not found'} | {by_model} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
