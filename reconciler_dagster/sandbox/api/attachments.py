"""Uploading a file into an attachment cell, and serving it back."""

import base64
import binascii
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.query import text
from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.model.attachments import HOST
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.world import World

LARGEST = 5 * 1024 * 1024


class Attachments:
    """The upload endpoint of one sandbox. The bytes are counted, not kept."""

    def __init__(self, world: World) -> None:
        self._world = world

    def upload(self, call: Call, base: Base, record_id: str, field_name: str) -> dict[str, Any]:
        """`POST /{base}/{record}/{field}/uploadAttachment`."""
        body = call.json()
        kind, name = text(body.get("contentType")), text(body.get("filename"))
        try:
            written = "".join(text(body.get("file")).split())
            size = len(base64.b64decode(written, validate=True))
        except (binascii.Error, ValueError):
            raise errors.bad_parameters() from None
        if size > LARGEST:
            raise errors.refusal(413, "REQUEST_TOO_LARGE", "The file is larger than 5 MB")
        for table in base.tables.values():
            record = table.records.get(record_id)
            if record is None:
                continue
            field = table.find(field_name)
            if field is None or field.type != "multipleAttachments":
                raise errors.unknown_field(field_name)
            url = f"{HOST}/{record_id}/{name}"
            file = {"url": url, "filename": name, "size": size, "type": kind}
            act = self._world.transaction(base)
            act.update(table, record_id, {field.id: [*record.cells.get(field.id, ()), file]})
            act.commit()
            cells = table.records[record_id].cells
            return {
                "id": record_id,
                "createdTime": iso(record.created),
                "fields": {field.id: cells[field.id]},
            }
        raise errors.model_not_found()
