"""Whether the process that executes a run lives. Needs nothing of Dagster, whose gRPC is slow."""

from __future__ import annotations

import os
import socket

import psutil

PROCESS_TAG = "reconciler/process"


def process_tag() -> dict[str, str]:
    """The tag for a run that this process executes itself, so that it can be seen to live."""
    started = psutil.Process().create_time()
    return {PROCESS_TAG: f"{socket.gethostname()} {os.getpid()} {started:.2f}"}


def lives(pid: int, before: float) -> bool:
    """Whether the process is there and is older than a moment: numbers are used again."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= before + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def tagged_process_lives(tag: str) -> bool:
    """Whether the process of a tag lives; one on another host is taken to."""
    host, pid, started = tag.rsplit(" ", 2)
    return host != socket.gethostname() or lives(int(pid), float(started))
