"""Every benchmark, one after the other; each prints its own figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "benchmarks"

for benchmark in sorted(FOLDER.glob("*.py")):
    print(
        f"== {benchmark.stem}: {benchmark.read_text().splitlines()[0].strip(chr(34))}", flush=True
    )
    subprocess.run([sys.executable, benchmark, *sys.argv[1:]], check=True)
