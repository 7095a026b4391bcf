"""When the listener is started anew: the one part without which nothing is lost."""

from __future__ import annotations

# Between a start and the next one, in seconds: twice as long each time, while it ends at once.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
# The exit code of a process that says what a person has to mend first.
CANNOT_START = 2


class Anew:
    """Decides it. Told of the listener's exit code and the seconds since its start."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self.given_up = False

    def is_due(self, exit_code: int, seconds: float) -> bool:
        """Whether it is to be started now. Sets ``given_up`` where that would not help."""
        if exit_code == CANNOT_START:
            self.given_up = True
        if self.given_up or seconds < self._pause:
            return False
        was_well = seconds >= 2 * self._pause
        self._pause = FIRST_PAUSE if was_well else min(2 * self._pause, LONGEST_PAUSE)
        return True
