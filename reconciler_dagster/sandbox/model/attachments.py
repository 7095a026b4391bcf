"""Attachment objects in the form that Airtable gives them (recorded; facts §8).

No file is ever fetched: what Airtable would learn from it is made up, the same for the same URL.
"""

import mimetypes
import zlib
from typing import Any

from reconciler_dagster.sandbox.ids import new_id

HOST = "https://attachments.example.com"
UNKNOWN_TYPE = "application/octet-stream"
THUMBNAIL_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
SMALL_HEIGHT = 36
LARGE_SIDE = 512
FULL_SIDE = 3000


def attached(url: str, filename: str, type_: str | None, size: int | None) -> dict[str, Any]:
    """Return a new attachment. Size (in bytes) and type are made up where they are not known."""
    made_up = zlib.crc32(url.encode(errors="replace"))
    type_ = type_ or mimetypes.guess_type(filename)[0] or UNKNOWN_TYPE
    file: dict[str, Any] = {
        "id": new_id("att"),
        "url": url,
        "filename": filename,
        "size": made_up % 1_000_000 + 1 if size is None else size,
        "type": type_,
    }
    if type_ in THUMBNAIL_TYPES:
        file |= _picture(file["id"], 200 + made_up % 1801, 200 + made_up // 1801 % 1801)
    return file


def _picture(attachment_id: str, width: int, height: int) -> dict[str, Any]:
    small = SMALL_HEIGHT / height
    large = min(1.0, LARGE_SIDE / max(width, height))
    sizes = {
        "small": (int(width * small), SMALL_HEIGHT),
        "large": (int(width * large), int(height * large)),
        "full": (FULL_SIDE, FULL_SIDE),
    }
    return {
        "width": width,
        "height": height,
        "thumbnails": {
            name: {"url": f"{HOST}/{attachment_id}/{name}", "width": wide, "height": high}
            for name, (wide, high) in sizes.items()
        },
    }
