"""What rows are staged under: the run, the sync, and the part of the run that has them. Pure."""

from __future__ import annotations


def of_run(run: str, sync: str) -> str:
    """Of one sync in a run. ``run``: its id, or what a listing ahead of a run is known by."""
    return f"{run} {sync}"


def beneath(key: str, *names: object) -> str:
    """Of a part of what is staged under ``key``."""
    return "/".join([key, *map(str, names)])
