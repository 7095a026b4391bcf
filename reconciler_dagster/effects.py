"""The seam at which a test can end a run: just before and just after everything it does outside.

Every call to Airtable and every commit to Postgres passes through :func:`effect`. Nothing here
does anything unless a test asks for it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

# Set by a test in this process: called with "before" or "after" and the name of the effect.
hook: Callable[[str, str], None] | None = None

# Set for a process of its own, e.g. "after 7": kill -9 after its seventh effect.
kill_at = os.environ.get("RECONCILER_TEST_KILL", "")
count = 0
_lock = Lock()


@contextmanager
def effect(name: str) -> Iterator[None]:
    """Something that is seen outside this process happens inside the block."""
    global count
    with _lock:  # some happen side by side
        count += 1
        number = count
    _reached("before", name, number)
    yield
    _reached("after", name, number)


def _reached(moment: str, name: str, number: int) -> None:
    if hook is not None:
        hook(moment, name)
    if kill_at and f"{moment} {number}" == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
