"""The model test for long: batches of histories, each from a seed of its own, until the number is
reached. `make model`; MODEL_HISTORIES says how many (10,000), MODEL_SEED where to begin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

BATCH = 100


def main() -> int:
    wanted = int(os.environ.get("MODEL_HISTORIES", "10000"))
    seed = int(os.environ.get("MODEL_SEED", str(int(time.time()))))
    done, started = 0, time.monotonic()
    while done < wanted:
        batch = min(BATCH, wanted - done)
        environment = os.environ | {"MODEL_HISTORIES": str(batch), "MODEL_SEED": str(seed)}
        environment["MODEL_SHRINK"] = os.environ.get("MODEL_SHRINK", "1")
        command = [sys.executable, "-m", "pytest", "-q", "reconciler_dagster_tests/model"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            print(ran.stdout, ran.stderr, f"FAILED with MODEL_SEED={seed}", sep="\n")
            return 1
        done, seed = done + batch, seed + 1
        minutes = (time.monotonic() - started) / 60
        print(
            f"{done} histories, {minutes:.0f} min; the last batch had seed {seed - 1}", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
