"""Where the sign-in may lead: to a page of the console, and nowhere else."""

from __future__ import annotations

import re

HOME = "/console"
# A list of what may be there: browsers read `//`, `/\`, tabs and much else as another site.
_PAGE = re.compile(rf"{HOME}(/[A-Za-z0-9_~-]+)*/?(\?[A-Za-z0-9_.~=&+%-]*)?")


def local_path(wanted: str) -> str:
    """The wanted page of the console; the start page for anything else, however it is written."""
    return wanted if _PAGE.fullmatch(wanted) else HOME
