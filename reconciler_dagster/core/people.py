"""Codecs of cells that name a user of the portal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler_dagster.core.codecs import Codec, text_of
from reconciler_dagster.core.normal import key
from reconciler_dagster.core.values import Directory, Unreadable, Value


@dataclass(frozen=True, kw_only=True)
class UserEmail(Codec):
    """A user: an e-mail in Airtable, ``users.id`` in Postgres. Canonical: the e-mail's
    normal form.

    So a claim follows a user whose e-mail is changed in the portal. An e-mail that no user has is
    read all the same, and refused where it is to be written: else the old e-mail of a renamed user
    would stand in the way of the new one.
    """

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec. Airtable's own collaborator, a user's id, and a full name that one user alone
        has, stand for the e-mail.
        """
        said = cell.get("email") if isinstance(cell, dict) else cell
        text = key(text_of(said))
        named = users.ids_by_name(text)
        if text not in users.ids_by_email and len(named) == 1:
            return users.email_by_id[named[0]]
        return users.email_by_id.get(text) or text or None

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        if value is None:
            return None
        try:
            return users.email_by_id[value]
        except KeyError:
            raise Unreadable(
                f"is user {value}, who is not in the users table: choose another user"
            ) from None

    def to_postgres(self, value: Value, users: Directory) -> Any:
        """See Codec."""
        if value is None:
            return None
        found = users.ids_by_email.get(value, [])
        if not found and (named := len(users.ids_by_name(value))) > 1:
            raise Unreadable(
                f"is '{value[:80]}', and {named} portal users have that name: write the e-mail"
            )
        if len(found) > 1:
            raise Unreadable(
                f"is '{value[:80]}', and {len(found)} portal users have that e-mail: "
                "leave it to one of them"
            )
        if not found:
            raise Unreadable(
                f"is '{value[:80]}', and no portal user has that e-mail: "
                "correct it in Airtable or add the user"
            )
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Collaborator(UserEmail):
    """Airtable's own collaborator, who is written by e-mail."""

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return None if value is None else {"email": value}
