"""One API request: its parts, and its parameters checked (Airtable facts §3)."""

import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import orjson

from reconciler_dagster.sandbox import errors

_INDEXED = re.compile(r"^([A-Za-z]+)\[(\d*)\](?:\[([A-Za-z]+)\])?$")


@dataclass
class Call:
    """A request to the API. `segments` are the decoded parts of the path after `/v0/`."""

    method: str
    path: str
    segments: list[str]
    query: list[tuple[str, str]]
    body: bytes
    token: str = ""
    _json: Any = field(default=None, repr=False)

    def json(self) -> dict[str, Any]:
        """Return the body, a JSON object. Raises a Refusal if it is none."""
        if self._json is None:
            try:
                self._json = orjson.loads(self.body or b"{}")
            except orjson.JSONDecodeError:
                raise errors.refusal(
                    422, "INVALID_REQUEST_BODY", "Could not parse request body"
                ) from None
        if not isinstance(self._json, dict):
            raise errors.bad_parameters()
        return self._json

    def parameters(self) -> dict[str, Any]:
        """Return the query as an object: `fields[]=a`, `fields[0]=a` and `fields=a` alike."""
        found: dict[str, Any] = {}
        for key, value in self.query:
            indexed = _INDEXED.match(key)
            if indexed is None:
                if key in found:
                    earlier = found[key]
                    found[key] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
                else:
                    found[key] = value
                continue
            name, index, part = indexed.groups()
            items = found.setdefault(name, [])
            if not isinstance(items, list):
                items = found[name] = [items]
            if part is None:
                items.append(value)
            else:
                _place(items, int(index or 0), part, value)
        return found


def _place(items: list[Any], index: int, part: str, value: str) -> None:
    """Put `sort[1][field]=x` into the second object of the list."""
    if index > len(items) or (index < len(items) and not isinstance(items[index], dict)):
        raise errors.bad_parameters()
    if index == len(items):
        items.append({})
    items[index][part] = value


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """Return the pairs of a query string, empty values kept."""
    try:
        return urllib.parse.parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    except ValueError:
        raise errors.bad_parameters() from None
