"""Each channel has a line of its own: what hangs on one keeps nobody on another waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Thread

from reconciler_dagster.telling import told

log = logging.getLogger("reconciler_dagster.notices")


class Lines:
    """Threads of this process, at most one a channel. They do not keep it from ending."""

    def __init__(self) -> None:
        self._busy: dict[str, Thread] = {}

    def run(self, tasks: Mapping[str, Callable[[], None]], seconds: float) -> None:
        """Do all tasks at once; none on a line that is still busy with an earlier one. Returns when
        all have been done, or after so many seconds: what lasts longer goes on by itself.
        """
        begun = []
        for name, task in tasks.items():
            if name not in self._busy or not self._busy[name].is_alive():
                self._busy[name] = Thread(target=_carefully, args=(task,), name=name, daemon=True)
                self._busy[name].start()
                begun.append(self._busy[name])
        deadline = time.monotonic() + seconds
        for line in begun:
            line.join(max(0.0, deadline - time.monotonic()))


def _carefully(task: Callable[[], None]) -> None:
    try:
        task()
    except Exception as error:
        log.warning("somebody could not be told: %s", told(error))
