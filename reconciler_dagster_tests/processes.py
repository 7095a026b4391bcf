"""What tests ask of processes that may end at any moment."""

from __future__ import annotations

import psutil


def has_ended(process: psutil.Process) -> bool:
    """Whether it does nothing any more, be it that nobody has waited for it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except (psutil.Error, OSError):  # it has ended just now
        return True


def command_of(process: psutil.Process) -> str:
    """Its words; none where it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return ""
