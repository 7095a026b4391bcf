"""Processes by name, number and start: a number alone is used again."""

from __future__ import annotations

import os
import socket

import psutil


def this_process() -> str:
    """This process as text: host, number, and when it started."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_here(process: str) -> bool:
    """Whether the process is one of this host."""
    return process.rsplit(" ", 2)[0] == socket.gethostname()


def number_of(process: str) -> int:
    """Its number on its host."""
    return int(process.rsplit(" ", 2)[1])


def may_live(process: str) -> bool:
    """Whether it lives; one on another host is beyond judging, and may."""
    _, number, started = process.rsplit(" ", 2)
    return not is_here(process) or lives(int(number), float(started))


def lives(number: int, before: float) -> bool:
    """Whether the process is there and is no younger than a moment (seconds since 1970)."""
    try:
        process = psutil.Process(number)
        return process.create_time() <= before + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
