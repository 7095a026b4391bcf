"""Comments on records."""

import re
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call
from reconciler_dagster.sandbox.api.query import whole
from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.table import Table
from reconciler_dagster.sandbox.world import World

LONGEST = 10_000
_MENTION = re.compile(r"@\[(usr[A-Za-z0-9]{14})\]")


class Comments:
    """The comment endpoints of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_comments(self, call: Call, base: Base, table: Table, record: str) -> dict[str, Any]:
        """`GET .../comments`, newest first; the offset is the id of the last one shown."""
        given = call.parameters()
        size = whole(given.get("pageSize", 100), 1, 100)
        newest = self._of(base, table, record)[::-1]
        offset = given.get("offset")
        if offset:
            ids = [comment["id"] for comment in newest]
            if offset not in ids:
                raise errors.bad_parameters()
            newest = newest[ids.index(offset) + 1 :]
        more = newest[size - 1]["id"] if len(newest) > size else None
        return {"comments": newest[:size], "offset": more}

    def create(self, call: Call, base: Base, table: Table, record: str) -> dict[str, Any]:
        """`POST .../comments`."""
        text = _text(call)
        body = call.json()
        comments = self._of(base, table, record)
        comment: dict[str, Any] = {
            "id": new_id("com"),
            "createdTime": iso(self._world.clock.now()),
            "author": self._world.user.cell(),
            "lastUpdatedTime": None,
            **self._said(base, text),
        }
        parent = body.get("parentCommentId")
        if parent is not None:
            if all(one["id"] != parent for one in comments):
                raise errors.bad_parameters()
            comment["parentCommentId"] = parent
        base.comments.setdefault(record, []).append(comment)
        self._world.save(base)
        return comment

    def update(
        self, call: Call, base: Base, table: Table, record: str, comment_id: str
    ) -> dict[str, Any]:
        """`PATCH .../comments/{comment}`."""
        comment = self._one(base, table, record, comment_id)
        text = _text(call)
        comment.pop("mentioned", None)
        comment |= self._said(base, text)
        comment["lastUpdatedTime"] = iso(self._world.clock.now())
        self._world.save(base)
        return comment

    def delete(
        self, call: Call, base: Base, table: Table, record: str, comment_id: str
    ) -> dict[str, Any]:
        """`DELETE .../comments/{comment}`."""
        comment = self._one(base, table, record, comment_id)
        base.comments[record].remove(comment)
        self._world.save(base)
        return {"id": comment_id, "deleted": True}

    def _said(self, base: Base, text: str) -> dict[str, Any]:
        """Return a comment's text, and who of the base is mentioned in it, if anybody is."""
        people = {**base.people, self._world.user.id: self._world.user}
        mentioned = {
            person_id: {
                "type": "user",
                "id": person_id,
                "displayName": people[person_id].name,
                "email": people[person_id].email,
            }
            for person_id in _MENTION.findall(text)
            if person_id in people
        }
        return {"text": text, "mentioned": mentioned} if mentioned else {"text": text}

    def _of(self, base: Base, table: Table, record: str) -> list[dict[str, Any]]:
        if record not in table.records:
            raise errors.model_not_found()
        return base.comments.get(record, [])

    def _one(self, base: Base, table: Table, record: str, comment_id: str) -> dict[str, Any]:
        for comment in self._of(base, table, record):
            if comment["id"] == comment_id:
                return comment
        raise errors.model_not_found()


def _text(call: Call) -> str:
    text = call.json().get("text")
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST:
        raise errors.bad_parameters()
    return text
