"""The model test for long: batches of histories side by side, each from a seed of its own, until
the number is reached. `make model`; MODEL_HISTORIES says how many (10,000), MODEL_SEED where to
begin, MODEL_JOBS how many at a time (as many as there are processors).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

BATCH = 100


class Failed(Exception):
    """A history broke an invariant. The message is the test's output."""


def run_batch(seed: int, histories: int) -> int:
    """Run some histories in a process of their own; returns how many."""
    environment = os.environ | {"MODEL_HISTORIES": str(histories), "MODEL_SEED": str(seed)}
    environment["MODEL_SHRINK"] = os.environ.get("MODEL_SHRINK", "1")
    command = [sys.executable, "-m", "pytest", "-q", "reconciler_dagster_tests/model"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(f"{ran.stdout}\n{ran.stderr}\nFAILED with MODEL_SEED={seed}")
    return histories


def main() -> int:
    """Returns the exit code."""
    wanted = int(os.environ.get("MODEL_HISTORIES", "10000"))
    seed = int(os.environ.get("MODEL_SEED", str(int(time.time()))))
    jobs = int(os.environ.get("MODEL_JOBS", str(os.cpu_count() or 1)))
    done, started = 0, time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        left = {
            pool.submit(run_batch, seed + n, min(BATCH, wanted - n * BATCH)): seed + n
            for n in range(-(-wanted // BATCH))
        }
        while left:
            for batch in wait(left, return_when=FIRST_COMPLETED, timeout=60).done:
                number = left.pop(batch)
                try:
                    done += batch.result()
                except Failed as failure:
                    pool.shutdown(wait=False, cancel_futures=True)
                    print(failure)
                    return 1
                minutes = (time.monotonic() - started) / 60
                print(f"{done} histories, {minutes:.0f} min; last seed {number}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
