"""Clients that are listed in the settings, where no portal keeps a table of them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

_BASE_ID = re.compile("app[A-Za-z0-9]{14}")


@dataclass(frozen=True)
class ListedClient:
    """``name``: as people know it; ``base_id``: its Airtable base."""

    name: str
    base_id: str

    @property
    def id(self) -> str:
        """A uuid as text: always the same one for a base, so that nothing has to remember it."""
        return str(uuid5(NAMESPACE_URL, f"https://airtable.com/{self.base_id}"))


def listed_clients(words: str) -> tuple[ListedClient, ...]:
    """The clients of a list like ``Acme=appAAAAAAAAAAAAAA, Globex=appBBBBBBBBBBBBBB``, by name.

    Raises ValueError that says what is wrong with it.
    """
    found: list[ListedClient] = []
    for part in filter(str.strip, words.replace("\n", ",").split(",")):
        name, equals, base_id = (word.strip() for word in part.rpartition("="))
        if not equals or not name:
            raise ValueError(f"'{part.strip()}' is no client; expected name=base id, like {_LIKE}")
        if not _BASE_ID.fullmatch(base_id):
            raise ValueError(
                f"'{base_id}' of {name} is no base id; expected app and 14 letters or digits"
            )
        for other in found:
            if other.base_id == base_id:
                raise ValueError(f"{other.name} and {name} both name the base {base_id}")
            if other.name == name:
                raise ValueError(f"two clients are called {name}")
        found.append(ListedClient(name, base_id))
    if not found:
        raise ValueError(f"there is no client in it; expected name=base id, like {_LIKE}")
    return tuple(sorted(found, key=lambda client: client.name))


_LIKE = "Acme=appAAAAAAAAAAAAAA"
